import type { Core } from './core.js';
import { isJoint } from './membership-change.js';
import type { Progress } from './progress.js';
import { noteStoreContact } from './lease.js';
import { isRecentlyActive } from './replication.js';

/**
 * Whether ticks would do nothing: a follower whose leader's store is heard, or a leader that a quorum is
 * supported, with nothing under way. Whatever ends that is an input other than a tick.
 */
export function isQuiescent(core: Core): boolean {
  if (core.forwardedReads.size > 0) return false;
  if (core.role !== 'leader') return core.isSupporting;
  if (core.commit !== core.log.lastIndex || core.pendingReads.length > 0) return false;
  if (core.transferTarget !== 0 || isJoint(core.members)) return false;
  for (const peer of core.peers) if (!isSettled(core, peer)) return false;
  return hasSupportedQuorum(core);
}

/** Needs nothing from the leader: knows everything, or is not there. */
function isSettled(core: Core, peer: Progress): boolean {
  if (!peer.isSupported) return !isRecentlyActive(core, peer);
  return hasEverything(core, peer) && peer.commitSent === core.commit;
}

function hasEverything(core: Core, peer: Progress): boolean {
  return peer.state === 'replicate' && peer.match === core.log.lastIndex;
}

/**
 * A leader all of whose members are supported and have everything: at most the commit index is news to
 * them.
 */
export function owesOnlyNotices(core: Core): boolean {
  if (core.role !== 'leader' || core.commit !== core.log.lastIndex) return false;
  for (const peer of core.peers) if (!peer.isSupported || !hasEverything(core, peer)) return false;
  return true;
}

/** Without it the leader must watch by itself whether it still has its quorum. */
function hasSupportedQuorum(core: Core): boolean {
  return core.quorumValue((peer) => (peer === core.self || peer.isSupported ? 1 : 0)) === 1;
}

/**
 * Follower: the stores' heartbeats stand for those of `term`'s leader from now on. False: not its follower.
 */
export function support(core: Core, term: number): boolean {
  if (core.role !== 'follower' || core.leaderId === 0 || core.term !== term) return false;
  core.isSupporting = true;
  return true;
}

/** The election timer runs again, from now: silence until here was agreed. */
export function withdrawSupport(core: Core): void {
  if (!core.isSupporting) return;
  core.endSupport();
  core.lastTickMs = core.nowMs;
  core.armElection();
}

/**
 * Leader: the member's store supports it or no longer does. Then what its store has answered so far stays,
 * and the member gets heartbeats again at once.
 */
export function setSupported(core: Core, peer: Progress, isSupported: boolean): void {
  if (peer.isSupported === isSupported) return;
  if (!isSupported) noteStoreContact(core, peer);
  peer.isSupported = isSupported;
  // Whether it has got what was told to it before is not known; what the host tells from now on arrives.
  if (isSupported) peer.commitSent = 0;
  else {
    core.heartbeatDueMs = core.nowMs;
    core.quorumCheckDueMs = core.nowMs;
  }
}
