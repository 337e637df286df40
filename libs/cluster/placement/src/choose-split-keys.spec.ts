import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { chooseSplitKeys, type KeySample } from './choose-split-keys.js';

const EMPTY = new Uint8Array(0);
const key = (n: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
};
const samples = (...sizes: number[]): KeySample[] =>
  sizes.map((bytes, index) => ({ key: key(index), bytes }));
const choose = (list: readonly KeySample[], keysMax = 16) =>
  chooseSplitKeys({
    startKey: EMPTY,
    endKey: EMPTY,
    samples: list,
    splitBytes: 100,
    targetBytes: 60,
    keysMax,
  });

describe('chooseSplitKeys', () => {
  it('leaves a small range whole', () => {
    expect(choose(samples(40, 59))).toMatchObject({ decided: false, code: 'small-enough' });
  });

  it('cuts near the middle', () => {
    expect(choose(samples(10, 10, 30, 30, 10, 10))).toEqual({ decided: true, keys: [key(3)] });
  });

  it('cuts an oversized range into many parts, as many as allowed', () => {
    const list = samples(...Array.from({ length: 60 }, () => 10));
    const decision = choose(list);
    expect(decision.decided && decision.keys).toHaveLength(9);
    const limited = choose(list, 2);
    expect(limited).toEqual({ decided: true, keys: [key(20), key(40)] });
  });

  it('does not cut before the only key, nor at the first key of the range', () => {
    expect(choose(samples(500))).toMatchObject({ decided: false, code: 'no-cut-possible' });
    const decision = chooseSplitKeys({
      startKey: key(0),
      endKey: key(9),
      samples: samples(300, 1),
      splitBytes: 100,
      targetBytes: 60,
      keysMax: 8,
    });
    expect(decision).toEqual({ decided: true, keys: [key(1)] });
  });

  it('refuses samples that are not of the range', () => {
    const request = { startKey: key(1), endKey: key(2), splitBytes: 100, targetBytes: 60, keysMax: 1 };
    expect(() => chooseSplitKeys({ ...request, samples: samples(200) })).toThrow('before its range');
    expect(() => chooseSplitKeys({ ...request, samples: [{ key: key(2), bytes: 1 }] })).toThrow(
      'past its range',
    );
  });

  it('looks beyond samples without bytes', () => {
    const list = samples(1, 0, 14, 52, 74, 69, 28, 42, 31, 12);
    expect(choose(list, 1)).toEqual({ decided: true, keys: [key(5)] });
  });

  it('answers ascending keys inside the range, and parts no larger than two samples beyond the ideal', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 80 }), { minLength: 1, maxLength: 80 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 10 }), (list, keysMax) => {
        const all = samples(...list);
        const total = list.reduce((sum, bytes) => sum + bytes, 0);
        const decision = choose(all, keysMax);
        if (!decision.decided) {
          const splittable = total >= 100 && list.slice(0, -1).some((bytes) => bytes > 0);
          expect(decision.code).toBe(
            splittable ? 'unexpected' : total < 100 ? 'small-enough' : 'no-cut-possible',
          );
          return;
        }
        expect(decision.keys.length).toBeLessThanOrEqual(keysMax);
        const cuts = decision.keys.map((each) => Buffer.from(each).readUInt32BE());
        const bounds = [0, ...cuts, list.length];
        const ideal = total / Math.max(2, Math.min(Math.round(total / 60), keysMax + 1));
        for (let i = 1; i < bounds.length; i += 1) {
          expect(bounds[i]).toBeGreaterThan(bounds[i - 1] as number);
          const part = list.slice(bounds[i - 1], bounds[i]).reduce((sum, bytes) => sum + bytes, 0);
          expect(part).toBeLessThanOrEqual(ideal + 2 * 80);
        }
      }),
    );
  });
});
