import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { rowCacheKey } from '@cairn/mvcc';
import type { Mutation, PrewriteCommand, TxnReply } from '@cairn/wire';

import { newLock, type Lock } from './lock-table.js';
import { UNREAD, type TxnView } from './txn-view.js';
import { changeOf, READ, replied, WAIT, type Verdict } from './verdict.js';

/** After a prewrite that found the table full. */
const FULL_RETRY_MS = 50;

/** What the keys of a prewrite are found to be. */
interface Looked {
  readonly own: Lock[];
  readonly foreign: Lock[];
  readonly free: Mutation[];
  isWaiting: boolean;
  isUnread: boolean;
}

/** The oracle timestamp at which so much time is over from now on. */
export function deadlineAfter(now: Timestamp, ttlMs: number): Timestamp {
  return timestamp(now + Math.ceil(ttlMs) * TIMESTAMP_LOGICAL_STEPS);
}

/**
 * Locks all keys of the command, or none (T6). May be sent again in every state: what is locked stays as it
 * is, and a transaction that was decided hears how.
 */
export function judgePrewrite(command: PrewriteCommand, view: TxnView): Verdict {
  const { start } = command;
  if (start < view.readableSince) return replied({ type: 'tooOld', readableSince: view.readableSince });
  const looked: Looked = { own: [], foreign: [], free: [], isWaiting: false, isUnread: false };
  for (const mutation of command.mutations) {
    const end = look(mutation, start, { view, looked });
    if (end !== undefined) return replied(end);
  }
  // Whose row is not known yet may turn out to be in conflict, which nobody need wait for.
  if (looked.isWaiting) return WAIT;
  if (looked.isUnread) return READ;
  if (looked.foreign.length > 0) return { type: 'locked', locks: looked.foreign };
  return lock(command, looked, view);
}

/** Answers what ends the whole prewrite. */
function look(
  mutation: Mutation,
  start: Timestamp,
  { view, looked }: { readonly view: TxnView; readonly looked: Looked },
): TxnReply | undefined {
  const { key } = mutation;
  const current = view.locks.current(rowCacheKey(key));
  if (current?.start === start) {
    // While it is here, nothing is decided: both go and come in one entry.
    looked.own.push(current);
    return undefined;
  }
  const decision = view.decisionAt(key, start);
  switch (decision.type) {
    case 'decided':
      return decision.commit === 0 ? { type: 'rolledBack' } : { type: 'committed', commit: decision.commit };
    case 'under-way':
      looked.isWaiting = true;
      return undefined;
    case 'unread':
      looked.isUnread = true;
      return undefined;
    case 'none':
      break;
  }
  if (current !== undefined) {
    looked.foreign.push(current);
    return undefined;
  }
  const newest = view.newestTimestamp(key);
  if (newest === UNREAD) looked.isUnread = true;
  else if (newest > start) return { type: 'conflict', key, newest };
  else looked.free.push(mutation);
  return undefined;
}

function lock(command: PrewriteCommand, { own, free }: Looked, view: TxnView): Verdict {
  let minCommit = 0;
  for (const held of own) minCommit = Math.max(minCommit, held.minCommit);
  if (free.length === 0) {
    if (own.some(({ isLogged }) => !isLogged)) return WAIT;
    return replied({ type: 'prewritten', minCommit: timestamp(minCommit) });
  }
  const { start, primary } = command;
  const above = timestamp(view.max + 1);
  const deadline = deadlineAfter(view.extrapolated, command.lockTtlMs);
  const added = free.map(({ key, op, value, ttlMs }) =>
    newLock(key, { start, op, minCommit: above, deadline, ttlMs, primary, value }),
  );
  const bytes = added.reduce((sum, each) => sum + each.bytes, 0);
  if (!view.locks.hasRoomFor(added.length, bytes)) {
    const message = 'the range has too many keys locked by transactions';
    return { type: 'refused', code: 'RESOURCE_EXHAUSTED', message, retryAfterMs: FULL_RETRY_MS };
  }
  const reply: TxnReply = { type: 'prewritten', minCommit: timestamp(Math.max(minCommit, above)) };
  return { type: 'write', change: changeOf(start, { added }), reply };
}
