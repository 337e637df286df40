import type { LogIndex, ReplicaId } from '@cairn/base';

import { type Core, NO_REPLICA, type PendingRead } from './core.js';
import type { Progress } from './progress.js';
import type { ReadIndexRequest, ReadIndexResponse } from './types.js';

/** Reads that may wait on one replica; further ones are refused. */
export const READS_PENDING_MAX = 4096;

/**
 * Asks for an index that covers everything committed before this call. False: refused at once. On the leader
 * the next Ready sends one round of heartbeats for all reads since the last; on a follower the question goes
 * to the leader.
 */
export function readIndex(core: Core, context: number): boolean {
  if (core.role === 'leader') return enqueueRead(core, core.id, context);
  if (core.leaderId === NO_REPLICA || core.forwardedReads.size >= READS_PENDING_MAX) return false;
  const id = core.nextForwardId++;
  core.forwardedReads.set(id, { context, sentAtMs: core.nowMs });
  core.send({ type: 'read-index', from: core.id, to: core.leaderId, term: core.termNumber, context: id });
  return true;
}

function enqueueRead(core: Core, from: ReplicaId, context: number): boolean {
  if (core.pendingReads.length >= READS_PENDING_MAX) return false;
  const read: PendingRead = { context, from, round: 0, index: 0 };
  core.pendingReads.push(read);
  // Before the no-op is committed the leader does not know how far its predecessors committed.
  if (core.commit >= core.noopIndex) startRound(core, read);
  return true;
}

/** Reads join the round that the next Ready sends; answers to rounds sent before prove nothing about them. */
function startRound(core: Core, read: PendingRead): void {
  if (!core.needsReadRound) {
    core.readRound += 1;
    core.needsReadRound = true;
    core.needsFlush = true;
  }
  read.round = core.readRound;
  read.index = core.commit;
  if (core.self !== undefined) core.self.ackedReadRound = core.readRound;
  confirmReads(core);
}

/** The first entry of the own term is committed: reads that came before start their round now. */
export function releaseEarlyReads(core: Core): void {
  for (const read of [...core.pendingReads]) if (read.round === 0) startRound(core, read);
}

const roundOf = (peer: Progress): number => peer.ackedReadRound;

/** A member confirmed a round. */
export function noteReadRound(core: Core, peer: Progress, round: number): void {
  if (round <= peer.ackedReadRound) return;
  peer.ackedReadRound = round;
  confirmReads(core);
}

/** Hands out every read whose round a quorum confirmed. */
export function confirmReads(core: Core): void {
  if (core.pendingReads.length === 0 || core.voters.length === 0) return;
  const round = core.quorumValue(roundOf);
  const waiting: PendingRead[] = [];
  for (const read of core.pendingReads) {
    if (read.round === 0 || read.round > round) waiting.push(read);
    else answer(core, read);
  }
  core.pendingReads = waiting;
}

function answer(core: Core, read: PendingRead): void {
  if (read.from === core.id) {
    core.confirmRead(read.context, read.index as LogIndex);
    return;
  }
  respond(core, read.from, read.context, read.index);
  // The asker waits until it has applied this far: let it know.
  const peer = core.progress.get(read.from);
  if (peer !== undefined) peer.needsCommit = true;
  core.needsFlush = true;
}

function respond(core: Core, to: ReplicaId, context: number, index: number): void {
  core.send({
    type: 'read-index-response',
    from: core.id,
    to,
    term: core.termNumber,
    context,
    index: index as LogIndex,
    refused: false,
  });
}

function refuseTo(core: Core, to: ReplicaId, context: number): void {
  core.send({
    type: 'read-index-response',
    from: core.id,
    to,
    term: core.termNumber,
    context,
    index: 0 as LogIndex,
    refused: true,
  });
}

export function handleReadIndex(core: Core, message: ReadIndexRequest): void {
  const isServed = core.role === 'leader' && enqueueRead(core, message.from, message.context);
  if (!isServed) refuseTo(core, message.from, message.context);
}

export function handleReadIndexResponse(core: Core, message: ReadIndexResponse): void {
  const read = core.forwardedReads.get(message.context);
  // Whoever leads no more, or never did, knows nothing of what was acknowledged since.
  if (read === undefined || message.from !== core.leaderId) return;
  core.forwardedReads.delete(message.context);
  if (message.refused) core.rejectRead(read.context);
  else core.confirmRead(read.context, message.index);
}

/** Gives up on questions that nobody answered within an election timeout. */
export function expireForwardedReads(core: Core): void {
  for (const [id, read] of core.forwardedReads) {
    if (read.sentAtMs + core.config.electionTimeoutMs > core.nowMs) return;
    core.forwardedReads.delete(id);
    core.rejectRead(read.context);
  }
}

/** The leadership that would have answered is over. */
export function refuseAllReads(core: Core): void {
  for (const read of core.pendingReads) {
    if (read.from === core.id) core.rejectRead(read.context);
    else refuseTo(core, read.from, read.context);
  }
  core.pendingReads = [];
  for (const read of core.forwardedReads.values()) core.rejectRead(read.context);
  core.forwardedReads.clear();
}
