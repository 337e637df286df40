import type { RangeDescriptor, RangeId } from '@cairn/base';

import { covers, overlap } from './range-spans.js';
import type { RecoveredReplica } from './recovered-replicas.js';

interface Held {
  readonly replica: RecoveredReplica;
  /** What it covers until it is installed. */
  readonly span: RangeDescriptor;
}

/**
 * Replicas in the middle of whose installation the process before ended, and whose rows have no room now. Of
 * such a replica there are neither the old rows nor the new ones, and its log is about to be replaced: it
 * takes part in nothing, and nothing takes its place, until the installation could be finished (see
 * `HeldRecovery`). Bounded by the replicas that the log holds.
 */
export class HeldReplicas {
  readonly #held = new Map<RangeId, Held>();

  has(rangeId: RangeId): boolean {
    return this.#held.has(rangeId);
  }

  get size(): number {
    return this.#held.size;
  }

  get replicas(): RecoveredReplica[] {
    return [...this.#held.values()].map(({ replica }) => replica);
  }

  add(replica: RecoveredReplica, span: RangeDescriptor): void {
    this.#held.set(replica.rangeId, { replica, span });
  }

  delete(rangeId: RangeId): void {
    this.#held.delete(rangeId);
  }

  isCovered(key: Uint8Array): boolean {
    return [...this.#held.values()].some(({ span }) => covers(span, key));
  }

  /** One of another range that shares keys with the span. */
  overlapping(other: RangeDescriptor): RecoveredReplica | undefined {
    for (const { replica, span } of this.#held.values())
      if (replica.rangeId !== other.rangeId && overlap(span, other)) return replica;
    return undefined;
  }

  /** What all such cover. */
  allOverlapping(other: RangeDescriptor): RangeDescriptor[] {
    return [...this.#held.values()]
      .map(({ span }) => span)
      .filter((span) => span.rangeId !== other.rangeId && overlap(span, other));
  }

  /** Spools that are still needed. */
  get spools(): string[] {
    return this.replicas.map(({ state }) => state.installing ?? '');
  }
}
