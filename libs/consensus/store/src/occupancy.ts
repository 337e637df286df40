import type { RangeDescriptor, RangeId, ReplicaId } from '@cairn/base';

import type { HeldReplicas } from './held-replicas.js';
import type { ReceivedSpools } from './received-spools.js';
import type { Replica } from './replica.js';
import type { ReplicaRemoval } from './replica-removal.js';
import type { SpanIndex } from './span-index.js';

export interface OccupancyParts {
  readonly spans: SpanIndex<Replica>;
  readonly held: HeldReplicas;
  readonly spools: Pick<ReceivedSpools, 'isCovered' | 'overlapping'>;
  readonly removal: Pick<ReplicaRemoval, 'isGone' | 'overlapping'>;
}

/**
 * What of a store is taken: by replicas that take part, by those that wait to be installed, by snapshots that
 * a core has accepted, and by replicas on their way out. A snapshot takes its span when it is accepted, not
 * when its replica is there: two of them that share keys would replace each other's rows.
 */
export class Occupancy {
  readonly #parts: OccupancyParts;

  constructor(parts: OccupancyParts) {
    this.#parts = parts;
  }

  /** Whether the replica was removed from here, or another of its range waits or is on its way out. */
  isGone(rangeId: RangeId, replicaId: ReplicaId): boolean {
    return this.#parts.held.has(rangeId) || this.#parts.removal.isGone(rangeId, replicaId);
  }

  /** A replica here covers the key, or will again. */
  isCovered(key: Uint8Array): boolean {
    const { held, spans, spools } = this.#parts;
    return held.isCovered(key) || spools.isCovered(key) || spans.covering(key) !== undefined;
  }

  /** A replica of another range that shares keys with the span. */
  overlapping(span: RangeDescriptor): { readonly rangeId: RangeId } | undefined {
    const { spans, held, spools, removal } = this.#parts;
    return (
      removal.overlapping(span) ??
      held.overlapping(span) ??
      spools.overlapping(span) ??
      spans.overlapping(span)
    );
  }
}
