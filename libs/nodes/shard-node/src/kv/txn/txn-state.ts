import { Decisions, type Decision } from './decisions.js';
import { LockTable, type Lock } from './lock-table.js';

/** What one command does to locks and decisions: see `TxnState`. */
export interface TxnEffect {
  readonly added: readonly Lock[];
  readonly removed: readonly Lock[];
  readonly decisions: readonly Decision[];
}

/**
 * What one range knows of transactions in memory. An effect is `proposed` when its command is evaluated, and
 * then either `withdrawn` or `committed` and, when the engine holds it, `published`.
 */
export class TxnState {
  readonly locks = new LockTable();
  readonly decisions = new Decisions();

  proposed(effect: TxnEffect): void {
    this.locks.proposed(effect);
    this.decisions.proposed(effect.decisions);
  }

  /** The proposal was refused, or lost with the leadership: another leader may commit it all the same. */
  withdrawn(effect: TxnEffect): void {
    this.locks.withdrawn(effect);
    this.decisions.withdrawn(effect.decisions);
  }

  committed(effect: TxnEffect): void {
    this.locks.committed(effect);
  }

  published(effect: TxnEffect): void {
    this.locks.published(effect);
    this.decisions.visible(effect.decisions);
  }

  /** A snapshot took the place of everything. */
  clear(): void {
    this.locks.clear();
    this.decisions.clear();
  }
}
