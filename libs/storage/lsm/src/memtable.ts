import { assert } from '@cairn/base';

import { hashStem, type KeyShape } from './key-shape.js';
import { compareKeys, KeyView } from './key-view.js';
import { mergeOrders, sortRows } from './row-sort.js';
import { rowBytesOf } from './row.js';

const ROWS_LEAST = 1024;
/** A look-up that met this many versions of one stem goes on by binary search. */
const CHAIN_ROWS_MAX = 32;
const NOBODY = -1;

/**
 * The newest rows, in one piece of memory in the order in which they were written. Row numbers count up, so a
 * view of the table as of some moment is the number of rows it had then, and needs no copy.
 *
 * Point reads go through a hash of stems whose chains have the newest row first. Order is made only when
 * somebody walks: then what came since is sorted and becomes a run of its own, and runs of like size are
 * merged. A table that nobody walks over is sorted once, when it is written out, on another thread.
 *
 * A batch lies in one table whole, which is what makes it atomic: a table reaches the disk whole or not at
 * all.
 */
export class Memtable {
  /** The packed rows; the memory belongs to the table until `release`. */
  readonly bytes: Uint8Array;
  readonly #shape: KeyShape;
  #end = 0;
  #rowCount = 0;
  #rowAt = new Uint32Array(ROWS_LEAST);
  #hashes = new Uint32Array(ROWS_LEAST);
  /** The row before in the same bucket. */
  #next = new Int32Array(ROWS_LEAST);
  /** The newest row of each bucket. */
  #buckets = new Int32Array(ROWS_LEAST).fill(NOBODY);
  /** Row numbers in key order, newest rows first; together all rows below `#sortedRows`. */
  #runs: readonly Uint32Array[] = [];
  #sortedRows = 0;
  readonly #key = new KeyView();
  readonly #best = new KeyView();

  constructor(memory: ArrayBuffer | SharedArrayBuffer, shape: KeyShape) {
    this.bytes = new Uint8Array(memory);
    this.#shape = shape;
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  /** Bytes of its rows. */
  get usedBytes(): number {
    return this.#end;
  }

  /** Where each row lies; the first `rowCount` count. */
  get rowAt(): Uint32Array {
    return this.#rowAt;
  }

  hasRoomFor(packedBytes: number): boolean {
    return this.#end + packedBytes <= this.bytes.length;
  }

  /** Adds a batch of packed rows; there must be room. Visible at once. */
  append(packed: Uint8Array, packedBytes: number): void {
    assert(this.hasRoomFor(packedBytes), 'the batch does not fit the memtable', { packedBytes });
    const from = this.#end;
    this.bytes.set(packedBytes === packed.length ? packed : packed.subarray(0, packedBytes), from);
    this.#end = from + packedBytes;
    for (let at = from; at < this.#end; at += rowBytesOf(this.bytes, at)) this.#add(at);
  }

  #add(at: number): void {
    const row = this.#rowCount;
    if (row === this.#rowAt.length) this.#grow();
    const key = this.#key;
    key.setToRow(this.bytes, at);
    const hash = hashStem(key, this.#shape.stemBytesOf(key));
    const bucket = hash & (this.#buckets.length - 1);
    this.#rowAt[row] = at;
    this.#hashes[row] = hash;
    this.#next[row] = this.#buckets[bucket] as number;
    this.#buckets[bucket] = row;
    this.#rowCount = row + 1;
  }

  #grow(): void {
    const capacity = this.#rowAt.length * 2;
    this.#rowAt = grown(this.#rowAt, capacity);
    this.#hashes = grown(this.#hashes, capacity);
    this.#next = new Int32Array(capacity);
    this.#buckets = new Int32Array(capacity).fill(NOBODY);
    for (let row = 0; row < this.#rowCount; row += 1) {
      const bucket = (this.#hashes[row] as number) & (capacity - 1);
      this.#next[row] = this.#buckets[bucket] as number;
      this.#buckets[bucket] = row;
    }
  }

  /**
   * The place of the row with the smallest key in [start, end), the newest of that key; -1 when there is
   * none. All keys of the span must have the stem with this hash. Rows from `rowCount` on are passed over.
   */
  find(hash: number, start: KeyView, end: KeyView, rowCount: number): number {
    const [key, best] = [this.#key, this.#best];
    let found = NOBODY;
    let visited = 0;
    let row = this.#buckets[hash & (this.#buckets.length - 1)] as number;
    for (; row !== NOBODY; row = this.#next[row] as number) {
      if (this.#hashes[row] !== hash || row >= rowCount) continue;
      visited += 1;
      if (visited > CHAIN_ROWS_MAX) return this.#findInOrder(start, end, rowCount);
      const at = this.#rowAt[row] as number;
      key.setToRow(this.bytes, at);
      if (compareKeys(key, start) < 0 || compareKeys(key, end) >= 0) continue;
      if (found !== NOBODY && compareKeys(key, best) >= 0) continue;
      found = at;
      best.setToRow(this.bytes, at);
    }
    return found;
  }

  #findInOrder(start: KeyView, end: KeyView, rowCount: number): number {
    const [key, best] = [this.#key, this.#best];
    let found = NOBODY;
    for (const run of this.sortedRuns()) {
      let position = lowerBound(this, run, start);
      while (position < run.length && (run[position] as number) >= rowCount) position += 1;
      if (position === run.length) continue;
      const at = this.#rowAt[run[position] as number] as number;
      key.setToRow(this.bytes, at);
      if (compareKeys(key, end) >= 0) continue;
      if (found !== NOBODY && compareKeys(key, best) >= 0) continue;
      found = at;
      best.setToRow(this.bytes, at);
    }
    return found;
  }

  /**
   * All rows as they are now, in runs of row numbers in key order, of one key the newest row first. Runs with
   * newer rows come first. The runs never change; rows that are written later are in none of them.
   */
  sortedRuns(): readonly Uint32Array[] {
    if (this.#sortedRows === this.#rowCount) return this.#runs;
    const rows = { bytes: this.bytes, rowAt: this.#rowAt };
    let newest = sortRows(rows, this.#sortedRows, this.#rowCount);
    this.#sortedRows = this.#rowCount;
    let kept = 0;
    // Each row is merged as often as its run can double: a logarithm of the size of the table.
    for (; kept < this.#runs.length; kept += 1) {
      const older = this.#runs[kept] as Uint32Array;
      if (older.length > newest.length * 2) break;
      newest = mergeOrders(rows, older, newest);
    }
    this.#runs = [newest, ...this.#runs.slice(kept)];
    return this.#runs;
  }
}

/** The first position in a run whose key is at or above the target. */
export function lowerBound(table: Memtable, run: Uint32Array, target: KeyView): number {
  const key = new KeyView();
  const { bytes, rowAt } = table;
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    key.setToRow(bytes, rowAt[run[middle] as number] as number);
    if (compareKeys(key, target) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function grown(array: Uint32Array<ArrayBuffer>, capacity: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(capacity);
  larger.set(array);
  return larger;
}
