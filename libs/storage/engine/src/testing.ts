import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ENGINE_KEY_BYTES_MAX } from './engine-errors.js';
import { crashChecks, restartChecks, type KvEngineFactory } from './testing-restarts.js';
import {
  applyStep,
  bytes,
  drain,
  EVERYTHING,
  fill,
  keyArbitrary,
  keysOf,
  rowsOf,
  stepArbitrary,
} from './testing-rows.js';
import type { EngineRange, EngineRow, EngineStats, KvEngine } from './types.js';

export type { KvEngineFactory };

/**
 * What every KvEngine must do: the contract of `types.ts` as jest tests, what it finds when it is opened
 * again included, unless the factory says that the engine keeps nothing.
 */
export function describeKvEngine(name: string, factory: KvEngineFactory): void {
  describe(`${name} keeps the engine contract`, () => {
    let engine: KvEngine;
    beforeEach(async () => {
      engine = await factory.open();
    });
    afterEach(async () => {
      await engine.close();
    });
    const current = (): KvEngine => engine;
    describe('writes', () => {
      describeWrites(current);
      describeBatchBuffers(current);
      describeLongKeys(current);
    });
    describe('iterators', () => {
      describeIterators(current);
    });
    describe('snapshots', () => {
      describeSnapshots(current);
    });
    describe('spans', () => {
      describeSpans(current);
    });
    describe('the end', () => {
      describeClose(current);
    });
    describe('as a map', () => {
      describeModel(current);
    });
  });
  if (factory.reopen === 'keeps nothing') return;
  describe(`${name} keeps what it was given`, () => {
    it.each(restartChecks.map(({ title, check }) => [title, check] as const))('%s', (_, check) =>
      check(factory),
    );
    if (factory.crash === undefined) return;
    it.each(crashChecks.map(({ title, check }) => [title, check] as const))('%s', (_, check) =>
      check(factory),
    );
  });
}

function describeWrites(engine: () => KvEngine): void {
  it('answers what was put, and nothing for other keys', async () => {
    await fill(engine(), 'b');
    expect(engine().get(bytes('b'))).toEqual(bytes('=b'));
    expect(engine().get(bytes('a'))).toBeUndefined();
    expect(engine().get(bytes('b\0'))).toBeUndefined();
  });

  it('lets the later operation of a batch win', async () => {
    const batch = engine().newBatch();
    batch.put(bytes('k'), bytes('1'));
    batch.put(bytes('k'), bytes('2'));
    batch.delete(bytes('gone'));
    batch.put(bytes('back'), bytes('1'));
    batch.put(bytes('gone2'), bytes('1'));
    batch.delete(bytes('gone2'));
    batch.delete(bytes('back'));
    batch.put(bytes('back'), bytes('2'));
    expect(batch.length).toBe(8);
    expect(batch.bytes).toBe(2 + 2 + 4 + 5 + 6 + 5 + 4 + 5);
    await engine().write(batch);
    expect(await rowsOf(engine())).toEqual([
      ['back', '2'],
      ['k', '2'],
    ]);
  });

  it('applies batches in the order of the calls, waiting or not', async () => {
    const writes: Promise<void>[] = [];
    for (let value = 0; value < 50; value += 1) {
      const batch = engine().newBatch();
      batch.put(bytes('k'), bytes(String(value)));
      writes.push(Promise.resolve(engine().write(batch)));
    }
    await Promise.all(writes);
    expect(engine().get(bytes('k'))).toEqual(bytes('49'));
  });

  it('shows a batch whole or not at all', async () => {
    const batch = engine().newBatch();
    for (let key = 0; key < 500; key += 1) batch.put(bytes(`k${key}`), bytes('v'));
    const before = engine().iterate(EVERYTHING);
    const written = engine().write(batch);
    const during = engine().iterate(EVERYTHING);
    await written;
    expect(await drain(before)).toHaveLength(0);
    expect([0, 500]).toContain((await drain(during)).length);
    expect(await keysOf(engine())).toHaveLength(500);
    await before.close();
    await during.close();
  });
}

function describeBatchBuffers(engine: () => KvEngine): void {
  it('keeps empty keys, empty values, binary and big ones', async () => {
    const big = Buffer.alloc(3_000_000, 7);
    const binary = Buffer.from([0, 255, 0, 1]);
    const batch = engine().newBatch();
    batch.put(Buffer.alloc(0), bytes('empty key'));
    batch.put(bytes('empty value'), Buffer.alloc(0));
    batch.put(binary, Buffer.from([255, 0]));
    batch.put(bytes('big'), big);
    await engine().write(batch);
    expect(engine().get(Buffer.alloc(0))).toEqual(bytes('empty key'));
    expect(engine().get(bytes('empty value'))).toEqual(Buffer.alloc(0));
    expect(engine().get(binary)).toEqual(Buffer.from([255, 0]));
    expect(engine().get(bytes('big'))?.equals(big)).toBe(true);
    expect((await keysOf(engine()))[0]).toBe('');
  });

  it('takes any Uint8Array, also one inside a larger buffer', async () => {
    const memory = new Uint8Array([9, 9, 1, 2, 3, 9, 9]);
    const batch = engine().newBatch();
    batch.put(memory.subarray(2, 4), memory.subarray(4, 5));
    await engine().write(batch);
    expect(engine().get(memory.subarray(2, 4))).toEqual(Buffer.from([3]));
    const range = { start: memory.subarray(2, 3), end: memory.subarray(5, 6) };
    const iterator = engine().iterate(range);
    iterator.seek(memory.subarray(2, 4));
    expect(await iterator.next(1)).toHaveLength(1);
    await iterator.close();
  });

  it('does not see what the caller does to its buffers after the write', async () => {
    const key = bytes('key');
    const value = bytes('value');
    const batch = engine().newBatch();
    batch.put(key, value);
    await engine().write(batch);
    key.fill(0);
    value.fill(0);
    expect(engine().get(bytes('key'))).toEqual(bytes('value'));
  });

  it('refuses keys that are reserved, and shows none of its own', async () => {
    const batch = engine().newBatch();
    const reserved = Buffer.alloc(8, 0xff);
    expect(() => {
      batch.put(reserved, bytes('v'));
    }).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    batch.put(reserved.subarray(1), bytes('v'));
    await engine().write(batch);
    await engine().flush();
    expect(await keysOf(engine())).toEqual(['\xff'.repeat(7)]);
    await engine().deleteRange(EVERYTHING.start, EVERYTHING.end);
    await engine().flush();
    expect(await keysOf(engine())).toEqual([]);
  });

  it('refuses a batch that was written', async () => {
    const batch = engine().newBatch();
    batch.put(bytes('k'), bytes('v'));
    await engine().write(batch);
    expect(() => {
      batch.put(bytes('k'), bytes('w'));
    }).toThrow(expect.objectContaining({ code: 'FAILED_PRECONDITION' }));
    await expect(engine().write(batch)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  });
}

function describeLongKeys(engine: () => KvEngine): void {
  /** Keys that differ first in their last bytes, in their order. */
  const ends = [[], [0], [0, 0xff], [1]];
  const longKeysOf = (byte: number): Buffer[] =>
    ends.map((end) => Buffer.concat([Buffer.alloc(ENGINE_KEY_BYTES_MAX - 2, byte), Buffer.from(end)]));
  const hex = (rows: readonly EngineRow[]): string[] => rows.map(([key]) => key.toString('hex'));
  const read = async (range: EngineRange): Promise<string[]> => {
    const iterator = engine().iterate(range);
    const rows = await drain(iterator, 2);
    await iterator.close();
    return hex(rows);
  };

  it('takes keys of the largest size, in order, in tables as in memory, and refuses longer ones', async () => {
    const keys = [0, 0xfe].flatMap(longKeysOf);
    const sorted = keys.map((key) => key.toString('hex'));
    for (const where of ['memory', 'tables']) {
      for (const [at, key] of keys.entries()) {
        const batch = engine().newBatch();
        batch.put(key, Buffer.alloc(at % 2 === 0 ? 0 : 5_000, at));
        await engine().write(batch);
      }
      if (where === 'tables') {
        await engine().flush();
        await engine().compact(EVERYTHING.start, EVERYTHING.end);
      }
      expect(await read(EVERYTHING)).toEqual(sorted);
      expect(await read({ ...EVERYTHING, reverse: true })).toEqual(sorted.toReversed());
      const start = keys[1] as Buffer;
      const end = Buffer.concat([keys[6] as Buffer, Buffer.of(0, 0, 0)]);
      expect(await read({ start, end })).toEqual(sorted.slice(1, 7));
      for (const [at, key] of keys.entries()) {
        expect(engine().get(key)).toHaveLength(at % 2 === 0 ? 0 : 5_000);
        const found = await engine().first(key, Buffer.concat([key, Buffer.alloc(2, 0xff)]));
        expect(found?.[0].equals(key)).toBe(true);
      }
    }
    const batch = engine().newBatch();
    expect(() => {
      batch.put(Buffer.alloc(ENGINE_KEY_BYTES_MAX + 1), bytes('v'));
    }).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    batch.delete(keys[0] as Buffer);
    await engine().write(batch);
    await engine().deleteRange(keys[2] as Buffer, keys.at(-1) as Buffer);
    expect(await read(EVERYTHING)).toEqual([sorted[1], sorted.at(-1)]);
    await engine().flush();
    expect(await read(EVERYTHING)).toEqual([sorted[1], sorted.at(-1)]);
  });
}

function describeIterators(engine: () => KvEngine): void {
  it('orders keys as unsigned bytes', async () => {
    await fill(engine(), 'b', '\xff', 'a\0', 'a', '\x80', 'a\xff', '\0', 'ab', '\x7f');
    const sorted = ['\0', 'a', 'a\0', 'ab', 'a\xff', 'b', '\x7f', '\x80', '\xff'];
    expect(await keysOf(engine())).toEqual(sorted);
    expect(await keysOf(engine(), { ...EVERYTHING, reverse: true })).toEqual(sorted.toReversed());
  });

  it('includes the start and excludes the end, both ways', async () => {
    await fill(engine(), 'a', 'b', 'c', 'd');
    const range = { start: bytes('b'), end: bytes('d') };
    expect(await keysOf(engine(), range)).toEqual(['b', 'c']);
    expect(await keysOf(engine(), { ...range, reverse: true })).toEqual(['c', 'b']);
    expect(await keysOf(engine(), { start: bytes('b'), end: bytes('b') })).toEqual([]);
    expect(await keysOf(engine(), { start: bytes('bb'), end: bytes('bz'), reverse: true })).toEqual([]);
  });

  it('seeks both ways, again and after the end', async () => {
    await fill(engine(), 'a', 'c', 'e', 'g');
    const forward = engine().iterate({ start: bytes('a'), end: bytes('f') });
    forward.seek(bytes('b'));
    expect((await forward.next(1))[0]?.[0]).toEqual(bytes('c'));
    expect(await drain(forward)).toHaveLength(1);
    forward.seek(bytes('c'));
    expect((await drain(forward)).map(([key]) => key.toString())).toEqual(['c', 'e']);
    await forward.close();
    const reverse = engine().iterate({ start: bytes('b'), end: bytes('z'), reverse: true });
    reverse.seek(bytes('f'));
    expect((await drain(reverse)).map(([key]) => key.toString())).toEqual(['e', 'c']);
    reverse.seek(bytes('e'));
    expect((await reverse.next(1))[0]?.[0]).toEqual(bytes('e'));
    await reverse.close();
  });

  it('ends when it seeks outside its range', async () => {
    await fill(engine(), 'a', 'c', 'e');
    for (const reverse of [false, true]) {
      const iterator = engine().iterate({ start: bytes('b'), end: bytes('d'), reverse });
      for (const target of ['a', 'd', 'e']) {
        iterator.seek(bytes(target));
        expect(await iterator.next(10)).toEqual([]);
      }
      iterator.seek(bytes('c'));
      expect(await iterator.next(10)).toHaveLength(1);
      await iterator.close();
    }
  });

  it('answers at most the wanted count, and pages of about a mebibyte', async () => {
    const batch = engine().newBatch();
    for (let key = 10; key < 40; key += 1) batch.put(bytes(String(key)), Buffer.alloc(100_000, key));
    await engine().write(batch);
    const iterator = engine().iterate(EVERYTHING);
    expect(await iterator.next(3)).toHaveLength(3);
    const page = await iterator.next(1000);
    expect(page.length).toBeGreaterThanOrEqual(10);
    expect(page.length).toBeLessThanOrEqual(12);
    expect((await drain(iterator, 1000)).length + page.length + 3).toBe(30);
    await iterator.close();
  });

  it('reads the state of its creation', async () => {
    await fill(engine(), 'a', 'b');
    const iterator = engine().iterate(EVERYTHING);
    const batch = engine().newBatch();
    batch.delete(bytes('a'));
    batch.put(bytes('b'), bytes('new'));
    batch.put(bytes('c'), bytes('new'));
    await engine().write(batch);
    expect((await drain(iterator)).map(([, value]) => value.toString())).toEqual(['=a', '=b']);
    await iterator.close();
  });

  it('hands out rows that later pages leave alone', async () => {
    await fill(engine(), 'a', 'b', 'c');
    const iterator = engine().iterate(EVERYTHING);
    const [first] = await iterator.next(1);
    await iterator.next(1);
    await iterator.close();
    expect(first?.[0]).toEqual(bytes('a'));
    expect(first?.[1]).toEqual(bytes('=a'));
  });
}

function describeSnapshots(engine: () => KvEngine): void {
  it('are consistent views, each of its own time', async () => {
    await fill(engine(), 'a');
    const first = engine().snapshot();
    await fill(engine(), 'b');
    const second = engine().snapshot();
    await engine().deleteRange(bytes('a'), bytes('z'));
    const keysAt = async (snapshot: typeof first): Promise<string[]> => {
      const iterator = engine().iterate(EVERYTHING, snapshot);
      const rows = await drain(iterator);
      await iterator.close();
      return rows.map(([key]) => key.toString());
    };
    expect(await keysAt(first)).toEqual(['a']);
    expect(await keysAt(second)).toEqual(['a', 'b']);
    await engine().flush();
    expect(await keysAt(first)).toEqual(['a']);
    first.close();
    first.close();
    expect(await keysAt(second)).toEqual(['a', 'b']);
    second.close();
    expect(await keysOf(engine())).toEqual([]);
  });

  it('must outlive their iterators', async () => {
    await fill(engine(), 'a', 'b', 'c');
    const snapshot = engine().snapshot();
    const iterator = engine().iterate(EVERYTHING, snapshot);
    expect(await iterator.next(1)).toHaveLength(1);
    snapshot.close();
    await expect(iterator.next(1)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await iterator.close();
    expect(() => engine().iterate(EVERYTHING, snapshot)).toThrow(
      expect.objectContaining({ code: 'FAILED_PRECONDITION' }),
    );
  });
}

function describeSpans(engine: () => KvEngine): void {
  it('deletes a span and nothing beside it', async () => {
    await fill(
      engine(),
      ...Array.from({ length: 300 }, (_, at) => `k${String(at).padStart(3, '0')}`),
      'j',
      'l',
    );
    await engine().deleteRange(bytes('k'), bytes('k250'));
    const keys = await keysOf(engine());
    expect(keys[0]).toBe('j');
    expect(keys.slice(1, 3)).toEqual(['k250', 'k251']);
    expect(keys).toHaveLength(52);
    await engine().deleteRange(bytes('x'), bytes('z'));
    expect(await keysOf(engine())).toHaveLength(52);
  });

  it('orders writes and deletions of spans as they were called', async () => {
    const before = fill(engine(), 'a');
    const deleted = engine().deleteRange(bytes('a'), bytes('z'));
    const after = fill(engine(), 'b');
    await Promise.all([before, deleted, after]);
    expect(await keysOf(engine())).toEqual(['b']);
  });

  it('flushes and compacts without changing anything', async () => {
    await fill(engine(), 'a', 'b', 'c');
    await engine().flush();
    await engine().deleteRange(bytes('a'), bytes('b'));
    await engine().flush();
    await engine().flush();
    await engine().compact(bytes('a'), bytes('z'));
    expect(await keysOf(engine())).toEqual(['b', 'c']);
  });

  it('compacts spans that are empty, turned round, or of everything, while others write', async () => {
    await fill(engine(), 'a', 'b', 'c');
    await engine().flush();
    await engine().compact(bytes('x'), bytes('y'));
    await engine().compact(bytes('b'), bytes('b'));
    await engine().compact(bytes('c'), bytes('a'));
    const compacted = engine().compact(EVERYTHING.start, EVERYTHING.end);
    await fill(engine(), 'd');
    await Promise.all([compacted, engine().compact(bytes('a'), bytes('b')), fill(engine(), 'e')]);
    expect(await keysOf(engine())).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('tells numbers of itself that fit together', async () => {
    const whole = (value: number | undefined): boolean =>
      value === undefined || (Number.isSafeInteger(value) && value >= 0);
    const check = async (): Promise<EngineStats> => {
      const stats = await engine().stats();
      const { engine: name, levels, diskBytes, ...others } = stats;
      expect(name).toMatch(/^[a-z0-9-]{1,63}$/);
      expect([diskBytes, ...Object.values(others as Record<string, number>)].every(whole)).toBe(true);
      levels.forEach(({ level, runs, tables, bytes: size }, at) => {
        expect([level, runs, tables, size].every(whole)).toBe(true);
        expect(runs).toBeLessThanOrEqual(tables);
        expect(level).toBeGreaterThan(levels[at - 1]?.level ?? -1);
      });
      return stats;
    };
    await check();
    const batch = engine().newBatch();
    for (let key = 0; key < 1000; key += 1) batch.put(bytes(`k${key}`), Buffer.alloc(300, key));
    await engine().write(batch);
    await engine().flush();
    const { levels } = await check();
    const tables = levels.reduce((sum, level) => sum + level.tables, 0);
    expect((await check()).diskBytes > 0).toBe(tables > 0);
    await engine().deleteRange(EVERYTHING.start, EVERYTHING.end);
    await engine().flush();
    await engine().compact(EVERYTHING.start, EVERYTHING.end);
    await check();
  });

  it('estimates bytes: more for more, none for nothing', async () => {
    const batch = engine().newBatch();
    for (let key = 0; key < 2000; key += 1) {
      const value = Buffer.alloc(500);
      for (let at = 0; at < value.length; at += 1) value[at] = (at * 31 + key * 17 + at * key) % 251;
      batch.put(bytes(`k${String(key).padStart(4, '0')}`), value);
    }
    await engine().write(batch);
    await engine().flush();
    const whole = await engine().approximateBytes(bytes('k'), bytes('l'));
    const half = await engine().approximateBytes(bytes('k'), bytes('k1000'));
    expect(whole).toBeGreaterThan(0);
    expect(half).toBeLessThan(whole);
    expect(half).toBeGreaterThan(whole / 4);
    expect(await engine().approximateBytes(bytes('x'), bytes('y'))).toBe(0);
  });
}

function describeClose(engine: () => KvEngine): void {
  it('refuses a closed iterator', async () => {
    await fill(engine(), 'a');
    const iterator = engine().iterate(EVERYTHING);
    await iterator.close();
    await iterator.close();
    await expect(iterator.next(1)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    expect(() => {
      iterator.seek(bytes('a'));
    }).toThrow(expect.objectContaining({ code: 'FAILED_PRECONDITION' }));
  });

  it('ends accepted writes and reads first, then refuses everything', async () => {
    await fill(engine(), 'a');
    const iterator = engine().iterate(EVERYTHING);
    const snapshot = engine().snapshot();
    const page = iterator.next(10);
    const written = fill(engine(), 'b');
    const flushed = engine().flush();
    const batch = engine().newBatch();
    const closed = engine().close();
    await Promise.all([written, flushed, closed]);
    expect(await page).toHaveLength(1);
    const refused = expect.objectContaining({ code: 'UNAVAILABLE' });
    await expect(iterator.next(1)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(() => engine().get(bytes('a'))).toThrow(refused);
    expect(() => engine().iterate(EVERYTHING)).toThrow(refused);
    expect(() => engine().snapshot()).toThrow(refused);
    expect(() => engine().newBatch()).toThrow(refused);
    await expect(engine().write(batch)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(engine().flush()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(engine().stats()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(engine().compact(bytes('a'), bytes('b'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await iterator.close();
    snapshot.close();
    await engine().close();
  });

  it('settles a compaction under way, as done or as refused', async () => {
    await fill(engine(), 'a', 'b', 'c');
    const settled = Promise.allSettled([engine().compact(EVERYTHING.start, EVERYTHING.end)]);
    await engine().close();
    const [outcome] = await settled;
    const refused = { status: 'rejected', reason: expect.objectContaining({ code: 'UNAVAILABLE' }) };
    expect([{ status: 'fulfilled', value: undefined }, refused]).toContainEqual(outcome);
  });
}

function describeModel(engine: () => KvEngine): void {
  it('answers as a sorted map does, whatever was written', async () => {
    const property = fc.asyncProperty(
      fc.array(stepArbitrary, { maxLength: 12 }),
      keyArbitrary,
      keyArbitrary,
      async (steps, start, end) => {
        await engine().deleteRange(EVERYTHING.start, EVERYTHING.end);
        const model = new Map<string, string>();
        for (const step of steps) await applyStep(engine(), model, step);
        const expected = [...model].sort(([one], [other]) => (one < other ? -1 : 1));
        expect(await rowsOf(engine())).toEqual(expected);
        const inside = expected.filter(([key]) => key >= start && key < end);
        const range = { start: bytes(start), end: bytes(end) };
        expect(await rowsOf(engine(), range)).toEqual(inside);
        expect(await rowsOf(engine(), { ...range, reverse: true })).toEqual(inside.toReversed());
        for (const [key, value] of expected) expect(engine().get(bytes(key))).toEqual(bytes(value));
      },
    );
    await fc.assert(property, { numRuns: 60, seed: 20_260_101 });
  });
}
