import { describe, expect, it } from '@jest/globals';
import { describeKvEngine } from '@cairn/engine/testing';
import { noopLogger, type Clock } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine } from './index.js';
import { RUNS_PER_LEVEL_MAX } from './merge-policy.js';

/** Time stands still, but what is put off to the next turn comes: walks over many bytes take several. */
function standingClock(): Clock {
  const { nowMs, unixMs, setTimer } = new SimScheduler().clockFor('test');
  return { nowMs, unixMs, setTimer, defer: (callback) => void setImmediate(callback) };
}

let medium = new SimDisk(new SimRng(1));

function openAgain(): Promise<LsmEngine> {
  const disk = medium.attach();
  return LsmEngine.open({
    path: '/engine',
    disk,
    clock: standingClock(),
    logger: noopLogger,
    rng: new SimRng(1),
    runner: new InlineJobs(disk),
    memtableBytes: 64 * 1024,
    blockBytes: 512,
    tableBytes: 8 * 1024,
    blockCacheBytes: 16 * 1024,
  });
}

describeKvEngine('LsmEngine', {
  open: () => {
    medium = new SimDisk(new SimRng(1));
    return openAgain();
  },
  reopen: openAgain,
  crash: () => {
    medium.crash();
    return openAgain();
  },
});

describe('stems', () => {
  it('of every named namespace are filtered: a look for what is not there reads no block', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    const parts = {
      path: '/engine',
      disk,
      clock: standingClock(),
      logger: noopLogger,
      rng: new SimRng(1),
      runner: new InlineJobs(disk),
    };
    const engine = await LsmEngine.open({
      ...parts,
      versioned: { namespaces: [0x10, 0x13], suffixBytes: 4 },
    });
    const key = (namespace: number, stem: string, version: number): Buffer =>
      Buffer.concat([Buffer.of(namespace), Buffer.from(`${stem}\x01`), Buffer.of(0, 0, 0, version)]);
    const batch = engine.newBatch();
    for (const namespace of [0x10, 0x12, 0x13]) {
      for (let stem = 0; stem < 100; stem += 1) {
        for (const version of [3, 7]) batch.put(key(namespace, `stem-${stem}`, version), Buffer.of(version));
      }
    }
    await engine.write(batch);
    await engine.flush();
    const first = async (namespace: number, stem: string): Promise<number | undefined> =>
      (await engine.first(key(namespace, stem, 5), key(namespace, stem, 255)))?.[1][0];
    const looks = async (): Promise<number> => {
      const { cacheHits = 0, cacheMisses = 0 } = await engine.stats();
      return cacheHits + cacheMisses;
    };
    for (const namespace of [0x10, 0x13]) expect(await first(namespace, 'stem-42')).toBe(7);
    const before = await looks();
    for (const namespace of [0x10, 0x13]) {
      let read = 0;
      for (let stem = 100; stem < 300; stem += 1) {
        expect(await first(namespace, `stem-${stem}`)).toBeUndefined();
        read = (await looks()) - before;
      }
      // Some stems seem to be there: one or two in a hundred.
      expect(read).toBeLessThan(40);
    }
    await engine.close();
  });
});

describe('the block cache', () => {
  const SLOT_BYTES = 4096;
  const SMALL_ROWS = 32;
  const smallKey = (at: number): Buffer => Buffer.from(`a${String(at).padStart(3, '0')}`);
  const largeKey = Buffer.from('z');

  /** An engine whose rows, but for a large one that compresses well, lie in blocks of about a slot. */
  async function engineWithLargeRow(): Promise<LsmEngine> {
    const scheduler = new SimScheduler();
    const disk = new SimDisk(new SimRng(1)).attach();
    const engine = await LsmEngine.open({
      path: '/engine',
      disk,
      clock: scheduler.clockFor('engine'),
      logger: noopLogger,
      rng: new SimRng(1),
      runner: new InlineJobs(disk),
      blockBytes: SLOT_BYTES,
      blockCacheBytes: SMALL_ROWS * 2 * SLOT_BYTES,
      compressedFromLevel: 1,
    });
    const rng = new SimRng(3);
    const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, () => rng.integer(256)));
    for (let run = 0; run < RUNS_PER_LEVEL_MAX; run += 1) {
      const batch = engine.newBatch();
      for (let at = run; at < SMALL_ROWS; at += RUNS_PER_LEVEL_MAX) batch.put(smallKey(at), noise(3000));
      batch.put(largeKey, Buffer.alloc(SLOT_BYTES * 4, 'compressible '));
      await engine.write(batch);
      await engine.flush();
    }
    await scheduler.runFor(10_000);
    expect((await engine.stats()).levels.map(({ runs }) => runs)).toEqual([0, 1]);
    return engine;
  }

  it('keeps what it has while rows are read again and again whose blocks fit into a slot only compressed', async () => {
    const engine = await engineWithLargeRow();
    const readSmallRows = (): void => {
      for (let at = 0; at < SMALL_ROWS; at += 1) expect(engine.get(smallKey(at))).toHaveLength(3000);
    };
    readSmallRows();
    for (let read = 0; read < SMALL_ROWS * 6; read += 1) {
      expect(engine.get(largeKey)).toHaveLength(SLOT_BYTES * 4);
    }
    const before = await engine.stats();
    readSmallRows();
    const after = await engine.stats();
    expect(after.cacheMisses).toBe(before.cacheMisses);
    expect(after.memoryBytes).toBe(before.memoryBytes);
    await engine.close();
  });
});
