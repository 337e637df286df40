import type { Core } from './core.js';
import { noteAcknowledged } from './lease.js';
import type { Progress } from './progress.js';
import { noteReadRound } from './read-index.js';
import { maybeCommit, requestAppend } from './replication.js';
import { continueTransfer } from './transfer.js';
import type { AppendResponse, HeartbeatResponse } from './types.js';

function noteContact(core: Core, peer: Progress, sentAtMs: number): void {
  peer.lastContactMs = core.nowMs;
  peer.hasAnswered = true;
  noteAcknowledged(core, peer, sentAtMs);
}

export function handleAppendResponse(core: Core, message: AppendResponse): void {
  const peer = core.peer(message.from);
  if (core.role !== 'leader' || peer === undefined) return;
  noteContact(core, peer, message.sentAtMs);
  if (message.rejected) onRejected(core, peer, message);
  else onAccepted(core, peer, message.index);
}

function onAccepted(core: Core, peer: Progress, index: number): void {
  if (index > core.log.lastIndex) return;
  const isNews = index > peer.match;
  if (isNews) peer.match = index;
  peer.next = Math.max(peer.next, peer.match + 1);
  switch (peer.state) {
    case 'probe':
      peer.becomeReplicate();
      break;
    case 'snapshot':
      // It can go on from the log again, whichever snapshot got it there.
      if (peer.match + 1 >= core.log.firstIndex()) peer.becomeReplicate();
      break;
    case 'replicate':
      peer.inflights.freeTo(index);
      break;
  }
  if (peer.next <= core.log.lastIndex) requestAppend(core, peer);
  if (!isNews) return;
  if (peer.match > core.commit) maybeCommit(core);
  if (core.transferTarget === peer.id) continueTransfer(core, peer);
}

function onRejected(core: Core, peer: Progress, message: AppendResponse): void {
  if (message.index <= peer.match) return;
  const agreed = core.log.lastIndexWithTermAtMost(
    Math.min(message.hintIndex, core.log.lastIndex),
    message.hintTerm,
    peer.match,
  );
  switch (peer.state) {
    case 'replicate':
      peer.becomeProbe();
      break;
    case 'probe':
      // Only an answer to the one probe that is out.
      if (message.index !== peer.next - 1) return;
      peer.isProbeSent = false;
      break;
    case 'snapshot':
      return;
  }
  peer.next = Math.max(peer.match, Math.min(agreed, message.index - 1)) + 1;
  requestAppend(core, peer);
}

export function handleHeartbeatResponse(core: Core, message: HeartbeatResponse): void {
  const peer = core.peer(message.from);
  if (core.role !== 'leader' || peer === undefined) return;
  noteContact(core, peer, message.sentAtMs);
  noteReadRound(core, peer, message.readContext);
  if (peer.match >= core.log.lastIndex) return;
  peer.isProbeSent = false;
  peer.isLoading = false;
  if (peer.state === 'replicate' && message.sentAtMs > peer.lastAppendSentAtMs) {
    // It answers, yet nothing that was sent before has been acknowledged: it may be lost, so ask where it
    // stands.
    peer.becomeProbe();
  }
  requestAppend(core, peer);
}

/**
 * The stream of a snapshot ended. Without success the next sign of life of the member starts again, with the
 * first entry that the log still has: the member may have refused because it got to there otherwise, by its
 * initial state or by the snapshot of another leader, and would refuse for ever. If not, it says so.
 */
export function snapshotSent(core: Core, peer: Progress, ok: boolean): void {
  if (peer.state !== 'snapshot') return;
  if (!ok) peer.pendingSnapshotIndex = 0;
  peer.becomeProbe();
  if (!ok) peer.next = Math.max(peer.next, core.log.firstIndex());
  // Either its acknowledgement or the next heartbeat answer resumes it; not at once, it is still busy.
  peer.isProbeSent = true;
}
