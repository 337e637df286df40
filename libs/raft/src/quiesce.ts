import type { Core } from './core.js';
import { isJoint } from './membership-change.js';
import { isRecentlyActive } from './replication.js';

/** Whether nothing is under way that ticks would be needed for. */
export function canQuiesce(core: Core): boolean {
  const last = core.log.lastIndex;
  if (core.commit !== last || core.applied !== last || core.log.durableIndex !== last) return false;
  if (isJoint(core.members) || core.pendingConfigIndex > core.applied || core.installing !== undefined)
    return false;
  if (core.pendingReads.length > 0 || core.forwardedReads.size > 0) return false;
  if (core.role === 'follower') return core.leaderId !== 0;
  if (core.role !== 'leader' || core.transferTarget !== 0 || core.commit < core.noopIndex) return false;
  if (core.nowMs - core.ledSinceMs < core.config.electionTimeoutMs) return false;
  for (const peer of core.peers) {
    if (!isRecentlyActive(core, peer)) continue;
    // Not only matched: it has answered a message that told it the last commit index.
    const knowsCommit = peer.commitSent === core.commit && peer.ackedSentAtMs > peer.commitSentAtMs;
    if (peer.state !== 'replicate' || peer.match !== last || !knowsCommit) return false;
  }
  return true;
}

/** Timers run again from now: silence while asleep was agreed. */
export function wake(core: Core): void {
  if (!core.isQuiesced) return;
  core.isQuiesced = false;
  core.lastTickMs = core.nowMs;
  core.heartbeatDueMs = core.nowMs;
  core.quorumCheckDueMs = core.nowMs + core.config.electionTimeoutMs;
  core.armElection();
}
