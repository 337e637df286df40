import type { ReplicaId } from '@cairn/base';

import { type Core, NO_REPLICA } from './core.js';
import type { Progress } from './progress.js';
import { isRecentlyActive, requestAppend } from './replication.js';
import type { TransferResult } from './types.js';

/**
 * Begins to hand leadership over: no proposals and no lease until it happened or an election timeout
 * passed.
 */
export function transferLeader(core: Core, to: ReplicaId): TransferResult {
  if (core.role !== 'leader') return { type: 'refused', reason: 'not-leader' };
  if (core.transferTarget !== NO_REPLICA) return { type: 'refused', reason: 'transferring' };
  if (to === core.id) return { type: 'refused', reason: 'already-leader' };
  const peer = core.progress.get(to);
  if (peer === undefined || !core.members.voters.includes(to))
    return { type: 'refused', reason: 'not-a-voter' };
  if (!isRecentlyActive(core, peer)) return { type: 'refused', reason: 'not-recently-active' };
  core.transferTarget = to;
  core.transferDeadlineMs = core.nowMs + core.config.electionTimeoutMs;
  continueTransfer(core, peer);
  return { type: 'accepted' };
}

/** The target holds the whole log: tell it to campaign. Until then, keep sending. */
export function continueTransfer(core: Core, peer: Progress): void {
  if (peer.match < core.log.lastIndex) requestAppend(core, peer);
  else sendTimeoutNow(core, peer);
}

/**
 * From here on an election may happen at any time of this term, however late the message arrives: no lease
 * again.
 */
export function sendTimeoutNow(core: Core, peer: Progress): void {
  core.isLeaseForfeited = true;
  core.send({ type: 'timeout-now', from: core.id, to: peer.id, term: core.termNumber });
}

export function expireTransfer(core: Core): void {
  if (core.transferTarget !== NO_REPLICA && core.nowMs >= core.transferDeadlineMs)
    core.transferTarget = NO_REPLICA;
}
