import { describe, expect, it } from '@jest/globals';
import { noopLogger, type Clock } from '@cairn/ports';
import { SimDisk, SimRng } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine } from './index.js';
import { LOOKS_PER_TURN, READ_BYTES_PER_TURN } from './read-turns.js';

// What walks and point reads do where very many rows were deleted and nothing has merged them away yet.

const NAMESPACE = 0x10;
const STEM = Buffer.concat([Buffer.of(NAMESPACE), Buffer.from('stem\x01')]);
const EVERYTHING = { start: Buffer.alloc(0), end: Buffer.alloc(7, 0xff) };

/** Turns of the event loop as the engine asks for them. */
class CountedTurns implements Clock {
  turns = 0;

  nowMs(): number {
    return 0;
  }

  unixMs(): number {
    return 0;
  }

  setTimer(): { cancel(): void } {
    return { cancel: () => undefined };
  }

  defer(callback: () => void): void {
    setImmediate(() => {
      this.turns += 1;
      callback();
    });
  }
}

/** Keys of one stem, `number` as a suffix of four bytes. */
function keyOf(number: number): Buffer {
  const key = Buffer.alloc(STEM.length + 4);
  STEM.copy(key);
  key.writeUInt32BE(number, STEM.length);
  return key;
}

async function deletedRows(
  count: number,
): Promise<{ engine: LsmEngine; clock: CountedTurns; disk: SimDisk }> {
  const medium = new SimDisk(new SimRng(1));
  const disk = medium.attach();
  const clock = new CountedTurns();
  const engine = await LsmEngine.open({
    path: '/engine',
    disk,
    clock,
    logger: noopLogger,
    rng: new SimRng(1),
    runner: new InlineJobs(disk),
    versioned: { namespaces: [NAMESPACE], suffixBytes: 4 },
    memtableBytes: 64 * 1024 * 1024,
    // So large that what is deleted is not worth a merge.
    tableBytes: 256 * 1024 * 1024,
  });
  for (const isDeletion of [false, true]) {
    const batch = engine.newBatch();
    for (let number = 0; number < count; number += 1) {
      if (isDeletion) batch.delete(keyOf(number));
      else batch.put(keyOf(number), STEM);
    }
    if (isDeletion) batch.put(keyOf(count), STEM);
    await engine.write(batch);
    await engine.flush();
  }
  return { engine, clock, disk: medium };
}

describe('very many deleted rows', () => {
  it('are passed over a few thousand in a turn, by walks both ways and by point reads', async () => {
    const count = 200_000;
    const { engine, clock } = await deletedRows(count);
    const turnsFor = async (read: () => Promise<unknown>): Promise<number> => {
      const before = clock.turns;
      await read();
      return clock.turns - before;
    };
    const least = Math.floor(count / LOOKS_PER_TURN);
    const forward = engine.iterate(EVERYTHING);
    expect(await turnsFor(() => forward.next(10))).toBeGreaterThanOrEqual(least);
    expect(forward.looked).toBe(count + 1);
    await forward.close();
    const reverse = engine.iterate({ ...EVERYTHING, reverse: true });
    expect(await turnsFor(() => reverse.next(10))).toBeGreaterThanOrEqual(least);
    await reverse.close();
    const end = Buffer.concat([STEM, Buffer.alloc(5, 0xff)]);
    const point = engine.first(keyOf(0), end);
    expect(point).toBeInstanceOf(Promise);
    expect(await turnsFor(async () => point)).toBeGreaterThanOrEqual(least);
    expect((await point)?.[0]).toEqual(keyOf(count));
    await engine.close();
  });

  it('end a page that may look at fewer, which says where it goes on', async () => {
    const { engine, clock } = await deletedRows(10_000);
    const iterator = engine.iterate(EVERYTHING);
    const before = clock.turns;
    expect(await iterator.next(10, 3_000)).toEqual([]);
    expect(iterator.cutAt).toEqual(keyOf(3_000));
    expect(iterator.looked).toBe(3_000);
    expect(clock.turns).toBe(before);
    expect(await iterator.next(10, 6_999)).toEqual([]);
    expect(iterator.cutAt).toEqual(keyOf(9_999));
    expect((await iterator.next(10)).map(([key]) => key)).toEqual([keyOf(10_000)]);
    expect(iterator.cutAt).toBeUndefined();
    expect(await iterator.next(10)).toEqual([]);
    expect(iterator.cutAt).toBeUndefined();
    await iterator.close();
    await engine.close();
  });
});

describe('rows of many bytes', () => {
  it('are read a megabyte in a turn, of all walks together', async () => {
    const { engine, clock } = await deletedRows(1);
    const batch = engine.newBatch();
    const rowBytes = 64 * 1024;
    for (let number = 0; number < 64; number += 1) batch.put(keyOf(number), Buffer.alloc(rowBytes));
    await engine.write(batch);
    const before = clock.turns;
    const walks = Array.from({ length: 4 }, () => engine.iterate(EVERYTHING));
    await Promise.all(
      walks.map(async (walk) => {
        while ((await walk.next(256)).length > 0);
        await walk.close();
      }),
    );
    const turns = (4 * 64 * rowBytes) / READ_BYTES_PER_TURN;
    // Each of the walks may finish the row that it is at.
    expect(clock.turns - before).toBeGreaterThanOrEqual(Math.floor(turns / 2));
    await engine.close();
  });
});

describe('a walk that met an error', () => {
  it('fails ever after, and loses no row in silence', async () => {
    const { engine, disk } = await deletedRows(20_000);
    const iterator = engine.iterate(EVERYTHING);
    await iterator.next(1, 100);
    disk.injectFault({ operation: 'read' });
    await expect(iterator.next(100)).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(iterator.next(100)).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(() => {
      iterator.seek(keyOf(1));
    }).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
    await iterator.close();
    await engine.close();
  });
});
