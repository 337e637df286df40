import { compareKeys, type KeyView } from './key-view.js';
import type { RowCursor } from './row-cursor.js';

/**
 * Several sources as one: each key once, as the newest source has it, deletions included. The sources come
 * newest first.
 *
 * Most of the time one source gives many rows in a row, so the smallest key of all others is remembered, and
 * the others are looked at again only when the walk reaches it.
 */
export class MergedRows {
  readonly #cursors: readonly RowCursor[];
  readonly #isReverse: boolean;
  /** The source of the row; undefined at the end or before `settle`. */
  #current: RowCursor | undefined;
  /**
   * The source that comes next when `#current` has moved on far enough; none = all others are at their end.
   */
  #runnerUp: RowCursor | undefined;
  #isSettled = false;

  constructor(cursors: readonly RowCursor[], isReverse: boolean) {
    this.#cursors = cursors;
    this.#isReverse = isReverse;
  }

  /** The source that stands on the row; undefined at the end. Ask only after `settle` was done. */
  get current(): RowCursor | undefined {
    return this.#current;
  }

  /** The target's bytes must stay until `settle` was done. */
  seek(target: KeyView): void {
    for (const cursor of this.#cursors) cursor.seek(target);
    this.#isSettled = false;
  }

  /** To the next key. `settle` comes before the row may be looked at. */
  next(): void {
    const current = this.#current as RowCursor;
    const runnerUp = this.#runnerUp;
    const stays =
      current.next() === 'on-row' && (runnerUp === undefined || this.#compare(current.key, runnerUp.key) < 0);
    if (!stays) this.#isSettled = false;
  }

  /** Reads what has to be read to know the row; undefined = it is known already. */
  settle(): Promise<void> | undefined {
    while (!this.#isSettled) {
      for (const cursor of this.#cursors) {
        const loading = cursor.state === 'waits' ? cursor.load() : undefined;
        if (loading !== undefined) return loading.then(() => this.settle());
      }
      this.#isSettled = this.#choose();
    }
    return undefined;
  }

  /**
   * Finds the source with the next key and the one behind it, and moves sources with an older row of the same
   * key past it. False when one of these has to read before the order is known.
   */
  #choose(): boolean {
    let best: RowCursor | undefined;
    let second: RowCursor | undefined;
    for (const cursor of this.#cursors) {
      if (cursor.state !== 'on-row') continue;
      let difference = best === undefined ? -1 : this.#compare(cursor.key, best.key);
      if (difference === 0) {
        const state = cursor.next();
        if (state === 'waits') return false;
        if (state === 'at-end') continue;
        difference = 1;
      }
      if (difference < 0) {
        second = best;
        best = cursor;
      } else if (second === undefined || this.#compare(cursor.key, second.key) < 0) second = cursor;
    }
    this.#current = best;
    this.#runnerUp = second;
    return true;
  }

  #compare(one: KeyView, other: KeyView): number {
    const difference = compareKeys(one, other);
    return this.#isReverse ? -difference : difference;
  }
}
