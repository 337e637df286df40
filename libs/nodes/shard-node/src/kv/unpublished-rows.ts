import type { LogIndex } from '@cairn/base';
import type { RowCache, RowCacheKey, VersionRecord } from '@cairn/mvcc';

import type { AppliedRows } from './apply-visitor.js';
import type { ColdReads } from './cold-reads.js';
import type { ScanCache } from './scan-cache.js';
import type { ServedRange } from './served-range.js';

export interface UnpublishedRowsParts {
  readonly range: Pick<ServedRange, 'descriptor'>;
  readonly coldReads: Pick<ColdReads, 'outdate' | 'outdateAll'>;
  readonly scanCache: Pick<ScanCache, 'clear'>;
}

interface AppliedRow {
  readonly index: LogIndex;
  readonly key: RowCacheKey;
  /** undefined = the cache must forget the key. */
  readonly version: VersionRecord | undefined;
}

/**
 * Versions that were applied and are not visible yet: the row cache must learn of them when they are,
 * neither before nor later. Writes that were proposed here it has since they were committed; not so what
 * else came with them.
 */
export class UnpublishedRows implements AppliedRows {
  readonly #rowCache: RowCache;
  readonly #parts: UnpublishedRowsParts;
  #rows: AppliedRow[] = [];
  /** Last entry whose rows were not noted because the cache was empty; 0 = all visible. */
  #unnotedIndex = 0;
  /** Of the entry that is being applied. */
  #index = 0 as LogIndex;
  notesWrites = false;

  constructor(rowCache: RowCache, parts: UnpublishedRowsParts) {
    this.#rowCache = rowCache;
    this.#parts = parts;
  }

  get length(): number {
    return this.#rows.length;
  }

  /**
   * An entry is about to be applied. Of another leader, its writes are noted unless the cache has no rows;
   * but a reader may still fill it from before this entry until the entry is visible.
   */
  begin(index: LogIndex, isOwn: boolean): void {
    this.#index = index;
    this.notesWrites = false;
    if (isOwn) return;
    this.#parts.scanCache.clear();
    if (this.#rowCache.stats().entries > 0) this.notesWrites = true;
    else this.#unnotedIndex = index;
  }

  wrote(key: RowCacheKey, version: VersionRecord): void {
    this.#rows.push({ index: this.#index, key, version });
  }

  changed(key: RowCacheKey): void {
    this.#rows.push({ index: this.#index, key, version: undefined });
  }

  published(index: LogIndex): void {
    this.#publishRows(index);
    this.#publishUnnoted(index);
  }

  #publishRows(index: LogIndex): void {
    const rows = this.#rows;
    if (rows.length === 0) return;
    this.#parts.scanCache.clear();
    let count = 0;
    for (; count < rows.length; count += 1) {
      const row = rows[count] as AppliedRow;
      if (row.index > index) break;
      this.#parts.coldReads.outdate(row.key);
      if (row.version === undefined) this.#rowCache.delete(row.key);
      else this.#rowCache.updateIfPresent(row.key, row.version);
    }
    rows.splice(0, count);
  }

  #publishUnnoted(index: LogIndex): void {
    if (this.#unnotedIndex === 0) return;
    if (index >= this.#unnotedIndex) this.#unnotedIndex = 0;
    this.#parts.coldReads.outdateAll();
    const { startKey, endKey } = this.#parts.range.descriptor;
    if (this.#rowCache.stats().entries > 0) this.#rowCache.deleteSpan(startKey, endKey);
  }

  /** A snapshot took the place of everything that was applied. */
  clear(): void {
    this.#rows = [];
    this.#unnotedIndex = 0;
  }
}
