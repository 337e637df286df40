import { assert } from '@cairn/base';

const CAPACITY_LEAST = 8;

/**
 * What is known about each entry of one range: its position in the log and its payload's length.
 * Indexes [first, first + count) live in rings whose size is a power of two, so that truncation in front and
 * appends behind cost nothing; an idle range costs a few hundred bytes.
 */
export class EntryWindow {
  #capacity = CAPACITY_LEAST;
  #positions = new Float64Array(CAPACITY_LEAST);
  #lengths = new Uint32Array(CAPACITY_LEAST);
  #first = 1;
  #count = 0;
  #payloadBytes = 0;

  /** Index of the first entry; with count 0, of the one that would come next. */
  get first(): number {
    return this.#first;
  }
  get end(): number {
    return this.#first + this.#count;
  }
  get count(): number {
    return this.#count;
  }
  get payloadBytes(): number {
    return this.#payloadBytes;
  }

  #slot(index: number): number {
    assert(index >= this.#first && index < this.#first + this.#count, 'index outside the window');
    return index & (this.#capacity - 1);
  }

  positionAt(index: number): number {
    return this.#positions[this.#slot(index)] as number;
  }
  payloadBytesAt(index: number): number {
    return this.#lengths[this.#slot(index)] as number;
  }

  push(position: number, payloadBytes: number): void {
    if (this.#count === this.#capacity) this.#resize(this.#capacity * 2);
    const slot = (this.#first + this.#count) & (this.#capacity - 1);
    this.#count += 1;
    this.#positions[slot] = position;
    this.#lengths[slot] = payloadBytes;
    this.#payloadBytes += payloadBytes;
  }

  /** The same entry was written again, at a later place. */
  move(index: number, position: number): void {
    this.#positions[this.#slot(index)] = position;
  }

  shift(fall: number): void {
    for (let index = this.#first; index < this.end; index += 1) {
      const slot = this.#slot(index);
      this.#positions[slot] = (this.#positions[slot] as number) - fall;
    }
  }

  #drop(index: number): void {
    this.#payloadBytes -= this.#lengths[this.#slot(index)] as number;
  }

  /** Forgets entries from `index` on. */
  cutFrom(index: number): void {
    while (this.end > index && this.#count > 0) {
      this.#drop(this.end - 1);
      this.#count -= 1;
    }
  }

  /** Forgets entries below `index`. */
  cutBelow(index: number): void {
    while (this.#count > 0 && this.#first < index) {
      this.#drop(this.#first);
      this.#first += 1;
      this.#count -= 1;
    }
    if (this.#capacity > CAPACITY_LEAST && this.#count < this.#capacity / 8) this.#resize(this.#capacity / 4);
  }

  /** Forgets everything; the next entry has the given index. */
  reset(first: number): void {
    this.#capacity = CAPACITY_LEAST;
    this.#positions = new Float64Array(CAPACITY_LEAST);
    this.#lengths = new Uint32Array(CAPACITY_LEAST);
    this.#first = first;
    this.#count = 0;
    this.#payloadBytes = 0;
  }

  #resize(wanted: number): void {
    const capacity = Math.max(CAPACITY_LEAST, wanted);
    const positions = new Float64Array(capacity);
    const lengths = new Uint32Array(capacity);
    for (let index = this.#first; index < this.end; index += 1) {
      const from = index & (this.#capacity - 1);
      const to = index & (capacity - 1);
      positions[to] = this.#positions[from] as number;
      lengths[to] = this.#lengths[from] as number;
    }
    this.#capacity = capacity;
    this.#positions = positions;
    this.#lengths = lengths;
  }
}
