import { sleep, type Clock, type Rng } from '@cairn/ports';
import { backoffMs, type BackoffShape } from '../backoff.js';
import type { Holding } from './store.js';
import type { LeaseKeys } from './record.js';

/**
 * How one who waits for a lock, or observes an election, learns that it is worth asking again. It may be
 * wrong: whoever waits asks the store, and waits again.
 */
export interface ChangeWaiter {
  /**
   * Resolves when what was seen may have changed, and at the latest after `atMostMs`; rejects with the
   * signal's reason. `round` counts the waits since the last change that was seen, from 0.
   */
  changed(
    keys: LeaseKeys,
    seen: Holding,
    options: { readonly round: number; readonly atMostMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<void>;
}

/** Between two looks at what somebody else holds. */
const POLL_BACKOFF: BackoffShape = { firstMs: 20, maxMs: 1_000 };

/**
 * Looks again after 10 ms to 1 s, longer each time, with jitter. There is no queue: any who waits may be
 * next.
 */
export class PollingWaiter implements ChangeWaiter {
  readonly #clock: Clock;
  readonly #rng: Rng;

  constructor(clock: Clock, rng: Rng) {
    this.#clock = clock;
    this.#rng = rng;
  }

  changed(
    _keys: LeaseKeys,
    _seen: Holding,
    { round, atMostMs, signal }: Parameters<ChangeWaiter['changed']>[2],
  ): Promise<void> {
    const waitMs = Math.min(atMostMs, backoffMs(POLL_BACKOFF, round, this.#rng));
    return sleep(this.#clock, waitMs, signal);
  }
}
