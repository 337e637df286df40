import type { Rng } from '@cairn/ports';

/** How long to wait before attempt n: `base * 2^n` up to `cap`, a random half of it. Milliseconds. */
export interface BackoffRule {
  readonly baseMs: number;
  readonly capMs: number;
}

/**
 * All waits of the router in one table. There is no count of attempts besides: the deadline of an operation
 * is its budget, and these waits bound how much work an operation can cause within it.
 */
export const BACKOFF = {
  /**
   * Nobody is known to lead: the next replica is asked after this. Short, so that failover is noticed within
   * a poll.
   */
  leaderSearch: { baseMs: 6, capMs: 24 },
  /** The range of a key is not known and the metadata service did not say. */
  routeMiss: { baseMs: 5, capMs: 250 },
  /** A store refused for a reason that passes by itself. */
  unavailable: { baseMs: 5, capMs: 50 },
  /** A store is full; tried once, then the caller is told. */
  overload: { baseMs: 10, capMs: 40 },
  /** A connection to a store that could not be made. */
  reconnect: { baseMs: 20, capMs: 1_000 },
} as const satisfies Record<string, BackoffRule>;

/** Equal jitter: between half of the step and all of it. */
export function backoffMs(rule: BackoffRule, attempt: number, rng: Rng): number {
  const step = Math.min(rule.capMs, rule.baseMs * 2 ** Math.min(attempt, 16));
  return step / 2 + (step / 2) * rng.next();
}
