import { CairnError } from '@cairn/base';
import type { Clock } from '@cairn/ports';

/**
 * Callers remembered at once, nodes or hosts; the one that took nothing longest goes first.
 */
const CALLERS_MAX = 4_096;

export interface BudgetSize {
  readonly most: number;
  readonly perSecond: number;
}

interface Budget {
  left: number;
  atMs: number;
}

/** Gives each caller so much at once, and so much more with every second. */
export class CallerBudgets {
  readonly #clock: Clock;
  readonly #size: BudgetSize;
  readonly #budgets = new Map<string, Budget>();

  constructor(clock: Clock, size: BudgetSize) {
    this.#clock = clock;
    this.#size = size;
  }

  /** @throws CairnError RESOURCE_EXHAUSTED with the time after which so much is there. */
  take(caller: string, count: number, what: string): void {
    const nowMs = this.#clock.nowMs();
    const { most, perSecond } = this.#size;
    const before = this.#budgets.get(caller) ?? { left: most, atMs: nowMs };
    const left = Math.min(most, before.left + ((nowMs - before.atMs) / 1_000) * perSecond);
    if (count > left) {
      throw new CairnError('RESOURCE_EXHAUSTED', `${what} faster than ${perSecond} in a second`, {
        retryAfterMs: Math.ceil(((count - left) / perSecond) * 1_000),
      });
    }
    // Behind the others: the first is the one that took nothing longest.
    this.#budgets.delete(caller);
    this.#budgets.set(caller, { left: left - count, atMs: nowMs });
    if (this.#budgets.size <= CALLERS_MAX) return;
    for (const oldest of this.#budgets.keys()) {
      this.#budgets.delete(oldest);
      return;
    }
  }
}
