import { assert } from '@cairn/base';
import type { Rng } from '@cairn/ports';

const UINT32_STEPS = 4294967296;
const DOUBLE_STEPS = 9007199254740992;

/** FNV-1a over UTF-16 code units; only spreads names into seeds, no cryptographic claim. */
function hashText(text: string, start: number): number {
  let hash = start;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 16777619) >>> 0;
  }
  return hash;
}

/**
 * Seeded random numbers: xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom number generators",
 * 2018) on 32-bit integers, its state filled by a splitmix step. The same seed gives the same sequence on
 * every machine. Not for secrets.
 */
export class SimRng implements Rng {
  readonly #seed: string;
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;

  constructor(seed: number | string) {
    this.#seed = String(seed);
    let state = hashText(this.#seed, 0x811c9dc5);
    const mix = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    };
    this.#a = mix();
    this.#b = mix() ^ hashText(this.#seed, 0x01000193);
    this.#c = mix();
    this.#d = mix() | 1;
  }

  /**
   * A generator whose sequence depends on this one's seed and the name only, not on how much was drawn
   * before: a new consumer with a name of its own leaves every other consumer's sequence as it was.
   */
  fork(name: string): SimRng {
    return new SimRng(`${this.#seed}/${name}`);
  }

  /** Uniform in 0 .. 2^32 - 1. */
  uint32(): number {
    const scaled = Math.imul(this.#b, 5);
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  next(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 67108864 + low) / DOUBLE_STEPS;
  }

  integer(bound: number): number {
    assert(Number.isSafeInteger(bound) && bound > 0, 'bound must be a positive safe integer', { bound });
    if (bound <= UINT32_STEPS) {
      // Rejection keeps small bounds exactly uniform.
      const limit = UINT32_STEPS - (UINT32_STEPS % bound);
      let value = this.uint32();
      while (value >= limit) value = this.uint32();
      return value % bound;
    }
    return Math.floor(this.next() * bound);
  }

  bytes(length: number): Uint8Array {
    const result = new Uint8Array(length);
    for (let at = 0; at < length; at += 4) {
      const word = this.uint32();
      for (let byte = 0; byte < 4 && at + byte < length; byte += 1) result[at + byte] = word >>> (byte * 8);
    }
    return result;
  }

  /** True with the given probability, 0 .. 1. Draws once whatever the probability, so traces stay aligned. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** Uniform in [low, high). */
  between(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  /** One element of a non-empty list. */
  pick<Item>(items: readonly Item[]): Item {
    assert(items.length > 0, 'nothing to pick from');
    return items[this.integer(items.length)] as Item;
  }
}
