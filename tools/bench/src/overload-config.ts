import { booleanField, integerField, textField, type ConfigDefinition } from '@cairn/config';
import { z } from 'zod';
import { dataDirField, engineField, experimentWarmupField, valueBytesField } from './bench-config.js';
import { KEYS_MAX } from './data-set.js';

/** Flags of `npm run bench -- overload`. */
export const overloadSchema = z.object({
  factor: integerField({
    description: 'Offered load as a multiple of the best throughput.',
    default: 4,
    min: 1,
    max: 100,
  }),
  clients: integerField({
    description: 'Processes that offer it; more when these cannot keep up.',
    default: 2,
    min: 1,
    max: 64,
  }),
  openMax: integerField({
    description: 'Most operations that each of them has open; what is due beyond is not sent, and counted.',
    default: 16_000,
    min: 1,
    max: 16_000,
  }),
  retries: booleanField({
    description: 'Let the SDK repeat refusals, as it does by default. Without, each refusal is seen.',
    default: false,
  }),
  outstanding: textField({
    description: 'Closed loops that the best throughput is sought with, separated by commas.',
    default: '256,1024,4096',
  }),
  duration: integerField({ description: 'Seconds that each run measures.', default: 10, min: 1, max: 3_600 }),
  warmup: experimentWarmupField,
  repetitions: integerField({
    description: 'Runs: best throughput and overload in turn; medians are shown.',
    default: 3,
    min: 1,
    max: 100,
  }),
  keys: integerField({
    description: 'Keys that are loaded and then drawn from.',
    default: 100_000,
    min: 1,
    max: KEYS_MAX,
  }),
  engine: engineField,
  valueBytes: valueBytesField,
  json: booleanField({ description: 'One JSON object instead of the table.', default: false }),
  dataDir: dataDirField,
});

export type OverloadConfig = z.output<typeof overloadSchema>;

/** One sentence per mistake. */
function checkOverload(config: OverloadConfig): string[] {
  const isGood = (each: string): boolean => /^\d+$/.test(each) && Number(each) >= 1 && Number(each) <= 10_000;
  const parts = config.outstanding.split(',').map((each) => each.trim());
  if (parts.every(isGood)) return [];
  const named = JSON.stringify(config.outstanding);
  return [`outstanding is ${named}: it must be whole numbers from 1 to 10000, separated by commas.`];
}

export const overloadConfig: ConfigDefinition<typeof overloadSchema> = {
  name: 'npm run bench -- overload',
  summary: 'Offers a cluster more puts than it can do, in an open loop.',
  schema: overloadSchema,
  check: checkOverload,
};
