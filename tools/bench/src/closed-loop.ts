import { FastRandom, freshen, makeValue, type KeySet } from './data-set.js';
import type { LoadWork, RunRequest, RunResult } from './load-messages.js';
import { runSteps } from './step-loop.js';
import type { ComparingTarget, TransactionTarget } from './transaction-target.js';
import { ERROR_REST_MS, REAL_TIME, Window, type LoadTime } from './window.js';
import {
  isTransactionWork,
  isYcsbWork,
  MIX_READ_SHARE,
  type TransactionWork,
  type YcsbWork,
} from './works.js';

export { REAL_TIME, type LoadTime } from './window.js';

/** What can be loaded. `slot` says which of the outstanding operations this is. */
export interface LoadTarget {
  /** Without a time-out it has the default of the client. */
  put(slot: number, key: Buffer, value: Buffer, timeoutMs?: number): Promise<unknown>;
  /** Resolves with undefined when there is no such key. */
  get(slot: number, key: Buffer, isStale: boolean): Promise<unknown>;
  /** Reads all rows from `start` up to and without `end`; resolves with their number. */
  scan(start: Buffer, end: Buffer): Promise<number>;
  /** What it can do with several keys at once; left out where it cannot. */
  readonly comparing?: ComparingTarget;
  readonly transactions?: TransactionTarget;
  close(): void;
}

/** Works whose operations are puts, gets or scans of everything. */
type PlainLoadWork = Exclude<LoadWork, TransactionWork | YcsbWork>;

/** Share of operations that read. */
function readShareOf(work: PlainLoadWork): number {
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
  /** Keys behind its end that were put by works which put new ones. */
  readonly inserted: { count: number };
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
  const { work } = request;
  if (isTransactionWork(work) || isYcsbWork(work)) return runSteps(target, data, { ...request, work }, time);
  const window = new Window(request.processIds, time);
  const context: SlotContext = {
    target,
    keys: data.keys,
    window,
    time,
    random: new FastRandom(request.seed),
    readShare: readShareOf(work),
    isStale: work === 'stale',
    valueBytes: data.valueBytes,
  };
  if (work === 'scan') {
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
