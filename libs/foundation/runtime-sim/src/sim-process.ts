import { assert } from '@cairn/base';
import type { Clock, Timer } from '@cairn/ports';
import type { SimScheduler } from './sim-scheduler.js';

export interface SimProcessOptions {
  /**
   * What its clocks (monotonic and wall) are ahead of virtual time, milliseconds; may be negative. Default 0.
   */
  readonly offsetMs?: number;
  /** How fast its clocks run: 100 means 100 microseconds per second too fast. Default 0; above -1,000,000. */
  readonly driftPpm?: number;
}

/**
 * - `running`: its events happen when due.
 * - `paused`: events that fall due are held and happen, in order, on `resume` (a stopped process, a long GC).
 * - `dead`: pending and future events never happen. A dead process stays dead; start another one.
 */
export type SimProcessState = 'running' | 'paused' | 'dead';

/**
 * One life of a simulated operating system process. Everything that calls into its code (timers, I/O
 * completions, frames) goes through `schedule`, so that a pause holds and a kill silences all of it.
 */
export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #scheduler: SimScheduler;
  #offsetMs: number;
  readonly #rate: number;
  readonly #held: { callback: (() => void) | undefined }[] = [];
  readonly #deathListeners: (() => void)[] = [];
  #state: SimProcessState = 'running';
  #wallStepMs = 0;

  /** Use `SimScheduler.startProcess`. */
  constructor(scheduler: SimScheduler, name: string, options: SimProcessOptions) {
    this.#scheduler = scheduler;
    this.name = name;
    this.#offsetMs = options.offsetMs ?? 0;
    this.#rate = 1 + (options.driftPpm ?? 0) / 1_000_000;
    assert(this.#rate > 0, 'a clock must not stand still or run backwards', { rate: this.#rate });
    this.clock = {
      nowMs: () => this.#localMs(),
      unixMs: () => Math.floor(scheduler.unixOriginMs + this.#localMs() + this.#wallStepMs),
      setTimer: (delayMs, callback) => this.schedule(delayMs / this.#rate, callback),
      defer: (callback) => {
        this.schedule(0, callback);
      },
    };
  }

  #localMs(): number {
    return this.#offsetMs + this.#scheduler.nowMs * this.#rate;
  }

  /**
   * Sets the wall clock on (or back, when negative), as an operator or a time service does. `nowMs` goes on.
   */
  stepWallClock(byMs: number): void {
    this.#wallStepMs += byMs;
  }

  /**
   * The monotonic clock has stood still for the last `forMs`, and the wall clock has not: a machine that was
   * suspended and goes on.
   */
  stoodStill(forMs: number): void {
    this.#offsetMs -= forMs;
    this.#wallStepMs += forMs;
  }

  get state(): SimProcessState {
    return this.#state;
  }

  /** Calls back after `delayMs` of virtual time, later if paused then, never if dead then. */
  schedule(delayMs: number, callback: () => void): Timer {
    if (this.#state === 'dead') return { cancel: () => undefined };
    const slot: { callback: (() => void) | undefined } = { callback };
    const timer = this.#scheduler.schedule(delayMs, () => {
      switch (this.#state) {
        case 'running': {
          const due = slot.callback;
          slot.callback = undefined;
          due?.();
          return;
        }
        case 'paused':
          this.#held.push(slot);
          return;
        case 'dead':
          return;
      }
    });
    return {
      cancel: () => {
        slot.callback = undefined;
        timer.cancel();
      },
    };
  }

  pause(): void {
    assert(this.#state !== 'dead', 'a dead process cannot pause', { process: this.name });
    this.#state = 'paused';
  }

  /**
   * Each held event becomes an event of its own at the present instant, in the order in which they fell due.
   */
  resume(): void {
    assert(this.#state !== 'dead', 'a dead process cannot resume', { process: this.name });
    if (this.#state === 'running') return;
    this.#state = 'running';
    for (const slot of this.#held.splice(0)) {
      this.schedule(0, () => {
        const due = slot.callback;
        slot.callback = undefined;
        due?.();
      });
    }
  }

  /** Ends this life at once. Its disks and transports notice; idempotent. */
  kill(): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#held.length = 0;
    for (const listener of this.#deathListeners.splice(0)) listener();
  }

  /** Simulated devices ask to be told: the process calls this once, inside `kill`. */
  onDeath(listener: () => void): void {
    this.#deathListeners.push(listener);
  }
}
