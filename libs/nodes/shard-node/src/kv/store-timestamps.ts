import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import type { Clock } from '@cairn/ports';
import type { KvRequest } from '@cairn/wire';

/** Where fresh oracle timestamps come from; calls of one turn share one request. */
export interface TimestampSource {
  fetch(): Promise<Timestamp>;
}

/** Clocks of nodes run at most this much faster or slower than each other. */
const DRIFT = 0.1;

/** Timestamps may be ahead of time by so much without a question to the oracle: it hands out runs. */
const AHEAD_STEPS = 1_000 * TIMESTAMP_LOGICAL_STEPS;

/**
 * The largest oracle timestamp this store has seen. Writes commit one above it: above every read served here,
 * and not above the next timestamp the oracle will issue. Shared by all ranges of the store; only ever rises.
 *
 * Requests bring timestamps, too, from routers that got them from the oracle. A store does not take their
 * word for it: one timestamp from the far future would move all that is written here for as long. What
 * cannot have been issued, by the last timestamp that the oracle itself told and the time that has passed
 * since, is not admitted; the oracle can be asked first (it may have leapt, or this process stood still).
 */
export class StoreTimestamps {
  readonly #source: TimestampSource;
  readonly #clock: Pick<Clock, 'nowMs'>;
  #max = 0;
  /** What the oracle told last, and when. */
  #told = 0;
  #toldMs = 0;
  /** Nothing above this is admitted; grows with time, worked out anew only where it is in the way. */
  #ceiling = 0;
  #refusals = 0;

  constructor(source: TimestampSource, clock: Pick<Clock, 'nowMs'>) {
    this.#source = source;
    this.#clock = clock;
  }

  get max(): Timestamp {
    return timestamp(this.#max);
  }

  /**
   * About what the oracle issues now, by the time that has passed since it told something here. Times to live
   * begin at it, so that they end late rather than early. Nothing is judged by it.
   */
  get extrapolated(): Timestamp {
    const passedMs = Math.max(0, this.#clock.nowMs() - this.#toldMs);
    return timestamp(Math.max(this.#max, Math.floor(this.#told + passedMs * TIMESTAMP_LOGICAL_STEPS)));
  }

  /**
   * Whether an expiry that lies after `judgedAt` must have come by now: then only a fresh timestamp can judge
   * it. 0 = never.
   */
  mayHaveCome(expiry: Timestamp, judgedAt: Timestamp): boolean {
    return expiry > judgedAt && expiry <= this.extrapolated;
  }

  /** Requests refused because of their timestamps since the start. */
  get refusals(): number {
    return this.#refusals;
  }

  /** The oracle itself has just told `ts`. */
  observe(ts: Timestamp): void {
    if (ts > this.#max) this.#max = ts;
    if (ts < this.#told) return;
    this.#told = ts;
    this.#toldMs = this.#clock.nowMs();
  }

  /** Takes in the timestamps of a request; false when the oracle may not have issued one of them. */
  admits(request: KvRequest): boolean {
    if (!this.#admit(request.readTimestamp)) return false;
    return request.requestId === undefined || this.#admit(request.requestId.stamp);
  }

  #admit(ts: Timestamp): boolean {
    if (ts <= this.#max) return true;
    if (ts > this.#ceiling) {
      const passedMs = (this.#clock.nowMs() - this.#toldMs) * (1 + DRIFT);
      this.#ceiling = this.#told + passedMs * TIMESTAMP_LOGICAL_STEPS + AHEAD_STEPS;
      if (ts > this.#ceiling) return false;
    }
    this.#max = ts;
    return true;
  }

  /**
   * Asks the oracle whether it has issued the timestamps of a request that is here already: then they are
   * below a fresh one. Rejects as the question does.
   */
  async confirms({ readTimestamp, requestId }: KvRequest): Promise<boolean> {
    const fresh = await this.fetch();
    const isIssued = readTimestamp <= fresh && (requestId === undefined || requestId.stamp <= fresh);
    if (!isIssued) this.#refusals += 1;
    return isIssued;
  }

  /** A timestamp issued after this call began. */
  async fetch(): Promise<Timestamp> {
    const fresh = await this.#source.fetch();
    this.observe(fresh);
    return fresh;
  }
}
