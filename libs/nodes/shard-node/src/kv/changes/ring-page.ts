import { timestamp, type Timestamp } from '@cairn/base';
import type { VersionRow } from '@cairn/mvcc';
import { CHANGES_COUNT_MAX, type ChangesRequest } from '@cairn/wire';

import type { ChangedRow, ChangeRing } from './change-ring.js';

/** A change that a question asks for, and where it stands in the log. */
export interface FoundRow {
  readonly changed: ChangedRow;
  readonly index: number;
  /** Versions before it in its entry. */
  readonly rowsBefore: number;
  /** The row of its key before it, if the ring has told that in the same page; undefined = look it up. */
  readonly previous: VersionRow | undefined;
}

/** Where a page ends that does not hold everything: see `ResumeToken`. */
export interface RingCut {
  readonly index: number;
  readonly rows: number;
}

export interface RingRows {
  readonly rows: readonly FoundRow[];
  readonly cut: RingCut | undefined;
}

/** Part of the ring that is asked for. */
export interface RingSpan {
  readonly asked: ChangesRequest;
  /** Entries above `from` and up to `to`. */
  readonly from: number;
  readonly to: number;
  /** Versions of the first entry that were told before. */
  readonly rowsTold: number;
}

/** Whether a user key is in the span of the question. */
function isAsked({ start, end }: ChangesRequest, key: Buffer): boolean {
  return Buffer.compare(key, start) >= 0 && (end.length === 0 || Buffer.compare(key, end) < 0);
}

/** The rows of one page, in log order, up to about so many bytes; one at least. */
export function rowsFrom(ring: ChangeRing, { asked, from, to, rowsTold }: RingSpan): RingRows {
  const rows: FoundRow[] = [];
  const latest = new Map<string, VersionRow>();
  let bytes = 0;
  let isFirst = true;
  for (const entry of ring.between(from, to)) {
    let hasTold = false;
    for (const [at, changed] of entry.rows.entries()) {
      if (!isAsked(asked, changed.userKey)) continue;
      const name = asked.withPrevious ? changed.userKey.toString('latin1') : '';
      const previous = asked.withPrevious ? latest.get(name) : undefined;
      if (asked.withPrevious) latest.set(name, changed.row);
      const isTold = isFirst && entry.index === from + 1 && at < rowsTold;
      if (isTold) hasTold = true;
      if (isTold || changed.timestamp <= asked.after) continue;
      bytes += changed.row[0].length + changed.row[1].length;
      if (rows.length > 0 && (bytes > asked.bytesMax || rows.length === CHANGES_COUNT_MAX)) {
        return { rows, cut: { index: entry.index - 1, rows: hasTold ? at : 0 } };
      }
      hasTold = true;
      rows.push({ changed, index: entry.index, rowsBefore: at, previous });
    }
    isFirst = false;
  }
  return { rows, cut: undefined };
}

/** Where the page ends if it ends before `row`, and `last` was told before it. */
export function cutBefore(row: FoundRow, last: FoundRow): RingCut {
  return { index: row.index - 1, rows: last.index === row.index ? row.rowsBefore : 0 };
}

/**
 * The timestamp of the newest change in the span, among those that whoever asks may have and that are not
 * resolved for it; 0 = there is none. Of what was in the ring it is not known in which span it was.
 */
export function unresolvedFor(ring: ChangeRing, asked: ChangesRequest, to: number): Timestamp {
  let newest = ring.newestBefore > asked.after ? ring.newestBefore : 0;
  for (const entry of ring.backwardsFrom(to)) {
    if (entry.newestSoFar <= asked.after || entry.newestSoFar <= newest) break;
    if (entry.newest <= asked.after || entry.newest <= newest) continue;
    for (const { timestamp: at, userKey } of entry.rows) {
      if (at > asked.after && at > newest && isAsked(asked, userKey)) newest = at;
    }
  }
  return timestamp(newest);
}
