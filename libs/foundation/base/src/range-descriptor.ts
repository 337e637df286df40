import type { RangeId, ReplicaId, StoreId } from './brands.js';

/** Part a replica plays in its group; joint configurations use the two transitional roles. */
export type ReplicaRole = 'voter' | 'learner' | 'incoming' | 'outgoing';

export interface ReplicaDescriptor {
  readonly replicaId: ReplicaId;
  readonly storeId: StoreId;
  readonly role: ReplicaRole;
}

/**
 * Guards every request. `version` counts changes of the span (split, merge), `confVersion` changes of
 * membership. Compared for equality; only the parts that a command depends on are compared.
 */
export interface RangeEpoch {
  readonly version: number;
  readonly confVersion: number;
}

/** A range as its replicas agree on it. Immutable: a change makes a new descriptor with a higher epoch. */
export interface RangeDescriptor {
  readonly rangeId: RangeId;
  /** First key, inclusive; empty = from the beginning. */
  readonly startKey: Uint8Array;
  /** First key past the range; empty = to the end. */
  readonly endKey: Uint8Array;
  readonly epoch: RangeEpoch;
  readonly replicas: readonly ReplicaDescriptor[];
  /** What a later release says of the range beside this: kept, and written back as it is. */
  readonly tail?: Uint8Array;
}
