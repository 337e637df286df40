import { assert } from '@cairn/base';

/**
 * The longest time that one of some clients had to wait for a success while it tried all the time. A mean
 * hides it: the others may do very well meanwhile.
 */
export class StarvationMeter {
  /** When each client had its last success; before, when it began. */
  readonly #sinceMs: number[];
  #openedMs: number | undefined;
  #longestMs = 0;
  #isClosed = false;

  constructor(clients: number, nowMs: number) {
    assert(clients >= 1, 'somebody who may starve');
    this.#sinceMs = Array.from({ length: clients }, () => nowMs);
  }

  /** From here on waits count; those that have begun before, with their whole length. */
  open(nowMs: number): void {
    assert(this.#openedMs === undefined, 'a meter opens once');
    this.#openedMs = nowMs;
  }

  succeeded(client: number, nowMs: number): void {
    const sinceMs = this.#sinceMs[client];
    assert(sinceMs !== undefined, 'a client of the meter', { client });
    this.#sinceMs[client] = nowMs;
    if (this.#openedMs === undefined || this.#isClosed) return;
    this.#longestMs = Math.max(this.#longestMs, nowMs - sinceMs);
  }

  /** Ends the measurement: who waits now has waited until now. Answers the longest wait in milliseconds. */
  close(nowMs: number): number {
    assert(this.#openedMs !== undefined && !this.#isClosed, 'a meter closes once, after it was opened');
    this.#isClosed = true;
    for (const sinceMs of this.#sinceMs) this.#longestMs = Math.max(this.#longestMs, nowMs - sinceMs);
    return this.#longestMs;
  }
}
