import { describe, expect, it } from '@jest/globals';
import { assert, logIndex, rangeId, replicaId, term } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import { noopLogger, noopMetrics, type Disk } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';
import type { Entry } from '@cairn/raft';
import { encodeBlockHeader, saltFrom } from './segment-format.js';
import { openRaftLog, type RaftLog, type RaftLogOptions, type RangeLog, type RangeMarks } from './index.js';

// Behaviour of the whole log on a simulated disk: what is visible, what survives, what is refused.

const SMALL: RaftLogOptions = { segmentBytes: 64 * 1024, cacheBytesMax: 1 << 20 };
const R1 = rangeId(1);
const R2 = rangeId(2);

function entry(index: number, inTerm: number, text: string): Entry {
  return {
    index: logIndex(index),
    term: term(inTerm),
    kind: 1,
    payload: Buffer.from(text),
    record: undefined,
  };
}

function entriesFrom(first: number, count: number, inTerm: number, bytes = 20): Entry[] {
  const made: Entry[] = [];
  for (let index = first; index < first + count; index += 1) {
    made.push(entry(index, inTerm, `${index}@${inTerm}`.padEnd(bytes, '.')));
  }
  return made;
}

function open(disk: SimDisk, options: RaftLogOptions = SMALL): Promise<RaftLog> {
  return openOn(disk.attach(), options);
}

function openOn(disk: Disk, options: RaftLogOptions = SMALL): Promise<RaftLog> {
  return openRaftLog({
    disk,
    directory: '/log',
    clock: new SimScheduler().clockFor('test'),
    rng: new SimRng('log'),
    logger: noopLogger,
    metrics: noopMetrics,
    options,
  });
}

/** Reads all entries back, from memory or from disk. */
async function textsOf(log: RaftLog, id = R1): Promise<string[]> {
  const range = log.range(id);
  const texts: string[] = [];
  let next = range.firstIndex();
  while (next <= range.lastIndex()) {
    const end = logIndex(range.lastIndex() + 1);
    const take = (): boolean => {
      const found = range.entries(next, end, 4096);
      if (found === 'compacted') throw new Error('compacted');
      if (found === 'loading') return false;
      for (const one of found) texts.push(Buffer.from(one.payload).toString());
      next = logIndex(next + found.length);
      return true;
    };
    if (take()) continue;
    await range.load(next, end, 4096, () => {
      expect(take()).toBe(true);
    });
  }
  return texts;
}

/** Takes every entry a while after it was loaded, as a core does in its next turn. */
async function takeAll(range: RangeLog): Promise<{ bytes: number; loads: number }> {
  const end = logIndex(range.lastIndex() + 1);
  let next = range.firstIndex();
  let bytes = 0;
  let loads = 0;
  while (next < end) {
    const found = range.entries(next, end, 100_000);
    if (typeof found !== 'string') {
      for (const one of found) bytes += one.payload.length;
      next = logIndex(next + found.length);
      continue;
    }
    loads += 1;
    assert(loads < 1000, 'they take what they need from each other');
    await range.load(next, end, 100_000, async () => {
      await new Promise(setImmediate);
      const loaded = range.entries(next, end, 100_000);
      assert(typeof loaded !== 'string', 'what was loaded is there until it was taken');
      for (const one of loaded) bytes += one.payload.length;
      next = logIndex(next + loaded.length);
    });
  }
  return { bytes, loads };
}

describe('raft log', () => {
  it('starts empty and shows staged entries at once', async () => {
    const log = await open(new SimDisk(new SimRng(1)));
    expect(log.rangeIds()).toEqual([]);
    const range = log.range(R1);
    expect([range.firstIndex(), range.lastIndex()]).toEqual([1, 0]);
    expect(range.termOf(logIndex(0))).toBe(0);
    range.append(entriesFrom(1, 3, 1));
    expect(log.stagedBytes).toBeGreaterThan(0);
    expect(range.lastIndex()).toBe(3);
    expect(await textsOf(log)).toHaveLength(3);
    await log.sync();
    expect(log.stagedBytes).toBe(0);
    expect(log.rangeIds()).toEqual([R1]);
  });

  it('recovers everything that was synced, and nothing else, after power loss', async () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const disk = new SimDisk(new SimRng(seed));
      const log = await open(disk);
      log.range(R1).append(entriesFrom(1, 10, 1));
      log.range(R2).append(entriesFrom(1, 2, 7));
      log.range(R1).setHardState({ term: term(1), vote: replicaId(4), commit: logIndex(9) });
      log.range(R1).setCheckpoint({ index: logIndex(5), term: term(1), state: Buffer.from('applied') });
      log.range(R1).truncate(logIndex(4), term(1));
      await log.sync();
      log.range(R1).append(entriesFrom(11, 5, 1));
      disk.crash();
      const again = await open(disk);
      const range = again.range(R1);
      expect([range.firstIndex(), range.lastIndex()]).toEqual([5, 10]);
      expect(range.termOf(logIndex(4))).toBe(1);
      expect(range.termOf(logIndex(3))).toBe('compacted');
      expect(range.hardState).toEqual({ term: 1, vote: 4, commit: 9 });
      expect(range.checkpoint?.index).toBe(5);
      expect(Buffer.from(range.checkpoint?.state ?? []).toString()).toBe('applied');
      expect((await textsOf(again))[0]).toBe('5@1'.padEnd(20, '.'));
      expect(again.range(R2).lastIndex()).toBe(2);
      expect(again.range(R2).termOf(logIndex(2))).toBe(7);
    }
  });

  it('replaces a conflicting suffix, also after recovery', async () => {
    const disk = new SimDisk(new SimRng(3));
    const log = await open(disk);
    log.range(R1).append(entriesFrom(1, 5, 1));
    await log.sync();
    log.range(R1).append(entriesFrom(3, 1, 2));
    const expected = ['1@1', '2@1', '3@2'].map((text) => text.padEnd(20, '.'));
    expect(await textsOf(log)).toEqual(expected);
    await log.sync();
    disk.crash();
    const again = await open(disk);
    expect(await textsOf(again)).toEqual(expected);
    expect(again.range(R1).termOf(logIndex(3))).toBe(2);
    expect(again.range(R1).termOf(logIndex(2))).toBe(1);
  });
});

/**
 * What a client would write that knows the format, and where its value will lie: at each place where a block
 * may begin stands the header of a later one, as it is without a salt.
 */
function forgedBlocks(bytes: number): Buffer {
  const header = Buffer.alloc(32);
  const salt = saltFrom(Buffer.alloc(6));
  encodeBlockHeader(header, { epoch: 1, sequence: 77, bodyBytes: 64, recordCount: 1, digest: 5 }, salt);
  const payload = Buffer.alloc(bytes, 1);
  // Two headers of 32 bytes come before the payload.
  for (let at = 512 - 64; at + 32 <= bytes; at += 512) header.copy(payload, at);
  return payload;
}

describe('raft log damage', () => {
  /** Three synced blocks in one segment; answers the disk and where each block ends. */
  async function threeBlocks(): Promise<{ disk: SimDisk; path: string; ends: number[] }> {
    const disk = new SimDisk(new SimRng(5));
    const log = await open(disk, { segmentBytes: 8192, freeSegmentsMax: 0 });
    for (let block = 0; block < 3; block += 1) {
      log.range(R1).append(entriesFrom(1 + block * 2, 2, 1, 300));
      await log.sync();
    }
    await log.close();
    // Header sector, then blocks of 32 + 2 * 332 bytes, each rounded up to sectors.
    return { disk, path: '/log/segment-0000000001.log', ends: [1536, 2560, 3584] };
  }

  async function copyWith(disk: SimDisk, path: string, change: (bytes: Buffer) => void): Promise<SimDisk> {
    const bytes = Buffer.from(disk.peek(path) ?? []);
    change(bytes);
    const copy = new SimDisk(new SimRng(1));
    const view = copy.attach();
    await view.makeDirectory('/log');
    const file = await view.open(path, { mode: 'write', durableWrites: true });
    await file.write([bytes], 0);
    await view.syncDirectory('/log');
    return copy;
  }

  it('takes a last write that ends at any byte as not made, and goes on from there', async () => {
    const { disk, path, ends } = await threeBlocks();
    const [, second = 0] = ends;
    const written = second + 32 + 2 * 332;
    for (let cut = second; cut <= written; cut += 1) {
      const copy = await copyWith(disk, path, (bytes) => bytes.fill(0, cut));
      const log = await open(copy, { segmentBytes: 8192, freeSegmentsMax: 0 });
      // The last payload byte is a dot, so only the whole block counts.
      expect(log.range(R1).lastIndex()).toBe(cut === written ? 6 : 4);
      if (cut % 16 !== 0) continue;
      const next = log.range(R1).lastIndex() + 1;
      log.range(R1).append(entriesFrom(next, 1, 2));
      await log.sync();
      copy.crash();
      const again = await open(copy, { segmentBytes: 8192, freeSegmentsMax: 0 });
      expect(again.range(R1).lastIndex()).toBe(next);
    }
  });

  it('finds every flipped bit of a block that others follow, and names the place', async () => {
    const { disk, path, ends } = await threeBlocks();
    const [first = 0] = ends;
    for (let at = first; at < first + 32 + 2 * 332; at += 1) {
      const copy = await copyWith(disk, path, (bytes) => {
        bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
      });
      const failure = await open(copy, { segmentBytes: 8192 }).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'CORRUPTION', details: { path, offset: first } });
    }
  });

  it('does not mistake what a recycled file held before for a record', async () => {
    const disk = new SimDisk(new SimRng(9));
    const options = { segmentBytes: 8192, freeSegmentsMax: 1 };
    let log = await open(disk, options);
    const point = (index: number): void => {
      log.range(R1).setCheckpoint({ index: logIndex(index), term: term(1), state: Buffer.alloc(0) });
      log.range(R1).truncate(logIndex(index), term(1));
    };
    for (let index = 1; index <= 60; index += 1) {
      log.range(R1).append(entriesFrom(index, 1, 1, 400));
      if (index > 5) point(index - 5);
      await log.sync();
      await log.reclaim();
    }
    expect(log.stats().segments).toBeLessThanOrEqual(2);
    expect(disk.paths().length).toBeLessThanOrEqual(3);
    disk.crash();
    log = await open(disk, options);
    expect([log.range(R1).firstIndex(), log.range(R1).lastIndex()]).toEqual([56, 60]);
  });

  it('misses a segment that is gone, and a tail that a later segment knows of', async () => {
    const disk = new SimDisk(new SimRng(5));
    const options = { segmentBytes: 8192, freeSegmentsMax: 0 };
    const log = await open(disk, options);
    for (let index = 1; index <= 40; index += 1) {
      log.range(R1).append(entriesFrom(index, 1, 1, 400));
      await log.sync();
    }
    await log.close();
    expect(log.stats().segments).toBe(0);
    const view = disk.attach();
    const names = await view.list('/log');
    expect(names.length).toBeGreaterThan(2);
    const bytes = disk.peek(`/log/${names[0] as string}`) ?? Buffer.alloc(0);
    const file = await view.open(`/log/${names[0] as string}`, { mode: 'write', durableWrites: true });
    // The last block of the first segment (blocks of one sector, the last at 6144), as if it had never been
    // written.
    await file.write([Buffer.alloc(1024)], 6144);
    await expect(open(disk, options)).rejects.toThrow('records are missing');
    await file.write([bytes], 0);
    await view.remove(`/log/${names[1] as string}`);
    await expect(open(disk, options)).rejects.toThrow('is missing');
  });

  it('leaves no file open when it cannot be opened', async () => {
    const { disk, path, ends } = await threeBlocks();
    disk.flipBit(path, ends[0] ?? 0);
    let filesOpen = 0;
    const view = disk.attach();
    const openFile = view.open.bind(view);
    view.open = async (...parameters) => {
      const file = await openFile(...parameters);
      filesOpen += 1;
      const close = file.close.bind(file);
      file.close = () => {
        filesOpen -= 1;
        return close();
      };
      return file;
    };
    await expect(openOn(view)).rejects.toMatchObject({ code: 'CORRUPTION' });
    expect(filesOpen).toBe(0);
  });

  it('refuses a format of the future', async () => {
    const { disk, path } = await threeBlocks();
    const copy = await copyWith(disk, path, (bytes) => {
      bytes.writeUInt32LE(99, 8);
      bytes.writeUInt32LE(crc32(bytes.subarray(0, 36)), 36);
    });
    await expect(open(copy)).rejects.toMatchObject({ code: 'FORMAT_TOO_NEW' });
  });

  it('refuses a segment of another log, and one of an older format', async () => {
    const { disk, path } = await threeBlocks();
    const older = await copyWith(disk, path, (bytes) => {
      bytes.writeUInt32LE(1, 8);
      bytes.writeUInt32LE(crc32(bytes.subarray(0, 36)), 36);
    });
    await expect(open(older)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    const foreign = new SimDisk(new SimRng(6));
    const log = await open(foreign, { segmentBytes: 8192, freeSegmentsMax: 0 });
    for (let index = 1; index <= 40; index += 1) {
      log.range(R1).append(entriesFrom(index, 1, 1, 300));
      await log.sync();
    }
    await log.close();
    const second = '/log/segment-0000000002.log';
    const bytes = Buffer.from(foreign.peek(second) ?? []);
    bytes[30] = (bytes[30] as number) ^ 1;
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 36)), 36);
    const view = foreign.attach();
    const file = await view.open(second, { mode: 'write', durableWrites: true });
    await file.write([bytes], 0);
    const failure = await open(foreign, { segmentBytes: 8192 }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'CORRUPTION', details: { path: second, offset: 0 } });
  });

  it('takes no value for a block, however a torn write leaves it behind the end', async () => {
    for (let seed = 0; seed < 60; seed += 1) {
      const disk = new SimDisk(new SimRng(seed));
      const log = await open(disk);
      log.range(R1).append(entriesFrom(1, 1, 1));
      await log.sync();
      disk.injectFault({ operation: 'write', pathPart: 'segment' });
      log.range(R1).append([{ ...entry(2, 1, ''), payload: forgedBlocks(8000) }]);
      await expect(log.sync()).rejects.toMatchObject({ code: 'INTERNAL' });
      disk.crash();
      const again = await open(disk);
      expect(again.range(R1).lastIndex()).toBeLessThanOrEqual(2);
      again.range(R1).append(entriesFrom(again.range(R1).lastIndex() + 1, 1, 2));
      await again.sync();
      disk.crash();
      await open(disk);
    }
  });

  it('finds an entry that rotted after it was opened', async () => {
    const { disk, path } = await threeBlocks();
    const log = await open(disk, { segmentBytes: 8192 });
    disk.flipBit(path, 512 + 32 + 40);
    const failure = await log
      .range(R1)
      .load(logIndex(1), logIndex(3), 10_000, () => undefined)
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'CORRUPTION', details: { path, offset: 544 } });
  });
});

describe('raft log limits', () => {
  it('has one write in flight, and later syncs share the next', async () => {
    const scheduler = new SimScheduler();
    const medium = new SimDisk(new SimRng(1), { syncMs: [1, 1], accessMs: [0, 0] });
    const process = scheduler.startProcess('one');
    const log = await scheduler.settle(
      openRaftLog({
        disk: medium.attach(process),
        directory: '/log',
        clock: process.clock,
        rng: new SimRng('log'),
        logger: noopLogger,
        metrics: noopMetrics,
        options: SMALL,
      }),
    );
    log.range(R1).append(entriesFrom(1, 1, 1));
    await scheduler.settle(log.sync());
    const done: string[] = [];
    const startMs = scheduler.nowMs;
    const sync = (name: string): void => {
      void log.sync().then(() => done.push(`${name}@${Math.round(scheduler.nowMs - startMs)}`));
    };
    log.range(R1).append(entriesFrom(2, 1, 1));
    sync('a');
    sync('a again');
    log.range(R1).append(entriesFrom(3, 1, 1));
    sync('b');
    log.range(R2).append(entriesFrom(1, 1, 1));
    sync('c');
    await scheduler.runFor(10);
    expect(done).toEqual(['a@1', 'a again@1', 'b@2', 'c@2']);
    expect(log.stats().stagedBytes).toBe(0);
  });

  it('reads evicted entries back, and never evicts what is not durable', async () => {
    const log = await open(new SimDisk(new SimRng(2)), { ...SMALL, cacheBytesMax: 1000 });
    const range = log.range(R1);
    range.append(entriesFrom(1, 50, 1, 100));
    expect(log.stats().cachedBytes).toBe(50 * (32 + 100));
    await log.sync();
    expect(log.stats().cachedBytes).toBeLessThanOrEqual(1000);
    expect(range.entries(logIndex(1), logIndex(51), 1000)).toBe('loading');
    await range.load(logIndex(1), logIndex(51), 1000, () => {
      // A load brings no more than a part of what there is room for, but always one.
      expect(range.entries(logIndex(1), logIndex(51), 1000)).toHaveLength(1);
    });
    expect(await textsOf(log)).toEqual(
      entriesFrom(1, 50, 1, 100).map((one) => Buffer.from(one.payload).toString()),
    );
    expect(range.entryBytes).toBe(5000);
  });

  it('lets many ranges read their evicted entries back at the same time', async () => {
    const cacheBytesMax = 400_000;
    const log = await open(new SimDisk(new SimRng(2)), { segmentBytes: 4 << 20, cacheBytesMax });
    const ranges = [1, 2, 3, 4, 5].map((id) => log.range(rangeId(id)));
    // Far apart, so that a load is many reads.
    for (const one of entriesFrom(1, 60, 1, 9000)) {
      for (const range of ranges) range.append([{ ...one, record: undefined }]);
    }
    await log.sync();
    for (const one of await Promise.all(ranges.map((range) => takeAll(range)))) {
      expect(one.bytes).toBe(60 * 9000);
      expect(one.loads).toBeLessThanOrEqual(60);
    }
    expect(log.stats().cachedBytes).toBeLessThanOrEqual(1.25 * cacheBytesMax);
  });

  it.each([1, 10_000, 20_000, 60_000, 8 * 1024 * 1024])(
    'brings entries of %s bytes to all who wait for them, also after a restart',
    async (bytes) => {
      const disk = new SimDisk(new SimRng(2));
      // What is read back may take 10,000 bytes: two entries that pass it threw each other out for ever.
      const options = { segmentBytes: 1024 * 1024, cacheBytesMax: Math.min(40_000, bytes * 2) };
      let log = await open(disk, options);
      const count = bytes > 100_000 ? 2 : 7;
      for (const id of [1, 2, 3]) {
        for (const one of entriesFrom(1, count, 1, bytes)) log.range(rangeId(id)).append([one]);
        await log.sync();
      }
      for (let round = 0; round < 2; round += 1) {
        const taken = await Promise.all([1, 2, 3].map((id) => takeAll(log.range(rangeId(id)))));
        for (const one of taken) {
          expect(one.bytes).toBe(count * Math.max(bytes, 3));
          expect(one.loads).toBeLessThanOrEqual(count);
        }
        await log.close();
        log = await open(disk, options);
      }
    },
  );

  it('lets go of a load whose caller failed, and of one whose range was cut meanwhile', async () => {
    const log = await open(new SimDisk(new SimRng(2)), { ...SMALL, cacheBytesMax: 1000 });
    const range = log.range(R1);
    for (const one of entriesFrom(1, 4, 1, 5000)) range.append([one]);
    await log.sync();
    range.append(entriesFrom(5, 1, 1, 5000));
    await log.sync();
    const failed = range.load(logIndex(1), logIndex(2), 10, () => Promise.reject(new Error('closed')));
    await expect(failed).rejects.toThrow('closed');
    await range.load(logIndex(2), logIndex(3), 10, () => {
      range.append(entriesFrom(2, 1, 2, 5000));
    });
    await range.load(logIndex(1), logIndex(2), 10, () => {
      expect(range.entries(logIndex(1), logIndex(2), 10)).toHaveLength(1);
    });
  });

  it('knows every place exactly, however many segments were written before', async () => {
    // A position counted from the first segment ever passes 2^53 here, where odd offsets are lost.
    const firstEpoch = 2 ** 21 - 2;
    const disk = new SimDisk(new SimRng(2));
    const options = { ...SMALL, segmentBytes: 8192, cacheBytesMax: 500, firstEpoch, epochsPerBase: 2 };
    let log = await open(disk, options);
    for (let index = 1; index <= 200; index += 1) {
      log.range(R1).append(entriesFrom(index, 1, 1, 301));
      // The second record of a block begins at an odd offset.
      if (index % 2 !== 0) continue;
      await log.sync();
      if (index % 20 !== 0) continue;
      const kept = index - 10;
      log.range(R1).setCheckpoint({ index: logIndex(kept), term: term(1), state: Buffer.from('odd') });
      log.range(R1).truncate(logIndex(kept), term(1));
      await log.sync();
      await log.reclaim();
      const expected = entriesFrom(kept + 1, index - kept, 1, 301).map((one) =>
        Buffer.from(one.payload).toString(),
      );
      expect(await textsOf(log)).toEqual(expected);
      if (index % 40 !== 0) continue;
      disk.crash();
      log = await open(disk, options);
      expect(await textsOf(log)).toEqual(expected);
    }
    const newest =
      disk
        .paths()
        .filter((path) => path.includes('segment'))
        .at(-1) ?? '';
    expect(Number(/(\d{10})/.exec(newest)?.[1])).toBeGreaterThan(2 ** 21 + 3);
  });

  it('waits while the disk is full, takes more meanwhile, and goes on by itself', async () => {
    for (const [seed, freeSegmentsMax] of [0, 1, 2].entries()) {
      const scheduler = new SimScheduler();
      const medium = new SimDisk(new SimRng(seed), { syncMs: [1, 1], accessMs: [0, 0] });
      const process = scheduler.startProcess('one');
      const log = await scheduler.settle(
        openRaftLog({
          disk: medium.attach(process),
          directory: '/log',
          clock: process.clock,
          rng: new SimRng('log'),
          logger: noopLogger,
          metrics: noopMetrics,
          options: { segmentBytes: 8192, freeSegmentsMax },
        }),
      );
      log.range(R1).append(entriesFrom(1, 1, 1));
      await scheduler.settle(log.sync());
      await scheduler.runFor(100);
      medium.setBytesMax(medium.usedBytes);
      log.range(R1).append(entriesFrom(2, 40, 1, 400));
      let isDurable = false;
      void log.sync().then(() => {
        isDurable = true;
      });
      await scheduler.runFor(5_000);
      expect([isDurable, log.isWaitingForRoom]).toEqual([false, true]);
      log.range(R1).append(entriesFrom(42, 3, 1, 400));
      expect(log.range(R1).lastIndex()).toBe(44);
      medium.setBytesMax(1 << 20);
      await scheduler.runFor(1_000);
      expect([isDurable, log.isWaitingForRoom]).toEqual([true, false]);
      await scheduler.settle(log.sync());
      process.kill();
      medium.crash();
      const again = await open(medium, { segmentBytes: 8192, freeSegmentsMax });
      expect(again.range(R1).lastIndex()).toBe(44);
    }
  });

  it('closes on a full disk, without what was never durable', async () => {
    const disk = new SimDisk(new SimRng(2));
    const options = { segmentBytes: 8192, freeSegmentsMax: 0 };
    const log = await open(disk, options);
    log.range(R1).append(entriesFrom(1, 1, 1));
    await log.sync();
    disk.setBytesMax(disk.usedBytes);
    log.range(R1).append(entriesFrom(2, 40, 1, 400));
    const syncing = log.sync();
    await log.close();
    await expect(syncing).rejects.toMatchObject({ code: 'DISK_FULL' });
    disk.setBytesMax(1 << 20);
    const again = await open(disk, options);
    expect(again.range(R1).lastIndex()).toBeGreaterThanOrEqual(1);
  });

  it('gives the space of old segments back on a full disk, where none can be renamed', async () => {
    const disk = new SimDisk(new SimRng(2));
    const options = { segmentBytes: 8192, freeSegmentsMax: 4 };
    const log = await open(disk, options);
    for (let index = 1; index <= 60; index += 1) {
      log.range(R1).append(entriesFrom(index, 1, 1, 400));
      await log.sync();
    }
    disk.setBytesMax(disk.usedBytes);
    const before = log.stats().segments;
    log.range(R1).setCheckpoint({ index: logIndex(60), term: term(1), state: Buffer.alloc(0) });
    log.range(R1).truncate(logIndex(59), term(1));
    await log.reclaim();
    expect(log.stats().segments).toBeLessThan(before);
    expect(disk.freeBytes).toBeGreaterThan(0);
  });

  it('trusts nothing of a failed write after a restart that it has not made durable itself', async () => {
    let shown = 0;
    for (let seed = 0; seed < 40; seed += 1) {
      const disk = new SimDisk(new SimRng(seed));
      const log = await open(disk);
      const before = seed % 2;
      if (before > 0) {
        log.range(R1).append(entriesFrom(1, 1, 1));
        await log.sync();
      }
      disk.injectFault({ operation: 'write', pathPart: 'segment' });
      log.range(R1).append(entriesFrom(before + 1, 30, 1));
      await expect(log.sync()).rejects.toThrow(/\(\/log\/[^)]*segment[^)]*\); look at the disk/);
      // The process ends and comes back; the machine goes on.
      const again = await open(disk);
      const seen = again.range(R1).lastIndex();
      if (seen > before) shown += 1;
      again.range(R1).append(entriesFrom(seen + 1, 1, 2));
      await again.sync();
      disk.crash();
      const last = await open(disk);
      expect(last.range(R1).lastIndex()).toBe(seen + 1);
      expect(await textsOf(last)).toHaveLength(seen + 1);
    }
    expect(shown).toBeGreaterThan(3);
  });

  it('says how much waits for the disk, and still takes what a core has taken', async () => {
    const log = await open(new SimDisk(new SimRng(2)), { ...SMALL, stagedBytesMax: 1000 });
    expect([log.stagedBytes, log.stagedBytesMax]).toEqual([0, 1000]);
    log.range(R1).append(entriesFrom(1, 4, 1, 300));
    expect(log.stagedBytes).toBe(4 * 332);
    log.range(R1).append(entriesFrom(5, 1, 1));
    expect(log.range(R1).lastIndex()).toBe(5);
    await log.sync();
    expect(log.stagedBytes).toBe(0);
  });

  it('asserts what would break the log', async () => {
    const log = await open(new SimDisk(new SimRng(2)));
    const range = log.range(R1);
    range.append(entriesFrom(1, 5, 2));
    expect(() => {
      range.append(entriesFrom(7, 1, 2));
    }).toThrow('gap');
    expect(() => {
      range.append(entriesFrom(6, 1, 1));
    }).toThrow('terms run backwards');
    expect(() => {
      range.truncate(logIndex(3), term(2));
    }).toThrow('above the checkpoint');
    range.setCheckpoint({ index: logIndex(3), term: term(2), state: Buffer.alloc(0) });
    expect(() => {
      range.truncate(logIndex(4), term(2));
    }).toThrow('above the checkpoint');
    expect(() => {
      range.append(entriesFrom(3, 1, 3));
    }).toThrow('replaces what is applied');
    range.truncate(logIndex(3), term(2));
    expect(range.firstIndex()).toBe(4);
    log.removeRange(R1);
    expect(() => {
      range.append(entriesFrom(6, 1, 2));
    }).toThrow('was removed');
    expect(log.range(R1).lastIndex()).toBe(0);
    await expect(open(new SimDisk(new SimRng(1)), { segmentBytes: 100 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });

  it('names the ranges that pin segments, and rewrites the small ones', async () => {
    const disk = new SimDisk(new SimRng(2));
    const options = { segmentBytes: 8192, segmentsTarget: 2, rewriteBytesMax: 500 };
    const log = await open(disk, options);
    log.range(R2).append(entriesFrom(1, 3, 1));
    log.range(R2).setHardState({ term: term(1), vote: replicaId(1), commit: logIndex(3) });
    for (let index = 1; index <= 60; index += 1) {
      log.range(R1).append(entriesFrom(index, 1, 1, 400));
      await log.sync();
    }
    expect(await log.reclaim()).toEqual([R1]);
    const before = log.stats().segments;
    expect(before).toBeGreaterThan(4);
    log.range(R1).setCheckpoint({ index: logIndex(58), term: term(1), state: Buffer.from('s') });
    log.range(R1).truncate(logIndex(58), term(1));
    expect(await log.reclaim()).toEqual([]);
    expect(log.stats().segments).toBeLessThanOrEqual(2);
    disk.crash();
    const again = await open(disk, options);
    expect((await textsOf(again, R2)).map((text) => text.slice(0, 3))).toEqual(['1@1', '2@1', '3@1']);
    expect(again.range(R2).hardState).toEqual({ term: 1, vote: 1, commit: 3 });
    expect([again.range(R1).firstIndex(), again.range(R1).lastIndex()]).toEqual([59, 60]);
  });

  it('frees no later segment once the removal of an earlier one failed', async () => {
    const disk = new SimDisk(new SimRng(2));
    const options = { segmentBytes: 8192, freeSegmentsMax: 0 };
    const log = await open(disk, options);
    for (let index = 1; index <= 60; index += 1) {
      log.range(R1).append(entriesFrom(index, 1, 1, 400));
      await log.sync();
    }
    log.range(R1).setCheckpoint({ index: logIndex(59), term: term(1), state: Buffer.alloc(0) });
    log.range(R1).truncate(logIndex(59), term(1));
    disk.injectFault({ operation: 'remove', pathPart: 'segment' });
    await expect(log.reclaim()).rejects.toMatchObject({ code: 'IO_ERROR' });
    const paths = disk.paths();
    await log.reclaim();
    expect(disk.paths()).toEqual(paths);
    log.range(R1).append(entriesFrom(61, 1, 1));
    await log.sync();
    disk.crash();
    const again = await open(disk, options);
    expect([again.range(R1).firstIndex(), again.range(R1).lastIndex()]).toEqual([60, 61]);
    await again.reclaim();
    expect(again.stats().segments).toBe(1);
  });

  it.each([
    ['fit a block with others', 60],
    ['fit a block', 250],
    ['are more than a block', 900],
    ['are more than a segment', 9_000],
  ])(
    'recovers all marks that were set together or none, wherever the process was killed, when they %s',
    async (_, bytes) => {
      const ids = [1, 2, 3].map((id) => rangeId(id));
      const marksOf = (index: number): RangeMarks[] =>
        ids.map((id) => ({
          rangeId: id,
          reset: { index: logIndex(index), term: term(5) },
          hardState: { term: term(5), vote: replicaId(7), commit: logIndex(index) },
          checkpoint: { index: logIndex(index), term: term(5), state: Buffer.alloc(bytes, index) },
        }));
      const found = new Set<number>();
      for (let ms = 0.5; ms < 14; ms += 0.5) {
        const scheduler = new SimScheduler();
        const medium = new SimDisk(new SimRng(ms), { syncMs: [1, 1], accessMs: [0, 0] });
        const process = scheduler.startProcess('one');
        const options = { segmentBytes: 16 * 1024 };
        const opened = openRaftLog({
          ...{ disk: medium.attach(process), directory: '/log', clock: process.clock, options },
          ...{ rng: new SimRng('log'), logger: noopLogger, metrics: noopMetrics },
        });
        const log = await scheduler.settle(opened);
        log.setMarks(marksOf(10));
        await scheduler.settle(log.sync());
        // Others are staged before and behind.
        log.range(rangeId(4)).append(entriesFrom(1, 2, 1, 300));
        log.setMarks(marksOf(11));
        log.range(rangeId(4)).append(entriesFrom(3, 2, 1, 300));
        void log.sync();
        await scheduler.runFor(ms);
        process.kill();
        medium.crash();
        await scheduler.runFor(20);
        const again = await open(medium, options);
        const seen = ids.map((id) => {
          const { checkpoint, hardState } = again.range(id);
          const state = Buffer.from(checkpoint?.state ?? []);
          expect(state.equals(Buffer.alloc(bytes, checkpoint?.index))).toBe(true);
          expect(hardState).toMatchObject({ vote: 7, commit: checkpoint?.index });
          expect(again.range(id).lastIndex()).toBe(checkpoint?.index);
          return checkpoint?.index;
        });
        expect(new Set(seen).size).toBe(1);
        found.add(seen[0] ?? 0);
        again.setMarks(marksOf(12));
        await again.close();
        const last = await open(medium, options);
        expect(ids.map((id) => last.range(id).checkpoint?.index)).toEqual([12, 12, 12]);
        await last.close();
      }
      expect([...found].sort()).toEqual([10, 11]);
    },
  );

  it('recovers a prefix of what was being written when the process was killed', async () => {
    const found = new Set<number>();
    for (let seed = 0; seed < 40; seed += 1) {
      const scheduler = new SimScheduler();
      const medium = new SimDisk(new SimRng(seed), { syncMs: [1, 1], accessMs: [0, 0] });
      const process = scheduler.startProcess('one');
      const log = await scheduler.settle(
        openRaftLog({
          disk: medium.attach(process),
          directory: '/log',
          clock: process.clock,
          rng: new SimRng('log'),
          logger: noopLogger,
          metrics: noopMetrics,
          options: { segmentBytes: 16 * 1024 },
        }),
      );
      log.range(R1).append(entriesFrom(1, 3, 1));
      await scheduler.settle(log.sync());
      log.range(R1).append(entriesFrom(4, 12, 1, 300));
      void log.sync();
      await scheduler.runFor(1.5);
      process.kill();
      medium.crash();
      await scheduler.runFor(10);
      const again = await open(medium, { segmentBytes: 16 * 1024 });
      const last = again.range(R1).lastIndex();
      expect(last).toBeGreaterThanOrEqual(3);
      expect(await textsOf(again)).toHaveLength(last);
      found.add(last);
    }
    // One block of two entries is always done after 1.5 ms; the next is there whole, or not at all.
    expect([...found].sort((left, right) => left - right)).toEqual([5, 7]);
  });
});
