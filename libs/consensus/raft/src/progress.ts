import type { LogIndex, ReplicaId } from '@cairn/base';

import { Inflights } from './inflights.js';
import type { RaftConfig } from './types.js';

/**
 * What the leader knows of one member. Invariant: match < next. `match` is durable on the member.
 *
 *   probe --accepted--> replicate --rejected, answers without what was sent--> probe
 *   probe, replicate --entries compacted--> snapshot --installed, sent, failed--> probe
 */
export class Progress {
  readonly id: ReplicaId;
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  match = 0;
  next: number;
  isLearner: boolean;
  /** probe only: the one append is out; cleared by any answer. */
  isProbeSent = false;
  /** Storage is loading what comes next. */
  isLoading = false;
  /** snapshot only: the index that was asked for. */
  pendingSnapshotIndex = 0;
  /** Something may be sendable; looked at by the next Ready. */
  needsAppend = false;
  /** The next Ready tells this member the commit index. */
  needsCommit = false;
  /** Local time of the last message from it; before the first, of the beginning. */
  lastContactMs = -Infinity;
  /** Heartbeats between the stores stand for those to this member, and for its answers. */
  isSupported = false;
  /** It has answered this leader. */
  hasAnswered = false;
  /** Newest `sentAtMs` of ours that it echoed; feeds the lease. */
  ackedSentAtMs = -Infinity;
  /** Newest read round that it confirmed. */
  ackedReadRound = 0;
  lastAppendSentAtMs = -Infinity;
  /** Largest commit index sent to it; while it is supported, only in what cannot get lost unnoticed. */
  commitSent = 0;
  readonly inflights: Inflights;

  constructor(id: ReplicaId, next: number, isLearner: boolean, facts: { config: RaftConfig; nowMs: number }) {
    this.id = id;
    this.next = next;
    this.isLearner = isLearner;
    this.lastContactMs = facts.nowMs;
    this.inflights = new Inflights(facts.config.inflightCountMax, facts.config.inflightBytesMax);
  }

  becomeProbe(): void {
    // After a snapshot the member continues behind it, unless the snapshot failed (index cleared before).
    this.next = Math.max(this.match, this.state === 'snapshot' ? this.pendingSnapshotIndex : 0) + 1;
    this.#enter('probe');
  }

  becomeReplicate(): void {
    this.next = this.match + 1;
    this.#enter('replicate');
  }

  becomeSnapshot(index: LogIndex): void {
    this.#enter('snapshot');
    this.pendingSnapshotIndex = index;
    this.next = index + 1;
  }

  #enter(state: Progress['state']): void {
    this.state = state;
    this.isProbeSent = false;
    this.isLoading = false;
    this.pendingSnapshotIndex = 0;
    this.inflights.clear();
  }

  get isPaused(): boolean {
    if (this.isLoading) return true;
    switch (this.state) {
      case 'probe':
        return this.isProbeSent;
      case 'replicate':
        return this.inflights.isFull;
      case 'snapshot':
        return true;
    }
  }

  /** One line for people. */
  toString(): string {
    const marks = [
      this.isLearner ? 'learner' : '',
      this.isSupported ? 'supported' : '',
      this.hasAnswered ? '' : 'unanswered',
      this.isProbeSent ? 'probe-sent' : '',
      this.isLoading ? 'loading' : '',
      this.state === 'snapshot' ? `snapshot=${this.pendingSnapshotIndex}` : '',
      this.inflights.count > 0 ? `inflight=${this.inflights.count}` : '',
    ];
    const where = `${this.id}: ${this.state} match=${this.match} next=${this.next} told=${this.commitSent}`;
    return [where, ...marks.filter((mark) => mark !== '')].join(' ');
  }

  noteCommitSent(commit: number): void {
    if (commit > this.commitSent) this.commitSent = commit;
  }
}
