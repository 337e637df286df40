import {
  KEY_BYTES_LIMIT_MAX,
  KEY_BYTES_LIMIT_MIN,
  VALUE_BYTES_LIMIT_MAX,
  VALUE_BYTES_LIMIT_MIN,
} from '@cairn/base';
import { z } from 'zod';
import { checkCommon, commonFields } from './common-config.js';
import type { ConfigDefinition } from './definition.js';
import {
  addressField,
  addressListField,
  bytesField,
  integerField,
  millisecondsField,
  nodeNameField,
  optionalAddressField,
} from './fields.js';
import { checkAdvertise } from './reach-config.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Configuration of one router. */
export const routerConfigSchema = z.object({
  name: nodeNameField(),
  metadataAddresses: addressListField({
    description:
      'Framed addresses of members of the metadata service; one that answers is enough, all are better.',
  }),
  grpcListen: addressField({
    description: 'Where clients connect over gRPC.',
    default: '127.0.0.1:7100',
  }),
  advertise: optionalAddressField({
    description: 'Address that clients are told to reach this router at. Empty = where it listens.',
  }),
  outstandingOpsMax: integerField({
    description:
      'Operations accepted and not yet answered; above it new ones are refused with a retry delay.',
    default: 65_536,
    min: 16,
    max: 10_000_000,
  }),
  outstandingBytesMax: bytesField({
    description: 'The same bound as bytes of keys and values.',
    default: 256 * MIB,
    // Of the longest value a few must fit, or it would never be taken.
    min: 32 * MIB,
    max: 64 * GIB,
  }),
  outstandingOpsPerStoreMax: integerField({
    description:
      'Operations sent to one shard node and not yet answered; more wait in the send queue for 200 ms at most, then they ' +
      'are refused.',
    default: 1_024,
    min: 16,
    max: 10_000_000,
  }),
  storeFailuresMax: integerField({
    description:
      'A shard node that fails so often in a row (leaves an operation unanswered, loses its connection under work, ' +
      'answers nonsense) is given up for a while; what only it could answer is refused then. 0 = never.',
    default: 3,
    min: 0,
    max: 1_000,
  }),
  storePauseMs: millisecondsField({
    description:
      'How long it is left alone before one operation probes it; doubled with each probe that fails.',
    default: 250,
    min: 10,
    max: 60_000,
  }),
  storePauseMsMax: millisecondsField({
    description: 'The longest such pause.',
    default: 4_000,
    min: 10,
    max: 600_000,
  }),
  requestTimeoutMs: millisecondsField({
    description: 'Deadline of requests that bring none; of a scan, that of each page.',
    default: 10_000,
    min: 10,
    max: 600_000,
  }),
  grpcConnectionsMax: integerField({
    description:
      'Client connections at a time, and three quarters of them of one host; more are closed at once.',
    default: 4_096,
    min: 1,
    max: 1_000_000,
  }),
  grpcStreamsPerConnectionMax: integerField({
    description: 'Calls that one client connection may have open; its client holds more back by itself.',
    default: 1_024,
    min: 1,
    max: 1_000_000,
  }),
  grpcHandshakeTimeoutMs: millisecondsField({
    description: 'A client connection that has not begun to speak HTTP/2 by then is closed.',
    default: 5_000,
    min: 10,
    max: 600_000,
  }),
  grpcIdleTimeoutMs: millisecondsField({
    description:
      'A client connection without any open call for this long is closed; clients connect again when they need to.',
    default: 900_000,
    min: 100,
    max: 86_400_000,
  }),
  grpcKeepaliveIntervalMs: millisecondsField({
    description: 'How often a client connection is asked for a sign of life.',
    default: 30_000,
    min: 100,
    max: 86_400_000,
  }),
  grpcKeepaliveTimeoutMs: millisecondsField({
    description: 'A client connection that gives no sign of life for this long after it was asked is closed.',
    default: 10_000,
    min: 100,
    max: 600_000,
  }),
  keyBytesMax: bytesField({
    description: 'Longest key; the cluster setting key.max_bytes goes before it once it is known.',
    default: 4_096,
    min: KEY_BYTES_LIMIT_MIN,
    max: KEY_BYTES_LIMIT_MAX,
  }),
  valueBytesMax: bytesField({
    description: 'Longest value; the cluster setting value.max_bytes goes before it once it is known.',
    default: 1 * MIB,
    min: VALUE_BYTES_LIMIT_MIN,
    max: VALUE_BYTES_LIMIT_MAX,
  }),
  heartbeatToMetadataIntervalMs: millisecondsField({
    description: 'How often this router reports to the metadata service.',
    default: 1_000,
    min: 50,
    max: 60_000,
  }),
  ...commonFields,
});

export type RouterConfig = z.output<typeof routerConfigSchema>;

function checkRouter(values: RouterConfig): string[] {
  const problems = [...checkCommon(values), ...checkAdvertise(values)];
  if (values.outstandingOpsPerStoreMax > values.outstandingOpsMax) {
    problems.push(
      `outstandingOpsPerStoreMax (${values.outstandingOpsPerStoreMax}) must not be above outstandingOpsMax ` +
        `(${values.outstandingOpsMax}): the bound of one store would never be reached.`,
    );
  }
  if (values.storePauseMs > values.storePauseMsMax) {
    problems.push(
      `storePauseMs (${values.storePauseMs}) must not be above storePauseMsMax (${values.storePauseMsMax}).`,
    );
  }
  return problems;
}

export const routerConfig: ConfigDefinition<typeof routerConfigSchema> = {
  name: 'cairn-router',
  summary: 'One router: the public gRPC door, stateless.',
  schema: routerConfigSchema,
  check: checkRouter,
};
