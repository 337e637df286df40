import { assert, NO_BYTES, type ReplicaId } from '@cairn/base';

import { type Core, NO_REPLICA } from './core.js';
import { refuseAllReads } from './read-index.js';
import { appendOwn, maybeCommit } from './replication.js';
import { EntryKind } from './types.js';

function enter(core: Core, role: Core['role'], leaderId: ReplicaId): void {
  if (core.role === role && core.leaderId === leaderId) return;
  if (core.role === 'leader' || core.leaderId !== leaderId) refuseAllReads(core);
  if (core.role === 'leader' && role !== 'leader') {
    core.transferTarget = NO_REPLICA;
    core.needsFlush = false;
    core.needsReadRound = false;
    core.uncommittedBytes = 0;
  }
  core.endSupport();
  core.role = role;
  core.leaderId = leaderId;
  core.isStateChanged = true;
}

/**
 * Follows `leaderId` (0: nobody known) in `term`; a newer term starts without a vote. The vote hold stays
 * as it is.
 */
export function becomeFollower(core: Core, term: number, leaderId: ReplicaId): void {
  assert(term >= core.term, 'terms never go back', { term, own: core.term });
  const wasFollower = core.role === 'follower';
  if (term > core.term) {
    core.term = term;
    core.vote = NO_REPLICA;
    core.isStateChanged = true;
    core.endSupport();
  }
  enter(core, 'follower', leaderId);
  core.votes.clear();
  core.isTransferCandidate = false;
  if (!wasFollower) core.armElection();
}

/**
 * Asks whether an election could be won, without a new term. Forgets the leader: it is what is being
 * doubted.
 */
export function becomePreCandidate(core: Core): void {
  assert(core.role !== 'leader', 'a leader does not campaign');
  enter(core, 'pre-candidate', NO_REPLICA);
  core.votes.clear();
}

export function becomeCandidate(core: Core): void {
  assert(core.role !== 'leader', 'a leader does not campaign');
  enter(core, 'candidate', NO_REPLICA);
  core.term += 1;
  core.vote = core.id;
  core.isStateChanged = true;
  core.votes.clear();
}

export function becomeLeader(core: Core): void {
  assert(core.role === 'candidate', 'only a candidate becomes leader', { role: core.role });
  assert(
    core.durableTerm === core.term && core.durableVote === core.id,
    'led before the own vote was durable',
  );
  core.resetProgress();
  enter(core, 'leader', core.id);
  core.isLeaseForfeited = false;
  core.transferTarget = NO_REPLICA;
  core.readRound = 0;
  core.uncommittedBytes = 0;
  core.fastCampaigns = 0;
  core.heartbeatDueMs = core.nowMs + core.config.heartbeatIntervalMs;
  core.quorumCheckDueMs = core.nowMs + core.config.electionTimeoutMs;
  core.noopIndex = appendOwn(core, EntryKind.noop, NO_BYTES);
  // An older membership change may be anywhere in the log; none is proposed before the own no-op is applied.
  core.pendingConfigIndex = core.noopIndex;
  core.isLeaseBaseStale = true;
  maybeCommit(core);
}
