import { z } from 'zod';
import { checkCommon, commonFields } from './common-config.js';
import type { ConfigDefinition } from './definition.js';
import {
  addressField,
  addressListField,
  bytesField,
  choiceField,
  choiceOrModuleField,
  integerField,
  millisecondsField,
  nodeNameField,
  optionalAddressField,
} from './fields.js';
import { checkListen } from './reach-config.js';
import { storageFields } from './storage-config.js';
import { checkTiming, timingFields } from './timing-config.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Configuration of one shard node. */
export const shardConfigSchema = z.object({
  name: nodeNameField(),
  metadataAddresses: addressListField({
    description:
      'Framed addresses of members of the metadata service; one that answers is enough, all are better.',
  }),
  listen: addressField({
    description: 'Where the framed transport listens: routers and other shard nodes connect here.',
    default: '127.0.0.1:0',
  }),
  advertise: optionalAddressField({
    description: 'Address that others are told to reach this node at. Empty = where it listens.',
  }),
  replaceLostStore: integerField({
    description:
      'The data directory of this node is lost for good: join with an empty one as a new store under the same name. ' +
      'The value is the id of the old store, as the refusal of the empty directory names it; that store is declared ' +
      'lost, and no other. Without effect once the directory has joined. 0 = no store is replaced.',
    default: 0,
    min: 0,
    max: 1_000_000,
  }),
  engine: choiceOrModuleField({
    description:
      'Storage engine. A data directory stays with the engine that made it. "memory" keeps nothing across a ' +
      'restart and is for experiments; the Raft log stays on disk. A module from elsewhere is trusted with all data.',
    choices: ['lsm', 'classic-level', 'memory'],
    default: 'lsm',
  }),
  ...storageFields,
  tableCompression: choiceField({
    description:
      'What merges of the engine "lsm" do with what they write. Either way everything is read, whatever it was written with.',
    choices: ['deflate', 'none'],
    default: 'deflate',
  }),
  tableCompressionFromLevel: integerField({
    description:
      'First level of the engine "lsm" that is compressed. A run of level 1 is eight write buffers, one of each further ' +
      'level eight of the level before; reads take some microseconds more per block that is compressed.',
    default: 2,
    min: 1,
    max: 16,
  }),
  rowCacheBytes: bytesField({
    description: 'Cache of whole rows for point reads, over all ranges that this node leads. 0 = none.',
    default: 40 * MIB,
    min: 0,
    max: 64 * GIB,
  }),
  proposalQueueBytesMax: bytesField({
    description:
      'Writes waiting to be replicated, over all ranges; above it new ones are refused with a retry delay.',
    default: 64 * MIB,
    // Of the longest value a few must fit, or it would never be taken.
    min: 32 * MIB,
    max: 16 * GIB,
  }),
  proposalQueueOpsMax: integerField({
    description: 'The same bound as a number of writes.',
    default: 65_536,
    min: 16,
    max: 10_000_000,
  }),
  readQueueOpsMax: integerField({
    description: 'Reads waiting for a leader confirmation or for the engine; above it new ones are refused.',
    default: 65_536,
    min: 16,
    max: 10_000_000,
  }),
  storeHeartbeatIntervalMs: millisecondsField({
    description: 'How often this node reports its ranges to the metadata service.',
    default: 1_000,
    min: 50,
    max: 60_000,
  }),
  diskReserveBytes: bytesField({
    description: 'With less free disk space than this, writes are refused and only what frees space goes on.',
    default: 256 * MIB,
    min: 0,
    max: 1024 * GIB,
  }),
  ...commonFields,
  ...timingFields,
});

export type ShardConfig = z.output<typeof shardConfigSchema>;

export const shardConfig: ConfigDefinition<typeof shardConfigSchema> = {
  name: 'cairn-shard',
  summary: 'One shard node: a data directory, a Raft log, an engine, and the replicas of many ranges.',
  schema: shardConfigSchema,
  check: (values) => [...checkCommon(values), ...checkTiming(values), ...checkListen(values)],
};
