import { assert, NO_BYTES, type LogIndex, type ReplicaId } from '@cairn/base';

import { type Core, NO_REPLICA } from './core.js';
import {
  configAfter,
  decodeConfigChange,
  encodeConfigChange,
  isJoint,
  isLegalChange,
} from './membership-change.js';
import { majorityOf } from './quorum.js';
import { confirmReads } from './read-index.js';
import {
  appendOwn,
  broadcastHeartbeat,
  isRecentlyActive,
  maybeCommit,
  requestAppend,
} from './replication.js';
import { becomeFollower } from './roles.js';
import { sendTimeoutNow } from './transfer.js';
import { EntryKind, type ConfigChange, type ConfigChangeResult, type ConfigState } from './types.js';

/** A learner may become voter when its durable log ends at most this many entries behind the leader's. */
export const LEARNER_LAG_MAX = 1024;

type Refusal = (ConfigChangeResult & { type: 'refused' })['reason'];

function refusalFor(core: Core, change: ConfigChange): Refusal | undefined {
  if (core.role !== 'leader') return 'not-leader';
  if (core.transferTarget !== NO_REPLICA) return 'transferring';
  if (core.pendingConfigIndex > core.applied || isJoint(core.members)) return 'change-pending';
  if (!isLegalChange(core.members, change)) return 'illegal-change';
  for (const { type, replicaId } of change.operations) {
    // A leader that is to go hands over first.
    if (replicaId === core.id) return 'illegal-change';
    if (type === 'add-voter' && isBehind(core, replicaId)) return 'learner-behind';
  }
  const next = configAfter(core.members, change);
  if (isJoint(next) && !(hasRecentQuorum(core, next.voters) && hasRecentQuorum(core, next.outgoing))) {
    return 'too-few-recent-voters';
  }
  return undefined;
}

/** Also behind: a learner that still waits for its first state, however short the log is. */
function isBehind(core: Core, replicaId: ReplicaId): boolean {
  const learner = core.progress.get(replicaId);
  if (learner?.state !== 'replicate' || learner.match === 0) return true;
  return core.log.lastIndex - learner.match > LEARNER_LAG_MAX;
}

function hasRecentQuorum(core: Core, voters: readonly ReplicaId[]): boolean {
  let heard = 0;
  for (const id of voters) {
    const peer = core.progress.get(id);
    if (peer === undefined || !isRecentlyActive(core, peer)) continue;
    // A new leader knows nothing yet of those who have not answered it.
    if (peer === core.self || peer.hasAnswered) heard += 1;
  }
  return heard >= majorityOf(voters.length);
}

export function proposeConfigChange(core: Core, change: ConfigChange): ConfigChangeResult {
  const reason = refusalFor(core, change);
  if (reason !== undefined) return { type: 'refused', reason };
  const index = appendConfig(core, change);
  return { type: 'accepted', index, term: core.termNumber };
}

function appendConfig(core: Core, change: ConfigChange): LogIndex {
  const index = appendOwn(core, EntryKind.config, encodeConfigChange(change));
  core.pendingConfigIndex = index;
  maybeCommit(core);
  return index;
}

/** The leader ends a joint configuration as soon as it has applied the entry that began it. */
export function maybeLeaveJoint(core: Core): void {
  if (core.role !== 'leader' || !isJoint(core.members) || core.transferTarget !== NO_REPLICA) return;
  if (core.pendingConfigIndex > core.applied) return;
  appendConfig(core, { operations: [], leaveJoint: true, context: NO_BYTES });
}

/** A config entry is being applied: from here on the new configuration counts. */
export function applyConfigChange(core: Core, payload: Uint8Array): ConfigState {
  const members = configAfter(core.members, decodeConfigChange(payload));
  assert(members.voters.length > 0, 'a configuration without voters');
  core.setMembers(members);
  if (core.role === 'leader') afterChangeAsLeader(core);
  // Nobody campaigns with a committed change unapplied, and what is committed comes from a leader, whom it
  // follows.
  else
    assert(core.role === 'follower', 'a change was applied in the middle of a campaign', { role: core.role });
  return members;
}

function afterChangeAsLeader(core: Core): void {
  core.isLeaseBaseStale = true;
  if (!core.isVoter) {
    stepDownAsNonVoter(core);
    return;
  }
  for (const peer of core.peers) requestAppend(core, peer);
  maybeCommit(core);
  confirmReads(core);
  const target = core.transferTarget;
  if (target !== NO_REPLICA && !core.members.voters.includes(target)) core.transferTarget = NO_REPLICA;
}

/** Tells everyone what is committed, asks the most complete voter to take over, and follows. */
function stepDownAsNonVoter(core: Core): void {
  broadcastHeartbeat(core);
  sendTimeoutNow(
    core,
    core.voters.reduce((best, voter) => (voter.match > best.match ? voter : best)),
  );
  becomeFollower(core, core.term, NO_REPLICA);
}
