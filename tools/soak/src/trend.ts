/** How a measure went over the cycles of a run. */
export interface Trend {
  /** Median of all slopes between two samples (Theil, 1950; Sen, 1968), per sample. */
  readonly slope: number;
  readonly median: number;
  /** What the slope adds from the first sample to the last, as a share of the median. */
  readonly growth: number;
  /**
   * How surely the samples rise, in standard deviations (Mann, 1945; Kendall): two samples in any order give
   * 0 on average.
   */
  readonly z: number;
}

/** Trend of equally spaced samples. Robust: a third of them may be anything. */
export function trendOf(samples: readonly number[]): Trend {
  const count = samples.length;
  const slopes: number[] = [];
  let score = 0;
  for (let at = 0; at < count; at += 1) {
    for (let later = at + 1; later < count; later += 1) {
      const rise = (samples[later] as number) - (samples[at] as number);
      slopes.push(rise / (later - at));
      score += Math.sign(rise);
    }
  }
  const slope = medianOf(slopes);
  const median = medianOf(samples);
  const variance = (count * (count - 1) * (2 * count + 5)) / 18;
  return {
    slope,
    median,
    growth: median === 0 ? 0 : (slope * (count - 1)) / median,
    z: variance === 0 ? 0 : (score - Math.sign(score)) / Math.sqrt(variance),
  };
}

export function medianOf(samples: readonly number[]): number {
  if (samples.length === 0) return 0;
  const sorted = [...samples].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
}

/** A trend this sure is no chance: one run in a thousand with ten measures would show it without a cause. */
const Z_MIN = 3.5;

/** Whether a measure grows: surely, and by more than the share that one run may add. */
export function isGrowing(trend: Trend, growthMax: number): boolean {
  return trend.z >= Z_MIN && trend.growth > growthMax;
}
