/**
 * Mixes a 48-bit client number and a 48-bit sequence into 32 bits (finalizer in the manner of
 * MurmurHash3).
 */
export function hashRequest(client: number, requestSequence: number): number {
  let hash = Math.imul(client | 0, 0x85ebca6b) ^ Math.imul((client / 4294967296) | 0, 0xc2b2ae35);
  hash ^= Math.imul(requestSequence | 0, 0x9e3779b1) ^ ((requestSequence / 4294967296) | 0);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const SLOTS_MIN = 256;

/**
 * Open-addressing table from requests to window positions. Holds hashes and positions only; the caller
 * compares the entry behind a position. Entries are never removed: positions of evicted entries are
 * skipped by the caller, and the table is rebuilt or dropped when it is half full.
 */
export class RequestIndex {
  readonly #slots: Int32Array;
  readonly #mask: number;
  readonly #base: number;
  #used = 0;

  /** For `live` entries now, with room for as many again; positions are at least `base`. */
  constructor(live: number, base: number) {
    let slots = SLOTS_MIN;
    while (slots < live * 4) slots *= 2;
    this.#slots = new Int32Array(slots);
    this.#mask = slots - 1;
    this.#base = base;
  }

  /** Whether the next `add` would make probing slow or its position would not fit. */
  isFull(position: number): boolean {
    return this.#used * 2 >= this.#slots.length || position - this.#base >= 0x7fffffff;
  }

  add(hash: number, position: number): void {
    let slot = hash & this.#mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = position - this.#base + 1;
    this.#used += 1;
  }

  /** First slot to look at. */
  start(hash: number): number {
    return hash & this.#mask;
  }

  next(slot: number): number {
    return (slot + 1) & this.#mask;
  }

  /** The position in a slot; -1 ends the search. */
  positionAt(slot: number): number {
    const stored = this.#slots[slot] as number;
    return stored === 0 ? -1 : stored - 1 + this.#base;
  }
}
