import type { ReplicaId } from '@cairn/base';

import type { RaftContact } from '../types.js';

/** Of a host without heartbeats of its own: it never supports anybody, so it is never asked. */
export const NO_CONTACT: RaftContact = {
  leaderHeardAtMs: () => -Infinity,
  supportEnded: () => {
    throw new Error('nobody is supported here');
  },
  memberHeardAtMs: () => -Infinity,
  memberAckedSentAtMs: () => -Infinity,
};

/** What the stores of one replica have heard of each other, as a test says it. */
export class TestContact implements RaftContact {
  readonly #members = new Map<ReplicaId, { heardAtMs: number; ackedSentAtMs: number }>();
  #leaderHeardAtMs = -Infinity;
  /** How often support ended. */
  endings = 0;

  /** A heartbeat of the leader's store came. */
  hearLeader(heardAtMs: number): void {
    this.#leaderHeardAtMs = Math.max(this.#leaderHeardAtMs, heardAtMs);
  }

  /** The member's store answered the heartbeat that was sent at `sentAtMs`. */
  hearMember(id: ReplicaId, sentAtMs: number, heardAtMs: number): void {
    this.#members.set(id, { heardAtMs, ackedSentAtMs: Math.floor(sentAtMs) });
  }

  leaderHeardAtMs(): number {
    return this.#leaderHeardAtMs;
  }

  supportEnded(): void {
    this.endings += 1;
  }

  memberHeardAtMs(id: ReplicaId): number {
    return this.#members.get(id)?.heardAtMs ?? -Infinity;
  }

  memberAckedSentAtMs(id: ReplicaId): number {
    return this.#members.get(id)?.ackedSentAtMs ?? -Infinity;
  }
}
