import { assert, CairnError } from '@cairn/base';
import { keyAt, type FastRandom } from './data-set.js';
import { Scatter, Zipf } from './zipf.js';

/** Two keys by index. */
export type KeyPair = readonly [first: number, second: number];

/** Index of the first key at which the second of two halves of a data set begins. */
export function middleOf(keys: number): number {
  return keys >> 1;
}

/**
 * Indices of the keys of a data set at which a range begins, without the first: from the first keys of
 * ranges, in any order. A range may begin between two keys; then it is the later one.
 */
export function rangeStarts(keys: number, firstKeys: readonly Uint8Array[]): number[] {
  const starts = new Set<number>();
  for (const first of firstKeys) {
    let [low, high] = [0, keys];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (Buffer.compare(keyAt(middle), first) < 0) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && low < keys) starts.add(low);
  }
  return [...starts].sort((a, b) => a - b);
}

/**
 * Draws pairs of keys that certainly lie in one range, or in two. The ranges are those that the cluster has,
 * not those that it was asked for.
 */
export class KeyPlaces {
  readonly #keys: number;
  /** Where ranges begin, with 0 and the number of keys at the ends. */
  readonly #bounds: readonly number[];
  readonly #popular: readonly [Zipf, Zipf] | undefined;
  readonly #scatter: readonly [Scatter, Scatter] | undefined;

  /** `starts` as of `rangeStarts`; with `zipf` pairs of two ranges can be drawn by popularity. */
  constructor(keys: number, starts: readonly number[], { zipf = false } = {}) {
    this.#keys = keys;
    this.#bounds = [0, ...starts, keys];
    const isRising = this.#bounds.every((bound, at) => at === 0 || bound > (this.#bounds[at - 1] ?? 0));
    assert(isRising, 'ranges of a data set follow each other', { keys, starts: starts.length });
    if (!zipf) return;
    const middle = middleOf(keys);
    this.#popular = [new Zipf(middle), new Zipf(keys - middle)];
    this.#scatter = [new Scatter(middle), new Scatter(keys - middle)];
  }

  /** Which range, counted from 0, holds a key. */
  rangeOf(key: number): number {
    assert(key >= 0 && key < this.#keys, 'a key of the data set', { key });
    let [low, high] = [0, this.#bounds.length - 2];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#bounds[middle] ?? 0) <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Two different keys of one range. @throws CairnError `FAILED_PRECONDITION` if it has only one key. */
  ofOneRange(random: FastRandom): KeyPair {
    const first = random.below(this.#keys);
    const range = this.rangeOf(first);
    const [low = 0, high = 0] = [this.#bounds[range], this.#bounds[range + 1]];
    if (high - low < 2) throw new CairnError('FAILED_PRECONDITION', 'A range of the data set has one key.');
    const offset = 1 + random.below(high - low - 1);
    return [first, low + ((first - low + offset) % (high - low))];
  }

  /** A key of the first half and one of the second, which are different ranges; evenly drawn. */
  ofTwoRanges(random: FastRandom): KeyPair {
    const middle = middleOf(this.#keys);
    return [random.below(middle), middle + random.below(this.#keys - middle)];
  }

  /** The same, of which few are drawn often. Only of places that were made with `zipf`. */
  popularOfTwoRanges(random: FastRandom): KeyPair {
    assert(this.#popular !== undefined && this.#scatter !== undefined, 'places that know what is popular');
    const [first, second] = this.#popular;
    const [firstPlaces, secondPlaces] = this.#scatter;
    return [
      firstPlaces.placeOf(first.draw(random)),
      middleOf(this.#keys) + secondPlaces.placeOf(second.draw(random)),
    ];
  }

  /** @throws CairnError `FAILED_PRECONDITION` unless the two halves are different ranges. */
  checkTwoRanges(): void {
    if (this.#bounds.slice(1, -1).includes(middleOf(this.#keys))) return;
    throw new CairnError('FAILED_PRECONDITION', 'The two halves of the data set are not different ranges.');
  }
}
