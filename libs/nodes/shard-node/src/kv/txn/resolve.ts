import { timestamp } from '@cairn/base';
import { rowCacheKey } from '@cairn/mvcc';
import type { ResolveCommand } from '@cairn/wire';

import { RESOLVED_BYTES_MAX, RESOLVED_KEYS_MAX, rowsOf } from './commit.js';
import type { Decision } from './decisions.js';
import type { Lock } from './lock-table.js';
import type { TxnView } from './txn-view.js';
import { changeOf, READ, replied, WAIT, type Verdict } from './verdict.js';

/** What is to be done at the keys of a command. */
interface Found {
  readonly removed: Lock[];
  readonly decisions: Decision[];
  bytes: number;
  isWaiting: boolean;
}

/**
 * Carries out what the primary's range decided. A rollback leaves a mark at every key (T9), also where no
 * lock is: one may still be on its way.
 */
export function judgeResolve(command: ResolveCommand, view: TxnView): Verdict {
  const { start, commit, keys } = command;
  const found: Found = { removed: [], decisions: [], bytes: 0, isWaiting: false };
  let hasAll = true;
  for (const userKey of keys) {
    const end =
      commit === 0
        ? findToRollBack(userKey, command, { view, found })
        : findToCommit(userKey, command, { view, found });
    if (end !== undefined) return end;
    hasAll =
      found.bytes < RESOLVED_BYTES_MAX && found.removed.length + found.decisions.length < RESOLVED_KEYS_MAX;
    if (!hasAll) break;
  }
  if (!view.isComplete) return READ;
  const { removed, decisions } = found;
  if (removed.length + decisions.length === 0) {
    return found.isWaiting ? WAIT : replied({ type: 'resolved' });
  }
  const rows = commit === 0 ? [] : rowsOf(removed, commit, view);
  const isDone = hasAll && !found.isWaiting;
  return {
    type: 'write',
    change: changeOf(start, { removed, decisions, rows }),
    reply: isDone ? { type: 'resolved' } : undefined,
  };
}

interface Search {
  readonly view: TxnView;
  readonly found: Found;
}

function findToCommit(
  userKey: Uint8Array,
  { start }: ResolveCommand,
  { view, found }: Search,
): Verdict | undefined {
  const key = rowCacheKey(userKey);
  const lock = view.locks.current(key);
  if (lock?.start !== start) {
    found.isWaiting ||= view.locks.isLeaving(key, start);
    return undefined;
  }
  if (Buffer.compare(lock.primary, userKey) === 0) {
    const message = 'not resolved: a primary is committed by its own command';
    return { type: 'refused', code: 'FAILED_PRECONDITION', message, retryAfterMs: 0 };
  }
  found.removed.push(lock);
  found.bytes += lock.bytes;
  return undefined;
}

function findToRollBack(
  userKey: Uint8Array,
  { start }: ResolveCommand,
  { view, found }: Search,
): Verdict | undefined {
  const lock = view.locks.current(rowCacheKey(userKey));
  const mark = { userKey: lock?.userKey ?? userKey, start, commit: timestamp(0) };
  if (lock?.start === start) {
    found.removed.push(lock);
    found.decisions.push(mark);
    return undefined;
  }
  const decision = view.decisionAt(userKey, start);
  switch (decision.type) {
    case 'under-way':
      found.isWaiting = true;
      return undefined;
    case 'unread':
      return undefined;
    case 'decided':
      return decision.commit === 0 ? undefined : replied({ type: 'committed', commit: decision.commit });
    case 'none':
      found.decisions.push({ ...mark, userKey: Buffer.from(userKey) });
      return undefined;
  }
}
