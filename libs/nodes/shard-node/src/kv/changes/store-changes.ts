import type { Timestamp } from '@cairn/base';
import type { Clock, Timer } from '@cairn/ports';

import { ChangeRingBudget, type ChangeRingLimits } from './change-ring-budget.js';
import { HeldQuestions } from './held-questions.js';
import { TimeAsks } from './time-asks.js';

/** A ring that nobody has asked for so long is given up. */
export const RING_IDLE_MS = 30_000;
/** How often that is looked at. */
const SWEEP_MS = 5_000;

export interface ChangesLimits extends ChangeRingLimits {
  /** Questions that wait for something new, per store. */
  readonly heldQuestionsMax: number;
}

/** Who keeps a ring while it is asked for. */
export interface RingOwner {
  /** Gives the ring up if nobody has asked since `sinceMs`; answers whether it has one still. */
  sweep(sinceMs: number): boolean;
}

/** What answers to questions came from, and how many changes were in them. */
export class ChangesCounts {
  fromRing = 0;
  fromEngine = 0;
  resets = 0;
  changes = 0;
}

/** What the change streams of all ranges of one store share. */
export class StoreChanges {
  readonly budget: ChangeRingBudget;
  readonly held: HeldQuestions;
  readonly time: TimeAsks;
  readonly counts = new ChangesCounts();
  readonly #clock: Clock;
  readonly #owners = new Set<RingOwner>();
  #sweep: Timer | undefined;

  constructor(clock: Clock, source: { fetch(): Promise<Timestamp> }, limits: ChangesLimits) {
    this.#clock = clock;
    this.budget = new ChangeRingBudget(limits);
    this.held = new HeldQuestions(limits);
    this.time = new TimeAsks(source, clock);
  }

  /** It has a ring from now on. */
  begun(owner: RingOwner): void {
    this.#owners.add(owner);
    this.#sweepLater();
  }

  /** It has none any more. */
  ended(owner: RingOwner): void {
    this.#owners.delete(owner);
    if (this.#owners.size > 0) return;
    this.#sweep?.cancel();
    this.#sweep = undefined;
  }

  #sweepLater(): void {
    if (this.#sweep !== undefined || this.#owners.size === 0) return;
    this.#sweep = this.#clock.setTimer(SWEEP_MS, () => {
      this.#sweep = undefined;
      const sinceMs = this.#clock.nowMs() - RING_IDLE_MS;
      for (const owner of [...this.#owners]) if (!owner.sweep(sinceMs)) this.#owners.delete(owner);
      this.#sweepLater();
    });
  }
}
