import { setTimeout as delay } from 'node:timers/promises';
import { assert, messageOf } from '@cairn/base';
import { FastRandom, freshen, makeValue, type KeySet } from './data-set.js';
import { Histogram } from './histogram.js';
import type { LoadWork, RunRequest, RunResult } from './load-messages.js';
import { cpuBetween, snapshotCpu, type CpuSnapshot } from './process-stats.js';
import { MIX_READ_SHARE } from './works.js';

/** What can be loaded. `slot` says which of the outstanding operations this is. */
export interface LoadTarget {
  /** Without a time-out it has the default of the client. */
  put(slot: number, key: Buffer, value: Buffer, timeoutMs?: number): Promise<unknown>;
  /** Resolves with undefined when there is no such key. */
  get(slot: number, key: Buffer, isStale: boolean): Promise<unknown>;
  /** Reads all rows from `start` up to and without `end`; resolves with their number. */
  scan(start: Buffer, end: Buffer): Promise<number>;
  close(): void;
}

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
const ERROR_REST_MS = 10;

/** Counts what begins and ends inside the window; the rest only keeps the system busy. */
class Window {
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

/** Share of operations that read. */
function readShareOf(work: LoadWork): number {
  switch (work) {
    case 'put':
      return 0;
    case 'mix':
      return MIX_READ_SHARE;
    case 'get':
    case 'stale':
    case 'scan':
      return 1;
  }
}

interface SlotContext {
  readonly target: LoadTarget;
  readonly keys: KeySet;
  readonly window: Window;
  readonly time: LoadTime;
  readonly random: FastRandom;
  readonly readShare: number;
  readonly isStale: boolean;
  readonly valueBytes: number;
}

/** One operation after the other. The value is this slot's own and changes only between two operations. */
async function runSlot(context: SlotContext, slot: number): Promise<void> {
  const { target, keys, window, time, random, readShare, isStale } = context;
  const value = makeValue(context.valueBytes);
  let startedMs = time.nowMs();
  while (!window.isStopping) {
    const key = keys.at(random.below(keys.length));
    const isRead = readShare === 1 || (readShare > 0 && random.below(100) < readShare * 100);
    try {
      if (isRead) {
        if ((await target.get(slot, key, isStale)) === undefined) window.recordMiss(startedMs);
      } else {
        freshen(value, random);
        await target.put(slot, key, value);
      }
    } catch (error) {
      window.recordError(error);
      await time.sleep(ERROR_REST_MS);
      startedMs = time.nowMs();
      continue;
    }
    const endedMs = time.nowMs();
    window.record(startedMs, endedMs, 1);
    startedMs = endedMs;
  }
}

/** Whole scans, one after the other; the window ends with the first that is done after its time. */
async function runScans(request: RunRequest, context: SlotContext, end: Buffer): Promise<void> {
  const { target, keys, window, time } = context;
  const start = keys.at(0);
  const readAll = async (): Promise<number> => {
    const rows = await target.scan(start, end);
    if (rows !== keys.length) throw new Error(`a scan of ${keys.length} rows returned ${rows}`);
    return rows;
  };
  const warmUntilMs = time.nowMs() + request.warmupMs;
  while (time.nowMs() < warmUntilMs) await readAll();
  window.open();
  const endMs = time.nowMs() + request.durationMs;
  let startedMs = time.nowMs();
  while (startedMs < endMs) {
    const rows = await readAll();
    const endedMs = time.nowMs();
    window.record(startedMs, endedMs, rows);
    startedMs = endedMs;
  }
  window.close();
}

export interface LoadData {
  readonly keys: KeySet;
  /** The first key behind the data set. */
  readonly end: Buffer;
  readonly valueBytes: number;
}

/**
 * A closed loop: each of `outstanding` slots begins its next operation when the one before has ended. Only
 * operations that begin and end inside the window are counted. Resolves when the last one has ended.
 *
 * @throws what a scan throws; failures of other operations are counted.
 */
export async function runClosedLoop(
  target: LoadTarget,
  data: LoadData,
  request: RunRequest,
  time = REAL_TIME,
): Promise<RunResult> {
  const window = new Window(request.processIds, time);
  const context: SlotContext = {
    target,
    keys: data.keys,
    window,
    time,
    random: new FastRandom(request.seed),
    readShare: readShareOf(request.work),
    isStale: request.work === 'stale',
    valueBytes: data.valueBytes,
  };
  if (request.work === 'scan') {
    await runScans(request, context, data.end);
    return window.result();
  }
  const slots = Array.from({ length: request.outstanding }, (_, slot) => runSlot(context, slot));
  await time.sleep(request.warmupMs);
  window.open();
  await time.sleep(request.durationMs);
  window.close();
  await Promise.all(slots);
  return window.result();
}

/**
 * Writes every key once.
 *
 * @throws the first error: a data set with holes measures nothing.
 */
export async function preload(target: LoadTarget, data: LoadData, outstanding: number): Promise<void> {
  const random = new FastRandom(0);
  let next = 0;
  const work = async (slot: number): Promise<void> => {
    const value = makeValue(data.valueBytes);
    while (next < data.keys.length) {
      const key = data.keys.at(next);
      next += 1;
      freshen(value, random);
      await target.put(slot, key, value);
    }
  };
  await Promise.all(Array.from({ length: outstanding }, (_, slot) => work(slot)));
}
