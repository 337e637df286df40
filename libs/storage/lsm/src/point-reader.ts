import { assert } from '@cairn/base';
import type { FirstRow } from '@cairn/engine';

import { BlockView } from './block.js';
import { mayContain } from './bloom.js';
import type { Fetched, Missing } from './fetched.js';
import { hashStem, type KeyShape } from './key-shape.js';
import { compareKeys, KeyView, startsWith } from './key-view.js';
import type { Memtable } from './memtable.js';
import { isDeleted, keyBytesOf, ROW_HEADER_BYTES, valueBytesOf } from './row.js';
import type { TableMeta } from './table-format.js';
import type { Table } from './table.js';
import type { Tables } from './tables.js';
import type { Run, RunBounds, Slice, Version } from './version.js';

const NO_ROW = -1;
/**
 * Deleted rows that a search passes over; a stem with more at its beginning is walked over, in many turns.
 */
const DELETED_ROWS_MAX = 16;

/** Where a point read looks: what is in memory newest first, then the tables. */
export interface PointSources {
  /** Rows from `rowCount` on came later. */
  readonly memtables: readonly { readonly table: Memtable; readonly rowCount: number }[];
  readonly version: Version;
}

/**
 * 'waits' = something has to be read from a slow disk first; 'wide' = the span has more than one stem, or too
 * many deleted rows at its beginning.
 */
export type PointResult = FirstRow | 'waits' | 'wide';

/**
 * Finds the first row of a span that lies within one stem, on the calling thread. Filters tell which runs to
 * look into; and where the stem has versions, a run is passed over when it holds no suffix below that of a
 * row which a newer run had: what it has of the stem comes behind.
 */
export class PointReader {
  readonly #tables: Tables;
  readonly #shape: KeyShape;
  readonly #start = new KeyView();
  readonly #end = new KeyView();
  readonly #bound = new KeyView();
  readonly #candidate = new KeyView();
  readonly #block = new BlockView();
  /** A copy of the best row so far: its key, then its value. */
  #best: Buffer | undefined;
  #isBestDeleted = false;
  readonly #bestKey = new KeyView();
  #suffixBytes = 0;
  #hash = 0;
  #fetched: Fetched | undefined;
  #missing: Missing | undefined;

  constructor(tables: Tables, shape: KeyShape) {
    this.#tables = tables;
    this.#shape = shape;
  }

  /** What the last search that answered 'waits' has to have. */
  get missing(): Missing {
    assert(this.#missing !== undefined, 'no search waits');
    return this.#missing;
  }

  /** The first row in [start, end). `fetched`: what the caller has waited for already. Throws CORRUPTION. */
  first(sources: PointSources, start: Uint8Array, end: Uint8Array, fetched?: Fetched): PointResult {
    this.#fetched = fetched;
    this.#start.set(start, 0, start.length);
    this.#end.set(end, 0, end.length);
    const stemBytes = this.#shape.stemBytesOf(this.#start);
    this.#suffixBytes = start.length - stemBytes;
    if (!this.#isWithinStem(stemBytes)) return 'wide';
    this.#hash = hashStem(this.#start, stemBytes);
    for (let deletedRows = 0; deletedRows <= DELETED_ROWS_MAX; deletedRows += 1) {
      this.#best = undefined;
      if (!this.#search(sources)) return 'waits';
      const best = this.#best as Buffer | undefined;
      if (best === undefined) return undefined;
      const keyBytes = this.#bestKey.length;
      if (!this.#isBestDeleted) return [best.subarray(0, keyBytes), best.subarray(keyBytes)];
      // A deleted row hides older ones of its key only.
      const next = Buffer.alloc(keyBytes + 1);
      best.copy(next, 0, 0, keyBytes);
      this.#start.set(next, 0, next.length);
    }
    return 'wide';
  }

  /** Without versions a stem is one key, and the span must be, too. */
  #isWithinStem(stemBytes: number): boolean {
    const end = this.#end;
    if (!startsWith(end, this.#start, stemBytes)) return false;
    return this.#suffixBytes > 0 || (end.length === stemBytes + 1 && end.bytes[end.at + stemBytes] === 0);
  }

  /** Looks into all sources; false when one would have to be waited for. */
  #search({ memtables, version }: PointSources): boolean {
    for (const { table, rowCount } of memtables) {
      const at = table.find(this.#hash, this.#start, this.#end, rowCount);
      if (at !== NO_ROW) {
        this.#candidate.setToRow(table.bytes, at);
        this.#consider(table.bytes, at);
      }
      if (this.#isDecided()) return true;
    }
    const { runs, bounds } = version;
    for (let at = 0; at < runs.length; at += 1) {
      if (!this.#searchRun(runs[at] as Run, bounds[at] as RunBounds)) return false;
      if (this.#isDecided()) return true;
    }
    return true;
  }

  /** Where the stem is the whole key, the newest row is the answer. */
  #isDecided(): boolean {
    return this.#suffixBytes === 0 && this.#best !== undefined;
  }

  #searchRun({ slices }: Run, { starts, ends }: RunBounds): boolean {
    const first = ends.firstAbove(this.#start);
    const end = first === slices.length ? first : starts.firstAtOrAbove(this.#end);
    for (let at = first; at < end; at += 1) {
      const slice = slices[at] as Slice;
      // First of all: most runs do not have the stem, and the rest is in cold memory, too.
      if (this.#isAbsent(slice.table)) continue;
      if (this.#canHaveBetter(slice.table) && !this.#searchSlice(slice)) return false;
    }
    return true;
  }

  /** False also when nothing is known, because the filter is not in memory. */
  #isAbsent(table: Table): boolean {
    const meta = this.#tables.keptMeta(table);
    return meta !== undefined && !mayContain(meta.filter, this.#hash);
  }

  #canHaveBetter({ summary }: Table): boolean {
    if (this.#suffixBytes === 0) return true;
    const { lowestSuffix } = summary;
    if (lowestSuffix.length === 0) return false;
    if (this.#best === undefined) return true;
    const best = this.#bestKey;
    const suffixAt = best.at + best.length - this.#suffixBytes;
    for (let offset = 0; offset < this.#suffixBytes; offset += 1) {
      const difference = (best.bytes[suffixAt + offset] as number) - (lowestSuffix[offset] as number);
      if (difference !== 0) return difference > 0;
    }
    return false;
  }

  /** False when it would have to be waited for. */
  #searchSlice({ table, from, to }: Slice): boolean {
    const meta = this.#fetched?.metaOf(table) ?? this.#tables.metaNow(table);
    if (meta === undefined) {
      this.#missing = { type: 'meta', table };
      return false;
    }
    if (!mayContain(meta.filter, this.#hash)) return true;
    this.#bound.set(from, 0, from.length);
    const target = compareKeys(this.#bound, this.#start) > 0 ? this.#bound : this.#start;
    const block = this.#block;
    let at = meta.blockFor(target);
    if (!this.#open(table, meta, at)) return false;
    let row = block.lowerBound(target);
    if (row === block.rowCount) {
      // The target is between the last row of this block and the first of the next.
      at += 1;
      if (at === meta.blocks) return true;
      if (!this.#open(table, meta, at)) return false;
      row = 0;
    }
    const rowAt = block.rowAt(row);
    block.showKey(rowAt, this.#candidate);
    this.#bound.set(to, 0, to.length);
    if (compareKeys(this.#candidate, this.#end) < 0 && compareKeys(this.#candidate, this.#bound) < 0) {
      this.#consider(block.bytes, rowAt);
    }
    return true;
  }

  /** Lets `#block` look at a block; false when it would have to be waited for. */
  #open(table: Table, meta: TableMeta, block: number): boolean {
    const bytes = this.#fetched?.blockOf(table, block);
    if (bytes !== undefined) {
      this.#block.set(bytes, 0, bytes.length);
      return true;
    }
    if (this.#tables.blockNow(table, meta, block, this.#block)) return true;
    this.#missing = { type: 'block', table, meta, block };
    return false;
  }

  /**
   * Keeps a copy of the row at `rowAt`, whose key is the candidate, if it comes before the best; of one key
   * the newer row stays.
   */
  #consider(bytes: Uint8Array, rowAt: number): void {
    const key = this.#candidate;
    if (this.#best !== undefined && compareKeys(key, this.#bestKey) >= 0) return;
    const valueAt = rowAt + ROW_HEADER_BYTES + keyBytesOf(bytes, rowAt);
    const valueBytes = valueBytesOf(bytes, rowAt);
    const copy = Buffer.allocUnsafe(key.length + valueBytes);
    copy.set(bytes.subarray(valueAt, valueAt + valueBytes), key.copyTo(copy, 0));
    this.#best = copy;
    this.#isBestDeleted = isDeleted(bytes, rowAt);
    this.#bestKey.set(copy, 0, key.length);
  }
}
