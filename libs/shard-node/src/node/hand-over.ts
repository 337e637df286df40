import type { Clock } from '@cairn/ports';
import type { Replica } from '@cairn/store';

const LOOK_MS = 20;
/**
 * While the disk has no room, leaderships are handed over this often: when all nodes are full, they come
 * back.
 */
const NO_ROOM_INTERVAL_MS = 30_000;

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
      await new Promise<void>((resolve) => {
        clock.setTimer(LOOK_MS, resolve);
      });
    }
  }

  /**
   * Called every now and then. Where the log or the engine waits for room nothing more can be written;
   * others, perhaps, have some.
   */
  poll(isOutOfRoom: boolean): void {
    if (!isOutOfRoom) {
      this.#handedOverMs = undefined;
      return;
    }
    const nowMs = this.#parts.clock.nowMs();
    if (this.#handedOverMs !== undefined && nowMs - this.#handedOverMs < NO_ROOM_INTERVAL_MS) return;
    this.#handedOverMs = nowMs;
    this.#begin();
  }

  /** Answers how many ranges somebody else was asked to lead. */
  #begin(): number {
    let count = 0;
    for (const replica of this.#parts.replicas()) {
      if (!replica.isReadyLeader) continue;
      const target = replica.raft.status().peers.find((peer) => peer.recentlyActive && !peer.isLearner);
      if (target === undefined) continue;
      count += 1;
      replica.raft.transferLeader(target.replicaId);
      replica.wake();
    }
    return count;
  }
}
