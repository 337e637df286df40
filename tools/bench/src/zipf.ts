import { assert } from '@cairn/base';
import type { FastRandom } from './data-set.js';

/** The skew of YCSB's requests. */
export const ZIPF_SKEW = 0.99;

/** The sum of 1 / rank^skew over the first so many ranks. */
function zeta(items: number, skew: number): number {
  let sum = 0;
  // From the smallest: what is added last loses nothing.
  for (let rank = items; rank >= 1; rank -= 1) sum += 1 / rank ** skew;
  return sum;
}

/**
 * Ranks from 0, of which rank `r` comes with a probability that falls as 1 / (r + 1)^skew. The method of Gray
 * and others, "Quickly generating billion-record synthetic databases" (1994), which YCSB uses too: the first
 * two ranks are exact, the others come from an approximation. Making one takes as many steps as there are
 * items, drawing takes one.
 */
export class Zipf {
  readonly items: number;
  readonly #alpha: number;
  readonly #eta: number;
  readonly #zeta: number;
  readonly #second: number;

  /** At least one item, a skew above 0 and below 1. */
  constructor(items: number, skew = ZIPF_SKEW) {
    assert(Number.isSafeInteger(items) && items >= 1, 'there is something to draw', { items });
    assert(skew > 0 && skew < 1, 'a skew that the method knows', { skew });
    this.items = items;
    this.#alpha = 1 / (1 - skew);
    this.#zeta = zeta(items, skew);
    this.#second = 1 + 0.5 ** skew;
    this.#eta = (1 - (2 / items) ** (1 - skew)) / (1 - this.#second / this.#zeta);
  }

  /** A rank from 0 to `items` - 1. */
  draw(random: FastRandom): number {
    const share = random.fraction();
    const scaled = share * this.#zeta;
    if (scaled < 1 || this.items === 1) return 0;
    if (scaled < this.#second || this.items === 2) return 1;
    const rank = Math.floor(this.items * (this.#eta * share - this.#eta + 1) ** this.#alpha);
    return Math.min(Math.max(rank, 0), this.items - 1);
  }
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/**
 * Spreads ranks over so many places, each place once: neighbours in rank, which are all asked for often, lie
 * far apart, or the popular keys would be one small part of one range.
 */
export class Scatter {
  readonly items: number;
  readonly #step: number;

  constructor(items: number) {
    assert(Number.isSafeInteger(items) && items >= 1 && items <= 2 ** 26, 'products stay exact', { items });
    this.items = items;
    // The golden section leaves no two of few ranks near each other.
    let step = Math.max(1, Math.round(items * 0.618_033_988_75));
    while (greatestCommonDivisor(step, items) !== 1) step += 1;
    this.#step = step;
  }

  /** The place, from 0 to `items` - 1, of a rank from the same numbers. */
  placeOf(rank: number): number {
    return (rank * this.#step) % this.items;
  }
}
