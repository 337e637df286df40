import { timestamp, type Timestamp } from '@cairn/base';

/** Where fresh oracle timestamps come from; calls of one turn share one request. */
export interface TimestampSource {
  fetch(): Promise<Timestamp>;
}

/**
 * The largest oracle timestamp this store has seen. Writes commit one above it: above every read served here,
 * and not above the next timestamp the oracle will issue. Shared by all ranges of the store; only ever rises.
 */
export class StoreTimestamps {
  readonly #source: TimestampSource;
  #max = 0;

  constructor(source: TimestampSource) {
    this.#source = source;
  }

  get max(): Timestamp {
    return timestamp(this.#max);
  }

  /** `ts` must have been issued by the oracle. */
  observe(ts: Timestamp): void {
    if (ts > this.#max) this.#max = ts;
  }

  /** A timestamp issued after this call began. */
  async fetch(): Promise<Timestamp> {
    const fresh = await this.#source.fetch();
    this.observe(fresh);
    return fresh;
  }
}
