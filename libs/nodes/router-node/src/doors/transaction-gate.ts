import { CairnError, opensAt, type GateView } from '@cairn/base';
import type { OpenTransactions, TransactionCoordinator } from '@cairn/transactions';
import type { ReadRow } from '@cairn/wire';

/** Taken for the size of values before any was read. */
const FIRST_VALUE_BYTES = 1024;
/** Weight of one value in the running mean. */
const MEAN_WEIGHT = 1 / 64;

/** What carries transactions out. */
export interface TransactionParts {
  readonly coordinator: Pick<
    TransactionCoordinator,
    'commit' | 'execute' | 'release' | 'reserve' | 'snapshotGet'
  >;
  /** Those that the router keeps for its callers. */
  readonly open: Pick<OpenTransactions, 'begin' | 'find'>;
  readonly gates: GateView;
}

/** Before nodes that know no transactions are gone, nobody gets to what carries them out. */
export class TransactionGate {
  readonly #parts: TransactionParts;
  #meanValueBytes = FIRST_VALUE_BYTES;

  constructor(parts: TransactionParts) {
    this.#parts = parts;
  }

  /** How large values are that are read: the running mean. */
  get meanValueBytes(): number {
    return this.#meanValueBytes;
  }

  /** These were read. */
  learn(rows: readonly ReadRow[]): void {
    for (const { value } of rows) this.#meanValueBytes += (value.length - this.#meanValueBytes) * MEAN_WEIGHT;
  }

  /**
   * Throws FAILED_PRECONDITION while not all nodes know transactions, UNAVAILABLE while that is not known.
   */
  get coordinator(): TransactionParts['coordinator'] {
    this.#check();
    return this.#parts.coordinator;
  }

  /** As `coordinator`. */
  get open(): TransactionParts['open'] {
    this.#check();
    return this.#parts.open;
  }

  #check(): void {
    const { gates } = this.#parts;
    if (gates.isOpen('transactions')) return;
    const { clusterVersion } = gates;
    if (clusterVersion === 0)
      throw new CairnError('UNAVAILABLE', 'the router has not joined the cluster yet', { retryAfterMs: 100 });
    throw new CairnError(
      'FAILED_PRECONDITION',
      `transactions need cluster version ${opensAt('transactions')}, and the cluster is at ${clusterVersion}: ` +
        'bring all nodes to this release; `cairn upgrade status` says what is missing, and `cairn upgrade ' +
        'finalize` raises the version',
    );
  }
}
