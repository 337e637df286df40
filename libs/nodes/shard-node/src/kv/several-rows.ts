import { rethrowInvariant, type Timestamp } from '@cairn/base';
import { rowCacheKey, type RowCache, type VersionRecord } from '@cairn/mvcc';

import type { ColdReads, ColdRow } from './cold-reads.js';
import type { PendingWrites } from './pending-writes.js';

/* Point reads of several keys that are made together. */

export interface NewestRowParts {
  readonly pending: Pick<PendingWrites, 'acknowledged'>;
  readonly coldReads: Pick<ColdReads, 'newest'>;
}

/** The newest row of a key that reads may see. */
export function newestRow(
  userKey: Uint8Array,
  rowCache: Pick<RowCache, 'get'>,
  { coldReads, pending }: NewestRowParts,
): ColdRow {
  const key = rowCacheKey(userKey);
  return rowCache.get(key) ?? pending.acknowledged(key) ?? coldReads.newest(key, userKey);
}

/** The newest row of a key at or below a timestamp, all of which is visible. */
export function rowAt(
  userKey: Uint8Array,
  at: Timestamp,
  rowCache: Pick<RowCache, 'get'>,
  coldReads: Pick<ColdReads, 'at'>,
): ColdRow {
  const cached = rowCache.get(rowCacheKey(userKey));
  return cached !== undefined && cached.timestamp <= at ? cached : coldReads.at(userKey, at);
}

/** Nobody will look at them: that one cannot be read is no matter. */
export function dropRows(found: readonly ColdRow[]): void {
  for (const row of found) if (row instanceof Promise) row.catch(rethrowInvariant);
}

/** Calls `use` with all rows, at once where none has to be waited for; `failed` with what the engine said. */
export function useRows(
  found: readonly ColdRow[],
  use: (rows: readonly (VersionRecord | undefined)[]) => void,
  failed: (error: unknown) => void,
): void {
  const known: (VersionRecord | undefined)[] = [];
  for (const row of found) if (!(row instanceof Promise)) known.push(row);
  if (known.length === found.length) use(known);
  else Promise.all(found.map((row) => Promise.resolve(row))).then(use, failed);
}
