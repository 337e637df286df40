import { describe, expect, it } from '@jest/globals';
import { noopLogger } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine } from './index.js';

/*
 * What lies on the disk while the same keys are written again and again, and old versions are deleted one by
 * one, as garbage collection does it.
 */

const NAMESPACE = 0x10;
const SUFFIX_BYTES = 4;
const KEYS = 200;
const VALUE = Buffer.alloc(1_000, 'v');
const ROUNDS = 60;
const ALIVE_BYTES = KEYS * VALUE.length;

function keyOf(key: number, round: number): Buffer {
  const bytes = Buffer.alloc(9);
  bytes[0] = NAMESPACE;
  bytes.writeUInt32BE(key, 1);
  bytes.writeUInt32BE(0xffffffff - round, 5);
  return bytes;
}

class Churn {
  readonly #medium = new SimDisk(new SimRng(1));
  readonly #scheduler = new SimScheduler();
  #engine: LsmEngine | undefined;

  get engine(): LsmEngine {
    if (this.#engine === undefined) throw new Error('not open');
    return this.#engine;
  }

  async open(): Promise<void> {
    const process = this.#scheduler.startProcess('engine');
    const disk = this.#medium.attach(process);
    this.#engine = await this.settle(
      LsmEngine.open({
        path: '/engine',
        disk,
        clock: process.clock,
        logger: noopLogger,
        rng: new SimRng(1),
        runner: new InlineJobs(disk),
        versioned: { namespaces: [NAMESPACE], suffixBytes: SUFFIX_BYTES },
        memtableBytes: ALIVE_BYTES / 4,
        tableBytes: ALIVE_BYTES / 4,
      }),
    );
  }

  /** Writes the keys, all as of this round, and deletes what the round before wrote. */
  async round(round: number): Promise<void> {
    for (let first = 0; first < KEYS; first += 10) {
      const batch = this.engine.newBatch();
      for (let key = first; key < first + 10; key += 1) {
        batch.put(keyOf(key, round), VALUE);
        if (round > 0) batch.delete(keyOf(key, round - 1));
      }
      await this.settle(this.engine.write(batch));
    }
    await this.#scheduler.runFor(10_000);
  }

  /** Without a chance to finish anything. */
  async restart(): Promise<void> {
    await this.settle(this.engine.flush());
    await this.settle(this.engine.close());
    await this.open();
  }

  get bytesOnDisk(): number {
    return this.#medium
      .paths()
      .filter((path) => path.endsWith('.lsm'))
      .reduce((sum, path) => sum + (this.#medium.peek(path)?.length ?? 0), 0);
  }

  settle<Value>(promise: Promise<Value> | Value): Promise<Value> {
    return this.#scheduler.settle(Promise.resolve(promise));
  }

  async rows(): Promise<number> {
    const walk = this.engine.iterate({ start: Buffer.alloc(0), end: Buffer.of(0xff) });
    let rows = 0;
    for (;;) {
      const page = await this.settle(walk.next(100));
      if (page.length === 0) break;
      rows += page.length;
    }
    await walk.close();
    return rows;
  }
}

describe('space of rows that were deleted one by one', () => {
  it.each([
    ['while the engine runs', ROUNDS],
    ['with a restart after every third round', 3],
  ])('comes back before it is much more than what is alive, %s', async (_, roundsBetweenRestarts) => {
    const churn = new Churn();
    await churn.open();
    let most = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      await churn.round(round);
      if (round % roundsBetweenRestarts === roundsBetweenRestarts - 1) await churn.restart();
      most = Math.max(most, churn.bytesOnDisk);
    }
    expect(await churn.rows()).toBe(KEYS);
    // As much again that is dead, a memtable that came last, and tables that are being merged.
    expect(most).toBeLessThan(ALIVE_BYTES * 4);
  });

  it('is not looked for where nothing was deleted: merges go by level alone', async () => {
    const churn = new Churn();
    await churn.open();
    for (let key = 0; key < KEYS; key += 1) {
      const batch = churn.engine.newBatch();
      batch.put(keyOf(key, 0), VALUE);
      await churn.settle(churn.engine.write(batch));
    }
    await churn.restart();
    expect(churn.bytesOnDisk).toBeGreaterThan(ALIVE_BYTES);
    expect(churn.bytesOnDisk).toBeLessThan(ALIVE_BYTES * 1.2);
  });
});
