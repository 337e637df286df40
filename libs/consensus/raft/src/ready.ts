import { assert, NOTHING, type LogIndex } from '@cairn/base';

import type { Core } from './core.js';
import { countOwnVote } from './election.js';
import { flushReplication, maybeCommit } from './replication.js';
import type { Entry, HardState, Ready } from './types.js';

function hasCommitted(core: Core): boolean {
  if (core.isApplyLoading || core.isApplyHeld || core.installing !== undefined) return false;
  return core.handedOutIndex < Math.min(core.commit, core.log.durableIndex);
}

/** Constant time. */
export function hasReady(core: Core): boolean {
  return (
    core.needsFlush ||
    core.messages.length > 0 ||
    core.messagesAfterPersist.length > 0 ||
    core.log.stagedIndex < core.log.lastIndex ||
    core.term !== core.emittedTerm ||
    core.vote !== core.emittedVote ||
    (core.commit !== core.emittedCommit && mayCommitMembers(core)) ||
    core.isStateChanged ||
    core.reads.length > 0 ||
    core.loads.length > 0 ||
    core.offeredSnapshot !== undefined ||
    hasCommitted(core)
  );
}

/** Committed entries that are durable here, by bytes; counts them out of the uncommitted window. */
function takeCommitted(core: Core): readonly Entry[] {
  if (!hasCommitted(core)) return NOTHING;
  const from = core.handedOutIndex + 1;
  const toExclusive = Math.min(core.commit, core.log.durableIndex) + 1;
  const bytesMax = core.config.committedBytesPerReadyMax;
  const entries = core.log.entries(from, toExclusive, bytesMax);
  if (entries === 'loading') {
    core.isApplyLoading = true;
    core.load({ to: core.id, from: from as LogIndex, toExclusive: toExclusive as LogIndex, bytesMax });
    return NOTHING;
  }
  assert(entries !== 'compacted', 'entries truncated before they were applied', { from });
  core.handedOutIndex += entries.length;
  if (core.role === 'leader') {
    for (const entry of entries) {
      if (entry.index >= core.noopIndex) core.uncommittedBytes -= entry.payload.length;
    }
  }
  core.log.release(core.handedOutIndex);
  return entries;
}

/**
 * Whether a change of the members may be among what was committed since the commit index was last written.
 */
function mayCommitMembers(core: Core): boolean {
  return core.pendingConfigIndex > core.syncedCommit;
}

/**
 * The commit index is written only for the sake of membership changes: a restarted replica learns it from the
 * next leader, and must not campaign with members that it could have known to be old. With entries, also one
 * that was only mentioned without a sync before: see README, membership.
 */
function takeHardState(core: Core, isSynced: boolean): HardState | undefined {
  const isPromise = core.term !== core.emittedTerm || core.vote !== core.emittedVote;
  const written = isSynced ? core.syncedCommit : core.emittedCommit;
  if (!isPromise && !(core.commit !== written && mayCommitMembers(core))) return undefined;
  core.emittedTerm = core.term;
  core.emittedVote = core.vote;
  core.emittedCommit = core.commit;
  if (isSynced) core.syncedCommit = core.commit;
  return { term: core.termNumber, vote: core.vote, commit: core.commit as LogIndex };
}

export function takeReady(core: Core): Ready {
  if (core.needsFlush && core.role === 'leader') flushReplication(core);
  core.needsFlush = false;
  const entries = core.log.takeUnstaged();
  const mustSync = entries.length > 0 || core.term !== core.emittedTerm || core.vote !== core.emittedVote;
  const hardState = takeHardState(core, mustSync);
  const committed = takeCommitted(core);
  core.sequence += 1;
  if (mustSync) {
    const { sequence, term, vote } = core;
    core.pendingPersists.push({ sequence, term, vote, lastIndex: core.log.stagedIndex });
  }
  const ready: Ready = {
    sequence: core.sequence,
    hardState,
    entries,
    mustSync,
    messages: core.messages,
    messagesAfterPersist: core.messagesAfterPersist,
    committed,
    snapshot: core.offeredSnapshot,
    reads: core.reads,
    state: core.isStateChanged
      ? { role: core.role, leaderId: core.leaderId, term: core.termNumber }
      : undefined,
    loads: core.loads,
  };
  core.messages = NOTHING;
  core.messagesAfterPersist = NOTHING;
  core.reads = NOTHING;
  core.loads = NOTHING;
  core.offeredSnapshot = undefined;
  core.isStateChanged = false;
  return ready;
}

/** Everything of Readies up to `sequence` is durable. */
export function persisted(core: Core, sequence: number): void {
  assert(sequence <= core.sequence, 'persisted a Ready that was never taken', { sequence });
  const pending = core.pendingPersists;
  let done = 0;
  while (done < pending.length) {
    const item = pending[done];
    if (item === undefined || item.sequence > sequence) break;
    core.durableTerm = item.term;
    core.durableVote = item.vote;
    if (item.lastIndex > core.log.durableIndex) core.log.durableIndex = item.lastIndex;
    done += 1;
  }
  if (done === 0) return;
  // Mostly there is one: nothing is made anew for it.
  for (; done > 0; done -= 1) pending.shift();
  core.log.release(core.handedOutIndex);
  if (core.role === 'leader') {
    if (core.self !== undefined) core.self.match = core.log.durableIndex;
    maybeCommit(core);
  } else countOwnVote(core);
}
