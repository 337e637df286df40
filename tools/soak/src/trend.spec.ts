/** Goal: a leak is seen, noise is not. Method: series with and without a slope under seeded noise. */
import { describe, expect, it } from '@jest/globals';
import { SimRng } from '@cairn/runtime-sim';
import { isGrowing, medianOf, trendOf } from './trend.js';

function series(seed: number, count: number, at: (index: number) => number, noise: number): number[] {
  const rng = new SimRng(seed);
  return Array.from({ length: count }, (_, index) => at(index) + noise * (rng.next() - 0.5));
}

describe('trends', () => {
  it('a steady rise is seen through noise', () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const trend = trendOf(series(seed, 20, (index) => 400 + 8 * index, 40));
      expect(isGrowing(trend, 0.2)).toBe(true);
      expect(trend.growth).toBeGreaterThan(0.25);
    }
  });

  it('noise, a single step at the beginning and single peaks are not', () => {
    for (let seed = 0; seed < 200; seed += 1) {
      expect(isGrowing(trendOf(series(seed, 20, () => 400, 100)), 0.2)).toBe(false);
    }
    expect(isGrowing(trendOf(series(1, 20, (index) => (index === 0 ? 200 : 400), 20)), 0.2)).toBe(false);
    expect(isGrowing(trendOf(series(2, 20, (index) => (index % 7 === 6 ? 2_000 : 400), 20)), 0.2)).toBe(
      false,
    );
  });

  it('a rise that is sure and small is within bounds', () => {
    const trend = trendOf(Array.from({ length: 20 }, (_, index) => 400 + index));
    expect(trend.z).toBeGreaterThan(3.5);
    expect(isGrowing(trend, 0.2)).toBe(false);
  });

  it('few or no samples have no trend', () => {
    for (const samples of [[], [1], [1, 2], [0, 0, 0]]) expect(isGrowing(trendOf(samples), 0)).toBe(false);
    expect([medianOf([]), medianOf([3]), medianOf([4, 1]), medianOf([9, 1, 5])]).toEqual([0, 3, 2.5, 5]);
  });
});
