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

/**
 * Open-addressing table from requests to the slots of one full chunk, at most half full. Holds slots only;
 * the caller compares the entry in a slot. Made once, then shared like the chunk.
 */
export class RequestIndex {
  readonly #slots: Uint16Array;
  readonly #mask: number;

  /** For slots [0, count), count at most 65,535; `hashAt` tells the hash of the request in a slot. */
  constructor(count: number, hashAt: (slot: number) => number) {
    let places = 2;
    while (places < count * 2) places *= 2;
    this.#slots = new Uint16Array(places);
    this.#mask = places - 1;
    for (let slot = 0; slot < count; slot += 1) this.#add(hashAt(slot), slot);
  }

  #add(hash: number, slot: number): void {
    let place = hash & this.#mask;
    while (this.#slots[place] !== 0) place = (place + 1) & this.#mask;
    this.#slots[place] = slot + 1;
  }

  /** The first slot with this hash, oldest first, that `matches`; -1 when there is none. */
  find(hash: number, matches: (slot: number) => boolean): number {
    for (let place = hash & this.#mask; ; place = (place + 1) & this.#mask) {
      const slot = (this.#slots[place] as number) - 1;
      if (slot < 0 || matches(slot)) return slot;
    }
  }
}
