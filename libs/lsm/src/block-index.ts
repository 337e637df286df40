import { compareKeys, KeyView } from './key-view.js';

/**
 * Which block of a table may hold a key. The separators lie anywhere in a megabyte, and a search among them
 * meets two cold cache lines at each step; so four bytes of each, those behind what all have in common, lie
 * side by side and are searched first.
 */
export class BlockIndex {
  /** What it keeps besides the meta section. */
  readonly bytes: number;
  readonly #ends: Uint32Array;
  readonly #separators: Uint8Array;
  /** Bytes that all separators begin with. */
  readonly #sharedBytes: number;
  /** Of each separator the four bytes behind those, zeros where it is shorter. */
  readonly #heads: Uint32Array;
  readonly #separator = new KeyView();

  /** `ends`: where each separator ends in `separators`, one per block. Both are used where they lie. */
  constructor(ends: Uint32Array, separators: Uint8Array) {
    this.#ends = ends;
    this.#separators = separators;
    this.#sharedBytes = this.#shared();
    this.#heads = new Uint32Array(ends.length);
    this.bytes = this.#heads.byteLength;
    for (let block = 0; block < ends.length; block += 1) {
      this.#look(block);
      this.#heads[block] = this.#headOf(this.#separator);
    }
  }

  /** The only block that can hold the first key at or above the target, unless that begins the next one. */
  blockFor(target: KeyView): number {
    const last = this.#ends.length - 1;
    const side = this.#compareShared(target);
    if (side !== 0) return side < 0 ? 0 : last;
    const head = this.#headOf(target);
    let low = this.#firstHead(head, 0);
    let high = Math.min(this.#firstHead(head + 1, low), last);
    while (low < high) {
      const middle = (low + high) >>> 1;
      this.#look(middle);
      if (compareKeys(this.#separator, target) < 0) low = middle + 1;
      else high = middle;
    }
    return Math.min(low, last);
  }

  /** The first block from `from` on whose head is at or above the value. */
  #firstHead(value: number, from: number): number {
    const heads = this.#heads;
    let low = from;
    let high = heads.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((heads[middle] as number) < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #look(block: number): void {
    const start = block === 0 ? 0 : (this.#ends[block - 1] as number);
    this.#separator.set(this.#separators, start, (this.#ends[block] as number) - start);
  }

  /** The first and the last separator share what all do. */
  #shared(): number {
    const lastBlock = this.#ends.length - 1;
    const lastAt = lastBlock === 0 ? 0 : (this.#ends[lastBlock - 1] as number);
    const bytesMax = Math.min(this.#ends[0] as number, (this.#ends[lastBlock] as number) - lastAt);
    let shared = 0;
    while (shared < bytesMax && this.#separators[shared] === this.#separators[lastAt + shared]) shared += 1;
    return shared;
  }

  /** Below 0: the key is below all separators; above 0: above all. */
  #compareShared(key: KeyView): number {
    for (let offset = 0; offset < this.#sharedBytes; offset += 1) {
      if (offset === key.length) return -1;
      const difference = (key.bytes[key.at + offset] as number) - (this.#separators[offset] as number);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  #headOf({ bytes, at, length }: KeyView): number {
    let head = 0;
    for (let offset = this.#sharedBytes; offset < this.#sharedBytes + 4; offset += 1) {
      head = head * 256 + (offset < length ? (bytes[at + offset] as number) : 0);
    }
    return head;
  }
}
