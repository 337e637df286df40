import type { Clock, Rng } from '@cairn/ports';

/** Waits that grow by half each time, between half and all of the nominal length by chance. */
export interface BackoffShape {
  readonly firstMs: number;
  readonly maxMs: number;
}

export function backoffMs(shape: BackoffShape, attempt: number, rng: Rng): number {
  const nominal = Math.min(shape.maxMs, shape.firstMs * 1.5 ** Math.min(attempt, 40));
  return nominal * (0.5 + rng.next() / 2);
}

/** Between retries of refused calls, where the server named no longer wait. */
export const REFUSAL_BACKOFF: BackoffShape = { firstMs: 20, maxMs: 1_000 };
/** Between attempts of a transaction that others came in between of. */
export const RESTART_BACKOFF: BackoffShape = { firstMs: 4, maxMs: 500 };
/** Between attempts to reach an endpoint that failed before; the first attempt after a loss is immediate. */
export const ENDPOINT_BACKOFF: BackoffShape = { firstMs: 50, maxMs: 1_000 };

/**
 * Keeps retries of refusals in proportion to what succeeds: an overloaded cluster must not be kept overloaded
 * by its own clients. Holds at most `max`; a success earns a tenth, a second a tenth of `max`.
 */
export class RetryBudget {
  readonly #max: number;
  readonly #clock: Clock;
  #tokens: number;
  #filledAtMs: number;

  constructor(max: number, clock: Clock) {
    this.#max = max;
    this.#clock = clock;
    this.#tokens = max;
    this.#filledAtMs = clock.nowMs();
  }

  onSuccess(): void {
    if (this.#tokens < this.#max) this.#tokens = Math.min(this.#max, this.#tokens + 0.1);
  }

  /** Takes one retry; false when there is none left. */
  take(): boolean {
    const nowMs = this.#clock.nowMs();
    const earned = ((nowMs - this.#filledAtMs) / 1000) * (this.#max / 10);
    this.#filledAtMs = nowMs;
    this.#tokens = Math.min(this.#max, this.#tokens + earned);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
