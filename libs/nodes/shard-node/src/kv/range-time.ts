import { rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import { NO_EXPIRY } from '@cairn/mvcc';

import { isStaleRead, type KvCall, type Submitter } from './kv-call.js';
import type { StoreTimestamps } from './store-timestamps.js';

/** What one range takes for now, and by which time it judges expiries. */
export class RangeTime {
  readonly #timestamps: StoreTimestamps;
  readonly #queue: Submitter;
  #appliedTimestamp: number;

  constructor(timestamps: StoreTimestamps, queue: Submitter, appliedTimestamp: number) {
    this.#timestamps = timestamps;
    this.#queue = queue;
    this.#appliedTimestamp = appliedTimestamp;
  }

  /** Timestamp of the newest write applied here; 0 = none since the start. */
  get appliedTimestamp(): number {
    return this.#appliedTimestamp;
  }

  /** A write of this timestamp was applied. */
  applied(writeTimestamp: Timestamp): void {
    if (writeTimestamp > this.#appliedTimestamp) this.#appliedTimestamp = writeTimestamp;
  }

  /** Reads of the newest state take the later of these two for now. */
  get readNow(): Timestamp {
    return timestamp(Math.max(this.#timestamps.max, this.#appliedTimestamp));
  }

  /**
   * Whether a row with this expiry can only be judged by a fresh timestamp: then the call is submitted again
   * with it, and sees what is there by then. Where nobody tells the time, it is judged by what is known.
   */
  asksForTheTime(call: KvCall, expiry: Timestamp): boolean {
    if (expiry === NO_EXPIRY || call.isTimeUnknown || isStaleRead(call)) return false;
    if (!this.#timestamps.mayHaveCome(expiry, this.readNow)) return false;
    this.fetchFor(call);
    return true;
  }

  /** Submits the call again when a timestamp is there that was issued after now, or cannot be had. */
  fetchFor(call: KvCall): void {
    this.#timestamps
      .fetch()
      .catch((error: unknown) => {
        rethrowInvariant(error);
        call.isTimeUnknown = true;
      })
      .then(() => {
        this.#queue.submit(call);
      })
      .catch(rethrowInvariant);
  }
}
