import { timestamp, type LogIndex, type Timestamp } from '@cairn/base';
import {
  asBuffer,
  Namespace,
  readWriteBatch,
  timestampOfVersionKey,
  userKeyOfVersionKey,
  type VersionRow,
  type WriteBatchVisitor,
} from '@cairn/mvcc';

import type { ChangeRingBudget } from './change-ring-budget.js';

/** What an entry costs beside its payload, and what an item of it does once it was looked into; estimated. */
const ENTRY_BYTES = 128;
const ITEM_BYTES = 192;
/** Where the payload of a write batch has the number of its items. */
const ITEM_COUNT_AT = 2;
/** A payload that has less than this part of the memory that it keeps is copied. */
const OWN_PART_MIN = 1 / 4;

/** A version of a user key as an entry of the log brought it. */
export interface ChangedRow {
  readonly userKey: Buffer;
  readonly timestamp: Timestamp;
  /** Views of the entry. */
  readonly row: VersionRow;
}

/** An entry that changed something. */
export class RingEntry {
  readonly index: LogIndex;
  /** Of its newest version. */
  readonly newest: Timestamp;
  /**
   * Of the newest version that the ring has, or had, up to this entry: entries need not be in order of time.
   */
  readonly newestSoFar: Timestamp;
  readonly bytes: number;
  readonly #payload: Buffer;
  #rows: readonly ChangedRow[] | undefined;

  constructor(index: LogIndex, payload: Buffer, times: Pick<RingEntry, 'newest' | 'newestSoFar'>) {
    this.index = index;
    this.newest = times.newest;
    this.newestSoFar = times.newestSoFar;
    const isAlone = payload.length >= payload.buffer.byteLength * OWN_PART_MIN;
    this.#payload = isAlone ? payload : Buffer.from(payload);
    this.bytes = ENTRY_BYTES + payload.length + ITEM_BYTES * payload.readUInt32BE(ITEM_COUNT_AT);
  }

  /** In the order of the log; looked into when somebody asks for the first time. */
  get rows(): readonly ChangedRow[] {
    this.#rows ??= rowsIn(this.#payload);
    return this.#rows;
  }
}

/**
 * The latest changes of one range, in log order, while its leader is asked for them. It is complete above
 * `lowWater`: where there is too much it drops its oldest entries, and whoever had not got them yet is told
 * anew from the engine. Nothing that is applied ever waits for it.
 */
export class ChangeRing {
  readonly #budget: ChangeRingBudget;
  #entries: RingEntry[] = [];
  #bytes = 0;
  #lowWater: LogIndex;
  #newestBefore: Timestamp;
  #newestSoFar: Timestamp;

  /** Complete from the entry behind `lowWater` on; up to there no version is above `newestBefore`. */
  constructor(budget: ChangeRingBudget, lowWater: LogIndex, newestBefore: Timestamp) {
    this.#budget = budget;
    this.#lowWater = lowWater;
    this.#newestBefore = newestBefore;
    this.#newestSoFar = newestBefore;
    budget.add(this);
  }

  /** Estimated; bounded by the budget. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Nothing above this log index is missing. */
  get lowWater(): LogIndex {
    return this.#lowWater;
  }

  /** No version up to `lowWater` is above this timestamp. */
  get newestBefore(): Timestamp {
    return this.#newestBefore;
  }

  /** An entry was applied that changed something; `newest`: of its newest version. */
  push(index: LogIndex, payload: Uint8Array, newest: Timestamp): void {
    this.#newestSoFar = timestamp(Math.max(this.#newestSoFar, newest));
    const entry = new RingEntry(index, asBuffer(payload), { newest, newestSoFar: this.#newestSoFar });
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
    this.#budget.grown(this, entry.bytes);
  }

  /** The entries with an index above `after` and up to `to`, oldest first. */
  *between(after: number, to: number): Iterable<RingEntry> {
    for (let at = this.#firstAbove(after); at < this.#entries.length; at += 1) {
      const entry = this.#entries[at] as RingEntry;
      if (entry.index > to) return;
      yield entry;
    }
  }

  /** The entries up to `to`, newest first. */
  *backwardsFrom(to: number): Iterable<RingEntry> {
    for (let at = this.#firstAbove(to) - 1; at >= 0; at -= 1) yield this.#entries[at] as RingEntry;
  }

  #firstAbove(index: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle] as RingEntry).index <= index) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Drops its oldest entries until it has at most so many bytes. */
  trimTo(bytesMax: number): void {
    let count = 0;
    let dropped = 0;
    for (; this.#bytes - dropped > bytesMax && count < this.#entries.length; count += 1) {
      const entry = this.#entries[count] as RingEntry;
      dropped += entry.bytes;
      this.#lowWater = entry.index;
      this.#newestBefore = entry.newestSoFar;
    }
    if (count === 0) return;
    this.#entries.splice(0, count);
    this.#bytes -= dropped;
    this.#budget.shrunk(dropped);
  }

  /** It is given up. */
  close(): void {
    this.trimTo(0);
    this.#budget.remove(this);
  }
}

function rowsIn(payload: Buffer): ChangedRow[] {
  const rows: ChangedRow[] = [];
  const add = (key: Buffer, record: Buffer): void => {
    if (key[0] !== Namespace.versions) return;
    const at = timestampOfVersionKey(key);
    rows.push({ userKey: userKeyOfVersionKey(key), timestamp: at, row: [key, record] });
  };
  const nothing = (): void => undefined;
  const visitor: WriteBatchVisitor = {
    ...{ write: add, put: add },
    ...{ outcome: nothing, remove: nothing, purge: nothing, collected: nothing },
  };
  readWriteBatch(payload, visitor);
  return rows;
}
