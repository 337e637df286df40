import { assert } from '@cairn/base';
import { median, rounded, spreadOf, type Spread } from './statistics.js';

/** How unlikely a bound of the interval is to be wrong. */
const RISK = 0.05;
/** With fewer pairs nothing is certain enough: even all of five on one side happen by chance once in 32. */
export const PAIRS_MIN = 5;

/**
 * - `kept`: the median ratio is at the floor or above it.
 * - `lost`: it is below.
 * - `unclear`: the pairs do not say; more of them would.
 */
export type RatioVerdict = 'kept' | 'lost' | 'unclear';

/** What pairs of runs say about a ratio. */
export interface PairedRatios {
  readonly median: number;
  readonly spread: Spread;
  /** The median ratio is at least, and at most, this: each bound is wrong once in twenty times. */
  readonly interval: Spread;
  readonly verdict: RatioVerdict;
}

/** How many of so many coins may fall on the rarer side and still be noise no more often than `RISK`. */
function rareSideMax(pairs: number): number {
  let [ways, sum, count] = [1, 0, -1];
  for (let side = 0; side <= pairs; side += 1) {
    sum += ways / 2 ** pairs;
    if (sum > RISK) return count;
    count = side;
    ways = (ways * (pairs - side)) / (side + 1);
  }
  return count;
}

/**
 * Judges the ratios of runs that followed each other. The bounds are those of the sign test: if nothing
 * changed, each ratio is above or below the median as a coin falls, whatever the noise looks like. So of nine
 * pairs the second smallest and the second largest ratio bound the median.
 *
 * @throws InvariantError for fewer than `PAIRS_MIN` pairs.
 */
export function judgeRatios(ratios: readonly number[], floor: number): PairedRatios {
  assert(ratios.length >= PAIRS_MIN, 'enough pairs to judge', { pairs: ratios.length });
  const sorted = [...ratios].sort((a, b) => a - b);
  const apart = rareSideMax(sorted.length);
  const [low = 0, high = 0] = [sorted[apart], sorted[sorted.length - 1 - apart]];
  const [min, max] = spreadOf(sorted);
  return {
    median: rounded(median(sorted)),
    spread: [rounded(min), rounded(max)],
    interval: [rounded(low), rounded(high)],
    verdict: high < floor ? 'lost' : low >= floor ? 'kept' : 'unclear',
  };
}
