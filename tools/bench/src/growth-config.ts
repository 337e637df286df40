import { booleanField, integerField, textField, type ConfigDefinition } from '@cairn/config';
import { z } from 'zod';
import { dataDirField, engineField, experimentWarmupField, listOf, valueBytesField } from './bench-config.js';
import { KEYS_MAX } from './data-set.js';

/** What grows. */
export const GROWTH_PARTS = ['ranges', 'idle', 'keys'] as const;

export type GrowthPart = (typeof GROWTH_PARTS)[number];

const RANGES_MAX = 100_000;

/** Flags of `npm run bench -- growth`. */
export const growthSchema = z.object({
  parts: textField({
    description:
      'Parts, separated by commas: ranges = put throughput with few and many ranges, idle = what many idle ranges ' +
      'cost each process, keys = CPU per operation with few and many keys. Empty = all.',
    default: '',
  }),
  ranges: textField({ description: 'The two numbers of ranges to compare.', default: '1,1000' }),
  idleRanges: integerField({
    description: 'Ranges of the part idle.',
    default: 10_000,
    min: 1,
    max: RANGES_MAX,
  }),
  idleSeconds: integerField({
    description: 'How long the idle cluster is watched.',
    default: 20,
    min: 1,
    max: 3_600,
  }),
  quietSeconds: integerField({
    description: 'How long it gets to become quiet before.',
    default: 180,
    min: 1,
    max: 3_600,
  }),
  keys: textField({ description: 'The two numbers of keys to compare.', default: '100000,10000000' }),
  rangeKeys: integerField({
    description: 'Keys of the parts ranges and idle.',
    default: 100_000,
    min: 1,
    max: KEYS_MAX,
  }),
  outstanding: integerField({
    description: 'Puts that are open at any time in the part ranges.',
    default: 256,
    min: 1,
    max: 10_000,
  }),
  keysOutstanding: integerField({
    description: 'Operations that are open at any time in the part keys.',
    default: 64,
    min: 1,
    max: 10_000,
  }),
  duration: integerField({ description: 'Seconds that each run measures.', default: 5, min: 1, max: 3_600 }),
  warmup: experimentWarmupField,
  repetitions: integerField({
    description: 'Runs of each, in turn; medians are shown.',
    default: 3,
    min: 1,
    max: 100,
  }),
  engine: engineField,
  valueBytes: valueBytesField,
  json: booleanField({ description: 'One JSON object per line instead of the tables.', default: false }),
  dataDir: dataDirField,
});

export type GrowthConfig = z.output<typeof growthSchema>;

function isPart(text: string): text is GrowthPart {
  return GROWTH_PARTS.some((part) => part === text);
}

/** The parts of a configuration that was checked. */
export function partsOf(config: GrowthConfig): readonly GrowthPart[] {
  const named = listOf(config.parts).filter(isPart);
  return named.length > 0 ? named : GROWTH_PARTS;
}

/** Two whole numbers, the smaller first, of a configuration that was checked. */
export function pairOf(text: string): readonly [number, number] {
  const [first = 0, second = 0] = listOf(text).map(Number);
  return first <= second ? [first, second] : [second, first];
}

function checkPair(name: string, text: string, max: number): string[] {
  const parts = listOf(text);
  const isGood = (part: string): boolean => /^\d+$/.test(part) && Number(part) >= 1 && Number(part) <= max;
  if (parts.length === 2 && parts.every(isGood) && parts[0] !== parts[1]) return [];
  return [`${name} is ${JSON.stringify(text)}: it must be two different whole numbers from 1 to ${max}.`];
}

/** One sentence per mistake. */
export function checkGrowth(config: GrowthConfig): string[] {
  const problems = [
    ...listOf(config.parts)
      .filter((part) => !isPart(part))
      .map((part) => `parts names ${JSON.stringify(part)}: it must be some of ${GROWTH_PARTS.join(', ')}.`),
    ...checkPair('ranges', config.ranges, RANGES_MAX),
    ...checkPair('keys', config.keys, KEYS_MAX),
  ];
  const most = Math.max(pairOf(config.ranges)[1], config.idleRanges);
  if (most > config.rangeKeys) {
    problems.push(`rangeKeys is ${config.rangeKeys}: it must be at least the number of ranges, ${most}.`);
  }
  return problems;
}

export const growthConfig: ConfigDefinition<typeof growthSchema> = {
  name: 'npm run bench -- growth',
  summary: 'Measures what more ranges, idle ranges and keys cost.',
  schema: growthSchema,
  check: checkGrowth,
};
