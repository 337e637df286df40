import { compareKeys, KeyView } from './key-view.js';

/** Heads of a node: they lie in two cache lines side by side. */
const FANOUT = 16;
/** As many as a number holds. */
const HEAD_BYTES = 6;

/**
 * Many keys in order, and a search among them. The keys lie anywhere in a megabyte, and to compare one meets
 * two cold cache lines; so six bytes of each, those behind what all have in common, lie side by side and are
 * searched first. Above them is a tree of nodes that lie together: a search of ten thousand meets four.
 */
export class SortedKeys {
  readonly length: number;
  /** What it keeps besides the keys. */
  readonly bytes: number;
  readonly #ends: Uint32Array;
  readonly #keys: Uint8Array;
  /** Bytes that all keys begin with. */
  readonly #sharedBytes: number;
  /** Of each key HEAD_BYTES behind those, zeros where it is shorter. */
  readonly #heads: Float64Array;
  /** Every FANOUT-th of the level below; the first level is of the heads, the last one node. */
  readonly #levels: Float64Array[] = [];
  readonly #key = new KeyView();

  /** `ends`: where each key ends in `keys`; there is at least one. Both are used where they lie. */
  constructor(ends: Uint32Array, keys: Uint8Array) {
    this.length = ends.length;
    this.#ends = ends;
    this.#keys = keys;
    this.#sharedBytes = this.#shared();
    this.#heads = new Float64Array(ends.length);
    for (let at = 0; at < ends.length; at += 1) {
      this.#look(at);
      this.#heads[at] = this.#headOf(this.#key);
    }
    let bytes = this.#heads.byteLength;
    for (let below = this.#heads; below.length > FANOUT;) {
      const level = below.filter((_, at) => at % FANOUT === 0);
      this.#levels.push(level);
      bytes += level.byteLength;
      below = level;
    }
    this.bytes = bytes;
  }

  /** Copies the keys; there is at least one. */
  static of(keys: readonly Uint8Array[]): SortedKeys {
    let end = 0;
    const ends = Uint32Array.from(keys, (key) => (end += key.length));
    return new SortedKeys(ends, Buffer.concat(keys));
  }

  /** The first key at or above the target; `length` when all are below. */
  firstAtOrAbove(target: KeyView): number {
    return this.#first(target, 0);
  }

  /** The first key above the target; `length` when there is none. */
  firstAbove(target: KeyView): number {
    return this.#first(target, 1);
  }

  /** The first key that compares with the target as `least` or more. */
  #first(target: KeyView, least: 0 | 1): number {
    const side = this.#compareShared(target);
    if (side !== 0) return side < 0 ? 0 : this.length;
    const heads = this.#heads;
    const head = this.#headOf(target);
    let low = this.#firstHead(head);
    // Few keys have the same head, as a rule none or one.
    let high = low;
    for (let step = 1; high < this.length && heads[high] === head; step *= 2) high += step;
    high = Math.min(high, this.length);
    while (low < high) {
      const middle = (low + high) >>> 1;
      this.#look(middle);
      if (compareKeys(this.#key, target) < least) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The first head at or above the value. */
  #firstHead(value: number): number {
    let node = 0;
    for (let level = this.#levels.length - 1; level >= 0; level -= 1) {
      const at = firstInNode(this.#levels[level] as Float64Array, node, value);
      // Of a level's entries that are below the value, the last one leads to where they end.
      node = Math.max(0, at - 1) * FANOUT;
    }
    return firstInNode(this.#heads, node, value);
  }

  #look(at: number): void {
    const start = at === 0 ? 0 : (this.#ends[at - 1] as number);
    this.#key.set(this.#keys, start, (this.#ends[at] as number) - start);
  }

  /** The first and the last key share what all do. */
  #shared(): number {
    const last = this.#ends.length - 1;
    const lastAt = last === 0 ? 0 : (this.#ends[last - 1] as number);
    const bytesMax = Math.min(this.#ends[0] as number, (this.#ends[last] as number) - lastAt);
    let shared = 0;
    while (shared < bytesMax && this.#keys[shared] === this.#keys[lastAt + shared]) shared += 1;
    return shared;
  }

  /** Below 0: the key is below all of these; above 0: above all. */
  #compareShared(key: KeyView): number {
    for (let offset = 0; offset < this.#sharedBytes; offset += 1) {
      if (offset === key.length) return -1;
      const difference = (key.bytes[key.at + offset] as number) - (this.#keys[offset] as number);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  #headOf({ bytes, at, length }: KeyView): number {
    let head = 0;
    for (let offset = this.#sharedBytes; offset < this.#sharedBytes + HEAD_BYTES; offset += 1) {
      head = head * 256 + (offset < length ? (bytes[at + offset] as number) : 0);
    }
    return head;
  }
}

/**
 * The first of the FANOUT entries from `node` on that is at or above the value; else what comes behind them.
 */
function firstInNode(entries: Float64Array, node: number, value: number): number {
  let low = node;
  let high = Math.min(node + FANOUT, entries.length);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((entries[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
