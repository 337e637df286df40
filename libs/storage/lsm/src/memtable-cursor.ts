import { assert } from '@cairn/base';

import { compareKeys, KeyView } from './key-view.js';
import { lowerBound, type Memtable } from './memtable.js';
import type { CursorState, RowCursor } from './row-cursor.js';
import { PackedRow } from './packed-row.js';

/** Walks over one sorted run of a memtable, as far as it was written when its view was taken. */
export class MemtableCursor extends PackedRow implements RowCursor {
  state: CursorState = 'at-end';
  readonly #table: Memtable;
  readonly #run: Uint32Array;
  /** Rows from this number on were written later. */
  readonly #rowCount: number;
  readonly #isReverse: boolean;
  #position = 0;
  readonly #other = new KeyView();

  constructor(table: Memtable, run: Uint32Array, rowCount: number, isReverse: boolean) {
    super();
    this.#table = table;
    this.#run = run;
    this.#rowCount = rowCount;
    this.#isReverse = isReverse;
  }

  seek(target: KeyView): void {
    const at = lowerBound(this.#table, this.#run, target);
    if (!this.#isReverse) {
      this.#showForward(at);
      return;
    }
    // Rows of the target's own key stand from `at` on.
    let last = at - 1;
    while (last + 1 < this.#run.length && this.#isKeyAt(last + 1, target)) last += 1;
    this.#showReverse(last);
  }

  next(): CursorState {
    assert(this.state === 'on-row', 'moved from no row');
    const { length } = this.#run;
    let at = this.#position;
    if (this.#isReverse) {
      while (at >= 0 && this.#isKeyAt(at, this.key)) at -= 1;
      this.#showReverse(at);
    } else {
      while (at < length && this.#isKeyAt(at, this.key)) at += 1;
      this.#showForward(at);
    }
    return this.state;
  }

  load(): Promise<void> | undefined {
    return undefined;
  }

  /** Of one key the newest row comes first: the first that is visible is the one. */
  #showForward(from: number): void {
    let at = from;
    while (at < this.#run.length && !this.#isVisible(at)) at += 1;
    this.#show(at);
  }

  /** Going backwards the newest row of a key comes last. */
  #showReverse(from: number): void {
    let at = from;
    while (at >= 0 && !this.#isVisible(at)) at -= 1;
    this.#show(at);
    if (this.state !== 'on-row') return;
    while (at > 0 && this.#isKeyAt(at - 1, this.key)) {
      at -= 1;
      if (this.#isVisible(at)) this.#show(at);
    }
  }

  #show(position: number): void {
    if (position < 0 || position >= this.#run.length) {
      this.state = 'at-end';
      return;
    }
    this.#position = position;
    this.lookAt(this.#table.bytes, this.#rowAtOf(position));
    this.state = 'on-row';
  }

  #isVisible(position: number): boolean {
    return (this.#run[position] as number) < this.#rowCount;
  }

  #isKeyAt(position: number, key: KeyView): boolean {
    this.#other.setToRow(this.#table.bytes, this.#rowAtOf(position));
    return compareKeys(this.#other, key) === 0;
  }

  #rowAtOf(position: number): number {
    return this.#table.rowAt[this.#run[position] as number] as number;
  }
}
