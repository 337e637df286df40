import type { Clock } from '@cairn/ports';

/**
 * A read on the calling thread that took longer than this came from a device, not from the system's cache; or
 * another process got the core meanwhile.
 */
const SLOW_READ_MS = 1;
/** What slow reads may have taken before those that follow go to other threads. */
const OWED_MS_MAX = 20;
/** The share of time that slow reads may take in the long run. */
const PAID_SHARE = 0.2;

/**
 * Decides whether reads may hold up the event loop. What the operating system has in its cache takes
 * microseconds, less than handing the read to another thread; what it has to fetch may take milliseconds. So
 * the time of slow reads is owed, and paid off as time passes: the loop stands still for a fifth of the time
 * at most, and for `OWED_MS_MAX` and one read at a time. A single slow read, which on a busy machine is often
 * no read of a device at all, changes nothing.
 */
export class ReadGate {
  readonly #clock: Clock;
  #owedMs = 0;
  #owedAtMs = 0;
  #slowReads = 0;
  #isForced = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Reads on the calling thread that took long. */
  get slowReads(): number {
    return this.#slowReads;
  }

  get isOpen(): boolean {
    if (this.#owedMs === 0 || this.#isForced) return true;
    this.#pay(this.#clock.nowMs());
    return this.#owedMs < OWED_MS_MAX;
  }

  /** Runs what must be answered at once, whatever it takes. */
  force<Value>(work: () => Value): Value {
    this.#isForced = true;
    try {
      return work();
    } finally {
      this.#isForced = false;
    }
  }

  /** Runs a read on the calling thread and learns from how long it took. */
  measure(read: () => number): number {
    const startedMs = this.#clock.nowMs();
    const bytes = read();
    const endedMs = this.#clock.nowMs();
    if (endedMs - startedMs > SLOW_READ_MS) {
      this.#slowReads += 1;
      this.#pay(endedMs);
      this.#owedMs += endedMs - startedMs;
    }
    return bytes;
  }

  #pay(nowMs: number): void {
    this.#owedMs = Math.max(0, this.#owedMs - (nowMs - this.#owedAtMs) * PAID_SHARE);
    this.#owedAtMs = nowMs;
  }
}
