import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { KeyView } from './key-view.js';
import { SortedKeys } from './sorted-keys.js';

/** What a look at every key finds. */
function expected(keys: readonly Buffer[], target: Buffer, least: 0 | 1): number {
  const found = keys.findIndex((key) => Buffer.compare(key, target) >= least);
  return found < 0 ? keys.length : found;
}

function expectSame(keys: readonly Buffer[], targets: readonly Buffer[]): void {
  const sorted = SortedKeys.of(keys);
  for (const target of targets) {
    const view = KeyView.of(target);
    expect(sorted.firstAtOrAbove(view)).toBe(expected(keys, target, 0));
    expect(sorted.firstAbove(view)).toBe(expected(keys, target, 1));
  }
}

describe('keys in order', () => {
  it('are found as a look at each would find them', () => {
    // Few different bytes, so that keys share beginnings, end early and are met exactly.
    const tail = fc.array(fc.constantFrom(0, 1, 0x61, 0xff), { maxLength: 7 });
    const shared = fc.constantFrom('', 'a', 'user/0000');
    const tails = fc.array(tail, { minLength: 1, maxLength: 60, size: 'max' });
    fc.assert(
      fc.property(shared, tails, tail, fc.boolean(), (prefix, all, own, has) => {
        const unique = new Map(all.map((bytes) => [Buffer.from(bytes).toString('hex'), bytes]));
        const keys = [...unique.values()].map((bytes) =>
          Buffer.concat([Buffer.from(prefix), Buffer.from(bytes)]),
        );
        keys.sort((one, other) => Buffer.compare(one, other));
        expectSame(keys, [Buffer.concat([Buffer.from(has ? prefix : ''), Buffer.from(own)]), ...keys]);
      }),
      { numRuns: 500 },
    );
  });

  it('are found in every place of a tree of one, two and three levels', () => {
    for (const count of [15, 16, 17, 255, 256, 257, 1_000]) {
      const at = (index: number): Buffer => Buffer.from(`k${String(index).padStart(4, '0')}`);
      const keys = Array.from({ length: count }, (_, index) => at(2 * index + 1));
      expectSame(
        keys,
        Array.from({ length: 2 * count + 1 }, (_, index) => at(index)),
      );
    }
  });

  it('are told from what is on either side of all', () => {
    const keys = ['m/10', 'm/20', 'm/30'].map((text) => Buffer.from(text));
    const targets = ['a', 'm', 'm/', 'm/15', 'm/20', 'm/3', 'm/31', 'z'].map((text) => Buffer.from(text));
    const sorted = SortedKeys.of(keys);
    expect(targets.map((target) => sorted.firstAtOrAbove(KeyView.of(target)))).toEqual([
      0, 0, 0, 1, 1, 2, 3, 3,
    ]);
    expect(targets.map((target) => sorted.firstAbove(KeyView.of(target)))).toEqual([0, 0, 0, 1, 2, 2, 3, 3]);
  });
});
