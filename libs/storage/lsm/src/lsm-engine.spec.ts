import { describe, expect, it } from '@jest/globals';
import { describeKvEngine } from '@cairn/engine/testing';
import { noopLogger, type Clock } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine } from './index.js';

/** Time stands still, but what is put off to the next turn comes: walks over many bytes take several. */
function standingClock(): Clock {
  const { nowMs, unixMs, setTimer } = new SimScheduler().clockFor('test');
  return { nowMs, unixMs, setTimer, defer: (callback) => void setImmediate(callback) };
}

describeKvEngine('LsmEngine', {
  open: () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    return LsmEngine.open({
      path: '/engine',
      disk,
      clock: standingClock(),
      logger: noopLogger,
      runner: new InlineJobs(disk),
      memtableBytes: 64 * 1024,
      blockBytes: 512,
      tableBytes: 8 * 1024,
      blockCacheBytes: 16 * 1024,
    });
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
