/** When a store is given up, and for how long. */
export interface BreakerRules {
  /** Failures in a row that open it; 0 = it never opens. */
  readonly failuresMax: number;
  /** How long the store is left alone at first; doubled with each probe that fails, up to `pauseMsMax`. */
  readonly pauseMs: number;
  readonly pauseMsMax: number;
}

export const DEFAULT_BREAKER_RULES: BreakerRules = { failuresMax: 3, pauseMs: 250, pauseMsMax: 4_000 };

/**
 * - `closed`: the store works.
 * - `open`: it is left alone until the pause is over; then the next operation goes there as the probe.
 * - `probing`: the probe is under way, nothing else goes there.
 */
export type BreakerState = 'closed' | 'open' | 'probing';

/** A probe that nobody waits for any more tells nothing: after this long there is another. */
const PROBE_MS = 1_000;

/**
 * Keeps a store that hangs or fails from holding everybody's places: after a few failures in a row it is
 * given up for a while, and one answer takes it back. Knows no clock; every question brings the time.
 */
export class Breaker {
  readonly #rules: BreakerRules;
  #state: BreakerState = 'closed';
  #failures = 0;
  /** Openings since it was closed. */
  #openings = 0;
  /** While not closed: nothing goes to the store before. */
  #untilMs = 0;

  constructor(rules: BreakerRules) {
    this.#rules = rules;
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** Whether an operation may go to the store. */
  allows(nowMs: number): boolean {
    return this.#state === 'closed' || nowMs >= this.#untilMs;
  }

  /** How long it does not. */
  pauseLeftMs(nowMs: number): number {
    return this.#state === 'closed' ? 0 : Math.max(0, this.#untilMs - nowMs);
  }

  /** A new connection is up: perhaps a new process, so that the next operation is the probe. */
  reconnected(nowMs: number): void {
    if (this.#state === 'open') this.#untilMs = nowMs;
  }

  /** An operation that was allowed goes to the store. */
  sent(nowMs: number): void {
    if (this.#state === 'closed') return;
    this.#state = 'probing';
    this.#untilMs = nowMs + PROBE_MS;
  }

  /** The store answered in time, whatever it said. True when it had been given up. */
  succeeded(): boolean {
    this.#failures = 0;
    if (this.#state === 'closed') return false;
    this.#state = 'closed';
    this.#openings = 0;
    return true;
  }

  /**
   * It left an operation unanswered, lost its connection with operations under way, or answered nonsense.
   * True when it is given up by that.
   */
  failed(nowMs: number): boolean {
    const { failuresMax, pauseMs, pauseMsMax } = this.#rules;
    // What was sent before it was given up fails late, and is no news.
    if (failuresMax === 0 || this.#state === 'open') return false;
    this.#failures += 1;
    if (this.#state === 'closed' && this.#failures < failuresMax) return false;
    this.#state = 'open';
    this.#untilMs = nowMs + Math.min(pauseMsMax, pauseMs * 2 ** Math.min(this.#openings, 20));
    this.#openings += 1;
    return true;
  }
}
