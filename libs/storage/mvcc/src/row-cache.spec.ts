import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import fc from 'fast-check';
import type { VersionRecord } from './record.js';
import { RowCache, rowCacheKey, rowCacheKeyOfVersionKey } from './row-cache.js';
import { encodeVersionKey } from './version-key.js';

const versionOf = (sequence: number, value: Uint8Array = Buffer.from(String(sequence))): VersionRecord => ({
  timestamp: timestamp(1),
  sequence,
  expiry: timestamp(0),
  tombstone: false,
  kind: 0,
  value,
});
const userKey = fc.array(fc.constantFrom(0, 1, 97, 255), { maxLength: 5 }).map((bytes) => Buffer.from(bytes));

type Step =
  | { readonly kind: 'get' | 'delete'; readonly key: Buffer }
  | { readonly kind: 'set' | 'update'; readonly key: Buffer; readonly bytes: number }
  | { readonly kind: 'span'; readonly start: Buffer; readonly end: Buffer };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('get' as const, 'get' as const, 'delete' as const), key: userKey }),
  fc.record({
    kind: fc.constantFrom('set' as const, 'set' as const, 'update' as const),
    key: userKey,
    bytes: fc.integer({ min: 0, max: 400 }),
  }),
  fc.record({ kind: fc.constant('span' as const), start: userKey, end: userKey }),
);

/** Applies a step to both; the model holds what a cache without bound would. */
function apply(cache: RowCache, model: Map<string, number>, made: Step, sequence: number): void {
  switch (made.kind) {
    case 'get': {
      const viewed = cache.view(made.key);
      const seen = viewed && { ...viewed, value: Buffer.from(viewed.value) };
      const found = cache.get(rowCacheKey(made.key));
      expect(seen).toEqual(found);
      if (found !== undefined) expect(found.sequence).toBe(model.get(made.key.toString('latin1')));
      return;
    }
    case 'delete':
      cache.delete(rowCacheKey(made.key));
      model.delete(made.key.toString('latin1'));
      expect(cache.get(rowCacheKey(made.key))).toBeUndefined();
      return;
    case 'set':
      cache.set(rowCacheKey(made.key), versionOf(sequence, Buffer.alloc(made.bytes)));
      model.set(made.key.toString('latin1'), sequence);
      return;
    case 'update': {
      const wasThere = cache.updateIfPresent(
        rowCacheKey(made.key),
        versionOf(sequence, Buffer.alloc(made.bytes)),
      );
      if (wasThere) expect(model.has(made.key.toString('latin1'))).toBe(true);
      model.set(made.key.toString('latin1'), sequence);
      return;
    }
    case 'span': {
      cache.deleteSpan(made.start, made.end);
      const [start, end] = [made.start.toString('latin1'), made.end.toString('latin1')];
      for (const key of model.keys()) if (key >= start && (end === '' || key < end)) model.delete(key);
    }
  }
}

describe('RowCache', () => {
  it('never answers an old version, and stays within its bound', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 150 }),
        fc.integer({ min: 0, max: 8000 }),
        (steps, bytesMax) => {
          const cache = new RowCache(bytesMax);
          const model = new Map<string, number>();
          steps.forEach((made, at) => {
            apply(cache, model, made, at);
            expect(cache.stats().bytes).toBeLessThanOrEqual(bytesMax);
          });
          for (const [key, sequence] of model) {
            const found = cache.get(rowCacheKey(Buffer.from(key, 'latin1')));
            if (found !== undefined) expect(found.sequence).toBe(sequence);
          }
          cache.deleteSpan(Buffer.alloc(0), Buffer.alloc(0));
          expect(cache.stats()).toMatchObject({ entries: 0, bytes: 0 });
        },
      ),
      { seed: 20_260_107, numRuns: 400 },
    );
  });

  it('keeps what is used and forgets what is not', () => {
    const cache = new RowCache(100_000);
    cache.set('hot', versionOf(0));
    cache.set('cold', versionOf(0));
    for (let key = 0; key < 2000; key += 1) {
      cache.set(`k${key}`, versionOf(key));
      if (key % 50 === 0) expect(cache.get('hot')?.sequence).toBe(0);
    }
    expect(cache.get('cold')).toBeUndefined();
    const { hits, misses, evictions } = cache.stats();
    expect({ hits, misses }).toEqual({ hits: 40, misses: 1 });
    expect(evictions).toBeGreaterThan(500);
  });

  it('copies values out of the buffers they came in', () => {
    const cache = new RowCache();
    const chunk = Buffer.alloc(65_536, 1);
    cache.set('k', versionOf(1, chunk.subarray(100, 110)));
    chunk.fill(2);
    const value = cache.get('k')?.value;
    expect(value).toEqual(Buffer.alloc(10, 1));
    expect(value?.buffer).not.toBe(chunk.buffer);
  });

  it("shows a row in its own memory, which is the caller's until something else happens", () => {
    const cache = new RowCache();
    const key = Buffer.from('k');
    cache.set(rowCacheKey(key), versionOf(1, Buffer.from('one')));
    const kept = cache.get(rowCacheKey(key));
    const shown = cache.view(key);
    expect(shown?.value.toString()).toBe('one');
    cache.set(rowCacheKey(key), versionOf(2, Buffer.from('two')));
    expect(shown?.value.toString()).toBe('two');
    expect(kept?.value.toString()).toBe('one');
  });

  it('does not take what is too big, nor keep the version it would replace', () => {
    const cache = new RowCache(1000);
    cache.set('k', versionOf(1));
    cache.set('k', versionOf(2, Buffer.alloc(5000)));
    expect(cache.get('k')).toBeUndefined();
    cache.set('k', versionOf(1));
    expect(cache.updateIfPresent('k', versionOf(2, Buffer.alloc(5000)))).toBe(true);
    expect(cache.get('k')).toBeUndefined();
    expect(cache.updateIfPresent('k', versionOf(3))).toBe(false);
  });

  it('names a row alike from its user key and from its engine key, in order', () => {
    fc.assert(
      fc.property(userKey, userKey, (one, other) => {
        const name = rowCacheKey(one);
        expect(rowCacheKeyOfVersionKey(encodeVersionKey(one, timestamp(5), 0))).toBe(name);
        const order = name < rowCacheKey(other) ? -1 : name === rowCacheKey(other) ? 0 : 1;
        expect(order).toBe(Buffer.compare(one, other));
      }),
      { seed: 5, numRuns: 2000 },
    );
  });
});
