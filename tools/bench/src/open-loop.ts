import { assert, CairnError, messageOf } from '@cairn/base';
import type { LoadData, LoadTarget, LoadTime } from './closed-loop.js';
import { FastRandom, freshen, makeValue } from './data-set.js';
import { Histogram } from './histogram.js';

/** Puts that begin when their time has come, whatever became of those before. */
export interface OpenLoopRequest {
  readonly kind: 'open';
  readonly opsPerSecond: number;
  readonly warmupMs: number;
  readonly durationMs: number;
  /** Most operations that this process has open; what is due beyond is not sent. */
  readonly openMax: number;
  readonly seed: number;
}

/** What happened to the operations that were due in the window. */
export interface OpenLoopResult {
  readonly elapsedMs: number;
  /** Due in the window. */
  readonly offered: number;
  /** Due, but not sent: so many were open already, or this process was too late by more than the limit. */
  readonly unsent: number;
  /** Successes that ended in the window, whenever they began. */
  readonly succeeded: number;
  /** Failures that ended in the window, by error code. */
  readonly errorsByCode: Readonly<Record<string, number>>;
  /** Message of the first error that is no refusal; empty without. */
  readonly firstError: string;
  /** Of the successes, from the moment that they were due. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Event-loop delay of the load process itself, in the window. */
  readonly loopDelayP99Ms: number;
}

/** A wake-up at least so often; what became due meanwhile begins at once. */
const TICK_MS = 1;
/** A process that is later than this leaves out what it missed instead of sending it in one burst. */
export const LATENESS_MAX_MS = 100;

/**
 * Which operations of a constant rate are due: number n is due n / rate after the start. Pure arithmetic, so
 * that a process that wakes up late knows exactly what it owes.
 */
export class ArrivalSchedule {
  readonly #msPerOperation: number;
  readonly #startMs: number;
  #taken = 0;
  #skipped = 0;

  constructor(opsPerSecond: number, startMs: number) {
    assert(opsPerSecond > 0, 'an open loop has a rate', { opsPerSecond });
    this.#msPerOperation = 1_000 / opsPerSecond;
    this.#startMs = startMs;
  }

  /** Operations that were left out because nobody came for them in time. */
  get skipped(): number {
    return this.#skipped;
  }

  /** Operations that were due until now, skipped ones included. */
  get due(): number {
    return this.#taken;
  }

  /** Takes those that are due now: when the first one was due, and how many there are. */
  take(nowMs: number): { readonly firstDueMs: number; readonly count: number } {
    const until = Math.floor((nowMs - this.#startMs) / this.#msPerOperation) + 1;
    const oldest = Math.ceil((nowMs - LATENESS_MAX_MS - this.#startMs) / this.#msPerOperation);
    if (oldest > this.#taken) {
      this.#skipped += oldest - this.#taken;
      this.#taken = oldest;
    }
    const firstDueMs = this.dueMs(this.#taken);
    const count = Math.max(0, until - this.#taken);
    this.#taken += count;
    return { firstDueMs, count };
  }

  /** When operation number `at` (from 0) is due. */
  dueMs(at: number): number {
    return this.#startMs + at * this.#msPerOperation;
  }

  get msPerOperation(): number {
    return this.#msPerOperation;
  }
}

/** What a process sees of its own event loop; tests have one of their own. */
export interface LoopDelayMeter {
  reset(): void;
  p99Ms(): number;
}

/** Counts what ends between `open` and `close`. */
class OpenWindow {
  readonly #histogram = new Histogram();
  readonly #errorsByCode: Record<string, number> = {};
  #openedMs: number | undefined;
  #succeeded = 0;
  #firstError = '';
  #isClosed = false;
  #dueBefore = 0;
  #unsentBefore = 0;

  get isClosed(): boolean {
    return this.#isClosed;
  }

  open(nowMs: number, due: number, unsent: number): void {
    this.#openedMs = nowMs;
    this.#dueBefore = due;
    this.#unsentBefore = unsent;
  }

  succeed(dueMs: number, nowMs: number): void {
    if (!this.#isOpen()) return;
    this.#succeeded += 1;
    this.#histogram.recordMs(Math.max(0, nowMs - dueMs));
  }

  fail(error: unknown): void {
    if (!this.#isOpen()) return;
    const code = CairnError.is(error) ? error.code : 'UNKNOWN';
    this.#errorsByCode[code] = (this.#errorsByCode[code] ?? 0) + 1;
    if (code !== 'RESOURCE_EXHAUSTED' && this.#firstError === '') this.#firstError = messageOf(error);
  }

  close(nowMs: number, due: number, unsent: number): Omit<OpenLoopResult, 'loopDelayP99Ms'> {
    assert(this.#openedMs !== undefined, 'a window has both ends');
    this.#isClosed = true;
    return {
      elapsedMs: nowMs - this.#openedMs,
      offered: due - this.#dueBefore,
      unsent: unsent - this.#unsentBefore,
      succeeded: this.#succeeded,
      errorsByCode: { ...this.#errorsByCode },
      firstError: this.#firstError,
      p50Ms: this.#histogram.percentileMs(0.5),
      p99Ms: this.#histogram.percentileMs(0.99),
    };
  }

  #isOpen(): boolean {
    return this.#openedMs !== undefined && !this.#isClosed;
  }
}

export interface OpenLoopParts {
  readonly target: LoadTarget;
  readonly data: LoadData;
  readonly time: LoadTime;
  readonly loopDelay: LoopDelayMeter;
}

/** Sends puts, at most so many open at a time. */
class Sender {
  readonly #parts: OpenLoopParts;
  readonly #window: OpenWindow;
  readonly #random: FastRandom;
  readonly #openMax: number;
  #open = 0;
  #refused = 0;
  readonly #drained = Promise.withResolvers<void>();

  constructor(parts: OpenLoopParts, window: OpenWindow, request: OpenLoopRequest) {
    this.#parts = parts;
    this.#window = window;
    this.#random = new FastRandom(request.seed);
    this.#openMax = request.openMax;
  }

  /** Operations that were not sent because too many were open. */
  get refused(): number {
    return this.#refused;
  }

  send(dueMs: number): void {
    if (this.#open >= this.#openMax) {
      this.#refused += 1;
      return;
    }
    this.#open += 1;
    void this.#put(dueMs);
  }

  /** Resolves when nothing is open any more; nothing may be sent after. */
  drained(): Promise<void> {
    return this.#open === 0 ? Promise.resolve() : this.#drained.promise;
  }

  async #put(dueMs: number): Promise<void> {
    const { target, data, time } = this.#parts;
    // Open for long, so that each needs a value of its own.
    const value = makeValue(data.valueBytes);
    freshen(value, this.#random);
    try {
      await target.put(0, data.keys.at(this.#random.below(data.keys.length)), value);
      this.#window.succeed(dueMs, time.nowMs());
    } catch (error) {
      this.#window.fail(error);
    }
    this.#open -= 1;
    if (this.#window.isClosed && this.#open === 0) this.#drained.resolve();
  }
}

/**
 * An open loop at a constant rate. Latency counts from the moment that an operation was due, so that a slow
 * client does not hide a slow server. Resolves when everything that was sent has ended.
 */
export async function runOpenLoop(parts: OpenLoopParts, request: OpenLoopRequest): Promise<OpenLoopResult> {
  const { time, loopDelay } = parts;
  const window = new OpenWindow();
  const sender = new Sender(parts, window, request);
  const startMs = time.nowMs();
  const schedule = new ArrivalSchedule(request.opsPerSecond, startMs);
  const sendUntil = async (endMs: number): Promise<void> => {
    for (let nowMs = time.nowMs(); nowMs < endMs; nowMs = time.nowMs()) {
      const { firstDueMs, count } = schedule.take(nowMs);
      for (let at = 0; at < count; at += 1) sender.send(firstDueMs + at * schedule.msPerOperation);
      await time.sleep(TICK_MS);
    }
  };
  const unsent = (): number => sender.refused + schedule.skipped;
  await sendUntil(startMs + request.warmupMs);
  loopDelay.reset();
  window.open(time.nowMs(), schedule.due, unsent());
  await sendUntil(startMs + request.warmupMs + request.durationMs);
  const result = window.close(time.nowMs(), schedule.due, unsent());
  const loopDelayP99Ms = loopDelay.p99Ms();
  await sender.drained();
  return { ...result, loopDelayP99Ms };
}
