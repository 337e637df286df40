import { CairnError, rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import { sleep, type Clock, type Rng } from '@cairn/ports';
import {
  backoffMs,
  isWrite,
  LOCKED_TOO_LONG,
  type BackoffRule,
  type HeldOperation,
  type LockBreaker,
} from '@cairn/routing';
import { KvOp, type KvRequest, type LockInfo } from '@cairn/wire';

import { aborted } from './aborts.js';
import { ownTimes, type Asked, type Decisions } from './decisions.js';
import type { LiveTransaction, LiveTransactions } from './live-transactions.js';
import type { LockResolver } from './lock-resolver.js';
import type { TransactionMetrics } from './metrics.js';
import type { ReservationWaits } from './reservation-waits.js';

/** Between two questions about a transaction that is not decided yet, by a write that waits for it. */
const PENDING: BackoffRule = { baseMs: 5, capMs: 100 };
/** One that waits for a transaction of this router looks again after so long, whoever wakes it. */
const LOOK_AGAIN_MS = 200;
const RESOLVE_TIMEOUT_MS = 5_000;

export interface TransactionBreakerParts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly live: LiveTransactions;
  readonly decisions: Decisions;
  readonly resolver: LockResolver;
  readonly reserved: ReservationWaits;
  readonly metrics: TransactionMetrics;
}

/** The locks of one transaction that an operation met. */
export interface Met {
  readonly start: Timestamp;
  readonly primary: Uint8Array;
  readonly keys: Uint8Array[];
  /** The latest of theirs. */
  deadline: Timestamp;
}

/**
 * Looks into locks that are in the way of operations: asks the primary of each transaction (or, if it is run
 * here, looks it up), carries out what was decided, and otherwise lets reads pass and writes wait.
 *
 * A read passes over a transaction that was undecided after the read began, or that will commit above the
 * read's timestamp; for a snapshot read it is pushed there. A write waits until the transaction has ended, or
 * its own deadline has come; but a prewrite whose transaction may hold other locks waits for younger
 * transactions only, and is aborted where it would have to wait for an older one: so nobody waits in a
 * circle.
 */
export class TransactionBreaker implements LockBreaker {
  readonly #parts: TransactionBreakerParts;
  /** Whose prewrite a request is. */
  readonly #prewrites = new WeakMap<KvRequest, LiveTransaction>();

  constructor(parts: TransactionBreakerParts) {
    this.#parts = parts;
  }

  /** The request is a prewrite of this transaction: it obeys the rule against circles. */
  isPrewriteOf(request: KvRequest, live: LiveTransaction): void {
    this.#prewrites.set(request, live);
  }

  /** The request passes the reservations of this owner; 0 = of nobody. */
  isOf(request: KvRequest, owner: Timestamp): void {
    this.#parts.reserved.isOf(request, owner);
  }

  async clear(held: HeldOperation, locks: readonly LockInfo[]): Promise<readonly Timestamp[]> {
    // What takes a reservation is to have the row that comes of a lock: it waits as writes do.
    const isRead = !isWrite(held.request.op) && held.request.op !== KvOp.reserve;
    this.#parts.metrics.lockMet(isRead ? 'read' : 'write');
    const reserved = locks.filter(({ owner }) => owner > 0);
    const met = metBy(locks.filter(({ owner }) => owner === 0));
    if (isRead) {
      const passed = await Promise.all(met.map((each) => this.#clearForRead(held, each)));
      return passed.filter((start) => start !== undefined);
    }
    const mine = this.#prewrites.get(held.request);
    await Promise.all([
      ...met.map((each) => this.#clearForWrite(held, each)),
      this.#parts.reserved.wait(held, reserved, mine?.holdsLocks === true),
    ]);
    return [];
  }

  /** Answers the start of the transaction if it may be passed over. */
  async #clearForRead(held: HeldOperation, met: Met): Promise<Timestamp | undefined> {
    const { live, decisions } = this.#parts;
    const at = held.request.readTimestamp;
    while (this.#isWanted(held)) {
      const own = live.get(met.start);
      if (own !== undefined) {
        if (own.passes(at)) return met.start;
        if (await this.#waitFor(own, met)) return undefined;
        continue;
      }
      const state = await decisions.ask(askedOf(met, at));
      switch (state.type) {
        case 'pending':
          if (at === 0 || state.minCommit > at) return met.start;
          await this.#pause(0);
          break;
        case 'rolledBack':
          this.#resolveBehind(met);
          return met.start;
        case 'committed':
          if (at > 0 && state.commit > at) return met.start;
          await this.#resolve(met, state.commit);
          return undefined;
      }
    }
    return undefined;
  }

  async #clearForWrite(held: HeldOperation, met: Met): Promise<void> {
    const { live, decisions } = this.#parts;
    const mine = this.#prewrites.get(held.request);
    for (let attempt = 0; this.#isWanted(held); attempt += 1) {
      const own = live.get(met.start);
      if (own !== undefined) {
        if (!own.isDecided) refuseCircle(mine, met);
        if (await this.#waitFor(own, met)) return;
        continue;
      }
      const state = await decisions.ask(askedOf(met, timestamp(0)));
      if (state.type !== 'pending') {
        await this.#resolve(met, state.type === 'committed' ? state.commit : timestamp(0));
        return;
      }
      refuseCircle(mine, met);
      await this.#pause(attempt);
    }
  }

  /** Throws when its time is over: it must not be sent again for nothing. */
  #isWanted(held: HeldOperation): boolean {
    if (held.isOver) return false;
    if (this.#parts.clock.nowMs() >= held.deadlineMs) throw LOCKED_TOO_LONG;
    return true;
  }

  /** Answers whether the operation shall be sent again: the locks of the first key are gone, or are to go. */
  async #waitFor(own: LiveTransaction, { keys: [key] }: Met): Promise<boolean> {
    const woken = Promise.withResolvers<boolean>();
    if (key === undefined) return true;
    const before = own.phase;
    const leave = own.wait(key, () => {
      // Woken because the phase is another one: it is looked at anew.
      woken.resolve(own.phase === before);
    });
    const timer = this.#parts.clock.setTimer(LOOK_AGAIN_MS, () => {
      woken.resolve(false);
    });
    const isGone = await woken.promise;
    timer.cancel();
    leave();
    return isGone;
  }

  #pause(attempt: number): Promise<void> {
    const { clock, rng } = this.#parts;
    return sleep(clock, backoffMs(PENDING, attempt, rng));
  }

  async #resolve({ start, primary, keys }: Met, commit: Timestamp): Promise<void> {
    const { clock, resolver } = this.#parts;
    // The lock of the primary goes with the decision.
    const left = commit > 0 ? keys.filter((key) => Buffer.compare(key, primary) !== 0) : keys;
    if (left.length === 0) return;
    await resolver.resolveShared({ start, commit, keys: left }, ownTimes(clock, RESOLVE_TIMEOUT_MS));
  }

  /** Nobody waits for it: who meets the locks again looks into them again. */
  #resolveBehind(met: Met): void {
    this.#resolve(met, timestamp(0)).catch((error: unknown) => {
      rethrowInvariant(error);
      if (!CairnError.is(error)) throw error;
    });
  }
}

/** Locks by their transaction. */
export function metBy(locks: readonly LockInfo[]): readonly Met[] {
  const byStart = new Map<Timestamp, Met>();
  for (const { start, primary, key, deadline } of locks) {
    const met = byStart.get(start) ?? { start, primary, keys: [], deadline };
    met.keys.push(key);
    met.deadline = timestamp(Math.max(met.deadline, deadline));
    byStart.set(start, met);
  }
  return [...byStart.values()];
}

export function askedOf({ start, primary, deadline }: Met, pushTo: Timestamp): Asked {
  return { start, primary, pushTo, lockDeadline: deadline };
}

/** Throws TRANSACTION_ABORTED: an older transaction may wait for a lock of this one already. */
function refuseCircle(mine: LiveTransaction | undefined, { start, keys: [key] }: Met): void {
  if (mine === undefined || !mine.holdsLocks || mine.start < start) return;
  throw aborted('deadlock', key);
}
