import { timestamp } from '@cairn/base';
import { rowCacheKey } from '@cairn/mvcc';
import type { CheckCommand, HeartbeatCommand, TxnReply } from '@cairn/wire';

import { judgeUndecided } from './commit.js';
import { newLock, type Lock } from './lock-table.js';
import { deadlineAfter } from './prewrite.js';
import type { TxnView } from './txn-view.js';
import { changeOf, type Verdict } from './verdict.js';

/**
 * What became of a transaction, asked at its primary (T8). One whose time is over is rolled back; one that is
 * open may be pushed (T13): it will not commit at or below `pushTo`.
 */
export function judgeCheck(command: CheckCommand, view: TxnView): Verdict {
  const { start, primary, pushTo } = command;
  const lock = view.locks.current(rowCacheKey(primary));
  if (lock?.start !== start) return judgeUndecided(primary, start, view, () => stillToCome(command, view));
  if (lock.deadline <= view.max) {
    const decisions = [{ userKey: lock.userKey, start, commit: timestamp(0) }];
    return {
      type: 'write',
      change: changeOf(start, { removed: [lock], decisions }),
      reply: { type: 'rolledBack' },
    };
  }
  if (view.mayHaveCome(lock.deadline)) return { type: 'time', at: lock.deadline };
  if (pushTo > lock.push.to) lock.push.to = pushTo;
  // Only the leader of now keeps the promise: a deposed one knows nothing of what the next one commits.
  return { type: 'confirm', reply: pending(lock) };
}

/**
 * All keys are locked side by side, so that of another key may be met before the primary has one. That one
 * will have a least commit above all that was observed here, `pushTo` included, and so will one of the next
 * leader: nothing need be remembered of the push.
 */
function stillToCome({ lockDeadline, start }: CheckCommand, view: TxnView): Verdict | undefined {
  if (lockDeadline <= view.max || start < view.readableSince) return undefined;
  if (view.mayHaveCome(lockDeadline)) return { type: 'time', at: lockDeadline };
  const minCommit = timestamp(view.max + 1);
  return { type: 'confirm', reply: { type: 'pending', minCommit, deadline: lockDeadline } };
}

/** Gives the lock of the primary a later deadline: the lock is logged anew. */
export function judgeHeartbeat(command: HeartbeatCommand, view: TxnView): Verdict {
  const { start, primary } = command;
  const lock = view.locks.current(rowCacheKey(primary));
  if (lock?.start !== start) return judgeUndecided(primary, start, view);
  const deadline = deadlineAfter(view.extrapolated, command.lockTtlMs);
  if (deadline <= lock.deadline) return { type: 'confirm', reply: pending(lock) };
  const longer = newLock(lock.userKey, { ...lock, deadline }, lock.push);
  return {
    type: 'write',
    change: changeOf(start, { removed: [lock], added: [longer] }),
    reply: pending(longer),
  };
}

function pending({ minCommit, push, deadline }: Lock): TxnReply {
  return { type: 'pending', minCommit: timestamp(Math.max(minCommit, push.to + 1)), deadline };
}
