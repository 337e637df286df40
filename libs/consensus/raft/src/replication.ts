import { assert, NOTHING, type LogIndex } from '@cairn/base';

import type { Core } from './core.js';
import type { Progress } from './progress.js';
import { releaseEarlyReads } from './read-index.js';
import type { Entry, EntryKind } from './types.js';

/**
 * Entries of a probe, bytes; one entry may have more. It only asks whether the member takes entries: one that
 * cannot, because its disk or engine is behind, drops all of them and is asked again at each sign of life.
 */
const PROBE_BYTES_MAX = 4 * 1024;

/** Appends one entry of the own term; it travels with the next Ready. */
export function appendOwn(core: Core, kind: EntryKind, payload: Uint8Array): LogIndex {
  const index = (core.log.lastIndex + 1) as LogIndex;
  core.log.append({ index, term: core.termNumber, kind, payload, record: undefined });
  core.uncommittedBytes += payload.length;
  for (const peer of core.peers) peer.needsAppend = true;
  core.needsFlush = true;
  return index;
}

/** Asks the next Ready to look at this member. */
export function requestAppend(core: Core, peer: Progress): void {
  peer.needsAppend = true;
  core.needsFlush = true;
}

/** Sends what the windows allow; called once per Ready, so proposals of one turn share a message. */
export function flushReplication(core: Core): void {
  core.needsFlush = false;
  const isRoundDue = core.needsReadRound;
  core.needsReadRound = false;
  for (const peer of core.peers) {
    if (peer.needsAppend) {
      peer.needsAppend = false;
      while (!peer.isPaused && peer.next <= core.log.lastIndex && sendAppend(core, peer));
      // A probe without entries still finds out where the logs agree.
      if (peer.state === 'probe' && !peer.isPaused) sendAppend(core, peer);
    }
    const isCommitDue = peer.needsCommit && owesCommit(core, peer);
    peer.needsCommit = false;
    if (isRoundDue || isCommitDue) sendHeartbeat(core, peer);
  }
}

/**
 * One append from `peer.next` on; false when it could not be made now. An empty one carries the commit
 * index.
 */
export function sendAppend(core: Core, peer: Progress): boolean {
  const { log } = core;
  const previousIndex = peer.next - 1;
  const previousTerm = log.termOf(previousIndex);
  let entries: readonly Entry[] | 'compacted' | 'loading' = NOTHING;
  if (previousTerm !== 'compacted' && peer.next <= log.lastIndex) {
    const { appendBytesMax } = core.config;
    const bytesMax = peer.state === 'probe' ? Math.min(PROBE_BYTES_MAX, appendBytesMax) : appendBytesMax;
    entries = log.entries(peer.next, log.lastIndex + 1, bytesMax);
  }
  if (entries === 'loading') {
    peer.isLoading = true;
    core.load({
      to: peer.id,
      from: peer.next as LogIndex,
      toExclusive: (log.lastIndex + 1) as LogIndex,
      bytesMax: core.config.appendBytesMax,
    });
    return false;
  }
  if (previousTerm === 'compacted' || entries === 'compacted') return sendSnapshot(core, peer);
  let bytes = 0;
  for (const entry of entries) bytes += entry.payload.length;
  core.send({
    type: 'append',
    from: core.id,
    to: peer.id,
    term: core.termNumber,
    previousIndex: previousIndex as LogIndex,
    previousTerm,
    commit: core.commit as LogIndex,
    entries,
    sentAtMs: core.stampMs,
  });
  peer.lastAppendSentAtMs = core.stampMs;
  const last = previousIndex + entries.length;
  // When entries get lost, it shows; a probe that does was perhaps the only message with the commit index.
  if (!peer.isSupported || peer.state === 'replicate') peer.noteCommitSent(Math.min(core.commit, last));
  if (peer.state === 'probe') peer.isProbeSent = true;
  else if (entries.length > 0) {
    peer.inflights.add(last, bytes);
    peer.next = last + 1;
  }
  return true;
}

function sendSnapshot(core: Core, peer: Progress): boolean {
  // Nobody streams to a member that does not answer; its next sign of life asks again.
  if (!isRecentlyActive(core, peer)) return false;
  const index = core.applied as LogIndex;
  const term = core.log.termOf(index);
  assert(term !== 'compacted', 'log truncated above the applied index', { index });
  peer.becomeSnapshot(index);
  core.send({
    type: 'snapshot',
    from: core.id,
    to: peer.id,
    term: core.termNumber,
    meta: { index, term: term, config: core.members },
  });
  return false;
}

export function isRecentlyActive(core: Core, peer: Progress): boolean {
  if (peer === core.self || peer.isSupported) return true;
  return peer.lastContactMs + core.config.electionTimeoutMs > core.nowMs;
}

export function sendHeartbeat(core: Core, peer: Progress): void {
  const commit = Math.min(core.commit, peer.match);
  core.send({
    type: 'heartbeat',
    from: core.id,
    to: peer.id,
    term: core.termNumber,
    commit: commit as LogIndex,
    readContext: core.pendingReads.length > 0 ? core.readRound : 0,
    sentAtMs: core.stampMs,
  });
  if (!peer.isSupported) peer.noteCommitSent(commit);
}

export function broadcastHeartbeat(core: Core): void {
  for (const peer of core.peers) sendHeartbeat(core, peer);
}

/**
 * To those who would hear nothing else: an append holds off elections, renews the lease and tells the commit
 * index just as well. Without this, a thousand ranges that write a little spend more on heartbeats than on
 * writes. A member that is supported gets one only when it owes an answer to an append, which may be lost.
 */
export function sendDueHeartbeats(core: Core): void {
  core.heartbeatDueMs = core.nowMs + core.config.heartbeatIntervalMs;
  for (const peer of core.peers) {
    const isSilent = peer.lastAppendSentAtMs + core.config.heartbeatIntervalMs <= core.nowMs;
    const isNeeded = !peer.isSupported || peer.match < core.log.lastIndex;
    if ((isSilent && isNeeded) || core.pendingReads.length > 0) sendHeartbeat(core, peer);
  }
}

/**
 * Tells members the commit index that they have not been told, with the next Ready. With `silentMs`: not
 * those to whom an append was sent within it, nor those that hear it from the host (`takeCommitNotice`).
 */
export function requestCommitFlush(core: Core, silentMs = 0): void {
  for (const peer of core.peers) {
    if (!owesCommit(core, peer) || (silentMs > 0 && peer.isSupported)) continue;
    if (peer.lastAppendSentAtMs + silentMs > core.nowMs) continue;
    peer.needsCommit = true;
    core.needsFlush = true;
  }
}

function owesCommit(core: Core, peer: Progress): boolean {
  return peer.commitSent < Math.min(core.commit, peer.match);
}

/** The commit index that the host shall tell a member that is supported; 0 = none. */
export function takeCommitNotice(core: Core, peer: Progress): number {
  if (!peer.isSupported || !owesCommit(core, peer)) return 0;
  peer.noteCommitSent(Math.min(core.commit, peer.match));
  return peer.commitSent;
}

const matchOf = (peer: Progress): number => peer.match;

/**
 * Advances the commit index to what both majorities hold durably. Only entries of the own term are counted;
 * older ones are committed through them (Raft paper 5.4.2, figure 8).
 */
export function maybeCommit(core: Core): boolean {
  assert(core.role === 'leader', 'only a leader commits by counting', { role: core.role });
  const agreed = core.quorumValue(matchOf);
  if (agreed <= core.commit || agreed < core.noopIndex) return false;
  assert(agreed <= core.log.lastIndex, 'committed beyond the log', { agreed });
  const isFirstOfTerm = core.commit < core.noopIndex;
  core.commit = agreed;
  if (isFirstOfTerm) releaseEarlyReads(core);
  // A membership change must reach its members without waiting for the next proposal.
  if (core.pendingConfigIndex > core.applied && core.pendingConfigIndex <= agreed) requestCommitFlush(core);
  return true;
}
