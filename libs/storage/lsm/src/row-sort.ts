import { compareKeys, KeyView } from './key-view.js';
import { keyBytesOf, ROW_HEADER_BYTES } from './row.js';

/** Runs of this length are sorted by insertion before they are merged. */
const INSERTION_ROWS = 12;
/** Bytes of a key behind what all keys share that fit a number: compared first. */
const HEAD_BYTES = 6;

/** Rows by number, the newer ones with higher numbers, and where each lies. */
export interface NumberedRows {
  readonly bytes: Uint8Array;
  readonly rowAt: Uint32Array;
}

/**
 * The numbers from `from` up to `to` in the order of the rows' keys; of rows with one key the newest first.
 */
export function sortRows(rows: NumberedRows, from: number, to: number): Uint32Array {
  const order = new Uint32Array(to - from);
  for (let at = 0; at < order.length; at += 1) order[at] = from + at;
  return order.length < 2 ? order : new RowSorter(rows, from, to).sort(order);
}

/** Merges two sorted orders; those in `newer` have the higher numbers. */
export function mergeOrders(rows: NumberedRows, older: Uint32Array, newer: Uint32Array): Uint32Array {
  const merged = new Uint32Array(older.length + newer.length);
  const one = new KeyView();
  const other = new KeyView();
  let olderAt = 0;
  let newerAt = 0;
  for (let at = 0; at < merged.length; at += 1) {
    let takesNewer = olderAt === older.length;
    if (!takesNewer && newerAt < newer.length) {
      one.setToRow(rows.bytes, rows.rowAt[newer[newerAt] as number] as number);
      other.setToRow(rows.bytes, rows.rowAt[older[olderAt] as number] as number);
      takesNewer = compareKeys(one, other) <= 0;
    }
    merged[at] = (takesNewer ? newer[newerAt++] : older[olderAt++]) as number;
  }
  return merged;
}

/** Merge sort over numbers, with the first bytes in which keys differ at hand as numbers. */
class RowSorter {
  readonly #bytes: Uint8Array;
  readonly #rowAt: Uint32Array;
  readonly #from: number;
  readonly #heads: Float64Array;
  /** Bytes that all keys begin with. */
  readonly #shared: number;

  constructor(rows: NumberedRows, from: number, to: number) {
    this.#bytes = rows.bytes;
    this.#rowAt = rows.rowAt;
    this.#from = from;
    this.#shared = sharedBytes(rows, from, to);
    this.#heads = new Float64Array(to - from);
    for (let row = from; row < to; row += 1) this.#heads[row - from] = this.#headOf(row);
  }

  sort(order: Uint32Array): Uint32Array {
    const count = order.length;
    for (let from = 0; from < count; from += INSERTION_ROWS) {
      this.#insertionSort(order, from, Math.min(from + INSERTION_ROWS, count));
    }
    let source = order;
    let target: Uint32Array = new Uint32Array(count);
    for (let width = INSERTION_ROWS; width < count; width *= 2) {
      for (let from = 0; from < count; from += 2 * width) this.#mergePass(source, target, from, width);
      [source, target] = [target, source];
    }
    return source;
  }

  #insertionSort(order: Uint32Array, from: number, to: number): void {
    for (let at = from + 1; at < to; at += 1) {
      const row = order[at] as number;
      let hole = at;
      while (hole > from && this.#isBehind(order[hole - 1] as number, row)) {
        order[hole] = order[hole - 1] as number;
        hole -= 1;
      }
      order[hole] = row;
    }
  }

  #mergePass(source: Uint32Array, target: Uint32Array, from: number, width: number): void {
    const middle = Math.min(from + width, source.length);
    const end = Math.min(from + 2 * width, source.length);
    let left = from;
    let right = middle;
    for (let at = from; at < end; at += 1) {
      const takesLeft =
        right === end || (left < middle && !this.#isBehind(source[left] as number, source[right] as number));
      target[at] = (takesLeft ? source[left++] : source[right++]) as number;
    }
  }

  /** Whether `row` comes behind `other`; no two rows are equal. */
  #isBehind(row: number, other: number): boolean {
    const difference =
      (this.#heads[row - this.#from] as number) - (this.#heads[other - this.#from] as number);
    if (difference !== 0) return difference > 0;
    const bytes = this.#bytes;
    let at = this.#rowAt[row] as number;
    let otherAt = this.#rowAt[other] as number;
    const length = keyBytesOf(bytes, at);
    const otherLength = keyBytesOf(bytes, otherAt);
    const skipped = this.#shared + HEAD_BYTES;
    at += ROW_HEADER_BYTES + skipped;
    otherAt += ROW_HEADER_BYTES + skipped;
    const shorter = length < otherLength ? length : otherLength;
    for (const end = at + shorter - skipped; at < end; at += 1, otherAt += 1) {
      const behind = (bytes[at] as number) - (bytes[otherAt] as number);
      if (behind !== 0) return behind > 0;
    }
    return length === otherLength ? row < other : length > otherLength;
  }

  /** The six bytes behind what all keys share as one number; shorter keys count as if zeros followed. */
  #headOf(row: number): number {
    const bytes = this.#bytes;
    const rowAt = this.#rowAt[row] as number;
    const end = rowAt + ROW_HEADER_BYTES + keyBytesOf(bytes, rowAt);
    let at = rowAt + ROW_HEADER_BYTES + this.#shared;
    let head = 0;
    for (let left = HEAD_BYTES; left > 0; left -= 1, at += 1) {
      head = head * 256 + (at < end ? (bytes[at] as number) : 0);
    }
    return head;
  }
}

function sharedBytes({ bytes, rowAt }: NumberedRows, from: number, to: number): number {
  const firstAt = rowAt[from] as number;
  let shared = keyBytesOf(bytes, firstAt);
  for (let row = from + 1; row < to && shared > 0; row += 1) {
    const at = rowAt[row] as number;
    shared = Math.min(shared, keyBytesOf(bytes, at));
    let offset = 0;
    while (
      offset < shared &&
      bytes[firstAt + ROW_HEADER_BYTES + offset] === bytes[at + ROW_HEADER_BYTES + offset]
    ) {
      offset += 1;
    }
    shared = offset;
  }
  return shared;
}
