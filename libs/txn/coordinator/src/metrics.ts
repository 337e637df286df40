import type { Counter, Histogram, Metrics } from '@cairn/ports';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** How a transaction came to its end. */
export type CommitPath = 'read-only' | 'one-range' | 'two-phase';
export type TransactionOutcome = 'committed' | 'aborted' | 'unknown' | 'failed';

export interface TransactionGauges {
  /** Two-phase commits that are not decided and carried out. */
  readonly live: number;
  readonly reservedKeys: number;
  readonly backgroundTasks: number;
  readonly backgroundBytes: number;
}

/** What the coordinator measures. */
export class TransactionMetrics {
  readonly #ended: Counter;
  readonly #seconds: Histogram;
  readonly #aborts: Counter;
  readonly #lockWaits: Counter;
  readonly #checks: Counter;
  readonly #resolved: Counter;
  readonly #reservationWaits: Counter;

  constructor(metrics: Metrics, gauges: () => TransactionGauges) {
    this.#ended = metrics.counter(
      'cairn_router_transactions_total',
      'Transactions that were to be committed here, by how that ended',
      ['outcome'],
    );
    this.#seconds = metrics.histogram(
      'cairn_router_transaction_seconds',
      'Time from the request to commit to its answer, by what it took',
      SECONDS,
      ['path'],
    );
    this.#aborts = metrics.counter(
      'cairn_router_transaction_aborts_total',
      'Transactions aborted, by reason',
      ['reason'],
    );
    this.#lockWaits = metrics.counter(
      'cairn_router_lock_waits_total',
      'Operations that met locks of transactions, by what kind of operation they are',
      ['op'],
    );
    this.#checks = metrics.counter(
      'cairn_router_lock_checks_total',
      'Questions to primaries what became of a transaction, by answer',
      ['answer'],
    );
    this.#resolved = metrics.counter(
      'cairn_router_resolved_locks_total',
      'Locks that were resolved from here, by what their transaction came to',
      ['outcome'],
    );
    this.#reservationWaits = metrics.counter(
      'cairn_router_reservation_waits_total',
      'Keys that were to be reserved and were not free',
    );
    const reserved = metrics.gauge('cairn_router_reserved_keys', 'Keys that are reserved through here');
    const live = metrics.gauge('cairn_router_live_commits', 'Two-phase commits under way');
    const tasks = metrics.gauge(
      'cairn_router_lock_tasks',
      'Commits and rollbacks that are carried out behind answers',
    );
    const bytes = metrics.gauge('cairn_router_lock_task_bytes', 'Bytes of the keys of those');
    metrics.onCollect(() => {
      const now = gauges();
      live.set(now.live);
      reserved.set(now.reservedKeys);
      tasks.set(now.backgroundTasks);
      bytes.set(now.backgroundBytes);
    });
  }

  ended(outcome: TransactionOutcome, path: CommitPath, tookMs: number): void {
    this.#ended.add(1, { outcome });
    this.#seconds.observe(tookMs / 1_000, { path });
  }

  aborted(reason: string): void {
    this.#aborts.add(1, { reason });
  }

  lockMet(op: 'read' | 'write'): void {
    this.#lockWaits.add(1, { op });
  }

  reservationWaited(): void {
    this.#reservationWaits.add(1);
  }

  checked(answer: string): void {
    this.#checks.add(1, { answer });
  }

  resolved(outcome: 'committed' | 'rolled-back', locks: number): void {
    this.#resolved.add(locks, { outcome });
  }
}
