import type { Clock } from '@cairn/ports';

/**
 * A read on the calling thread that took longer than this came from a device, not from the system's cache.
 */
const SLOW_READ_MS = 1;
/** After a slow one, reads go to other threads for so long; then one more is tried. */
const CLOSED_MS = 1_000;

/**
 * Decides whether reads may hold up the event loop. What the operating system has in its cache takes
 * microseconds, less than handing the read to another thread; what it has to fetch may take milliseconds. So
 * one slow read sends those that follow to other threads for a while: the loop stands still for at most one
 * read of the device per `CLOSED_MS`.
 */
export class ReadGate {
  readonly #clock: Clock;
  #closedUntilMs = -Infinity;
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
    if (this.#closedUntilMs === -Infinity || this.#isForced) return true;
    return this.#clock.nowMs() >= this.#closedUntilMs;
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
      this.#closedUntilMs = endedMs + CLOSED_MS;
    }
    return bytes;
  }
}
