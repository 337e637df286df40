import { assert } from '@cairn/base';

/** The smallest and the largest of repeated measurements. */
export type Spread = readonly [min: number, max: number];

/** The middle value, or the mean of the two in the middle. At least one value. */
export function median(values: readonly number[]): number {
  assert(values.length > 0, 'there is no median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? 0) + upper) / 2;
}

/** At least one value. */
export function spreadOf(values: readonly number[]): Spread {
  assert(values.length > 0, 'there is no spread of nothing');
  return [Math.min(...values), Math.max(...values)];
}

/** `value` to `digits` significant digits: what a measurement is worth, and lines that can be read. */
export function rounded(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}
