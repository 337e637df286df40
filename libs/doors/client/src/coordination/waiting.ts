import { rethrowInvariant } from '@cairn/base';
import { sleep, type Clock, type Rng } from '@cairn/ports';
import { backoffMs, type BackoffShape } from '../backoff.js';
import { isSameRecord, type LeaseKeys } from './record.js';
import type { CoordinationStore, Holding } from './store.js';

/** Between two looks at what somebody else holds, where nothing is heard of it. */
const POLL_BACKOFF: BackoffShape = { firstMs: 20, maxMs: 1_000 };
/** The same where it is: that a holder's time is over is not told, and clocks may differ. */
const LOOK_MS_MAX = 10_000;
/** Whoever hears of the same change does not ask in the same moment. */
const SPREAD_MS = 10;

export interface WaitOptions {
  /** Waits since the last change that was seen, from 0. */
  readonly round: number;
  readonly atMostMs: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * How one who waits for a lock, or observes an election, learns that it is worth asking again: by the changes
 * of the row, and by looking when the time of the holder is over. Where changes cannot be heard of (a cluster
 * of an older version, too many watches) it looks again after 10 ms to 1 s, longer each time, with jitter.
 * There is no queue: any who waits may be next.
 */
export class ChangeWaiter {
  readonly #store: Pick<CoordinationStore, 'holders'>;
  readonly #clock: Clock;
  readonly #rng: Rng;

  constructor(store: Pick<CoordinationStore, 'holders'>, clock: Clock, rng: Rng) {
    this.#store = store;
    this.#clock = clock;
    this.#rng = rng;
  }

  /**
   * Resolves when what was seen (undefined = nothing was yet) may have changed, and at the latest after
   * `atMostMs`; it may be wrong, and whoever waits asks the store. Rejects with the signal's reason.
   */
  async changed(keys: LeaseKeys, seen: Holding | undefined, options: WaitOptions): Promise<void> {
    const { atMostMs, signal } = options;
    const pollMs = Math.min(atMostMs, backoffMs(POLL_BACKOFF, options.round, this.#rng));
    if (seen === undefined) return sleep(this.#clock, pollMs, signal);
    const ending = new AbortController();
    const signals = signal === undefined ? [ending.signal] : [ending.signal, signal];
    const either = AbortSignal.any(signals);
    const lookMs = Math.max(pollMs, Math.min(atMostMs, this.#untilOverMs(seen)));
    // The one that is not needed any more ends with `ending`.
    const look = sleep(this.#clock, lookMs, either);
    const news = this.#news(keys, seen, either).then(async (isHeard) => {
      const spreadMs = this.#rng.next() * SPREAD_MS;
      await sleep(this.#clock, isHeard ? Math.min(spreadMs, atMostMs) : pollMs, either);
    });
    try {
      await Promise.race([look, news]);
    } finally {
      ending.abort();
      await Promise.allSettled([look, news]);
    }
  }

  /** Until the holder's time would be over if it gave no further sign of life. */
  #untilOverMs({ expiresUnixMs }: Holding): number {
    const leftMs = expiresUnixMs === undefined ? LOOK_MS_MAX : expiresUnixMs - this.#clock.unixMs();
    return Math.min(LOOK_MS_MAX, Math.max(0, leftMs) + this.#rng.next() * SPREAD_MS);
  }

  /** Whether the row says something else than was seen; false = nothing can be heard of it. */
  async #news(keys: LeaseKeys, { holder }: Holding, signal: AbortSignal): Promise<boolean> {
    try {
      for await (const now of this.#store.holders(keys, signal)) if (!isSameRecord(now, holder)) return true;
    } catch (error) {
      // Whatever it is, looking finds out; and the signal is looked at by whoever waits.
      rethrowInvariant(error);
    }
    return false;
  }
}
