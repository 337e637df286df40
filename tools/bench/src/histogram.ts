import { assert } from '@cairn/base';

/** Resolution: 100 ns. In 31 bits that reaches 214 seconds. */
const UNITS_PER_MS = 10_000;
const UNITS_MAX = 2 ** 31 - 1;
/** Each power of two is divided into this many buckets. */
const BUCKETS_PER_OCTAVE = 64;
const OCTAVE_BITS = 6;
const BUCKETS = (31 - OCTAVE_BITS) * BUCKETS_PER_OCTAVE + BUCKETS_PER_OCTAVE;

/** Below 128 units one bucket per unit; from there on the top seven bits of the value choose the bucket. */
function bucketOf(units: number): number {
  if (units < 2 * BUCKETS_PER_OCTAVE) return units;
  const shift = 31 - Math.clz32(units) - OCTAVE_BITS;
  return shift * BUCKETS_PER_OCTAVE + (units >>> shift);
}

function middleOf(bucket: number): number {
  if (bucket < 2 * BUCKETS_PER_OCTAVE) return bucket;
  const shift = Math.floor(bucket / BUCKETS_PER_OCTAVE) - 1;
  const lowest = (bucket - shift * BUCKETS_PER_OCTAVE) * 2 ** shift;
  return lowest + (2 ** shift - 1) / 2;
}

/**
 * Latencies in a log-linear histogram: constant memory, and a percentile is at most 0.8 % away from the
 * value itself. Values above 214 s count as 214 s.
 */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #maxUnits = 0;

  get count(): number {
    return this.#count;
  }

  /** The largest value, exact to 100 ns; 0 without values. */
  get maxMs(): number {
    return this.#maxUnits / UNITS_PER_MS;
  }

  /** Counts a latency of at least 0 milliseconds. */
  recordMs(latencyMs: number): void {
    assert(latencyMs >= 0, 'a latency is negative', { latencyMs });
    const units = Math.min(Math.round(latencyMs * UNITS_PER_MS), UNITS_MAX);
    const bucket = bucketOf(units);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#count += 1;
    if (units > this.#maxUnits) this.#maxUnits = units;
  }

  /**
   * The smallest latency that at least the share `quantile` (above 0, at most 1) of all values does not
   * exceed; 0 without values.
   */
  percentileMs(quantile: number): number {
    assert(quantile > 0 && quantile <= 1, 'a quantile lies above 0 and at most at 1', { quantile });
    if (this.#count === 0) return 0;
    const rank = Math.ceil(quantile * this.#count);
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      seen += this.#counts[bucket] ?? 0;
      if (seen >= rank) return Math.min(middleOf(bucket), this.#maxUnits) / UNITS_PER_MS;
    }
    return this.maxMs;
  }
}
