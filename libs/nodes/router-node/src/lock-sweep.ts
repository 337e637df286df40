import {
  CairnError,
  messageOf,
  NOTHING,
  rethrowInvariant,
  timestamp,
  type StoreId,
  type Timestamp,
} from '@cairn/base';
import type { Logger } from '@cairn/ports';
import type { StoreAddress } from '@cairn/routing';
import type { TransactionCoordinator } from '@cairn/transactions';
import { IGNORED_STARTS_MAX, LOCKS_TOLD_MAX, ShardRpc, type RpcPool } from '@cairn/wire';

const QUESTION_TIMEOUT_MS = 2_000;

export interface LockSweepParts {
  readonly shards: Pick<RpcPool, 'client'>;
  readonly coordinator: Pick<TransactionCoordinator, 'sweep'>;
  readonly logger: Logger;
}

/**
 * Sees to locks that a router left that is gone, at keys that nobody visits: they would hold back what may be
 * collected. The metadata service tells with each heartbeat which stores lead ranges with old locks; one of
 * them is asked at a time, and of what it tells, the transactions are ended.
 */
export class LockSweep {
  readonly #parts: LockSweepParts;
  #isUnderWay = false;
  #turn = 0;
  /** By store: transactions that lived when they were looked into, where others may be hidden by them. */
  readonly #living = new Map<StoreId, readonly Timestamp[]>();

  constructor(parts: LockSweepParts) {
    this.#parts = parts;
  }

  /** Asks one of these stores, unless one is being asked; they take turns. Never rejects for what stores say. */
  async look(stores: readonly StoreAddress[]): Promise<void> {
    if (stores.length === 0 || this.#isUnderWay) return;
    this.#turn += 1;
    const store = stores[this.#turn % stores.length] as StoreAddress;
    this.#isUnderWay = true;
    try {
      await this.#ask(store);
    } catch (error) {
      rethrowInvariant(error);
      if (!CairnError.is(error)) throw error;
      this.#parts.logger.debug('a store was not asked for its old locks', { reason: messageOf(error) });
    } finally {
      this.#isUnderWay = false;
    }
  }

  async #ask({ storeId, address }: StoreAddress): Promise<void> {
    const { coordinator, shards } = this.#parts;
    const ignored = this.#living.get(storeId) ?? NOTHING;
    const { locks } = await shards
      .client(address)
      .call(ShardRpc.overdueLocks, { ignoredStarts: [...ignored] }, { timeoutMs: QUESTION_TIMEOUT_MS });
    const living = await coordinator.sweep(
      locks.map((lock) => ({
        ...lock,
        ...{ start: timestamp(lock.start), deadline: timestamp(lock.deadline), owner: timestamp(0) },
      })),
    );
    if (locks.length < LOCKS_TOLD_MAX) this.#living.delete(storeId);
    else this.#living.set(storeId, [...new Set([...ignored, ...living])].slice(-IGNORED_STARTS_MAX));
  }
}
