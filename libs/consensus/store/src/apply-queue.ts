import { NOTHING } from '@cairn/base';
import type { Entry } from '@cairn/raft';

/** Dead places at the front before it is worth moving the rest. */
const COMPACT_AT = 64;

/**
 * Committed entries of one replica that wait for the applier, in log order. What one Ready hands over is
 * mostly applied before the next comes, so that array is used as it is; only a queue that grows is copied.
 */
export class ApplyQueue {
  #entries: readonly Entry[] = NOTHING;
  /** Entries of `#entries` that are gone. */
  #taken = 0;
  /** Payload bytes that wait. */
  #bytes = 0;
  /** `#entries`, when it belongs to the queue. */
  #own: Entry[] | undefined;

  get length(): number {
    return this.#entries.length - this.#taken;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The entry that many places behind the first. */
  at(place: number): Entry {
    return this.#entries[this.#taken + place] as Entry;
  }

  /** Keeps the array, which must not change any more. Answers the payload bytes of its entries. */
  add(entries: readonly Entry[]): number {
    let bytes = 0;
    for (const entry of entries) bytes += entry.payload.length;
    this.#bytes += bytes;
    this.#keep(entries);
    return bytes;
  }

  #keep(entries: readonly Entry[]): void {
    if (this.#entries.length === 0) {
      this.#entries = entries;
      return;
    }
    if (this.#own === undefined) {
      this.#own = this.#entries.slice(this.#taken);
      this.#entries = this.#own;
      this.#taken = 0;
    }
    for (const entry of entries) this.#own.push(entry);
  }

  /** Forgets the first entries, which have so many payload bytes. */
  remove(count: number, bytes: number): void {
    this.#bytes -= bytes;
    this.#taken += count;
    if (this.#taken === this.#entries.length) this.#forgetEntries();
    else if (this.#own !== undefined && this.#taken >= COMPACT_AT && this.#taken * 2 >= this.#own.length) {
      this.#own.splice(0, this.#taken);
      this.#taken = 0;
    }
  }

  clear(): void {
    this.#bytes = 0;
    this.#forgetEntries();
  }

  #forgetEntries(): void {
    this.#entries = NOTHING;
    this.#own = undefined;
    this.#taken = 0;
  }
}
