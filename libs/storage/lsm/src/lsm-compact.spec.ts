import { describe, expect, it } from '@jest/globals';
import { noopLogger, sleep, type Clock, type Disk } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine } from './index.js';
import { runJob } from './inline-jobs.js';
import type { FlushJob, FlushResult, Job, JobResult, MergeJob, MergeResult } from './jobs.js';
import { RUNS_PER_LEVEL_MAX } from './merge-policy.js';

const STEP_MS = 250;
const WRITE_INTERVAL_MS = 100;
const ROWS_PER_WRITE = 4;
const VALUE = Buffer.alloc(200, 'v');
const EVERYTHING = [Buffer.alloc(0), Buffer.of(0xff)] as const;

/** Jobs take a while of the simulated time: others write meanwhile. */
class SlowJobs extends InlineJobs {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #flushMs: number;

  constructor(disk: Disk, clock: Clock, flushMs: number) {
    super(disk);
    this.#disk = disk;
    this.#clock = clock;
    this.#flushMs = flushMs;
  }

  override run(job: FlushJob): Promise<FlushResult>;
  override run(job: MergeJob): Promise<MergeResult>;
  override async run(job: Job): Promise<JobResult> {
    await sleep(this.#clock, job.type === 'flush' ? this.#flushMs : STEP_MS);
    return runJob(this.#disk, job);
  }
}

/** An engine, and who writes to it. */
class Load {
  readonly #scheduler = new SimScheduler();
  readonly #rng = new SimRng(7);
  readonly #clock: Clock;
  readonly engine: Promise<LsmEngine>;
  longestWriteMs = 0;
  /** Of each level, since the last `forget`. */
  mostRuns: number[] = [];

  constructor({ flushMs }: { readonly flushMs: number }) {
    const process = this.#scheduler.startProcess('engine');
    const disk = new SimDisk(new SimRng(1)).attach(process);
    this.#clock = process.clock;
    this.engine = this.settle(
      LsmEngine.open({
        path: '/engine',
        disk,
        clock: process.clock,
        logger: noopLogger,
        rng: new SimRng(1),
        runner: new SlowJobs(disk, process.clock, flushMs),
        memtableBytes: 4096,
        blockBytes: 256,
        tableBytes: 32 * 1024,
      }),
    );
  }

  settle<Value>(promise: Promise<Value> | Value): Promise<Value> {
    return this.#scheduler.settle(Promise.resolve(promise));
  }

  /** At a rate that merges keep up with, unless told otherwise. */
  async write(times: number, intervalMs = WRITE_INTERVAL_MS): Promise<void> {
    const engine = await this.engine;
    for (let time = 0; time < times; time += 1) {
      const batch = engine.newBatch();
      for (let row = 0; row < ROWS_PER_WRITE; row += 1) {
        batch.put(Buffer.from(`k${String(this.#rng.integer(1e6)).padStart(6, '0')}`), VALUE);
      }
      const beganMs = this.#clock.nowMs();
      await this.settle(engine.write(batch));
      this.longestWriteMs = Math.max(this.longestWriteMs, this.#clock.nowMs() - beganMs);
      await this.#scheduler.runFor(intervalMs);
      for (const { level, runs } of (await engine.stats()).levels) {
        this.mostRuns[level] = Math.max(this.mostRuns[level] ?? 0, runs);
      }
    }
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  runFor(durationMs: number): Promise<void> {
    return this.#scheduler.runFor(durationMs);
  }

  async count(start: string, end: string): Promise<number> {
    const iterator = (await this.engine).iterate({ start: Buffer.from(start), end: Buffer.from(end) });
    let rows = 0;
    for (;;) {
      const page = await this.settle(iterator.next(1000));
      if (page.length === 0) break;
      rows += page.length;
    }
    await iterator.close();
    return rows;
  }

  forget(): void {
    this.longestWriteMs = 0;
    this.mostRuns = [];
  }
}

describe('compacting everything', () => {
  it('leaves merges their turns, so that runs stay few and writes do not wait', async () => {
    const load = new Load({ flushMs: 0 });
    const engine = await load.engine;
    await load.write(2_000);
    expect(Math.max(...load.mostRuns)).toBeLessThanOrEqual(RUNS_PER_LEVEL_MAX + 2);
    load.forget();
    let isDone = false;
    void engine.compact(...EVERYTHING).then(() => (isDone = true));
    let writes = 0;
    for (; !isDone && writes < 1_000; writes += 1) await load.write(1);
    expect(isDone).toBe(true);
    // It had many tables to write, so merges of several levels were due meanwhile.
    expect(writes * WRITE_INTERVAL_MS).toBeGreaterThan(STEP_MS * 40);
    expect(Math.max(...load.mostRuns)).toBeLessThanOrEqual(RUNS_PER_LEVEL_MAX + 2);
    expect(load.longestWriteMs).toBeLessThan(STEP_MS);
    await load.settle(engine.close());
  });

  it('ends though there is always a memtable that waits to be written out', async () => {
    const load = new Load({ flushMs: 10 });
    const engine = await load.engine;
    await load.write(500, 0);
    let isDone = false;
    void engine.compact(...EVERYTHING).then(() => (isDone = true));
    let writes = 0;
    for (; !isDone && writes < 5_000; writes += 1) await load.write(1, 0);
    expect(isDone).toBe(true);
    await load.settle(engine.close());
  });

  it('ends after the step under way when the engine is closed, begun or not, and whoever asked is told', async () => {
    const load = new Load({ flushMs: 10 });
    const engine = await load.engine;
    await load.write(500);
    const begun = engine.compact(...EVERYTHING);
    await load.runFor(STEP_MS * 1.5);
    await load.write(1, 0);
    const asked = engine.compact(...EVERYTHING);
    const outcomes = Promise.allSettled([begun, asked]);
    const beganMs = load.nowMs();
    await load.settle(engine.close());
    expect(load.nowMs() - beganMs).toBeLessThan(STEP_MS + 100);
    const closed = { status: 'rejected', reason: expect.objectContaining({ code: 'UNAVAILABLE' }) };
    expect(await load.settle(outcomes)).toEqual([closed, closed]);
  });

  it('lets a deletion of a span in between, and gives the space of its rows back', async () => {
    const load = new Load({ flushMs: 10 });
    const engine = await load.engine;
    await load.write(500);
    let isDone = false;
    const compacted = engine.compact(...EVERYTHING).then(() => (isDone = true));
    await load.runFor(STEP_MS * 1.5);
    const others = (await load.count('k0', 'k2')) + (await load.count('k8', 'l'));
    const beganMs = load.nowMs();
    await load.settle(engine.deleteRange(Buffer.from('k2'), Buffer.from('k8')));
    expect(load.nowMs() - beganMs).toBeLessThan(STEP_MS + 100);
    expect(isDone).toBe(false);
    await load.settle(compacted);
    expect(await load.count('k', 'l')).toBe(others);
    const rowBytes = VALUE.length + 20;
    expect((await engine.stats()).diskBytes).toBeLessThan(others * rowBytes * 1.2);
    await load.settle(engine.close());
  });
});

describe('merges', () => {
  it('have their turns though there is always a memtable that waits to be written out, so that no level grows without end', async () => {
    const load = new Load({ flushMs: 10 });
    const engine = await load.engine;
    await load.write(4_000, 0);
    expect(Math.max(...load.mostRuns)).toBeLessThanOrEqual(RUNS_PER_LEVEL_MAX * 1.5);
    await load.settle(engine.close());
  });
});
