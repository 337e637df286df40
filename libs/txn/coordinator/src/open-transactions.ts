import { BoundedBytes, CairnError, FairShare } from '@cairn/base';
import type { Clock, Metrics, Rng, Timer } from '@cairn/ports';
import { invalidField, type RequestRouter, type SpanTimes } from '@cairn/routing';

import type { TransactionCoordinator } from './coordinator.js';
import { KeptTransaction, notFound, type TransactionKeeper } from './open-transaction.js';
import type { BeginOptions, OpenTransaction, TimestampSource } from './types.js';

const IDLE_MS = 60_000;
/** However busy it is: what it reads must be kept for as long. */
const AGE_MS_MAX = 3_600_000;
const COUNT_MAX = 10_000;
/** Of all open transactions together. */
const HELD_BYTES_MAX = 256 * 1024 * 1024;
const LOOK_INTERVAL_MS = 1_000;
const RETRY_AFTER_MS = 100;
const ID_BYTES = 16;

export interface OpenTransactionsOptions {
  readonly coordinator: TransactionCoordinator;
  readonly router: RequestRouter;
  readonly timestamps: TimestampSource;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly metrics: Metrics;
  /** One that was not used for so long is ended. */
  readonly idleMs?: number;
  /** Open at a time. */
  readonly countMax?: number;
  /** What all of them together have read and written. */
  readonly bytesMax?: number;
}

/**
 * Transactions of callers that keep nothing themselves. Bounded in number and in bytes, which callers share
 * (`FairShare`), and in time: one that was not used for a minute, or is an hour old, is ended.
 */
export class OpenTransactions implements TransactionKeeper {
  readonly coordinator: TransactionCoordinator;
  readonly router: RequestRouter;
  readonly timestamps: TimestampSource;
  readonly #options: OpenTransactionsOptions;
  readonly #open = new Map<string, KeptTransaction>();
  readonly #places: FairShare;
  readonly #room: BoundedBytes;
  readonly #roomShare: FairShare;
  /** What each caller has; no entry for who has nothing. */
  readonly #callers = new Map<string, { count: number; bytes: number }>();
  /** Places for those that are about to begin. */
  #beginning = 0;
  #timer: Timer | undefined;

  constructor(options: OpenTransactionsOptions) {
    this.#options = options;
    this.coordinator = options.coordinator;
    this.router = options.router;
    this.timestamps = options.timestamps;
    const { countMax = COUNT_MAX, bytesMax = HELD_BYTES_MAX } = options;
    this.#places = new FairShare(countMax);
    this.#room = new BoundedBytes({ name: 'open transactions', limit: bytesMax });
    this.#roomShare = new FairShare(bytesMax);
    const open = options.metrics.gauge('cairn_router_open_transactions', 'Transactions kept for callers');
    const bytes = options.metrics.gauge(
      'cairn_router_open_transaction_bytes',
      'Bytes that transactions kept for callers have read and written',
    );
    options.metrics.onCollect(() => {
      open.set(this.#open.size);
      bytes.set(this.#room.used);
    });
  }

  get limits(): TransactionCoordinator['limits'] {
    return this.coordinator.limits;
  }

  get count(): number {
    return this.#open.size;
  }

  nowMs(): number {
    return this.#options.clock.nowMs();
  }

  /** Rejects with RESOURCE_EXHAUSTED when the caller has its share, and when the caller is gone by then. */
  async begin(options: BeginOptions, times: SpanTimes): Promise<OpenTransaction> {
    const { at, caller, readOnly } = options;
    if (at !== undefined && !readOnly) {
      throw invalidField('at', 'only a read-only transaction may read a snapshot of before');
    }
    const share = this.#callers.get(caller) ?? { count: 0, bytes: 0 };
    if (!this.#places.allows(share.count, 1, this.#open.size + this.#beginning)) {
      throw new CairnError('RESOURCE_EXHAUSTED', 'too many transactions are open', {
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    this.#callers.set(caller, share);
    share.count += 1;
    this.#beginning += 1;
    try {
      const start = at ?? (await this.timestamps.timestamp());
      // Nobody would hear of it, nor end it.
      if (times.signal.aborted) throw new CairnError('CANCELLED', 'the caller gave up');
      if (times.nowMs() >= times.deadlineMs)
        throw new CairnError('DEADLINE_EXCEEDED', 'the deadline passed before the transaction had begun');
      const id = Buffer.from(this.#options.rng.bytes(ID_BYTES)).toString('hex');
      const transaction = new KeptTransaction(this, { id, start }, options);
      this.#open.set(id, transaction);
      this.#lookLater();
      return transaction;
    } catch (error) {
      this.#leave(caller, share);
      throw error;
    } finally {
      this.#beginning -= 1;
    }
  }

  /** Throws TRANSACTION_NOT_FOUND: unknown, ended, or of another caller. */
  find(id: string, caller: string): OpenTransaction {
    const transaction = this.#open.get(id);
    if (transaction === undefined || transaction.caller !== caller) throw notFound(id);
    return transaction;
  }

  /** The caller has gone: nothing of what it had open happens. */
  endAllOf(caller: string): void {
    if (!this.#callers.has(caller)) return;
    for (const transaction of [...this.#open.values()]) if (transaction.caller === caller) transaction.end();
  }

  /** Ends all; nothing of them happened. */
  close(): void {
    for (const transaction of [...this.#open.values()]) transaction.end();
    this.#timer?.cancel();
  }

  resize(transaction: KeptTransaction, growth: number): void {
    const share = this.#callers.get(transaction.caller);
    if (share === undefined) throw notFound(transaction.id);
    if (growth > 0 && !this.#roomShare.allows(share.bytes, growth, this.#room.used)) {
      throw this.#room.refusal(growth, RETRY_AFTER_MS);
    }
    const { heldBytes } = transaction;
    if (heldBytes === 0) this.#room.take(growth);
    else this.#room.resize(heldBytes, heldBytes + growth);
    transaction.heldBytes = heldBytes + growth;
    share.bytes += growth;
    if (transaction.heldBytes === 0) this.#room.give(0);
  }

  ended(transaction: KeptTransaction): void {
    const { caller, heldBytes, id } = transaction;
    if (!this.#open.delete(id)) return;
    if (heldBytes > 0) this.#room.give(heldBytes);
    const share = this.#callers.get(caller);
    if (share === undefined) return;
    share.bytes -= heldBytes;
    this.#leave(caller, share);
  }

  #leave(caller: string, share: { count: number }): void {
    share.count -= 1;
    if (share.count === 0) this.#callers.delete(caller);
  }

  #lookLater(): void {
    this.#timer ??= this.#options.clock.setTimer(LOOK_INTERVAL_MS, () => {
      this.#timer = undefined;
      this.#endOld();
      if (this.#open.size > 0) this.#lookLater();
    });
  }

  #endOld(): void {
    const nowMs = this.nowMs();
    const { idleMs = IDLE_MS } = this.#options;
    for (const transaction of [...this.#open.values()]) {
      const isIdle = transaction.calls === 0 && nowMs - transaction.lastUsedMs >= idleMs;
      if (isIdle || nowMs - transaction.beganMs >= AGE_MS_MAX) transaction.end();
    }
  }
}
