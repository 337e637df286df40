import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FastRandom } from './data-set.js';
import { Scatter, Zipf, ZIPF_SKEW } from './zipf.js';

/** The exact probability of each rank. */
function probabilities(items: number): number[] {
  const weights = Array.from({ length: items }, (_, rank) => 1 / (rank + 1) ** ZIPF_SKEW);
  const sum = weights.reduce((all, weight) => all + weight, 0);
  return weights.map((weight) => weight / sum);
}

describe('ranks by a zipfian distribution', () => {
  test('come as often as it says', () => {
    const items = 1_000;
    const draws = 200_000;
    const zipf = new Zipf(items);
    const random = new FastRandom(3);
    const counts = new Array<number>(items).fill(0);
    for (let draw = 0; draw < draws; draw += 1) {
      const rank = zipf.draw(random);
      counts[rank] = (counts[rank] ?? 0) + 1;
    }
    const exact = probabilities(items);
    // The first two are exact, and the rest an approximation: it is compared in tens.
    for (const rank of [0, 1]) {
      expect((counts[rank] ?? 0) / draws / (exact[rank] ?? 1)).toBeGreaterThan(0.97);
      expect((counts[rank] ?? 0) / draws / (exact[rank] ?? 1)).toBeLessThan(1.03);
    }
    const share = (values: readonly number[], from: number, to: number): number =>
      values.slice(from, to).reduce((sum, value) => sum + value, 0);
    for (const [from, to] of [
      [2, 10],
      [10, 100],
      [100, 1_000],
    ] as const) {
      const ratio = share(counts, from, to) / draws / share(exact, from, to);
      expect(ratio).toBeGreaterThan(0.85);
      expect(ratio).toBeLessThan(1.15);
    }
  });

  test('stay within their limits, however few there are', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.nat({ max: 1_000 }), (items, seed) => {
        const zipf = new Zipf(items);
        const random = new FastRandom(seed);
        for (let draw = 0; draw < 50; draw += 1) {
          const rank = zipf.draw(random);
          expect(Number.isInteger(rank) && rank >= 0 && rank < items).toBe(true);
        }
      }),
    );
  });

  test('are the same for the same seed', () => {
    const zipf = new Zipf(100);
    const draw = (seed: number): number[] => {
      const random = new FastRandom(seed);
      return Array.from({ length: 20 }, () => zipf.draw(random));
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });
});

describe('places of ranks', () => {
  test('are each taken once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), (items) => {
        const scatter = new Scatter(items);
        const places = new Set(Array.from({ length: items }, (_, rank) => scatter.placeOf(rank)));
        expect(places.size).toBe(items);
        expect(Math.max(...places)).toBe(items - 1);
      }),
    );
  });

  test('of popular ranks lie in all parts', () => {
    const scatter = new Scatter(100_000);
    const tenths = new Set(
      Array.from({ length: 20 }, (_, rank) => Math.floor(scatter.placeOf(rank) / 10_000)),
    );
    expect(tenths.size).toBe(10);
  });

  test('are exact for the largest data set', () => {
    const scatter = new Scatter(10_000_000);
    const place = scatter.placeOf(9_999_999);
    expect(Number.isInteger(place) && place >= 0 && place < 10_000_000).toBe(true);
  });
});
