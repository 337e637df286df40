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
    min: 1 * MIB,
    max: 64 * GIB,
  }),
  outstandingOpsPerStoreMax: integerField({
    description:
      'Operations sent to one shard node and not yet answered; more wait in line for 200 ms at most, then they ' +
      'are refused.',
    default: 1_024,
    min: 16,
    max: 10_000_000,
  }),
  requestTimeoutMs: millisecondsField({
    description: 'Deadline of requests that bring none; of a scan, that of each page.',
    default: 10_000,
    min: 10,
    max: 600_000,
  }),
  keyBytesMax: bytesField({
    description: 'Longest key; the cluster setting key.max_bytes goes before it once it is known.',
    default: 4_096,
    min: 16,
    max: 65_536,
  }),
  valueBytesMax: bytesField({
    description: 'Longest value; the cluster setting value.max_bytes goes before it once it is known.',
    default: 1 * MIB,
    min: 1_024,
    max: 32 * MIB,
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
  const problems = checkCommon(values);
  if (values.outstandingOpsPerStoreMax > values.outstandingOpsMax) {
    problems.push(
      `outstandingOpsPerStoreMax (${values.outstandingOpsPerStoreMax}) must not be above outstandingOpsMax ` +
        `(${values.outstandingOpsMax}): the bound of one store would never be reached.`,
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
