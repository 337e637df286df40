import { assert, NOTHING, type LogIndex, type Term } from '@cairn/base';

import type { Entry, RaftStorage } from './types.js';

/** Dead slots at the front of the tail before it is worth moving the rest. */
const COMPACT_AT = 64;

/**
 * The log as the core sees it: storage, plus a tail in memory of what is not durable or not handed out for
 * applying yet. The tail wins over storage wherever both have an index. Invariant: tailFirst + live count =
 * lastIndex + 1.
 */
export class LogView {
  readonly #storage: RaftStorage;
  readonly #tailBytesMax: number;
  #tail: Entry[] = [];
  #head = 0;
  /** The last piece of the tail that was handed out, and its first index: often asked for several times. */
  #piece: readonly Entry[] = NOTHING;
  #pieceFirst = 0;
  #tailBytes = 0;
  #tailFirst: number;
  lastIndex: number;
  lastTerm: Term;
  /** Known durable here. */
  durableIndex: number;
  /** Handed to the host for writing. */
  stagedIndex: number;

  constructor(storage: RaftStorage, tailBytesMax: number) {
    this.#storage = storage;
    this.#tailBytesMax = tailBytesMax;
    this.lastIndex = storage.lastIndex();
    const term = storage.termOf(this.lastIndex as LogIndex);
    assert(term !== 'compacted', 'storage knows the term of its last index', { index: this.lastIndex });
    this.lastTerm = term;
    this.durableIndex = this.lastIndex;
    this.stagedIndex = this.lastIndex;
    this.#tailFirst = this.lastIndex + 1;
  }

  firstIndex(): number {
    return Math.min(this.#storage.firstIndex(), this.#tailFirst);
  }

  termOf(index: number): Term | 'compacted' {
    if (index === this.lastIndex) return this.lastTerm;
    assert(index < this.lastIndex, 'term beyond the log', { index, lastIndex: this.lastIndex });
    if (index >= this.#tailFirst) return this.#at(index).term;
    return this.#storage.termOf(index as LogIndex);
  }

  /** The largest index <= `index` whose term is <= `term`, not searched below `floor`. */
  lastIndexWithTermAtMost(index: number, term: number, floor: number): number {
    let at = index;
    while (at > floor) {
      const found = this.termOf(at);
      if (found === 'compacted' || found <= term) break;
      at -= 1;
    }
    return at;
  }

  /**
   * Entries [from, toExclusive); fewer when bytesMax or the border between storage and tail ends them
   * early.
   */
  entries(from: number, toExclusive: number, bytesMax: number): readonly Entry[] | 'compacted' | 'loading' {
    assert(from < toExclusive && toExclusive <= this.lastIndex + 1, 'entries outside the log', {
      from,
      toExclusive,
    });
    if (from < this.#tailFirst) {
      const end = Math.min(toExclusive, this.#tailFirst);
      return this.#storage.entries(from as LogIndex, end as LogIndex, bytesMax);
    }
    const start = this.#head + from - this.#tailFirst;
    const limit = start + toExclusive - from;
    let end = start + 1;
    let bytes = (this.#tail[start] as Entry).payload.length;
    while (end < limit) {
      bytes += (this.#tail[end] as Entry).payload.length;
      if (bytes > bytesMax) break;
      end += 1;
    }
    return this.#slice(start, end);
  }

  /**
   * What is staged, sent to each member and handed out for applying are mostly the same entries: one array.
   */
  #slice(start: number, end: number): readonly Entry[] {
    const first = this.#tailFirst + start - this.#head;
    if (this.#pieceFirst !== first || this.#piece.length !== end - start) {
      this.#piece = this.#tail.slice(start, end);
      this.#pieceFirst = first;
    }
    return this.#piece;
  }

  #forgetPiece(): void {
    this.#piece = NOTHING;
    this.#pieceFirst = 0;
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'gap in the log');
    assert(entry.term >= this.lastTerm, 'terms go back in the log');
    this.#tail.push(entry);
    this.#tailBytes += entry.payload.length;
    this.lastIndex = entry.index;
    this.lastTerm = entry.term;
  }

  /** Drops everything from `index` on; what was on its way to disk no longer counts as durable. */
  truncateFrom(index: number): void {
    const keep = Math.max(0, index - this.#tailFirst);
    for (let at = this.#head + keep; at < this.#tail.length; at += 1) {
      this.#tailBytes -= (this.#tail[at] as Entry).payload.length;
    }
    const term = this.termOf(index - 1);
    assert(term !== 'compacted', 'truncated into the compacted prefix', { index });
    this.#tail.length = this.#head + keep;
    this.#forgetPiece();
    this.#tailFirst = Math.min(this.#tailFirst, index);
    this.lastIndex = index - 1;
    this.lastTerm = term;
    this.durableIndex = Math.min(this.durableIndex, this.lastIndex);
    this.stagedIndex = Math.min(this.stagedIndex, this.lastIndex);
  }

  /** What the host must write next; marks it as handed over. */
  takeUnstaged(): readonly Entry[] {
    if (this.stagedIndex === this.lastIndex) return NOTHING;
    const taken = this.#slice(this.#head + this.stagedIndex + 1 - this.#tailFirst, this.#tail.length);
    this.stagedIndex = this.lastIndex;
    return taken;
  }

  /** Lets go of tail entries that are durable and handed out for applying (or too many to keep). */
  release(handedOutIndex: number): void {
    const limit =
      this.#tailBytes > this.#tailBytesMax ? this.durableIndex : Math.min(this.durableIndex, handedOutIndex);
    while (this.#tailFirst <= limit) {
      this.#tailBytes -= (this.#tail[this.#head] as Entry).payload.length;
      this.#head += 1;
      this.#tailFirst += 1;
    }
    if (this.#tailFirst > this.#pieceFirst) this.#forgetPiece();
    if (this.#head === this.#tail.length) {
      // Not by its length: that gives the array's memory back, which the next entry would have to get again.
      for (; this.#head > 0; this.#head -= 1) this.#tail.pop();
    } else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#tail.length) {
      this.#tail.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** The log is empty behind (index, term): a snapshot was installed. */
  reset(index: number, term: Term): void {
    this.#tail = [];
    this.#head = 0;
    this.#forgetPiece();
    this.#tailBytes = 0;
    this.#tailFirst = index + 1;
    this.lastIndex = index;
    this.lastTerm = term;
    this.durableIndex = index;
    this.stagedIndex = index;
  }

  #at(index: number): Entry {
    return this.#tail[this.#head + index - this.#tailFirst] as Entry;
  }
}
