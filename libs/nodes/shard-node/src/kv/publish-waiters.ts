import type { LogIndex } from '@cairn/base';

import type { PendingWrites } from './pending-writes.js';
import type { WriteEvaluator } from './write-evaluator.js';

/** Work that waits until the command at `index` is visible. */
interface AfterPublished {
  readonly index: LogIndex;
  readonly run: () => void;
}

/**
 * Reads and deletions of one range that come behind what is proposed now. Bounded by the calls that the door
 * lets in.
 */
export class PublishWaiters {
  readonly #pending: Pick<PendingWrites, 'isEmpty' | 'lastIndex'>;
  readonly #writes: Pick<WriteEvaluator, 'hasCollected'>;
  #waiting: AfterPublished[] = [];
  /** Work that came in a turn while writes of the same turn were not proposed yet. */
  #afterTurn: (() => void)[] = [];

  constructor(
    pending: Pick<PendingWrites, 'isEmpty' | 'lastIndex'>,
    writes: Pick<WriteEvaluator, 'hasCollected'>,
  ) {
    this.#pending = pending;
    this.#writes = writes;
  }

  get length(): number {
    return this.#waiting.length + this.#afterTurn.length;
  }

  /**
   * Runs when everything evaluated so far is visible; at once when nothing is under way. Writes of this turn
   * are in the log only at its end, so whoever comes behind them waits until then.
   */
  whenPublished(run: () => void): void {
    if (this.#writes.hasCollected) this.#afterTurn.push(run);
    else if (this.#pending.isEmpty) run();
    else this.#waiting.push({ index: this.#pending.lastIndex, run });
  }

  /** The writes of the turn are in the log. */
  turnEnded(): void {
    if (this.#afterTurn.length > 0) for (const run of this.#afterTurn.splice(0)) this.whenPublished(run);
  }

  /** Commands up to `index` are visible. */
  published(index: LogIndex): void {
    while (this.#waiting.length > 0) {
      const next = this.#waiting[0] as AfterPublished;
      if (next.index > index) break;
      this.#waiting.shift();
      next.run();
    }
  }

  /** Leadership is lost, or the range is gone: who waits finds out by itself, now. */
  abandon(): void {
    for (const { run } of this.#waiting.splice(0)) run();
  }
}
