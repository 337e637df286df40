import { type Core, NO_REPLICA } from './core.js';
import { onElectionTimeout } from './election.js';
import { maybeLeaveJoint } from './membership.js';
import { isJoint } from './membership-change.js';
import type { Progress } from './progress.js';
import { expireForwardedReads } from './read-index.js';
import { requestCommitFlush, sendDueHeartbeats } from './replication.js';
import { becomeFollower } from './roles.js';
import { expireTransfer } from './transfer.js';

/** Runs what has become due. Nothing is allocated while nothing is. */
export function tick(core: Core): void {
  const gapMs = core.nowMs - core.lastTickMs;
  core.lastTickMs = core.nowMs;
  excuseGap(core, gapMs);
  if (core.role === 'leader') tickLeader(core);
  else if (!core.isSupporting && core.nowMs >= core.electionDeadlineMs) onElectionTimeout(core);
  if (core.forwardedReads.size > 0) expireForwardedReads(core);
}

/**
 * After a pause of this process the messages of the meantime are still in its queues: the silence is its own.
 * One gap is excused; a process that always ticks late is held to its timers.
 */
function excuseGap(core: Core, gapMs: number): void {
  const isGap = gapMs > core.config.electionTimeoutMs / 2;
  if (isGap && !core.wasGap) {
    const graceMs = core.config.heartbeatIntervalMs;
    core.quorumCheckDueMs = Math.max(core.quorumCheckDueMs, core.nowMs + graceMs);
    const soonestMs = core.nowMs + graceMs * (1 + core.random());
    core.electionDeadlineMs = Math.max(core.electionDeadlineMs, soonestMs);
  }
  core.wasGap = isGap;
}

function tickLeader(core: Core): void {
  expireTransfer(core);
  if (core.nowMs >= core.quorumCheckDueMs && !checkQuorum(core)) return;
  if (core.nowMs >= core.heartbeatDueMs) sendDueHeartbeats(core);
  else requestCommitFlush(core, core.config.heartbeatIntervalMs / 2);
  if (isJoint(core.members)) maybeLeaveJoint(core);
}

const heardOf =
  (core: Core) =>
  (peer: Progress): number =>
    peer === core.self || peer.isSupported ? Infinity : peer.lastContactMs;

/**
 * A leader that a quorum has not answered for an election timeout steps down; true when it may stay. For
 * members that are supported the host watches: it takes the support back in time.
 */
function checkQuorum(core: Core): boolean {
  const heardMs = core.quorumValue(heardOf(core));
  const nextMs = Math.min(heardMs, core.nowMs) + core.config.electionTimeoutMs;
  if (nextMs <= core.nowMs) {
    becomeFollower(core, core.term, NO_REPLICA);
    return false;
  }
  core.quorumCheckDueMs = nextMs;
  return true;
}
