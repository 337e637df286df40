import type { RowCacheKey } from '@cairn/mvcc';

/** A bucket of twice as many is cut in two. */
const BUCKET_KEYS = 256;

/**
 * Keys in order: short sorted lists, one behind the other, so that to add one among a hundred thousand moves
 * few of them.
 */
export class OrderedKeys {
  /** None of them empty. */
  readonly #buckets: RowCacheKey[][] = [];

  /** A key that is not there yet. */
  add(key: RowCacheKey): void {
    const at = this.#bucketOf(key);
    const bucket = this.#buckets[at];
    if (bucket === undefined) {
      this.#buckets.push([key]);
      return;
    }
    bucket.splice(firstAtOrAbove(bucket, key), 0, key);
    if (bucket.length >= 2 * BUCKET_KEYS) this.#buckets.splice(at + 1, 0, bucket.splice(BUCKET_KEYS));
  }

  /** A key that is there. */
  delete(key: RowCacheKey): void {
    const at = this.#bucketOf(key);
    const bucket = this.#buckets[at];
    const within = bucket === undefined ? 0 : firstAtOrAbove(bucket, key);
    if (bucket?.[within] !== key) return;
    bucket.splice(within, 1);
    if (bucket.length === 0) this.#buckets.splice(at, 1);
  }

  clear(): void {
    this.#buckets.length = 0;
  }

  /** The keys in [start, end), in order; `end` undefined = all from `start` on. */
  *within(start: RowCacheKey, end: RowCacheKey | undefined): Generator<RowCacheKey> {
    for (let at = this.#bucketOf(start); at < this.#buckets.length; at += 1) {
      const bucket = this.#buckets[at] as RowCacheKey[];
      for (let within = firstAtOrAbove(bucket, start); within < bucket.length; within += 1) {
        const key = bucket[within] as RowCacheKey;
        if (end !== undefined && key >= end) return;
        yield key;
      }
    }
  }

  /** The last bucket whose first key is at or below the key; the first one if there is none. */
  #bucketOf(key: RowCacheKey): number {
    let low = 0;
    let high = this.#buckets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#buckets[middle]?.[0] as RowCacheKey) <= key) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

function firstAtOrAbove(keys: readonly RowCacheKey[], key: RowCacheKey): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as RowCacheKey) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
