import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { noopLogger } from '@cairn/ports';
import { NodeDisk } from '@cairn/runtime-node';
import fc from 'fast-check';
import { ENGINE_KEY_BYTES_MAX } from './engine-errors.js';
import { SEGMENT_BYTES } from './lmdb-keys.js';
import { mapLmdbError } from './lmdb-store.js';
import { openLmdbEngine, type LmdbEngine } from './lmdb.js';
import { describeKvEngine } from './testing.js';
import type { EngineRange } from './types.js';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const EVERYTHING: EngineRange = { start: Buffer.alloc(0), end: Buffer.alloc(64, 0xff) };
const root = mkdtempSync(join(tmpdir(), 'cairn-lmdb-'));
let directories = 0;
const freshPath = (): string => join(root, String((directories += 1)));
const open = (path: string): Promise<LmdbEngine> =>
  openLmdbEngine({ path, disk: new NodeDisk(), logger: noopLogger });

afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

describeKvEngine('LmdbEngine', { open: () => open(freshPath()) });

describe('LmdbEngine', () => {
  let path: string;
  let engine: LmdbEngine;
  beforeEach(async () => {
    path = freshPath();
    engine = await open(path);
  });
  afterEach(async () => {
    await engine.close();
  });

  const put = async (...keys: Buffer[]): Promise<void> => {
    const batch = engine.newBatch();
    for (const key of keys) batch.put(key, key.subarray(-3));
    await engine.write(batch);
  };
  const keysIn = async (range: EngineRange): Promise<Buffer[]> => {
    const iterator = engine.iterate(range);
    const rows = await iterator.next(10_000);
    await iterator.close();
    for (const [key, value] of rows) expect(value.equals(key.subarray(-3))).toBe(true);
    return rows.map(([key]) => key);
  };

  it('finds its rows again after reopening', async () => {
    await put(bytes('flushed'));
    await engine.flush();
    await put(bytes('not flushed'));
    await engine.close();
    engine = await open(path);
    expect(await keysIn(EVERYTHING)).toEqual([bytes('flushed'), bytes('not flushed')]);
  });

  it('has what was flushed in a file that was never closed', async () => {
    for (let key = 0; key < 200; key += 1) await put(bytes(`a${key}`));
    await engine.flush();
    for (let key = 0; key < 20; key += 1) void put(bytes(`b${key}`));
    const copy = freshPath();
    mkdirSync(copy);
    copyFileSync(join(path, 'data.mdb'), join(copy, 'data.mdb'));
    await engine.flush();
    await engine.close();
    engine = await open(copy);
    expect(await keysIn({ start: bytes('a'), end: bytes('b') })).toHaveLength(200);
    await put(bytes('c'));
    expect(engine.get(bytes('c'))).toEqual(bytes('c'));
  });

  it('refuses a directory that is in use', async () => {
    await expect(open(path)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await engine.close();
    engine = await open(path);
  });

  it('reports a file that is not its own as corruption', async () => {
    const foreign = freshPath();
    mkdirSync(foreign);
    writeFileSync(join(foreign, 'data.mdb'), Buffer.alloc(8192, 0x5a));
    await expect(open(foreign)).rejects.toMatchObject({ code: 'CORRUPTION' });
  });

  it('keeps a snapshot through many commits', async () => {
    await put(bytes('k'));
    const snapshot = engine.snapshot();
    for (let round = 0; round < 300; round += 1) await put(bytes(`x${round}`));
    const iterator = engine.iterate(EVERYTHING, snapshot);
    expect(await iterator.next(1000)).toHaveLength(1);
    await iterator.close();
    snapshot.close();
    expect(await keysIn(EVERYTHING)).toHaveLength(301);
  });

  it('keeps the value of a page that a later read might overwrite', async () => {
    const batch = engine.newBatch();
    for (let at = 0; at < 9; at += 1) batch.put(bytes(`k${at}`), Buffer.alloc(5 ** at, at));
    await engine.write(batch);
    const values = Array.from({ length: 9 }, (_, at) => engine.get(bytes(`k${at}`)));
    const iterator = engine.iterate(EVERYTHING);
    const rows = await iterator.next(100);
    await iterator.close();
    for (let at = 0; at < 9; at += 1) {
      expect(values[at]?.equals(Buffer.alloc(5 ** at, at))).toBe(true);
      expect(rows[at]?.[1].equals(Buffer.alloc(5 ** at, at))).toBe(true);
      expect(Buffer.isBuffer(rows[at]?.[0])).toBe(true);
    }
  });

  it('deletes more rows than one transaction takes', async () => {
    const batch = engine.newBatch();
    for (let key = 0; key < 10_000; key += 1) batch.put(bytes(`k${key}`), bytes('v'));
    batch.put(bytes('l'), bytes('l'));
    await engine.write(batch);
    await engine.deleteRange(bytes('k'), bytes('l'));
    expect(await keysIn(EVERYTHING)).toEqual([bytes('l')]);
  });

  describe('with keys longer than LMDB takes', () => {
    const long = (segments: number, tail: string): Buffer =>
      Buffer.concat([Buffer.alloc(segments * SEGMENT_BYTES, 0x6b), bytes(tail)]);
    const keyArbitrary = fc
      .tuple(fc.constantFrom(0, 1, 2), fc.string({ unit: fc.constantFrom('\0', 'k', '\xff'), maxLength: 2 }))
      .map(([segments, tail]) => long(segments, tail));

    it('orders, finds and deletes them as any others', async () => {
      const property = fc.asyncProperty(
        fc.uniqueArray(keyArbitrary, { comparator: (one, other) => one.equals(other), maxLength: 12 }),
        keyArbitrary,
        keyArbitrary,
        async (keys, start, end) => {
          await engine.deleteRange(EVERYTHING.start, EVERYTHING.end);
          await put(...keys);
          const sorted = keys.toSorted((one, other) => one.compare(other));
          const isInside = (key: Buffer): boolean => key.compare(start) >= 0 && key.compare(end) < 0;
          const inside = sorted.filter(isInside);
          expect(await keysIn(EVERYTHING)).toEqual(sorted);
          expect(await keysIn({ start, end })).toEqual(inside);
          expect(await keysIn({ start, end, reverse: true })).toEqual(inside.toReversed());
          for (const key of keys) expect(engine.get(key)?.equals(key.subarray(-3))).toBe(true);
          const iterator = engine.iterate(EVERYTHING);
          iterator.seek(start);
          expect((await iterator.next(1))[0]?.[0]).toEqual(sorted.find((key) => key.compare(start) >= 0));
          await iterator.close();
          await engine.deleteRange(start, end);
          expect(await keysIn(EVERYTHING)).toEqual(sorted.filter((key) => !isInside(key)));
          const batch = engine.newBatch();
          for (const key of keys) batch.delete(key);
          await engine.write(batch);
          expect(await keysIn(EVERYTHING)).toEqual([]);
        },
      );
      await fc.assert(property, { numRuns: 60, seed: 20_260_201 });
    });

    it('takes the longest that engines take', async () => {
      const key = Buffer.alloc(ENGINE_KEY_BYTES_MAX, 0x61);
      await put(key);
      expect(engine.get(key)).toEqual(bytes('aaa'));
      expect(await keysIn(EVERYTHING)).toEqual([key]);
    });
  });
});

describe('mapLmdbError', () => {
  it('tells full disks, corruption and the rest apart', () => {
    const native = (message: string, code?: number): Error => Object.assign(new Error(message), { code });
    expect(mapLmdbError(native('No space left on device', 28)).code).toBe('DISK_FULL');
    expect(mapLmdbError(native('No space left on device')).code).toBe('DISK_FULL');
    expect(mapLmdbError(native('MDB_MAP_FULL: Environment mapsize limit reached')).code).toBe('DISK_FULL');
    expect(mapLmdbError(native('MDB_CORRUPTED: Located page was wrong type', -30_796)).code).toBe(
      'CORRUPTION',
    );
    expect(mapLmdbError(native('Input/output error', 5)).code).toBe('INTERNAL');
    expect(mapLmdbError('thrown text').code).toBe('INTERNAL');
  });
});
