/** What is asked of a replica that gets ticks. */
export interface TickingReplica {
  /** Owned by `TickingReplicas`. */
  isTicking: boolean;
}

/**
 * The replicas of a store that need ticks. Most do not (see `RaftNode.isQuiescent`), so that a tick costs
 * what is under way and not what is stored.
 */
export class TickingReplicas<Replica extends TickingReplica> {
  readonly #ticking = new Set<Replica>();

  get size(): number {
    return this.#ticking.size;
  }

  /** The replica gets the next tick, and further ones as long as it needs them. */
  start(replica: Replica): void {
    if (replica.isTicking) return;
    replica.isTicking = true;
    this.#ticking.add(replica);
  }

  /** The replica is quiescent: no more ticks. */
  stop(replica: Replica): void {
    replica.isTicking = false;
    this.#ticking.delete(replica);
  }

  [Symbol.iterator](): Iterator<Replica> {
    return this.#ticking.values();
  }
}
