import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { BlockCache } from './block-cache.js';
import { buildFilter, mayContain } from './bloom.js';
import { hashStem, KeyShape } from './key-shape.js';
import { compareKeys, KeyView } from './key-view.js';
import { LsmBatch } from './lsm-batch.js';
import { Memtable } from './memtable.js';
import { MergePace } from './merge-pace.js';
import { chooseMerge, RUNS_PER_LEVEL_MAX } from './merge-policy.js';
import { ReadGate } from './read-gate.js';
import { mergeOrders, sortRows } from './row-sort.js';
import { isDeleted, keyBytesOf, rowBytesOf, valueBytesOf, writeRow } from './row.js';
import { separatorOf } from './table-format.js';
import { insert, intersect, subtract, type Run, type Slice } from './version.js';

// The parts that can be looked at alone.

const keyArbitrary = fc.uint8Array({ maxLength: 14 });
/** Keys that share much, as keys do. */
const likeKeys = fc.array(
  fc.oneof(
    keyArbitrary,
    fc.integer({ min: 0, max: 300 }).map((number) => Buffer.from(`table/row/${String(number)}`)),
    fc
      .integer({ min: 0, max: 3 })
      .map((zeros) => Buffer.concat([Buffer.from('table/row/1'), Buffer.alloc(zeros)])),
  ),
  { maxLength: 200 },
);

describe('packed rows', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(
        keyArbitrary,
        fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined }),
        (key, value) => {
          const bytes = new Uint8Array(400);
          const end = writeRow(bytes, 7, key, value);
          expect(rowBytesOf(bytes, 7)).toBe(end - 7);
          expect(keyBytesOf(bytes, 7)).toBe(key.length);
          expect(valueBytesOf(bytes, 7)).toBe(value?.length ?? 0);
          expect(isDeleted(bytes, 7)).toBe(value === undefined);
          expect(bytes.subarray(13, 13 + key.length)).toEqual(new Uint8Array(key));
        },
      ),
    );
  });

  it('are sorted by key, of one key the newest first, at once or in parts', () => {
    fc.assert(
      fc.property(likeKeys, fc.nat(), (keys, cut) => {
        const bytes = new Uint8Array(keys.reduce((sum, key) => sum + key.length + 6, 0));
        const rowAt = new Uint32Array(keys.length);
        let at = 0;
        keys.forEach((key, row) => {
          rowAt[row] = at;
          at = writeRow(bytes, at, key, undefined);
        });
        const expected = keys
          .map((key, row) => ({ key, row }))
          .sort((one, other) => Buffer.compare(one.key, other.key) || other.row - one.row)
          .map(({ row }) => row);
        const rows = { bytes, rowAt };
        expect([...sortRows(rows, 0, keys.length)]).toEqual(expected);
        const middle = keys.length === 0 ? 0 : cut % keys.length;
        const parts = mergeOrders(rows, sortRows(rows, 0, middle), sortRows(rows, middle, keys.length));
        expect([...parts]).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a memtable', () => {
  it('finds the first row of a span as of any moment, however many versions there are', () => {
    const shape = new KeyShape({ namespaces: [0x6b], suffixBytes: 1 });
    const table = new Memtable(new ArrayBuffer(4096), shape);
    const keyOf = (version: number): Buffer => Buffer.from([0x6b, 1, version]);
    // Newest first, as versions are; each twice, with another value.
    const versions = Array.from({ length: 100 }, (_, at) => 200 - Math.floor(at / 2));
    for (const [row, version] of versions.entries()) {
      const batch = new LsmBatch(undefined);
      batch.put(keyOf(version), Buffer.of(row));
      table.append(batch.packed, batch.packedBytes);
    }
    const stem = KeyView.of(keyOf(0));
    const end = KeyView.of(Buffer.from([0x6b, 2]));
    for (let rowCount = 0; rowCount <= versions.length; rowCount += 1) {
      for (const from of [0, 160, 190, 201]) {
        const visible = versions.slice(0, rowCount).filter((version) => version >= from);
        const at = table.find(hashStem(stem, 2), KeyView.of(keyOf(from)), end, rowCount);
        if (visible.length === 0) expect(at).toBe(-1);
        else
          expect(table.bytes[at + rowBytesOf(table.bytes, at) - 1]).toBe(newestOf(versions, rowCount, from));
      }
    }
  });
});

/** The last row of the lowest version at or above `from`, among the first `rowCount`. */
function newestOf(versions: readonly number[], rowCount: number, from: number): number {
  const visible = versions.slice(0, rowCount).filter((version) => version >= from);
  return versions.slice(0, rowCount).lastIndexOf(Math.min(...visible));
}

describe('a separator', () => {
  it('is at or above the key before and below the key behind', () => {
    fc.assert(
      fc.property(likeKeys, (keys) => {
        const sorted = keys.toSorted(Buffer.compare);
        for (let at = 1; at < sorted.length; at += 1) {
          const [last, first] = [sorted[at - 1] as Uint8Array, sorted[at] as Uint8Array];
          if (Buffer.compare(last, first) === 0) continue;
          const separator = separatorOf(last, KeyView.of(first));
          expect(Buffer.compare(last, separator)).toBeLessThanOrEqual(0);
          expect(Buffer.compare(separator, first)).toBeLessThan(0);
          expect(compareKeys(KeyView.of(last), KeyView.of(first))).toBeLessThan(0);
        }
      }),
    );
  });
});

describe('a filter', () => {
  it('knows every stem that was put in, and takes few others for one', () => {
    const hashOf = (number: number): number => {
      const key = Buffer.from(`stem-${number}`);
      return hashStem(KeyView.of(key), key.length);
    };
    const hashes = Uint32Array.from({ length: 20_000 }, (_, at) => hashOf(at));
    const filter = buildFilter(hashes, hashes.length);
    expect(hashes.every((hash) => mayContain(filter, hash))).toBe(true);
    const wrong = Array.from({ length: 20_000 }, (_, at) => mayContain(filter, hashOf(100_000 + at)));
    expect(wrong.filter(Boolean).length).toBeLessThan(600);
  });
});

describe('the block cache', () => {
  it('holds what was put into it, until its slot becomes the free one', () => {
    const step = fc.record({ table: fc.integer({ min: 1, max: 3 }), block: fc.integer({ min: 0, max: 30 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 1, max: 9 }), (steps, slots) => {
        const cache = new BlockCache(slots * 16, 16);
        const kept = new Map<string, number>();
        for (const { table, block } of steps) {
          const name = `${table}/${block}`;
          const found = cache.find(table, block);
          expect(found >= 0).toBe(kept.has(name));
          if (found >= 0) {
            expect(cache.bytes[cache.startOf(found)]).toBe(table);
            expect(cache.bytes[cache.endOf(found) - 1]).toBe(block);
            continue;
          }
          const { freeAt } = cache;
          cache.bytes[freeAt] = table;
          cache.bytes[freeAt + 9] = block;
          cache.keep(table, block, 10);
          for (const [other, place] of kept) if (place === cache.freeAt) kept.delete(other);
          kept.set(name, freeAt);
          expect(kept.size).toBeLessThanOrEqual(slots);
          expect(cache.usedBytes).toBe(kept.size * 16);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('keeps no block that is larger than a slot, and none without slots', () => {
    expect(new BlockCache(160, 16).fits(16)).toBe(true);
    expect(new BlockCache(160, 16).fits(17)).toBe(false);
    expect(new BlockCache(15, 16).fits(1)).toBe(false);
  });

  it('gives a block that was used again a second chance', () => {
    const cache = new BlockCache(32, 16);
    const read = (block: number): boolean => {
      if (cache.find(1, block) >= 0) return true;
      cache.keep(1, block, 16);
      return false;
    };
    expect([read(1), read(2), read(3), read(3), read(4), read(3)]).toEqual([
      false,
      false,
      false,
      true,
      false,
      true,
    ]);
  });
});

describe('the read gate', () => {
  it('closes when slow reads took more than a fifth of the time, except for what must be answered', () => {
    let nowMs = 0;
    const gate = new ReadGate({
      nowMs: () => nowMs,
      unixMs: () => 0,
      setTimer: () => ({ cancel: () => undefined }),
      defer: () => undefined,
    });
    const read = (takesMs: number): number =>
      gate.measure(() => {
        nowMs += takesMs;
        return 1;
      });
    read(0.9);
    expect(gate.isOpen).toBe(true);
    read(3);
    expect([gate.isOpen, gate.slowReads]).toEqual([true, 1]);
    for (let reads = 0; reads < 6; reads += 1) read(5);
    expect([gate.isOpen, gate.slowReads, gate.force(() => gate.isOpen)]).toEqual([false, 7, true]);
    nowMs += 25;
    expect(gate.isOpen).toBe(false);
    nowMs += 15;
    expect(gate.isOpen).toBe(true);
    nowMs += 1_000;
    read(15);
    expect(gate.isOpen).toBe(true);
  });
});

function slice(from: number, to: number): Slice {
  return { table: { summary: { number: from } } as Slice['table'], from: Buffer.of(from), to: Buffer.of(to) };
}

function boundsOf(slices: readonly Slice[]): number[][] {
  return slices.map(({ from, to }) => [from[0] as number, to[0] as number]);
}

describe('slices of a run', () => {
  it('are cut where a span is taken out', () => {
    const slices = [slice(10, 20), slice(20, 30), slice(40, 50)];
    expect(boundsOf(subtract(slices, Buffer.of(15), Buffer.of(45)))).toEqual([
      [10, 15],
      [45, 50],
    ]);
    expect(boundsOf(subtract(slices, Buffer.of(22), Buffer.of(24)))).toEqual([
      [10, 20],
      [20, 22],
      [24, 30],
      [40, 50],
    ]);
    expect(boundsOf(intersect(slices, Buffer.of(15), Buffer.of(45)))).toEqual([
      [15, 20],
      [20, 30],
      [40, 45],
    ]);
  });

  it('take a new one in its place, and none that overlaps', () => {
    const slices = [slice(10, 20), slice(40, 50)];
    expect(boundsOf(insert(slices, slice(20, 40)))).toEqual([
      [10, 20],
      [20, 40],
      [40, 50],
    ]);
    expect(() => insert(slices, slice(19, 21))).toThrow('do not overlap');
  });
});

describe('the choice of a merge', () => {
  const runs = (...levels: number[]): Run[] => levels.map((level, at) => ({ id: at + 1, level, slices: [] }));

  it('is of the lowest level that is full', () => {
    expect(RUNS_PER_LEVEL_MAX).toBe(8);
    const young = [0, 0, 0];
    const full = Array.from({ length: RUNS_PER_LEVEL_MAX }, () => 1);
    expect(chooseMerge(runs(...young, ...full.slice(1)), [], () => 99)).toBeUndefined();
    expect(chooseMerge(runs(...young, ...full), [], () => 99)).toEqual({
      inputs: full.map((_, at) => young.length + at + 1),
      level: 1,
      output: 99,
    });
    expect(chooseMerge(runs(...full.map(() => 0), ...full), [], () => 99)?.level).toBe(0);
  });

  it('goes on with a merge that has begun, before another of its level', () => {
    const begun = { inputs: [2, 3, 4, 5], level: 0, output: 8 };
    expect(chooseMerge(runs(0, 0, 0, 0, 0), [begun], () => 9)).toBe(begun);
  });
});

describe('the pace of merging', () => {
  it('lets a merge write for each flushed byte two more than the number of the deepest level', () => {
    const pace = new MergePace(0);
    pace.merged(400);
    for (const level of [0, 1, 2]) {
      pace.flushed(40, level);
      expect(pace.mayGoOn).toBe(false);
    }
    pace.flushed(10, 2);
    expect(pace.mayGoOn).toBe(true);
  });

  it('forgives what is owed after waiting, and saves no more than it was told', () => {
    const pace = new MergePace(100);
    pace.merged(1_000_000);
    pace.waited();
    expect(pace.mayGoOn).toBe(true);
    pace.flushed(1_000_000, 3);
    pace.waited();
    pace.merged(100);
    expect(pace.mayGoOn).toBe(true);
    pace.merged(1);
    expect(pace.mayGoOn).toBe(false);
  });
});
