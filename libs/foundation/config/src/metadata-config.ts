import { z } from 'zod';
import { checkCommon, commonFields } from './common-config.js';
import type { ConfigDefinition } from './definition.js';
import { integerField, nodeNameField, optionalAddressField, peerListField, textField } from './fields.js';
import { checkAdvertise, checkPeerAddresses } from './reach-config.js';
import { storageFields } from './storage-config.js';
import { checkTiming, timingFields } from './timing-config.js';

/** Configuration of one member of the metadata service. */
export const metadataConfigSchema = z.object({
  name: nodeNameField(),
  peers: peerListField({
    description:
      'All members of the metadata service, this one included, with the address of each one for the framed ' +
      'transport. The same on every member.',
  }),
  listen: optionalAddressField({
    description:
      'Where the framed transport listens: other members, shard nodes and routers connect here. Empty = the ' +
      'address of this member in peers.',
  }),
  advertise: optionalAddressField({
    description: 'Address that others are told to reach this member at. Empty = the one in peers.',
  }),
  acceptNewDirectoryOf: textField({
    description:
      'Name of a member whose data directory is lost for good: this one takes the next directory that comes under ' +
      'that name for it, once a start. One of the others in peers. Only to be set on all other members and while ' +
      'that one comes back, see docs/operations.md. Empty = none.',
    default: '',
  }),
  expectedStores: integerField({
    description:
      'The first range is created when this many shard nodes have joined, or as many as the cluster setting ' +
      'replication.factor (3) says if that is less; it gets a replica on each. Afterwards without effect.',
    default: 3,
    min: 1,
    max: 7,
  }),
  ...storageFields,
  ...commonFields,
  ...timingFields,
});

export type MetadataConfig = z.output<typeof metadataConfigSchema>;

function checkMetadata(values: MetadataConfig): string[] {
  const names = values.peers.map((peer) => peer.name);
  const problems = [...checkCommon(values), ...checkTiming(values)];
  if (!names.includes(values.name)) {
    problems.push(`peers names ${names.join(', ')} but not this member, ${values.name}.`);
  }
  if (new Set(names).size !== names.length) problems.push(`peers names a member twice: ${names.join(', ')}.`);
  problems.push(...checkNewDirectory(values), ...checkPeerAddresses(values.peers), ...checkAdvertise(values));
  const addresses = values.peers.map((peer) => peer.address);
  if (new Set(addresses).size !== addresses.length) {
    problems.push(`peers gives two members the same address: ${addresses.join(', ')}.`);
  }
  return problems;
}

function checkNewDirectory({ acceptNewDirectoryOf: lost, name, peers }: MetadataConfig): string[] {
  if (lost === '') return [];
  const others = peers.map((peer) => peer.name).filter((peer) => peer !== name);
  if (others.includes(lost)) return [];
  const known = others.length === 0 ? 'there are none' : others.join(', ');
  return lost === name
    ? [`acceptNewDirectoryOf names this member, ${name}: it is for the others, which take the new directory.`]
    : [
        `acceptNewDirectoryOf names ${lost}, which is no other member of the group; the others are: ${known}.`,
      ];
}

export const metadataConfig: ConfigDefinition<typeof metadataConfigSchema> = {
  name: 'cairn-metadata',
  summary: 'One member of the metadata service: topology, ids, range map, timestamps, settings.',
  schema: metadataConfigSchema,
  check: checkMetadata,
};
