import { beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryEngine, type KvEngine } from '@cairn/engine';
import { noopLogger, noopMetrics, type Disk } from '@cairn/ports';
import { openRaftLog } from '@cairn/raft-log';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { markStore } from './store-mark.js';

const OWN = Buffer.alloc(16, 1);
const FOREIGN = Buffer.alloc(16, 2);

describe('a store that is opened', () => {
  const { clock } = new SimScheduler().startProcess('store');
  let disk: Disk;
  let engine: KvEngine;
  /** As `node.json` has it. */
  let isMade: boolean;

  beforeEach(async () => {
    disk = new SimDisk(new SimRng(1)).attach();
    engine = new MemoryEngine();
    isMade = false;
    await disk.makeDirectory('/data/log');
  });

  /** `onMade`: what happens in place of writing `node.json`. */
  async function mark(incarnation = OWN, onMade?: () => Promise<void>): Promise<void> {
    const log = await openRaftLog({
      ...{
        disk,
        directory: '/data/log',
        clock,
        rng: new SimRng(2),
        logger: noopLogger,
        metrics: noopMetrics,
      },
      options: { segmentBytes: 64 * 1024 },
    });
    const made = (): Promise<void> => {
      isMade = true;
      return Promise.resolve();
    };
    try {
      await markStore('/data', { log, engine }, { incarnation, isMade, made: onMade ?? made });
    } finally {
      await log.close();
    }
  }

  async function loseLog(): Promise<void> {
    for (const file of await disk.list('/data/log')) await disk.remove(`/data/log/${file}`);
  }

  it('has its mark in log and engine, and is opened with it again', async () => {
    await mark();
    expect(isMade).toBe(true);
    await mark();
    await mark();
  });

  it('is refused when its engine is gone', async () => {
    await mark();
    engine = new MemoryEngine();
    await expect(mark()).rejects.toMatchObject({
      code: 'CORRUPTION',
      message: expect.stringContaining('data directory /data: the engine of the store is gone'),
    });
  });

  it('is refused when its log is gone', async () => {
    await mark();
    await loseLog();
    await expect(mark()).rejects.toThrow('the log of the store is gone');
  });

  it('is refused when log or engine are those of another directory', async () => {
    await mark();
    const own = engine;
    engine = new MemoryEngine();
    isMade = false;
    await loseLog();
    await mark(FOREIGN);
    const theirs = engine;
    await expect(mark()).rejects.toThrow('the log in it belongs to another directory');
    await loseLog();
    isMade = false;
    engine = new MemoryEngine();
    await mark();
    engine = theirs;
    await expect(mark()).rejects.toThrow('the engine in it belongs to another directory');
    engine = own;
    await mark();
  });

  it.each(['before anything is marked', 'once only the engine is marked', 'once both are marked'])(
    'is opened after a process ended %s',
    async (moment) => {
      const crash = new Error('the process ended');
      if (moment === 'once both are marked') {
        await expect(mark(OWN, () => Promise.reject(crash))).rejects.toBe(crash);
      } else if (moment === 'once only the engine is marked') {
        await expect(mark(OWN, () => Promise.reject(crash))).rejects.toBe(crash);
        await loseLog();
      }
      expect(isMade).toBe(false);
      await mark();
      expect(isMade).toBe(true);
      await mark();
    },
  );
});
