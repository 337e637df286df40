import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { LOCKS_TOLD_MAX, type LockInfo } from '@cairn/wire';

/** So long after a lock's time was over, nobody is about to come by for it. */
const GRACE_MS = 3_000;

/** A range, as far as it is asked for its locks. */
export interface LockedRange {
  readonly replica: { readonly isLeader: boolean };
  overdueLocks(before: Timestamp, ignored: readonly Timestamp[]): readonly LockInfo[];
}

/**
 * Locks in the ranges that are led here whose time was over a while before `now`, at most as many as are told
 * at a time. `ignored`: transactions that are left out, in any order.
 */
export function overdueLocksOf(
  ranges: Iterable<LockedRange>,
  now: Timestamp,
  ignored: readonly number[],
): readonly LockInfo[] {
  const before = timestamp(Math.max(0, now - GRACE_MS * TIMESTAMP_LOGICAL_STEPS));
  const passedOver = ignored.map((start) => timestamp(start)).sort((one, other) => one - other);
  const found: LockInfo[] = [];
  for (const range of ranges) {
    if (!range.replica.isLeader) continue;
    found.push(...range.overdueLocks(before, passedOver));
    if (found.length >= LOCKS_TOLD_MAX) break;
  }
  return found.slice(0, LOCKS_TOLD_MAX);
}
