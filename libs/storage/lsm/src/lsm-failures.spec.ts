import { describe, expect, it } from '@jest/globals';
import { ENGINE_KEY_BYTES_MAX, type EngineRow, type FirstRow } from '@cairn/engine';
import { noopLogger } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine, type LsmOptions } from './index.js';
import type { FlushJob, FlushResult, Job, JobResult, MergeJob, MergeResult } from './jobs.js';
import { RUNS_PER_LEVEL_MAX } from './merge-policy.js';

// What happens when the disk fails, is full, is slow, or holds other bytes than were written.

const EVERYTHING = { start: Buffer.alloc(0), end: Buffer.alloc(7, 0xff) };

interface Rig {
  readonly medium: SimDisk;
  readonly scheduler: SimScheduler;
  readonly engine: LsmEngine;
}

async function openOn(medium: SimDisk, options: Partial<LsmOptions> = {}): Promise<Rig> {
  const scheduler = new SimScheduler();
  const disk = medium.attach();
  const engine = await LsmEngine.open({
    path: '/engine',
    disk,
    clock: scheduler.clockFor('engine'),
    logger: noopLogger,
    rng: new SimRng(1),
    runner: new InlineJobs(disk),
    memtableBytes: 4096,
    blockBytes: 256,
    tableBytes: 1 << 20,
    ...options,
  });
  return { medium, scheduler, engine };
}

/** Notes which memory the memtables lay in that were written out. */
class NotingJobs extends InlineJobs {
  readonly memories = new Set<ArrayBuffer | SharedArrayBuffer>();

  override run(job: FlushJob): Promise<FlushResult>;
  override run(job: MergeJob): Promise<MergeResult>;
  override run(job: Job): Promise<JobResult> {
    if (job.type === 'merge') return super.run(job);
    this.memories.add(job.rows);
    return super.run(job);
  }
}

const open = (options?: Partial<LsmOptions>): Promise<Rig> => openOn(new SimDisk(new SimRng(1)), options);

async function put(engine: LsmEngine, ...keys: string[]): Promise<void> {
  const batch = engine.newBatch();
  for (const key of keys) batch.put(Buffer.from(key), Buffer.from(`=${key}`));
  await engine.write(batch);
}

async function rowsOf(engine: LsmEngine): Promise<string[]> {
  const iterator = engine.iterate(EVERYTHING);
  const rows: EngineRow[] = [];
  for (;;) {
    const page = await iterator.next(100);
    if (page.length === 0) break;
    rows.push(...page);
  }
  await iterator.close();
  return rows.map(([key, value]) => `${key.toString()}${value.toString()}`);
}

const numbered = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, at) => `key-${String(from + at).padStart(4, '0')}`);

function tablesOf(medium: SimDisk): string[] {
  return medium.paths().filter((path) => path.endsWith('.lsm'));
}

/** A directory whose only table is of level 1, and compressed. */
async function compressedTable(keys: readonly string[]): Promise<{ medium: SimDisk; path: string }> {
  const { medium, scheduler, engine } = await open({ compressedFromLevel: 1 });
  const perRun = Math.ceil(keys.length / RUNS_PER_LEVEL_MAX);
  for (let from = 0; from < keys.length; from += perRun) {
    await put(engine, ...keys.slice(from, from + perRun));
    await engine.flush();
  }
  await scheduler.runFor(10_000);
  await engine.close();
  const [path = '', ...others] = tablesOf(medium);
  expect(others).toEqual([]);
  return { medium, path };
}

describe('the engine on a disk that fails', () => {
  it('ends all writing at the first flush that fails, reads on, and comes back', async () => {
    const { medium, engine } = await open();
    await put(engine, 'a');
    await engine.flush();
    await put(engine, 'b');
    medium.injectFault({ operation: 'sync' });
    await expect(engine.flush()).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(put(engine, 'c')).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(engine.flush()).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await rowsOf(engine)).toEqual(['a=a', 'b=b']);
    await engine.close();
    const again = await openOn(medium);
    expect(await rowsOf(again.engine)).toEqual(['a=a']);
    expect(tablesOf(medium)).toHaveLength(1);
  });

  it('waits while the disk is full, reads on, and goes on by itself', async () => {
    const { medium, scheduler, engine } = await open();
    await put(engine, ...numbered(50));
    medium.setBytesMax(medium.usedBytes + 100);
    const done: string[] = [];
    const note = (name: string) => (): void => void done.push(name);
    void engine.flush().then(note('flush'));
    void engine.deleteRange(Buffer.from('key-0010'), Buffer.from('key-0020')).then(note('delete'));
    await scheduler.runFor(10_000);
    expect([done, engine.isOutOfRoom]).toEqual([[], true]);
    await put(engine, 'x');
    // A full memory holds writes back; what is held is in the view already.
    for (let round = 0; round < 3; round += 1)
      void put(engine, ...numbered(100, 100 + round * 100)).then(note('put'));
    await scheduler.runFor(10_000);
    expect(done.filter((name) => name === 'put').length).toBeLessThan(3);
    expect((await rowsOf(engine)).length).toBe(351);
    expect(tablesOf(medium)).toEqual([]);
    medium.setBytesMax(Number.MAX_SAFE_INTEGER);
    await scheduler.runFor(10_000);
    expect(done.toSorted()).toEqual(['delete', 'flush', 'put', 'put', 'put']);
    expect(engine.isOutOfRoom).toBe(false);
    await engine.flush();
    medium.crash();
    const again = await openOn(medium);
    expect(await rowsOf(again.engine)).toHaveLength(341);
  });

  it('closes on a full disk, and says to all that waited that there was no room', async () => {
    const { medium, scheduler, engine } = await open();
    await put(engine, 'a');
    await engine.flush();
    await put(engine, ...numbered(50));
    medium.setBytesMax(medium.usedBytes + 100);
    const flushing = engine.flush();
    const failed = expect(flushing).rejects.toMatchObject({ code: 'DISK_FULL' });
    await scheduler.runFor(5_000);
    await engine.close();
    await failed;
    medium.setBytesMax(Number.MAX_SAFE_INTEGER);
    const again = await openOn(medium);
    expect(await rowsOf(again.engine)).toEqual(['a=a']);
  });

  it('is whole after a manifest that had no room for a flush, however often that was tried', async () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const medium = new SimDisk(new SimRng(seed), { cutsAtBytes: true });
      const { scheduler, engine } = await openOn(medium);
      await put(engine, ...numbered(40));
      await engine.flush();
      await put(engine, ...numbered(40, 40));
      const pathParts = ['manifest-a', 'manifest-b'];
      medium.injectFault({ operation: 'write', pathPart: pathParts[seed % 2] as string, code: 'DISK_FULL' });
      const flushing = engine.flush();
      const isAwaited = seed % 4 < 2;
      if (isAwaited) await scheduler.runFor(20_000);
      if (isAwaited) await flushing;
      medium.crash();
      medium.clearFaults();
      const again = await openOn(medium);
      const { length } = await rowsOf(again.engine);
      expect(isAwaited ? [80] : [40, 80]).toContain(length);
      expect(tablesOf(medium)).toHaveLength(length / 40);
    }
  });

  it('leaves nothing of a flush whose manifest had no room, while it waits', async () => {
    for (const pathPart of ['manifest-a', 'manifest-b']) {
      const { medium, scheduler, engine } = await open();
      await put(engine, 'a');
      await engine.flush();
      await put(engine, ...numbered(40));
      medium.injectFault({ operation: 'write', pathPart, code: 'DISK_FULL' });
      const flushing = engine.flush();
      await scheduler.runFor(1_000);
      expect([engine.isOutOfRoom, tablesOf(medium).length]).toEqual([true, 1]);
      medium.setBytesMax(medium.usedBytes + 100);
      await scheduler.runFor(10_000);
      expect([engine.isOutOfRoom, tablesOf(medium).length]).toEqual([true, 1]);
      medium.setBytesMax(Number.MAX_SAFE_INTEGER);
      await scheduler.runFor(3_000);
      await flushing;
      medium.crash();
      expect(await rowsOf((await openOn(medium)).engine)).toHaveLength(41);
    }
  });

  it('puts merging off while there is no room for it, and goes on writing', async () => {
    const { medium, scheduler, engine } = await open();
    for (let round = 1; round < RUNS_PER_LEVEL_MAX; round += 1) {
      await put(engine, ...numbered(40, round * 40));
      await engine.flush();
    }
    expect(tablesOf(medium)).toHaveLength(RUNS_PER_LEVEL_MAX - 1);
    // Room for one more small table, and not for all of them in one.
    await put(engine, 'z');
    medium.setBytesMax(medium.usedBytes + 1500);
    await engine.flush();
    await scheduler.runFor(10_000);
    expect(tablesOf(medium)).toHaveLength(RUNS_PER_LEVEL_MAX);
    await expect(engine.compact(EVERYTHING.start, EVERYTHING.end)).rejects.toMatchObject({
      code: 'DISK_FULL',
    });
    await put(engine, 'zz');
    medium.setBytesMax(Number.MAX_SAFE_INTEGER);
    await scheduler.runFor(10_000);
    expect(tablesOf(medium)).toHaveLength(1);
    expect(await rowsOf(engine)).toHaveLength(282);
  });

  it('goes on after a manifest that had no room, and is whole after the next failure too', async () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const medium = new SimDisk(new SimRng(seed), { cutsAtBytes: true });
      const { scheduler, engine } = await openOn(medium);
      for (let round = 1; round < RUNS_PER_LEVEL_MAX; round += 1) {
        await put(engine, ...numbered(40, round * 40));
        await engine.flush();
      }
      const failing = { operation: 'write', pathPart: 'manifest-b', code: 'DISK_FULL' } as const;
      medium.injectFault(failing);
      await expect(engine.compact(EVERYTHING.start, EVERYTHING.end)).rejects.toMatchObject({
        code: 'DISK_FULL',
      });
      medium.injectFault({ ...failing, pathPart: ['manifest-a', 'manifest-b'][seed % 2] as string });
      await engine.compact(EVERYTHING.start, EVERYTHING.end).catch(() => undefined);
      if (seed % 4 < 2) await scheduler.runFor(20_000);
      medium.crash();
      const again = await openOn(medium);
      expect(await rowsOf(again.engine)).toHaveLength(280);
      await again.engine.compact(EVERYTHING.start, EVERYTHING.end);
      expect(tablesOf(medium)).toHaveLength(1);
    }
  });

  it('leaves no table that nothing names, whatever single operation on a table fails', async () => {
    const operations = ['read', 'write', 'open', 'remove', 'sync'] as const;
    for (const operation of operations) {
      for (const code of ['DISK_FULL', 'IO_ERROR'] as const) {
        for (let after = 0; after < 12; after += 1) {
          const { medium, scheduler, engine } = await open({ tableBytes: 2048 });
          for (let round = 0; round < 3; round += 1) {
            await put(engine, ...numbered(40, round * 20));
            await engine.flush();
          }
          medium.injectFault({ operation, code, after, pathPart: 'table-' });
          await engine.compact(EVERYTHING.start, EVERYTHING.end).catch(() => undefined);
          medium.clearFaults();
          await put(engine, 'z').catch(() => undefined);
          await engine.flush().catch(() => undefined);
          await scheduler.runFor(30_000);
          const before = tablesOf(medium);
          await engine.close();
          await openOn(medium);
          expect(before).toEqual(tablesOf(medium));
        }
      }
    }
  });

  it('closes every file that it opened when it cannot be opened', async () => {
    const { medium, engine } = await open();
    await put(engine, ...numbered(50));
    await engine.flush();
    await engine.close();
    const [path = ''] = tablesOf(medium);
    medium.flipBit(path, (medium.peek(path)?.length ?? 0) - 1);
    let filesOpen = 0;
    const disk = medium.attach();
    const openFile = disk.open.bind(disk);
    disk.open = async (...parameters) => {
      const file = await openFile(...parameters);
      filesOpen += 1;
      const close = file.close.bind(file);
      file.close = () => {
        filesOpen -= 1;
        return close();
      };
      return file;
    };
    const clock = new SimScheduler().clockFor('engine');
    const parts = {
      path: '/engine',
      clock,
      logger: noopLogger,
      rng: new SimRng(1),
      runner: new InlineJobs(disk),
    };
    await expect(LsmEngine.open({ ...parts, disk })).rejects.toMatchObject({
      code: 'CORRUPTION',
      details: { path },
    });
    expect(filesOpen).toBe(0);
  });
});

describe('the engine after a restart', () => {
  it('has rows with the largest keys and with empty values', async () => {
    const { medium, engine } = await open();
    const keys = [0, 1].map((end) => Buffer.concat([Buffer.alloc(ENGINE_KEY_BYTES_MAX - 1), Buffer.of(end)]));
    const batch = engine.newBatch();
    for (const key of keys) batch.put(key, Buffer.alloc(0));
    await engine.write(batch);
    await engine.flush();
    await engine.close();
    const again = await openOn(medium);
    for (const key of keys) expect(again.engine.get(key)).toHaveLength(0);
    const iterator = again.engine.iterate({ ...EVERYTHING, reverse: true });
    const found = (await iterator.next(3)).map(([key]) => key);
    await iterator.close();
    expect(Buffer.concat(found).equals(Buffer.concat(keys.toReversed()))).toBe(true);
  });
});

describe('the engine on damaged files', () => {
  it('never answers wrongly: a flipped bit is an error that names the file, or changes nothing', async () => {
    const keys = numbered(60);
    const { medium, engine } = await open();
    await put(engine, ...keys);
    await engine.flush();
    await engine.close();
    const [path = ''] = tablesOf(medium);
    const expected = keys.map((key) => `${key}=${key}`);
    let noticed = 0;
    const { length } = medium.peek(path) ?? Buffer.alloc(0);
    for (let at = 0; at < length; at += 3) {
      medium.flipBit(path, at, at % 8);
      try {
        const rig = await openOn(medium);
        for (const key of keys) expect(rig.engine.get(Buffer.from(key))?.toString()).toBe(`=${key}`);
        expect(await rowsOf(rig.engine)).toEqual(expected);
        await rig.engine.close();
      } catch (error) {
        expect(error).toMatchObject({ code: 'CORRUPTION', details: { path } });
        noticed += 1;
      }
      medium.flipBit(path, at, at % 8);
    }
    expect(noticed).toBeGreaterThan((length / 3) * 0.9);
  });

  it('notices flipped bits and lost sectors of compressed blocks, and names the file and the position', async () => {
    const keys = numbered(RUNS_PER_LEVEL_MAX * 20);
    const { medium, path } = await compressedTable(keys);
    const bytes = medium.peek(path) ?? Buffer.alloc(0);
    const read = async (rig: Rig): Promise<void> => {
      for (const key of keys) expect(rig.engine.get(Buffer.from(key))?.toString()).toBe(`=${key}`);
      expect(await rowsOf(rig.engine)).toEqual(keys.map((key) => `${key}=${key}`));
    };
    await read(await openOn(medium));
    for (let at = 0; at < bytes.length - 600; at += 7) {
      medium.flipBit(path, at, at % 8);
      const { engine } = await openOn(medium);
      const damage = { code: 'CORRUPTION', details: { path, position: expect.any(Number) } };
      await expect(rowsOf(engine)).rejects.toMatchObject(damage);
      await engine.close();
      medium.flipBit(path, at, at % 8);
    }
    // What a device does that loses a sector: zeros where a block was.
    const file = await medium.attach().open(path, { mode: 'write' });
    await file.write([Buffer.alloc(40)], 100);
    const { engine } = await openOn(medium);
    await expect(rowsOf(engine)).rejects.toMatchObject({ code: 'CORRUPTION', details: { path } });
    await expect(engine.compact(EVERYTHING.start, EVERYTHING.end)).resolves.toBeUndefined();
    await put(engine, 'key-0000x');
    await expect(engine.compact(EVERYTHING.start, EVERYTHING.end)).rejects.toMatchObject({
      code: 'CORRUPTION',
      details: { path },
    });
  });

  it('refuses to open without a table, or with one of another size', async () => {
    const { medium, engine } = await open();
    await put(engine, ...numbered(50));
    await engine.flush();
    await engine.close();
    const [path = ''] = tablesOf(medium);
    const view = medium.attach();
    const bytes = medium.peek(path) ?? Buffer.alloc(0);
    const file = await view.open(path, { mode: 'write' });
    await file.truncate(bytes.length - 1);
    await expect(openOn(medium)).rejects.toMatchObject({ code: 'CORRUPTION', details: { path } });
    await view.remove(path);
    await expect(openOn(medium)).rejects.toThrow('it is missing');
  });
});

describe('the engine on a slow disk', () => {
  it('looks rows up elsewhere than on the event loop, and answers the same', async () => {
    const medium = new SimDisk(new SimRng(1));
    const { engine: first } = await openOn(medium);
    await put(first, ...numbered(200));
    await first.flush();
    await first.close();
    const disk = medium.attach();
    let nowMs = 0;
    const openFile = disk.open.bind(disk);
    disk.open = async (...parameters) => {
      const file = await openFile(...parameters);
      const readNow = file.readNow.bind(file);
      file.readNow = (...place) => {
        nowMs += 25;
        return readNow(...place);
      };
      return file;
    };
    const { engine } = await openOn(medium, {
      disk,
      clock: {
        nowMs: () => nowMs,
        unixMs: () => 0,
        setTimer: () => ({ cancel: () => undefined }),
        defer: (callback) => setImmediate(callback),
      },
      blockCacheBytes: 0,
    });
    const look = (key: string): FirstRow | Promise<FirstRow> =>
      engine.first(Buffer.from(key), Buffer.from(`${key}\0`));
    const rowOf = (key: string): EngineRow => [Buffer.from(key), Buffer.from(`=${key}`)];
    expect(look('key-0001')).toEqual(rowOf('key-0001'));
    const before = nowMs;
    const waiting = look('key-0100');
    const batch = engine.newBatch();
    batch.delete(Buffer.from('key-0100'));
    await engine.write(batch);
    expect(waiting).toBeInstanceOf(Promise);
    expect(await waiting).toEqual(rowOf('key-0100'));
    expect(await look('key-0100x')).toBeUndefined();
    const iterator = engine.iterate({ start: Buffer.from('key-0100'), end: Buffer.from('key-0150') });
    expect(await iterator.next(100)).toHaveLength(49);
    await iterator.close();
    expect(nowMs).toBe(before);
    expect(engine.get(Buffer.from('key-0101'))?.toString()).toBe('=key-0101');
    nowMs += 2_000;
    expect(look('key-0150')).toEqual(rowOf('key-0150'));
  });
});

describe('the engine after deletions of spans', () => {
  const bytesOf = (medium: SimDisk): number =>
    tablesOf(medium).reduce((sum, path) => sum + (medium.peek(path)?.length ?? 0), 0);
  /** A table of 400 rows, of which every second ten are deleted, and the bytes that are left of it. */
  const sliced = async (options: Partial<LsmOptions> = {}): Promise<Rig & { liveBytes: number }> => {
    const rig = await open({ memtableBytes: 64 * 1024, ...options });
    await put(rig.engine, ...numbered(400));
    await rig.engine.flush();
    for (let from = 0; from < 400; from += 20) {
      const [start = '', end = ''] = [...numbered(1, from), ...numbered(1, from + 10)];
      await rig.engine.deleteRange(Buffer.from(start), Buffer.from(end));
    }
    return { ...rig, liveBytes: bytesOf(rig.medium) / 2 };
  };

  it('gives their space back when everything is compacted', async () => {
    const { medium, engine, liveBytes } = await sliced();
    await engine.compact(EVERYTHING.start, EVERYTHING.end);
    expect(bytesOf(medium)).toBeLessThan(liveBytes * 1.2);
    expect(await rowsOf(engine)).toHaveLength(200);
    const tables = tablesOf(medium);
    await engine.compact(EVERYTHING.start, EVERYTHING.end);
    expect(tablesOf(medium)).toEqual(tables);
  });

  it('makes one table of what deletions left of one, compacted or not, though it is as large as one may be', async () => {
    for (const isCompacted of [true, false]) {
      const { medium, scheduler, engine } = await sliced({ tableBytes: 8 * 1024 });
      if (isCompacted) await engine.compact(EVERYTHING.start, EVERYTHING.end);
      else await scheduler.runFor(60_000);
      expect(tablesOf(medium)).toHaveLength(1);
      expect(await rowsOf(engine)).toHaveLength(200);
    }
  });

  it('gives their space back by itself, when there is nothing else to do', async () => {
    const { medium, scheduler, engine, liveBytes } = await sliced();
    await scheduler.runFor(60_000);
    expect(bytesOf(medium)).toBeLessThan(liveBytes * 1.2);
    expect(await rowsOf(engine)).toHaveLength(200);
  });
});

describe('the engine behind its writers', () => {
  it('merges a step at a time: a few that flushes have paid for, the others as time goes by', async () => {
    const { medium, scheduler, engine } = await open({ tableBytes: 1024 });
    for (let round = 0; round < RUNS_PER_LEVEL_MAX; round += 1) {
      await put(engine, ...numbered(40, round * 40));
      await engine.flush();
    }
    const young = tablesOf(medium);
    const left = (): number => tablesOf(medium).filter((name) => young.includes(name)).length;
    await scheduler.runFor(1_000);
    expect(left()).toBeGreaterThan(RUNS_PER_LEVEL_MAX / 2);
    await scheduler.runFor(60_000);
    expect(left()).toBe(0);
    expect(await rowsOf(engine)).toHaveLength(320);
  });

  it('lets writes wait while two memtables wait to be written out, and no longer', async () => {
    const scheduler = new SimScheduler();
    const medium = new SimDisk(new SimRng(1), { syncMs: [50, 50] });
    const process = scheduler.startProcess('engine');
    const disk = medium.attach(process);
    const opening = LsmEngine.open({
      path: '/engine',
      disk,
      clock: process.clock,
      logger: noopLogger,
      rng: new SimRng(1),
      runner: new InlineJobs(disk),
      memtableBytes: 4096,
      blockBytes: 256,
    });
    const engine = await scheduler.settle(opening);
    const done: number[] = [];
    for (let write = 0; write < 4; write += 1) {
      const batch = engine.newBatch();
      batch.put(Buffer.from(`big-${write}`), Buffer.alloc(3_000));
      void Promise.resolve(engine.write(batch)).then(() => done.push(write));
    }
    await scheduler.runFor(0.001);
    // The third froze a second memtable, and the fourth a third: what they wrote is there all the same.
    expect(done).toEqual([0, 1]);
    expect(engine.get(Buffer.from('big-3'))).toHaveLength(3_000);
    await scheduler.runFor(5_000);
    expect(done.sort()).toEqual([0, 1, 2, 3]);
    await scheduler.settle(engine.close());
  });

  it('uses the memory of memtables in turn, and gives the spare one back ten seconds after the writes', async () => {
    const medium = new SimDisk(new SimRng(1));
    const runner = new NotingJobs(medium.attach());
    const { scheduler, engine } = await openOn(medium, { runner });
    const flushTwice = async (): Promise<void> => {
      for (const key of ['a', 'b']) {
        await put(engine, key);
        await engine.flush();
      }
    };
    await flushTwice();
    await scheduler.runFor(9_000);
    await flushTwice();
    expect(runner.memories.size).toBe(2);
    await scheduler.runFor(11_000);
    await flushTwice();
    expect(runner.memories.size).toBe(3);
  });
});

describe('the engine that compresses', () => {
  it('takes less of the disk for the same rows, and reads what it wrote with other settings', async () => {
    const keys = numbered(RUNS_PER_LEVEL_MAX * 40);
    const sizes: number[] = [];
    for (const compression of ['none', 'deflate'] as const) {
      const { medium, scheduler, engine } = await open({ compression, compressedFromLevel: 1 });
      for (let from = 0; from < keys.length; from += 40) {
        await put(engine, ...keys.slice(from, from + 40));
        await engine.flush();
      }
      await scheduler.runFor(10_000);
      expect((await rowsOf(engine)).length).toBe(keys.length);
      await engine.close();
      expect(tablesOf(medium)).toHaveLength(1);
      sizes.push(medium.peek(tablesOf(medium)[0] ?? '')?.length ?? 0);
      const other = compression === 'none' ? 'deflate' : 'none';
      const again = await openOn(medium, { compression: other, blockBytes: 1024 });
      expect((await rowsOf(again.engine)).length).toBe(keys.length);
      expect(again.engine.get(Buffer.from('key-0100'))?.toString()).toBe('=key-0100');
    }
    const [plain = 0, compressed = 0] = sizes;
    expect(compressed).toBeLessThan(plain * 0.8);
  });

  it('refuses settings that mean nothing', async () => {
    for (const options of [
      { compressedFromLevel: 0 },
      { compressedFromLevel: 17 },
      { compression: 'zip' as 'none' },
    ]) {
      await expect(open(options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
  });
});
