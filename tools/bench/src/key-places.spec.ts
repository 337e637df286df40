import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FastRandom, keyAt } from './data-set.js';
import { KeyPlaces, middleOf, rangeStarts } from './key-places.js';

const cut = fc
  .record({
    keys: fc.integer({ min: 4, max: 300 }),
    cuts: fc.uniqueArray(fc.nat({ max: 299 })),
    seed: fc.nat(),
  })
  .map(({ keys, cuts, seed }) => ({
    keys,
    seed,
    starts: cuts.filter((at) => at > 0 && at < keys).sort((a, b) => a - b),
  }));

describe('where ranges begin', () => {
  test('is found from their first keys, and nothing of what lies outside', () => {
    fc.assert(
      fc.property(cut, ({ keys, starts }) => {
        const first = [keyAt(0), Buffer.from(''), keyAt(keys), Buffer.from('z'), ...starts.map(keyAt)];
        expect(rangeStarts(keys, first.reverse())).toEqual(starts);
      }),
    );
  });

  test('is the next key when a range begins between two', () => {
    expect(rangeStarts(100, [Buffer.concat([keyAt(41), Buffer.of(0)])])).toEqual([42]);
    expect(rangeStarts(100, [keyAt(42), Buffer.concat([keyAt(41), Buffer.of(7)])])).toEqual([42]);
  });
});

describe('places of keys', () => {
  test('know the range of each key', () => {
    fc.assert(
      fc.property(cut, ({ keys, starts }) => {
        const places = new KeyPlaces(keys, starts);
        for (let key = 0; key < keys; key += 1) {
          expect(places.rangeOf(key)).toBe(starts.filter((start) => start <= key).length);
        }
      }),
    );
  });

  test('of one range are two keys of it', () => {
    fc.assert(
      fc.property(cut, ({ keys, starts, seed }) => {
        const bounds = [0, ...starts, keys];
        fc.pre(bounds.every((bound, at) => at === 0 || bound - (bounds[at - 1] ?? 0) >= 2));
        const places = new KeyPlaces(keys, starts);
        const random = new FastRandom(seed);
        for (let draw = 0; draw < 30; draw += 1) {
          const [first, second] = places.ofOneRange(random);
          expect(first).not.toBe(second);
          expect(places.rangeOf(first)).toBe(places.rangeOf(second));
        }
      }),
    );
  });

  test('of one range are refused where a range has one key', () => {
    const places = new KeyPlaces(4, [1, 2, 3]);
    expect(() => places.ofOneRange(new FastRandom(1))).toThrow('one key');
  });

  test('of two ranges are keys of different ones, wherever else there are cuts', () => {
    fc.assert(
      fc.property(cut, ({ keys, starts, seed }) => {
        const all = [...new Set([...starts, middleOf(keys)])].sort((a, b) => a - b);
        const places = new KeyPlaces(keys, all, { zipf: true });
        places.checkTwoRanges();
        const random = new FastRandom(seed);
        for (let draw = 0; draw < 20; draw += 1) {
          for (const [first, second] of [places.ofTwoRanges(random), places.popularOfTwoRanges(random)]) {
            expect(places.rangeOf(first)).not.toBe(places.rangeOf(second));
          }
        }
      }),
    );
  });

  test('are refused when the halves are one range', () => {
    expect(() => new KeyPlaces(100, [49]).checkTwoRanges()).toThrow('not different ranges');
    expect(() => new KeyPlaces(100, [49, 50]).checkTwoRanges()).not.toThrow();
  });

  test('by popularity prefer few', () => {
    const places = new KeyPlaces(1_000, [500], { zipf: true });
    const random = new FastRandom(1);
    const counts = new Map<number, number>();
    for (let draw = 0; draw < 5_000; draw += 1) {
      for (const key of places.popularOfTwoRanges(random)) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const popular = [...counts.values()].sort((a, b) => b - a).slice(0, 20);
    expect(popular.reduce((sum, count) => sum + count, 0) / 10_000).toBeGreaterThan(0.35);
  });
});
