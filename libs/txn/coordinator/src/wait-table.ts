import { CairnError, messageOf, rethrowInvariant, type Timestamp } from '@cairn/base';
import type { Clock, Logger, Timer } from '@cairn/ports';
import { LOCK_WAITS_MAX } from '@cairn/wire';

import { deadlocked } from './aborts.js';
import type { DeadlockSource } from './types.js';

/** What is over sooner is told to nobody. */
const TOLD_AFTER_MS = 50;
const REPORT_INTERVAL_MS = 100;
/** The next report says the same, and more. */
const REPORT_TIMEOUT_MS = 1_000;

export interface WaitTableParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** undefined = nobody looks for circles: waits end by their time. */
  readonly deadlocks: DeadlockSource | undefined;
}

interface WaitEvents {
  onVictim(): void;
  onEnd(): void;
}

/** One wait of an owner of locks. */
export class Wait {
  readonly owner: Timestamp;
  readonly sinceMs: number;
  /** Those that are in the way, as was heard last. */
  holders: readonly Timestamp[] = [];
  #victim: CairnError | undefined;
  readonly #events: WaitEvents;

  constructor(owner: Timestamp, sinceMs: number, events: WaitEvents) {
    this.owner = owner;
    this.sinceMs = sinceMs;
    this.#events = events;
  }

  /** Throws TRANSACTION_ABORTED, reason `deadlock`, when the owner must give up. */
  check(): void {
    if (this.#victim !== undefined) throw this.#victim;
  }

  giveUp(why: CairnError): void {
    if (this.#victim !== undefined) return;
    this.#victim = why;
    this.#events.onVictim();
  }

  end(): void {
    this.#events.onEnd();
  }
}

/**
 * Who waits for whom among the owners of locks, as far as they wait at this router: reported while it lasts,
 * to whoever looks for circles over all routers. Holds as many waits as the router has calls; of more than a
 * report may have the oldest are told.
 */
export class WaitTable {
  readonly #parts: WaitTableParts;
  /** In the order in which they began. */
  readonly #waits = new Set<Wait>();
  #timer: Timer | undefined;
  #isReporting = false;
  /** The last report named waits. */
  #hasTold = false;
  #isClosed = false;

  constructor(parts: WaitTableParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#waits.size;
  }

  /** `onVictim` is called once when the owner must give up, if the wait has not ended by then. */
  begin(owner: Timestamp, onVictim: () => void = () => undefined, sinceMs = this.#parts.clock.nowMs()): Wait {
    const wait: Wait = new Wait(owner, sinceMs, {
      onVictim,
      onEnd: () => this.#waits.delete(wait),
    });
    this.#waits.add(wait);
    this.#reportLater();
    return wait;
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #reportLater(): void {
    if (this.#isClosed || this.#parts.deadlocks === undefined || this.#isReporting) return;
    if (this.#waits.size === 0 && !this.#hasTold) return;
    this.#timer ??= this.#parts.clock.setTimer(REPORT_INTERVAL_MS, () => {
      this.#timer = undefined;
      this.#isReporting = true;
      this.#report()
        .catch((error: unknown) => {
          rethrowInvariant(error);
          if (!CairnError.is(error)) throw error;
          this.#parts.logger.debug('waits for locks not reported', { reason: messageOf(error) });
        })
        .finally(() => {
          this.#isReporting = false;
          this.#reportLater();
        });
    });
  }

  async #report(): Promise<void> {
    const { clock, deadlocks } = this.#parts;
    const nowMs = clock.nowMs();
    const waits = [...this.#waits]
      .filter(({ holders, sinceMs }) => holders.length > 0 && nowMs - sinceMs >= TOLD_AFTER_MS)
      .slice(0, LOCK_WAITS_MAX)
      .map(({ owner, holders }) => ({ waiter: owner, holders }));
    if (waits.length === 0 && !this.#hasTold) return;
    // What was told and has ended is taken back once; a report that is lost counts for a second.
    this.#hasTold = waits.length > 0;
    const victims = await deadlocks?.reportWaits(waits, { timeoutMs: REPORT_TIMEOUT_MS });
    for (const { owner, cycle } of victims ?? []) {
      for (const wait of [...this.#waits]) if (wait.owner === owner) wait.giveUp(deadlocked(cycle));
    }
  }
}
