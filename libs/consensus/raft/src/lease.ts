import type { Core } from './core.js';
import type { Progress } from './progress.js';

/** Of this replica itself it is Infinity. */
const ackedOf = (peer: Progress): number => peer.ackedSentAtMs;

/**
 * Counts an echoed send time; sends at or before the floor were made before a drop and prove nothing any
 * more.
 */
export function noteAcknowledged(core: Core, peer: Progress, sentAtMs: number): void {
  if (sentAtMs <= peer.ackedSentAtMs || sentAtMs <= core.leaseFloorMs) return;
  peer.ackedSentAtMs = sentAtMs;
  core.isLeaseBaseStale = true;
}

/** What the store of a member that is supported has answered so far counts as an answer of the member. */
export function noteStoreContact(core: Core, peer: Progress): void {
  const heardAtMs = core.contact.memberHeardAtMs(peer.id);
  if (heardAtMs > peer.lastContactMs) peer.lastContactMs = Math.min(heardAtMs, core.nowMs);
  noteAcknowledged(core, peer, core.contact.memberAckedSentAtMs(peer.id));
}

/**
 * Until when no other leader can be elected; -Infinity without a lease. A member that echoed `sentAtMs` holds
 * its vote for voteHoldMs after it received that message, thus at least so long after it was sent; the lease
 * is shorter than that by the drift margin. The leader's own contribution is the present.
 */
export function leaseExpiresAtMs(core: Core, nowMs: number): number {
  if (core.role !== 'leader' || core.isLeaseForfeited || core.transferTarget !== 0) return -Infinity;
  if (core.commit < core.noopIndex || core.voters.length === 0) return -Infinity;
  for (const peer of core.peers) {
    if (!peer.isSupported) continue;
    // A range that gets no ticks hears of the time from those who ask.
    core.advance(nowMs);
    noteAcknowledged(core, peer, core.contact.memberAckedSentAtMs(peer.id));
  }
  if (core.isLeaseBaseStale) {
    core.leaseBaseMs = core.quorumValue(ackedOf);
    core.isLeaseBaseStale = false;
  }
  return Math.min(core.leaseBaseMs, nowMs) + core.config.leaseDurationMs;
}

/** After a pause of the process: only rounds that start later make a lease again. */
export function dropLease(core: Core): void {
  core.leaseFloorMs = core.stampMs;
  for (const peer of core.peers) peer.ackedSentAtMs = -Infinity;
  core.isLeaseBaseStale = true;
  core.heartbeatDueMs = core.nowMs;
}
