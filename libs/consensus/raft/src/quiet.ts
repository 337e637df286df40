import type { Core } from './core.js';
import { isJoint } from './membership-change.js';
import type { Progress } from './progress.js';
import { isRecentlyActive } from './replication.js';

/**
 * Whether ticks would do nothing: a follower whose leader's store is heard, or a leader that a quorum is
 * vouched for, with nothing under way. Whatever ends that is an input other than a tick.
 */
export function isQuiet(core: Core): boolean {
  if (core.forwardedReads.size > 0) return false;
  if (core.role !== 'leader') return core.isVouching;
  if (core.commit !== core.log.lastIndex || core.pendingReads.length > 0) return false;
  if (core.transferTarget !== 0 || isJoint(core.members)) return false;
  for (const peer of core.peers) if (!isSettled(core, peer)) return false;
  return hasVouchedQuorum(core);
}

/** Needs nothing from the leader: knows everything, or is not there. */
function isSettled(core: Core, peer: Progress): boolean {
  if (!peer.isVouched) return !isRecentlyActive(core, peer);
  return hasEverything(core, peer) && peer.commitSent === core.commit;
}

function hasEverything(core: Core, peer: Progress): boolean {
  return peer.state === 'replicate' && peer.match === core.log.lastIndex;
}

/**
 * A leader all of whose members are vouched for and have everything: at most the commit index is news to
 * them.
 */
export function owesOnlyNotices(core: Core): boolean {
  if (core.role !== 'leader' || core.commit !== core.log.lastIndex) return false;
  for (const peer of core.peers) if (!peer.isVouched || !hasEverything(core, peer)) return false;
  return true;
}

/** Without it the leader must watch by itself whether it still has its quorum. */
function hasVouchedQuorum(core: Core): boolean {
  return core.quorumValue((peer) => (peer === core.self || peer.isVouched ? 1 : 0)) === 1;
}

/**
 * Follower: the stores' heartbeats stand for those of `term`'s leader from now on. False: not its follower.
 */
export function vouch(core: Core, term: number): boolean {
  if (core.role !== 'follower' || core.leaderId === 0 || core.term !== term) return false;
  core.isVouching = true;
  return true;
}

/** The election timer runs again, from now: silence until here was agreed. */
export function stopVouching(core: Core): void {
  if (!core.isVouching) return;
  core.isVouching = false;
  core.lastTickMs = core.nowMs;
  core.armElection();
}

/**
 * Leader: the host vouches for the member or no longer does. Then the member was last heard at `heardAtMs`
 * and gets heartbeats again at once.
 */
export function setVouched(core: Core, peer: Progress, isVouched: boolean, heardAtMs: number): void {
  if (peer.isVouched === isVouched) return;
  peer.isVouched = isVouched;
  // Whether it has got what was told to it before is not known; what the host tells from now on arrives.
  if (isVouched) peer.commitSent = 0;
  else {
    peer.lastContactMs = Math.max(peer.lastContactMs, Math.min(heardAtMs, core.nowMs));
    core.heartbeatDueMs = core.nowMs;
    core.quorumCheckDueMs = core.nowMs;
  }
}
