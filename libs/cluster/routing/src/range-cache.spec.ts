import { describe, expect, it } from '@jest/globals';
import { storeId, type RangeDescriptor } from '@cairn/base';
import fc from 'fast-check';

import { descriptorOf, key } from './fake-cluster.testing.js';
import { compareKeys, isBelowEnd, keyBelow, prefixEnd } from './keys.js';
import { RangeCache } from './range-cache.js';

const NOBODY = storeId(0);

function idAt(cache: RangeCache, text: string): number | undefined {
  return cache.find(key(text))?.rangeId;
}

describe('RangeCache', () => {
  it('finds the range that holds a key, and nothing in a gap', () => {
    const cache = new RangeCache();
    cache.insert(descriptorOf(1, ['b', 'd']), NOBODY);
    cache.insert(descriptorOf(2, ['f', '']), NOBODY);
    expect([
      idAt(cache, 'a'),
      idAt(cache, 'b'),
      idAt(cache, 'c\xff'),
      idAt(cache, 'd'),
      idAt(cache, 'z'),
    ]).toEqual([undefined, 1, 1, undefined, 2]);
  });

  it('finds the range below an exclusive end', () => {
    const cache = new RangeCache();
    cache.insert(descriptorOf(1, ['', 'd']), NOBODY);
    cache.insert(descriptorOf(2, ['d', '']), NOBODY);
    expect(cache.findBelow(key('d'))?.rangeId).toBe(1);
    expect(cache.findBelow(key('d\0'))?.rangeId).toBe(2);
    expect(cache.findBelow(key(''))?.rangeId).toBe(2);
    const gap = new RangeCache();
    gap.insert(descriptorOf(1, ['', 'd']), NOBODY);
    expect(gap.findBelow(key(''))).toBeUndefined();
    expect(gap.findBelow(key('e'))).toBeUndefined();
  });

  it('never takes an older descriptor, whatever its range id', () => {
    const cache = new RangeCache();
    cache.insert(descriptorOf(2, ['m', ''], { version: 5 }), NOBODY);
    expect(cache.insert(descriptorOf(1, ['', ''], { version: 4 }), NOBODY)).toBe('stale');
    expect(cache.insert(descriptorOf(2, ['m', ''], { version: 5, confVersion: 0 }), NOBODY)).toBe('stale');
    expect(cache.insert(descriptorOf(1, ['', 'm'], { version: 5 }), NOBODY)).toBe('inserted');
    expect(cache.entries().map(({ rangeId }) => rangeId)).toEqual([1, 2]);
  });

  it('keeps the leader over a change of the same range, unless the leader is no voter any more', () => {
    const cache = new RangeCache();
    cache.insert(descriptorOf(1, ['', '']), storeId(3));
    cache.insert(descriptorOf(1, ['', ''], { confVersion: 2 }), NOBODY);
    expect(cache.find(key('a'))?.leaderStoreId).toBe(3);
    cache.insert(descriptorOf(1, ['', ''], { confVersion: 3, stores: [1, 2, 4] }), NOBODY);
    expect(cache.find(key('a'))?.leaderStoreId).toBe(0);
    cache.insert(
      descriptorOf(1, ['', ''], { confVersion: 4, stores: [1, 2, 4], roles: ['voter', 'voter', 'learner'] }),
      storeId(4),
    );
    expect(cache.find(key('a'))?.leaderStoreId).toBe(0);
  });

  it('begins the ranges of a split with the leader of what was cut', () => {
    const cache = new RangeCache();
    cache.insert(descriptorOf(1, ['', '']), storeId(2));
    cache.insert(descriptorOf(9, ['m', ''], { version: 2 }), NOBODY);
    expect(cache.find(key('x'))?.leaderStoreId).toBe(2);
  });

  it('takes a leader for a descriptor it has, and clears the wish to reload', () => {
    const cache = new RangeCache();
    cache.insert(descriptorOf(1, ['', '']), NOBODY);
    const entry = cache.find(key('a'));
    if (entry === undefined) throw new Error('not found');
    entry.needsReload = true;
    expect(cache.insert(descriptorOf(1, ['', '']), storeId(2))).toBe('same');
    expect([entry.leaderStoreId, entry.needsReload]).toEqual([2, false]);
  });

  it('stays sorted, without overlap, and never goes back in version', () => {
    const bound = fc.constantFrom('', 'b', 'd', 'f', 'h', 'k');
    const descriptor = fc
      .record({
        start: bound,
        end: bound,
        id: fc.integer({ min: 1, max: 6 }),
        version: fc.integer({ min: 1, max: 6 }),
      })
      .filter(({ start, end }) => end === '' || start < end)
      .map(({ start, end, id, version }) => descriptorOf(id, [start, end], { version }));
    fc.assert(
      fc.property(fc.array(descriptor, { maxLength: 30 }), (descriptors: RangeDescriptor[]) => {
        const cache = new RangeCache();
        const probes = ['', 'a', 'b', 'c', 'd', 'e', 'g', 'h', 'i', 'k', 'z'];
        const versions = (): number[] => probes.map((probe) => cache.find(key(probe))?.epochVersion ?? 0);
        for (const each of descriptors) {
          const before = versions();
          const isTaken = cache.insert(each, NOBODY) === 'inserted';
          const entries = cache.entries();
          for (let at = 1; at < entries.length; at += 1) {
            const [left, right] = [entries[at - 1], entries[at]];
            expect(
              left !== undefined && right !== undefined && !isBelowEnd(right.startKey, left.endKey),
            ).toBe(true);
          }
          versions().forEach((version, at) => {
            // A gap may open where a newer range took a part of an older one; nothing else goes back.
            const isGap = version === 0 && isTaken;
            expect(isGap || version >= (before[at] ?? 0)).toBe(true);
          });
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('the arithmetic of keys', () => {
  const bytes = fc.uint8Array({ maxLength: 6 });

  it('compares as bytes', () => {
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(Buffer.compare(a, b)));
      }),
    );
  });

  it('ends a prefix behind all its keys and before all others', () => {
    fc.assert(
      fc.property(bytes, bytes, (prefix, at) => {
        const end = prefixEnd(prefix);
        const hasPrefix = Buffer.from(at.subarray(0, prefix.length)).equals(Buffer.from(prefix));
        const isInside = compareKeys(at, prefix) >= 0 && isBelowEnd(at, end);
        expect(isInside).toBe(hasPrefix);
      }),
    );
  });

  it('names a key above every boundary below an end, however long keys are set to be', () => {
    const longest = (first: string): Buffer => Buffer.alloc(32 * 1024, 0xff).fill(first, 0, 1);
    for (const end of [Buffer.from('b'), Buffer.from(''), longest('b')]) {
      const below = keyBelow(end);
      expect(isBelowEnd(below, end)).toBe(true);
      expect(compareKeys(longest('a'), below)).toBeLessThanOrEqual(0);
    }
    expect(compareKeys(Buffer.alloc(32 * 1024, 0xff), keyBelow(Buffer.alloc(0)))).toBeLessThan(0);
  });

  it('names a key just below an end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 6 }), bytes, (end, at) => {
        const below = keyBelow(end);
        expect(compareKeys(below, end)).toBeLessThan(0);
        if (compareKeys(at, end) < 0) expect(compareKeys(at, below)).toBeLessThanOrEqual(0);
      }),
    );
  });
});
