import { assert, expiryAfter, NO_BYTES, RowKind, timestamp, type Timestamp } from '@cairn/base';
import { LockRowOp, NO_EXPIRY, rowCacheKey } from '@cairn/mvcc';
import { COMMIT_SEQUENCE, type CommitCommand, type TxnReply } from '@cairn/wire';

import type { Lock } from './lock-table.js';
import type { TxnView } from './txn-view.js';
import { changeOf, READ, replied, WAIT, type Verdict, type WrittenRow } from './verdict.js';

/** Values that one entry writes, beyond the first: what is left stays locked, and is resolved by others. */
export const RESOLVED_BYTES_MAX = 8 * 1024 * 1024;
/** Keys that one entry resolves at most. */
export const RESOLVED_KEYS_MAX = 4_096;

const FORGOTTEN: Verdict = {
  ...{ type: 'refused', code: 'OUTCOME_UNKNOWN', retryAfterMs: 0 },
  message: 'the transaction is older than what is remembered of the ends of transactions',
};

/** The least timestamp at which the primary that has this lock may commit (T13). */
export function floorOf({ minCommit, push }: Lock, view: TxnView): Timestamp {
  // What earlier leaders promised to readers nobody knows here. They promised it before this one began.
  return timestamp(Math.max(minCommit, push.to + 1, view.since + 1));
}

/**
 * The row that a lock leaves when its transaction commits; undefined = none. A commit is issued when all keys
 * are locked: a lock whose least commit is above it was made by a sending that came late, and holds nothing.
 */
export function rowOf(lock: Lock, commit: Timestamp, view: TxnView): WrittenRow | undefined {
  const { minCommit, op, userKey, key, ttlMs, value } = lock;
  if (op === LockRowOp.none || minCommit > commit) return undefined;
  const newest = view.newestKnown(key, userKey);
  assert(newest === undefined || newest < commit, 'a lock keeps newer versions off', { newest, commit });
  const isPut = op === LockRowOp.put;
  return {
    userKey,
    key,
    version: {
      timestamp: commit,
      sequence: COMMIT_SEQUENCE,
      expiry: isPut && ttlMs > 0 ? expiryAfter(commit, ttlMs) : NO_EXPIRY,
      tombstone: !isPut,
      kind: RowKind.bytes,
      value: isPut ? value : NO_BYTES,
    },
  };
}

/**
 * The decision (T8): the record, the rows and the end of the locks are one entry. Other keys of the command
 * go with it as far as they fit.
 */
export function judgeCommit(command: CommitCommand, view: TxnView): Verdict {
  const { start, commit, primary, keys } = command;
  const lock = view.locks.current(rowCacheKey(primary));
  if (lock?.start !== start) return judgeUnlocked(command, view);
  const { readableSince } = view;
  // For good: another sending of the command must not find a leader who has not heard of that yet.
  if (start < readableSince) return rollBack(lock, { type: 'tooOld', readableSince });
  let floor = floorOf(lock, view);
  const removed = [lock];
  let bytes = 0;
  for (const key of keys) {
    const other = view.locks.current(rowCacheKey(key));
    if (other === lock) continue;
    if (other?.start !== start) {
      const message = 'not committed: a key of the transaction is not locked by it';
      return { type: 'refused', code: 'FAILED_PRECONDITION', message, retryAfterMs: 0 };
    }
    floor = timestamp(Math.max(floor, other.minCommit));
    bytes += other.userKey.length + other.value.length;
    if (bytes <= RESOLVED_BYTES_MAX && removed.length < RESOLVED_KEYS_MAX) removed.push(other);
  }
  if (commit < floor) return replied({ type: 'pushed', minCommit: floor });
  const rows = rowsOf(removed, commit, view);
  const decisions = [{ userKey: lock.userKey, start, commit }];
  const change = changeOf(start, { removed, rows, decisions });
  return { type: 'write', change, reply: { type: 'committed', commit } };
}

/** The transaction ends without an effect. */
function rollBack(lock: Lock, reply: TxnReply): Verdict {
  const { start, userKey } = lock;
  const decisions = [{ userKey, start, commit: timestamp(0) }];
  return { type: 'write', change: changeOf(start, { removed: [lock], decisions }), reply };
}

/**
 * A commit that finds no lock: it was sent before, or somebody has rolled the transaction back. Of one that
 * is older than what is served neither may have left a trace, and a mark may be of a question that came when
 * the record had gone.
 */
function judgeUnlocked({ primary, start }: CommitCommand, view: TxnView): Verdict {
  if (start >= view.readableSince) return judgeUndecided(primary, start, view);
  const decision = view.decisionAt(primary, start);
  if (decision.type === 'under-way') return WAIT;
  if (decision.type === 'unread') return READ;
  const isKnown = decision.type === 'decided' && decision.commit > 0;
  return isKnown ? replied({ type: 'committed', commit: decision.commit }) : FORGOTTEN;
}

export function rowsOf(locks: readonly Lock[], commit: Timestamp, view: TxnView): WrittenRow[] {
  const rows: WrittenRow[] = [];
  for (const lock of locks) {
    const row = rowOf(lock, commit, view);
    if (row !== undefined) rows.push(row);
  }
  return rows;
}

/**
 * A transaction that has no lock at its primary was decided, or is (unless `whenNone` says otherwise) from
 * now on: it never got that far, and a lock that comes late is refused by the mark (T9). Below what is served
 * its record may have been collected: then nobody has a lock of it, and whoever asks because of one that is
 * gone may hear this.
 */
export function judgeUndecided(
  primary: Uint8Array,
  start: Timestamp,
  view: TxnView,
  whenNone?: () => Verdict | undefined,
): Verdict {
  const decision = view.decisionAt(primary, start);
  switch (decision.type) {
    case 'under-way':
      return WAIT;
    case 'unread':
      return READ;
    case 'decided':
      return replied(
        decision.commit === 0 ? { type: 'rolledBack' } : { type: 'committed', commit: decision.commit },
      );
    case 'none':
      break;
  }
  const other = whenNone?.();
  if (other !== undefined) return other;
  const decisions = [{ userKey: Buffer.from(primary), start, commit: timestamp(0) }];
  return { type: 'write', change: changeOf(start, { decisions }), reply: { type: 'rolledBack' } };
}
