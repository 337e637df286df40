/**
 * The unacknowledged appends of one follower: a ring of (last index, payload bytes), oldest first.
 * Bounded by count and bytes; an append is admitted while both are below their limit, so bytes may
 * overshoot once.
 */
export class Inflights {
  readonly #countMax: number;
  readonly #bytesMax: number;
  #indexes: number[] = [];
  #bytes: number[] = [];
  #start = 0;
  #count = 0;
  #bytesTotal = 0;

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= this.#countMax || this.#bytesTotal >= this.#bytesMax;
  }

  add(lastIndex: number, bytes: number): void {
    if (this.#count === this.#indexes.length) this.#grow();
    const at = (this.#start + this.#count) % this.#indexes.length;
    this.#indexes[at] = lastIndex;
    this.#bytes[at] = bytes;
    this.#count += 1;
    this.#bytesTotal += bytes;
  }

  /** Forgets appends whose last index is at or below `index`. */
  freeTo(index: number): void {
    while (this.#count > 0 && (this.#indexes[this.#start] as number) <= index) this.#freeFirst();
  }

  #freeFirst(): void {
    this.#bytesTotal -= this.#bytes[this.#start] as number;
    this.#start = (this.#start + 1) % this.#indexes.length;
    this.#count -= 1;
  }

  clear(): void {
    this.#start = 0;
    this.#count = 0;
    this.#bytesTotal = 0;
  }

  #grow(): void {
    const size = Math.min(this.#countMax, Math.max(8, this.#indexes.length * 2));
    const indexes = new Array<number>(size).fill(0);
    const bytes = new Array<number>(size).fill(0);
    for (let offset = 0; offset < this.#count; offset += 1) {
      const from = (this.#start + offset) % this.#indexes.length;
      indexes[offset] = this.#indexes[from] as number;
      bytes[offset] = this.#bytes[from] as number;
    }
    this.#indexes = indexes;
    this.#bytes = bytes;
    this.#start = 0;
  }
}
