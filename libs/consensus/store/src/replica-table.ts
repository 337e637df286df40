import { assert, type RangeId } from '@cairn/base';

import type { Replica } from './replica.js';
import type { SpanIndex } from './span-index.js';

/** The replicas of a store that take part, by range, and by key once they have a descriptor. */
export class ReplicaTable {
  readonly #byRange = new Map<RangeId, Replica>();
  readonly #spans: SpanIndex<Replica>;

  /** The replicas keep their own places in `spans`. */
  constructor(spans: SpanIndex<Replica>) {
    this.#spans = spans;
  }

  get size(): number {
    return this.#byRange.size;
  }

  /** Replicas without a state. */
  get emptyCount(): number {
    return this.#byRange.size - this.#spans.size;
  }

  get(rangeId: RangeId): Replica | undefined {
    return this.#byRange.get(rangeId);
  }

  [Symbol.iterator](): Iterator<Replica> {
    return this.#byRange.values();
  }

  add(replica: Replica): void {
    const { rangeId } = replica;
    assert(!this.#byRange.has(rangeId), 'one replica per range and store', { rangeId });
    this.#byRange.set(rangeId, replica);
  }

  /** The replica takes part in nothing any more, and its span is free here. */
  remove(replica: Replica): void {
    this.#byRange.delete(replica.rangeId);
    if (replica.isInitialised) this.#spans.remove(replica);
  }
}
