import { sleep, type Clock } from '@cairn/ports';
import type { PeerProgress } from '@cairn/raft';

import type { Replica } from './replica.js';

const LOOK_MS = 20;
/**
 * While the disk takes nothing, leaderships are handed over this often: when that is so on all nodes, they
 * come back.
 */
const INTERVAL_MS = 30_000;

/** What is asked of a replica. */
export type HandedReplica = Pick<Replica, 'isReadyLeader' | 'wake'> & {
  readonly raft: Pick<Replica['raft'], 'status' | 'transferLeader'>;
};

export interface HandOverParts {
  readonly clock: Clock;
  replicas(): Iterable<HandedReplica>;
}

/** Lets other nodes lead what this one leads: before it stops, and while it can write nothing. */
export class HandOver {
  readonly #parts: HandOverParts;
  #handedOverMs: number | undefined;

  constructor(parts: HandOverParts) {
    this.#parts = parts;
  }

  /** Asks another member to lead each range that is led here, and waits a little for it. */
  async drain(timeoutMs: number): Promise<void> {
    const { clock } = this.#parts;
    const untilMs = clock.nowMs() + timeoutMs;
    while (this.#begin() > 0 && clock.nowMs() < untilMs) {
      await sleep(clock, LOOK_MS);
    }
  }

  /** Called every now and then. Where nothing can be written, others, perhaps, can. */
  poll(isSlow: boolean): void {
    if (!isSlow) {
      this.#handedOverMs = undefined;
      return;
    }
    const nowMs = this.#parts.clock.nowMs();
    if (this.#handedOverMs !== undefined && nowMs - this.#handedOverMs < INTERVAL_MS) return;
    this.#handedOverMs = nowMs;
    this.#begin();
  }

  /** Answers how many ranges somebody else was asked to lead. */
  #begin(): number {
    let count = 0;
    for (const replica of this.#parts.replicas()) {
      if (!replica.isReadyLeader) continue;
      const target = bestOf(replica.raft.status().peers);
      if (target === undefined) continue;
      count += 1;
      replica.raft.transferLeader(target.replicaId);
      replica.wake();
    }
    return count;
  }
}

/** The voter that was heard and has most of the log: one that hangs is heard, too. */
function bestOf(peers: readonly PeerProgress[]): PeerProgress | undefined {
  let best: PeerProgress | undefined;
  for (const peer of peers) {
    if (!peer.recentlyActive || peer.isLearner) continue;
    if (best === undefined || peer.match > best.match) best = peer;
  }
  return best;
}
