import { setTimeout as delay } from 'node:timers/promises';
import { assert, messageOf } from '@cairn/base';
import { Histogram } from './histogram.js';
import type { RunResult } from './load-messages.js';
import { cpuBetween, snapshotCpu, type CpuSnapshot } from './process-stats.js';

/** Where a loop has its time from; tests have one of their own. */
export interface LoadTime {
  nowMs(): number;
  /** Resolves early when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const REAL_TIME: LoadTime = {
  nowMs: () => performance.now(),
  sleep: async (ms, signal) => {
    // Aborted means that nobody waits any longer.
    await delay(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  },
};

/**
 * After a failure a slot rests, or a target that refuses everything at once would be called in a tight loop.
 */
export const ERROR_REST_MS = 10;

/** Counts what begins and ends inside the window; the rest only keeps the system busy. */
export class Window {
  readonly histogram = new Histogram();
  operations = 0;
  errors = 0;
  firstError = '';
  misses = 0;
  /** No new operations are to begin. */
  isStopping = false;
  #opened: CpuSnapshot | undefined;
  #closed: CpuSnapshot | undefined;
  readonly #processIds: readonly number[];
  readonly #time: LoadTime;

  constructor(processIds: readonly number[], time: LoadTime) {
    this.#processIds = processIds;
    this.#time = time;
  }

  open(): void {
    this.#opened = snapshotCpu(this.#processIds, this.#time.nowMs());
  }

  close(): void {
    this.#closed = snapshotCpu(this.#processIds, this.#time.nowMs());
    this.isStopping = true;
  }

  record(startedMs: number, endedMs: number, operations: number): void {
    if (!this.#covers(startedMs)) return;
    this.histogram.recordMs(endedMs - startedMs);
    this.operations += operations;
  }

  recordMiss(startedMs: number): void {
    if (this.#covers(startedMs)) this.misses += 1;
  }

  /** Errors count from the very start: one in the warm-up is as bad a sign as any other. */
  recordError(error: unknown): void {
    this.errors += 1;
    if (this.firstError === '') this.firstError = messageOf(error);
  }

  result(): RunResult {
    assert(this.#opened !== undefined && this.#closed !== undefined, 'a window has both ends');
    return {
      operations: this.operations,
      elapsedMs: this.#closed.atMs - this.#opened.atMs,
      p50Ms: this.histogram.percentileMs(0.5),
      p99Ms: this.histogram.percentileMs(0.99),
      p999Ms: this.histogram.percentileMs(0.999),
      errors: this.errors,
      firstError: this.firstError,
      misses: this.misses,
      cpu: cpuBetween(this.#opened, this.#closed),
    };
  }

  #covers(startedMs: number): boolean {
    return this.#opened !== undefined && this.#closed === undefined && startedMs >= this.#opened.atMs;
  }
}
