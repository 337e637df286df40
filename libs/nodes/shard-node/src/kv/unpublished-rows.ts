import type { LogIndex } from '@cairn/base';
import type { RowCache } from '@cairn/mvcc';

import type { AppliedRow } from './apply-visitor.js';
import type { ColdReads } from './cold-reads.js';
import type { ScanCache } from './scan-cache.js';
import type { ServedRange } from './served-range.js';

export interface UnpublishedRowsParts {
  readonly range: Pick<ServedRange, 'descriptor'>;
  readonly coldReads: Pick<ColdReads, 'outdate' | 'outdateAll'>;
  readonly scanCache: Pick<ScanCache, 'clear'>;
}

/**
 * Rows of another leader that were applied and are not visible yet: the row cache must learn of them when
 * they are, neither before nor later. Own rows it has since they were committed.
 */
export class UnpublishedRows {
  readonly #rowCache: RowCache;
  readonly #parts: UnpublishedRowsParts;
  #rows: AppliedRow[] = [];
  /** Last entry whose rows were not noted because the cache was empty; 0 = all visible. */
  #unnotedIndex = 0;

  constructor(rowCache: RowCache, parts: UnpublishedRowsParts) {
    this.#rowCache = rowCache;
    this.#parts = parts;
  }

  get length(): number {
    return this.#rows.length;
  }

  /**
   * An entry of another leader is about to be applied: where its rows are to be noted. undefined = nowhere,
   * as the cache has none; but a reader may still fill it from before this entry until the entry is visible.
   */
  begin(index: LogIndex): AppliedRow[] | undefined {
    this.#parts.scanCache.clear();
    if (this.#rowCache.stats().entries > 0) return this.#rows;
    this.#unnotedIndex = index;
    return undefined;
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
      this.#rowCache.updateIfPresent(row.key, row.version);
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
