import { booleanField, choiceField, integerField, textField, type ConfigDefinition } from '@cairn/config';
import { z } from 'zod';

/** Where the local cluster keeps its data unless told otherwise, relative to the working directory. */
export const DEFAULT_DATA_DIRECTORY = '.cairn';

/** Flags of `npm start`. */
export const localClusterSchema = z.object({
  dataDir: textField({
    description: 'Directory of all data and logs. Found again by the next start.',
    default: DEFAULT_DATA_DIRECTORY,
  }),
  shards: integerField({ description: 'Number of shard nodes.', default: 3, min: 1, max: 50 }),
  metadata: integerField({
    description: 'Number of metadata members; an odd number.',
    default: 3,
    min: 1,
    max: 7,
  }),
  routers: integerField({ description: 'Number of routers.', default: 1, min: 1, max: 10 }),
  basePort: integerField({
    description:
      'First port. Routers serve gRPC from here on, metadata members use the ports from +10 on, shard nodes from +20 ' +
      'on; health and metrics are at +80 (routers), +90 (metadata) and +100 (shards).',
    default: 7_100,
    min: 1_024,
    max: 65_000,
  }),
  restart: booleanField({
    description: 'Start a process again after it ended unexpectedly; with --no-restart it stays away.',
    default: true,
  }),
  logLevel: choiceField({
    description: 'Level of the log files.',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'info',
  }),
  otlpEndpoint: textField({
    description: 'URL that all processes send traces to (OTLP over HTTP). Empty = no traces.',
    default: '',
  }),
});

export type LocalClusterConfig = z.output<typeof localClusterSchema>;

export const localClusterConfig: ConfigDefinition<typeof localClusterSchema> = {
  name: 'npm start --',
  summary: 'Runs a whole cluster of separate processes on this machine.',
  schema: localClusterSchema,
  check: ({ metadata, dataDir }) => [
    ...(metadata % 2 === 1
      ? []
      : [`metadata is ${metadata}: it must be odd, an even member adds no fault tolerance.`]),
    // It may be an empty variable of a script; the working directory is meant with a dot.
    ...(dataDir === ''
      ? [`dataDir is empty: name a directory, or leave it out for ${DEFAULT_DATA_DIRECTORY}.`]
      : []),
  ],
};
