import type { Timestamp } from '@cairn/base';
import type { Clock, Logger, Metrics, Rng } from '@cairn/ports';
import type { LockBreaker, RequestRouter, SpanTimes } from '@cairn/routing';
import type { LockInfo } from '@cairn/wire';

import { Background } from './background.js';
import { TransactionCalls } from './calls.js';
import { Committer } from './commit.js';
import { Decisions } from './decisions.js';
import { DEFAULT_TRANSACTION_LIMITS, type TransactionLimits } from './limits.js';
import { LiveTransactions } from './live-transactions.js';
import { TransactionBreaker } from './lock-breaker.js';
import { LockResolver } from './lock-resolver.js';
import { LockSweeper } from './lock-sweeper.js';
import { TransactionMetrics } from './metrics.js';
import { OneShots } from './one-shot.js';
import type { CoordinatorParts } from './parts.js';
import { ReservationWaits } from './reservation-waits.js';
import { Reservations } from './reservations.js';
import { inOrder, readRowsAt } from './snapshot-get.js';
import type {
  CommitOutcome,
  CommitRequest,
  DeadlockSource,
  OneShot,
  OneShotOutcome,
  Reserved,
  ReserveRequest,
  SnapshotRows,
  TimestampSource,
} from './types.js';
import { WaitTable } from './wait-table.js';

export interface CoordinatorOptions {
  readonly router: RequestRouter;
  readonly timestamps: TimestampSource;
  /** Who finds transactions that wait in a circle for each other's reservations; absent = their time does. */
  readonly deadlocks?: DeadlockSource;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly limits?: Partial<TransactionLimits>;
}

/**
 * Runs transactions over the ranges of a cluster, and looks into the locks of any transaction that are in the
 * way of operations of its router. Keeps nothing that a restart would lose: what is decided is decided at a
 * range, and what is not is rolled back by whoever meets its locks.
 */
export class TransactionCoordinator {
  /** For `RequestRouterOptions.lockBreaker`. */
  readonly breaker: LockBreaker;
  readonly #parts: CoordinatorParts;
  readonly #committer: Committer;
  readonly #oneShots: OneShots;
  readonly #sweeper: LockSweeper;
  readonly #waits: WaitTable;

  constructor(options: CoordinatorOptions) {
    const { router, timestamps, clock, rng, logger } = options;
    const limits = { ...DEFAULT_TRANSACTION_LIMITS, ...options.limits };
    const calls = new TransactionCalls(router);
    const live = new LiveTransactions();
    const background = new Background({
      ...{ clock, logger },
      tasksMax: limits.backgroundTasksMax,
      bytesMax: limits.backgroundBytesMax,
    });
    const metrics: TransactionMetrics = new TransactionMetrics(options.metrics, () => ({
      live: live.count,
      reservedKeys: reservations.count,
      backgroundTasks: background.tasks,
      backgroundBytes: background.bytes,
    }));
    this.#waits = new WaitTable({ clock, logger, deadlocks: options.deadlocks });
    const reservations: Reservations = new Reservations({
      ...{ cache: router.cache, calls, clock, logger, timestamps, metrics, waits: this.#waits },
    });
    const reserved = new ReservationWaits({ clock, waits: this.#waits, reservations });
    const resolver = new LockResolver({ cache: router.cache, clock, calls, metrics });
    const decisions = new Decisions(clock, calls, metrics);
    const breaker = new TransactionBreaker({ clock, rng, live, decisions, resolver, reserved, metrics });
    this.#parts = {
      ...{ router, timestamps, clock, rng, logger, limits },
      ...{ calls, live, breaker, resolver, reservations, background, metrics },
    };
    this.breaker = breaker;
    this.#committer = new Committer(this.#parts);
    this.#oneShots = new OneShots(this.#parts, this.#committer);
    this.#sweeper = new LockSweeper({ clock, logger, live, decisions, resolver });
  }

  /** Smallest start of what runs here, and of snapshots that are held; 0 = nothing. For heartbeats. */
  get oldestStart(): Timestamp {
    return this.#parts.live.oldestStart;
  }

  get limits(): TransactionLimits {
    return this.#parts.limits;
  }

  /** The snapshot counts as in use until the answer is called. */
  holdSnapshot(start: Timestamp): () => void {
    return this.#parts.live.hold(start);
  }

  /**
   * Makes all that a transaction did happen, at one place in the order of all, or nothing of it. Rejects with
   * - TRANSACTION_ABORTED: nothing happened, and it can be run again; details name the reason and a key.
   * - OUTCOME_UNKNOWN: nobody could tell in time whether it happened.
   * - TRANSACTION_TOO_LARGE, INVALID_ARGUMENT, and what the deadline, the caller or a store said: nothing
   *   happened.
   */
  commit(request: CommitRequest, times: SpanTimes): Promise<CommitOutcome> {
    return this.#committer.commit(request, times);
  }

  /**
   * Reserves keys for a transaction, in the order of the keys whatever the order of the request, and keeps
   * them until they are released: by its commit, by `release`, with its caller, or after an hour. Others that
   * want to write or reserve them wait; readers do not. A reservation can be lost (a leader that changes):
   * what is read at the answered timestamp and named in `CommitRequest.reserved` is checked all the same.
   * Rejects with
   * - LOCK_NOT_AVAILABLE: somebody has a key, and may not be waited for (any longer). What the call has taken
   *   is given back.
   * - TRANSACTION_ABORTED, reason `deadlock`: it is the youngest of those that wait for each other, which are
   *   named. All that its owner has is given back.
   */
  reserve(request: ReserveRequest, times: SpanTimes): Promise<Reserved> {
    return this.#parts.reservations.reserve(request, times);
  }

  /** Gives back, behind the call, what the owner has reserved through here; of that caller, if one is named. */
  release(owner: Timestamp, caller?: string): void {
    this.#parts.reservations.release(owner, caller);
  }

  /** The caller has gone: what it has reserved is given back. */
  releaseAllOf(caller: string): void {
    this.#parts.reservations.releaseAllOf(caller);
  }

  /**
   * Carries out a transaction that is known as a whole. Conflicts with others are no reason to give up before
   * the deadline. Rejects as `commit` does, and as its operations do on their own (WRONG_KIND,
   * FAILED_PRECONDITION).
   */
  execute(oneShot: OneShot, times: SpanTimes): Promise<OneShotOutcome> {
    return this.#oneShots.execute(oneShot, times);
  }

  /**
   * Rows as of `at`, or (undefined) of a fresh timestamp, which is above all that was acknowledged anywhere.
   * Rejects with FAILED_PRECONDITION when that is older than what is remembered, with INVALID_ARGUMENT when
   * the oracle has not issued it.
   */
  async snapshotGet(
    keys: readonly Uint8Array[],
    at: Timestamp | undefined,
    times: SpanTimes,
  ): Promise<SnapshotRows> {
    const snapshot = at ?? (await this.#parts.timestamps.timestamp());
    const rows = await readRowsAt(keys, snapshot, this.#parts, {
      ...{ times, bytesMax: this.#parts.limits.bytesMax },
    });
    return { timestamp: snapshot, rows: inOrder(keys, rows) };
  }

  /**
   * Looks into locks whose time is over and that nobody may come back for, and carries out what was decided
   * of their transactions. Answers those that live, or cannot be asked about now. Never rejects.
   */
  sweep(locks: readonly LockInfo[]): Promise<readonly Timestamp[]> {
    return this.#sweeper.sweep(locks);
  }

  /**
   * Waits, at most so long, for locks that are being resolved. What is left is resolved by whoever meets it.
   */
  async close(timeoutMs: number): Promise<void> {
    this.#waits.close();
    this.#parts.reservations.close();
    await this.#parts.background.close(timeoutMs);
  }
}
