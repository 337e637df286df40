import { assert, InvariantError } from '@cairn/base';
import type { Clock, Timer } from '@cairn/ports';
import { EventHeap, type SimEvent } from './event-heap.js';
import { inMacrotaskTurns } from './macrotask-turns.js';
import { SimProcess, type SimProcessOptions } from './sim-process.js';

export interface SimSchedulerOptions {
  /** Unix milliseconds at virtual time 0. Default 2026-06-01T00:00:00Z. */
  readonly unixOriginMs?: number;
}

const UNIX_ORIGIN_DEFAULT_MS = 1_780_272_000_000;

/**
 * Virtual time. Events run one at a time in the order (time, order of scheduling); between two events all
 * promise reactions of the first have run. Nothing else moves time, so a run is a function of what was
 * scheduled.
 *
 * Real I/O, worker threads and real timers must not be awaited by simulated code: they would complete at a
 * moment that virtual time does not define. A device that does real work makes time wait for it with
 * `holdFor`, and tells of its end by an event.
 */
export class SimScheduler {
  readonly unixOriginMs: number;
  readonly #heap = new EventHeap();
  #nowMs = 0;
  #sequence = 0;
  #executed = 0;
  #running = false;
  /** Real work that has begun: no event runs before it has ended. */
  readonly #held = new Set<Promise<unknown>>();

  constructor(options: SimSchedulerOptions = {}) {
    this.unixOriginMs = options.unixOriginMs ?? UNIX_ORIGIN_DEFAULT_MS;
  }

  /** Virtual milliseconds since the start, with fraction. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that ran so far (cancelled ones do not count). */
  get executedEvents(): number {
    return this.#executed;
  }

  /** Events that wait, cancelled ones included. */
  get pendingEvents(): number {
    return this.#heap.size;
  }

  /** Calls back after `delayMs` (>= 0) of virtual time; belongs to no process. */
  schedule(delayMs: number, callback: () => void): Timer {
    assert(delayMs >= 0 && Number.isFinite(delayMs), 'delay must be finite and not negative', { delayMs });
    this.#sequence += 1;
    const event: SimEvent = { atMs: this.#nowMs + delayMs, sequence: this.#sequence, callback };
    this.#heap.push(event);
    return {
      cancel: () => {
        event.callback = undefined;
      },
    };
  }

  /**
   * Virtual time stands still until the work has ended: the real work behind a simulated device then takes
   * no virtual time, and nothing of it is under way when an event runs. What comes out of it must reach
   * simulated code by an event that is scheduled now, because the promise itself settles at a moment that
   * differs from run to run. What it rejects with rejects the run.
   */
  holdFor(work: Promise<unknown>): void {
    this.#held.add(work);
    const end = (): void => {
      this.#held.delete(work);
    };
    work.then(end, end);
  }

  /** Begins one life of a process; the name may be used again after its death. */
  startProcess(name: string, options: SimProcessOptions = {}): SimProcess {
    return new SimProcess(this, name, options);
  }

  /** The clock of a process that nobody pauses or kills: for unit tests of one part. */
  clockFor(name: string, options: SimProcessOptions = {}): Clock {
    return this.startProcess(name, options).clock;
  }

  /** Runs the next event and its promise reactions; false when there was none. */
  async step(): Promise<boolean> {
    return (await this.#run(Number.POSITIVE_INFINITY, 1)) === 1;
  }

  /** Runs every event up to and including `untilMs`, then sets the time to it. */
  async runUntil(untilMs: number): Promise<void> {
    assert(untilMs >= this.#nowMs, 'virtual time does not go back', { untilMs, nowMs: this.#nowMs });
    await this.#run(untilMs, Number.POSITIVE_INFINITY);
    this.#nowMs = untilMs;
  }

  async runFor(durationMs: number): Promise<void> {
    await this.runUntil(this.#nowMs + durationMs);
  }

  /**
   * Runs until no event waits. Throws InvariantError when `limitMs` of virtual time pass without getting
   * there.
   */
  async runUntilIdle(limitMs = 3_600_000): Promise<void> {
    await this.#run(this.#nowMs + limitMs, Number.POSITIVE_INFINITY);
    if (this.#heap.peek() !== undefined) {
      throw new InvariantError('the simulation did not become idle', { limitMs, pending: this.#heap.size });
    }
  }

  /**
   * Runs until the promise settles and gives its result. Throws InvariantError after `limitMs` or when idle.
   */
  async settle<Value>(promise: Promise<Value>, limitMs = 3_600_000): Promise<Value> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await this.#run(this.#nowMs + limitMs, Number.POSITIVE_INFINITY, () => settled);
    if (!settled) {
      throw new InvariantError('the promise did not settle', { limitMs, pending: this.#heap.size });
    }
    return await promise;
  }

  /**
   * Runs until `done` answers true; checked before each event. Throws InvariantError after `limitMs` or when
   * idle.
   */
  async runUntilTrue(done: () => boolean, limitMs = 3_600_000): Promise<void> {
    await this.#run(this.#nowMs + limitMs, Number.POSITIVE_INFINITY, done);
    if (!done()) throw new InvariantError('the condition did not come true', { limitMs, nowMs: this.#nowMs });
  }

  async #run(untilMs: number, eventsMax: number, stop?: () => boolean): Promise<number> {
    assert(!this.#running, 'the scheduler already runs: await one run before the next');
    this.#running = true;
    let count = 0;
    try {
      do {
        await Promise.all(this.#held);
        await inMacrotaskTurns(() => {
          if (this.#held.size > 0 || count >= eventsMax || stop?.() === true) return false;
          const event = this.#nextLive(untilMs);
          if (event === undefined) return false;
          assert(event.atMs >= this.#nowMs, 'an event lies in the past');
          this.#nowMs = event.atMs;
          this.#executed += 1;
          count += 1;
          const callback = event.callback;
          event.callback = undefined;
          callback?.();
          return true;
        });
      } while (this.#held.size > 0);
    } finally {
      this.#running = false;
    }
    return count;
  }

  /** Takes the next event that is not cancelled and not after `untilMs`. */
  #nextLive(untilMs: number): SimEvent | undefined {
    for (;;) {
      const event = this.#heap.peek();
      if (event === undefined) return undefined;
      if (event.callback !== undefined && event.atMs > untilMs) return undefined;
      this.#heap.pop();
      if (event.callback !== undefined) return event;
    }
  }
}
