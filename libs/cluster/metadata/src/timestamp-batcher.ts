import { assert, CairnError, timestamp, type Timestamp } from '@cairn/base';
import type { Clock } from '@cairn/ports';

import { TIMESTAMPS_PER_CALL_MAX } from './timestamp-oracle.js';

/**
 * Requests under way at once: while one travels, the next gathers; a third would only split what could be
 * one.
 */
const IN_FLIGHT_MAX = 2;

/** Callers waiting at once; more are refused. */
const WAITING_MAX = 100_000;

interface Waiter {
  readonly count: number;
  readonly resolve: (first: Timestamp) => void;
  readonly reject: (error: unknown) => void;
}

export interface TimestampBatcherOptions {
  readonly clock: Clock;
  /** Asks the oracle for `count` consecutive timestamps; answers the first. */
  request(count: number): Promise<number>;
}

/**
 * Turns many wishes for timestamps into few requests. A wish is only ever served by a request that left after
 * it, so the timestamp is above all that were handed out before.
 */
export class TimestampBatcher {
  readonly #options: TimestampBatcherOptions;
  #waiters: Waiter[] = [];
  #inFlight = 0;
  #isScheduled = false;

  constructor(options: TimestampBatcherOptions) {
    this.#options = options;
  }

  /**
   * The first of `count` consecutive timestamps, 1 .. TIMESTAMPS_PER_CALL_MAX. Rejects as the request did, or
   * RESOURCE_EXHAUSTED.
   */
  take(count: number): Promise<Timestamp> {
    assert(
      Number.isSafeInteger(count) && count >= 1 && count <= TIMESTAMPS_PER_CALL_MAX,
      'bad timestamp count',
      {
        count,
      },
    );
    if (this.#waiters.length >= WAITING_MAX) {
      const message = `${WAITING_MAX} callers wait for timestamps already`;
      return Promise.reject(new CairnError('RESOURCE_EXHAUSTED', message, { retryAfterMs: 50 }));
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ count, resolve, reject });
      this.#schedule();
    });
  }

  /** All callers of this turn join before the request leaves. */
  #schedule(): void {
    if (this.#isScheduled || this.#inFlight >= IN_FLIGHT_MAX) return;
    this.#isScheduled = true;
    this.#options.clock.defer(() => {
      this.#isScheduled = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#waiters.length === 0 || this.#inFlight >= IN_FLIGHT_MAX) return;
    let total = 0;
    let taken = 0;
    for (const { count } of this.#waiters) {
      if (total + count > TIMESTAMPS_PER_CALL_MAX) break;
      total += count;
      taken += 1;
    }
    const batch = this.#waiters.slice(0, taken);
    this.#waiters = this.#waiters.slice(taken);
    this.#inFlight += 1;
    this.#options
      .request(total)
      .finally(() => (this.#inFlight -= 1))
      .then(
        (first) => {
          let next = first;
          for (const { count, resolve } of batch) {
            resolve(timestamp(next));
            next += count;
          }
          this.#send();
        },
        (error: unknown) => {
          for (const { reject } of batch) reject(error);
          this.#send();
        },
      );
    if (this.#waiters.length > 0) this.#schedule();
  }
}
