import { timestamp, type Timestamp } from '@cairn/base';
import type { Clock } from '@cairn/ports';
import { LOCKED_TOO_LONG, type HeldOperation } from '@cairn/routing';
import type { KvRequest, LockInfo } from '@cairn/wire';

import { aborted } from './aborts.js';
import type { Reservations } from './reservations.js';
import type { WaitTable } from './wait-table.js';

/** Between two tries of an operation that met a reservation. */
const PAUSE_MS_MIN = 2;
const PAUSE_MS_MAX = 20;
/**
 * A prewrite of a transaction that may hold locks waits no longer: the owner of the reservation may wait for
 * those, and of such a circle nobody is told.
 */
const HOLDER_WAITS_MS_MAX = 1_000;

export interface ReservationWaitParts {
  readonly clock: Clock;
  readonly waits: WaitTable;
  readonly reservations: Pick<Reservations, 'onRelease'>;
}

/** Since when a request meets reservations, and how often it did. */
interface Met {
  readonly sinceMs: number;
  times: number;
}

/**
 * Operations that met reservations of others: nobody can be asked about those, so they are sent again after a
 * little, and at once when an owner that is run here gives its keys back. An operation of an owner of
 * reservations is in the table of waits meanwhile.
 */
export class ReservationWaits {
  readonly #parts: ReservationWaitParts;
  readonly #owners = new WeakMap<KvRequest, Timestamp>();
  readonly #met = new WeakMap<KvRequest, Met>();

  constructor(parts: ReservationWaitParts) {
    this.#parts = parts;
  }

  /** The request passes the reservations of this owner, and waits in its name. */
  isOf(request: KvRequest, owner: Timestamp): void {
    if (owner > 0) this.#owners.set(request, owner);
  }

  /**
   * Settles when the operation is to be sent again. Rejects with TRANSACTION_ABORTED, reason `deadlock`, when
   * it must give up, with LOCKED when its time is over.
   */
  async wait(held: HeldOperation, locks: readonly LockInfo[], holdsLocks: boolean): Promise<void> {
    const { clock, waits } = this.#parts;
    const [first] = locks;
    if (held.isOver || first === undefined) return;
    const nowMs = clock.nowMs();
    const met = this.#met.get(held.request) ?? { sinceMs: nowMs, times: 0 };
    this.#met.set(held.request, met);
    met.times += 1;
    if (nowMs >= held.deadlineMs) throw LOCKED_TOO_LONG;
    if (holdsLocks && nowMs - met.sinceMs >= HOLDER_WAITS_MS_MAX) throw aborted('deadlock', first.key);
    const owner = this.#owners.get(held.request) ?? timestamp(0);
    const woken = Promise.withResolvers<void>();
    const wake = (): void => {
      woken.resolve();
    };
    const wait = owner > 0 ? waits.begin(owner, wake, met.sinceMs) : undefined;
    if (wait !== undefined) wait.holders = [...new Set(locks.map((lock) => lock.owner))];
    const leave = this.#parts.reservations.onRelease(first.owner, wake);
    const pauseMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * met.times, held.deadlineMs - nowMs);
    const timer = clock.setTimer(pauseMs, wake);
    try {
      await woken.promise;
      wait?.check();
    } finally {
      timer.cancel();
      leave?.();
      wait?.end();
    }
  }
}
