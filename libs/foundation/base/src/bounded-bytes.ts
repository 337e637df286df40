import { assert } from './assert.js';
import { CairnError } from './errors.js';

export interface BoundedBytesOptions {
  /** What is bounded, for messages: "requests of one connection". */
  readonly name: string;
  /** Bytes that may be held at once. */
  readonly limit: number;
  /** Items that may be held at once. Default: only bytes count. */
  readonly countLimit?: number;
}

/**
 * The budget of a queue, a cache or a window: how many bytes (and items) it holds, and how many it may. Every
 * byte-bounded queue of the product has one, so that they can be found and their metrics read alike.
 *
 * Whoever puts an item in calls `tryTake` with its bytes and refuses the item when the answer is false;
 * whoever takes it out calls `give` with the same number. Nothing is allocated.
 */
export class BoundedBytes {
  readonly name: string;
  readonly limit: number;
  readonly countLimit: number;
  #used = 0;
  #count = 0;
  #peak = 0;
  #refusals = 0;

  constructor(options: BoundedBytesOptions) {
    this.name = options.name;
    this.limit = options.limit;
    this.countLimit = options.countLimit ?? Infinity;
    assert(this.limit >= 0 && this.countLimit >= 0, 'a budget is not negative', { name: this.name });
  }

  /** Bytes held now. */
  get used(): number {
    return this.#used;
  }
  /** Items held now. */
  get count(): number {
    return this.#count;
  }
  /** Most bytes ever held, for metrics and for checks. */
  get peak(): number {
    return this.#peak;
  }
  /** How often `tryTake` said no, for metrics. */
  get refusals(): number {
    return this.#refusals;
  }
  /** The budget lets no byte more in: whoever fills it stops its source. */
  get isFull(): boolean {
    return this.#used >= this.limit || this.#count >= this.countLimit;
  }

  /** Whether an item of so many bytes would be let in. */
  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= this.limit && this.#count < this.countLimit;
  }

  /** Lets an item in when there is room for it; false changes nothing but the count of refusals. */
  tryTake(bytes: number): boolean {
    if (!this.hasRoom(bytes)) {
      this.#refusals += 1;
      return false;
    }
    this.#take(bytes);
    return true;
  }

  /**
   * Like `tryTake`, but an empty budget takes any item, so that one that is larger than the whole budget gets
   * through alone instead of never. The bound is then that item.
   */
  tryTakeOrAlone(bytes: number): boolean {
    if (this.#count > 0) return this.tryTake(bytes);
    this.#take(bytes);
    return true;
  }

  /** For what cannot be refused; whoever calls it stops its source while `isFull`. */
  take(bytes: number): void {
    this.#take(bytes);
  }

  /** An item of so many bytes left, or several that have so many together. */
  give(bytes: number, items = 1): void {
    assert(bytes >= 0 && bytes <= this.#used && items <= this.#count, 'more given back than was taken');
    this.#used -= bytes;
    this.#count -= items;
  }

  /** An item that is held changed its size; the new bytes are held whatever the limit. */
  resize(oldBytes: number, newBytes: number): void {
    assert(oldBytes >= 0 && oldBytes <= this.#used && newBytes >= 0, 'more resized than was taken');
    this.#used += newBytes - oldBytes;
    if (this.#used > this.#peak) this.#peak = this.#used;
  }

  /** Everything that is held leaves at once. */
  clear(): void {
    this.#used = 0;
    this.#count = 0;
  }

  /** Makes the refusal of an item, which names the queue, the item and the limit. */
  refusal(bytes: number, retryAfterMs = 0): CairnError {
    const isByCount = this.#count >= this.countLimit;
    const held = isByCount
      ? `${this.#count} of ${this.countLimit} items`
      : `${this.#used} of ${this.limit} bytes`;
    return new CairnError(
      'RESOURCE_EXHAUSTED',
      `${this.name}: ${held} are taken, no room for ${bytes} bytes more`,
      {
        retryAfterMs,
        details: { budget: this.name, limit: isByCount ? this.countLimit : this.limit },
      },
    );
  }

  #take(bytes: number): void {
    assert(bytes >= 0, 'bytes are not negative');
    this.#used += bytes;
    this.#count += 1;
    if (this.#used > this.#peak) this.#peak = this.#used;
  }
}
