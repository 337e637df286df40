import { CairnError, replicaId, type RangeDescriptor, type RangeId, type StoreId } from '@cairn/base';
import type { ReplicaChange, Store } from '@cairn/store';

import type { MetadataAccess } from './metadata-access.js';

/**
 * A new replica that has not caught up within this long is left as a learner; asking again goes on from
 * there.
 */
const CHANGE_TIMEOUT_MS = 60_000;

export interface ReplicaMoverParts {
  readonly metadata: MetadataAccess;
  readonly store: Store;
}

interface Running {
  readonly change: ReplicaChange;
  readonly result: Promise<RangeDescriptor>;
}

/** Changes the members of ranges that are led here, as operators and the metadata service ask for it. */
export class ReplicaMover {
  readonly #parts: ReplicaMoverParts;
  readonly #running = new Map<RangeId, Running>();

  constructor(parts: ReplicaMoverParts) {
    this.#parts = parts;
  }

  /**
   * Like `Store.changeReplicas`, with ids from the metadata service. Whoever asks for a change that is under
   * way already, because an answer got lost, waits for its end.
   */
  async change(rangeId: RangeId, confVersion: number, change: ReplicaChange): Promise<RangeDescriptor> {
    const running = this.#running.get(rangeId);
    if (running !== undefined) {
      if (isSame(running.change, change)) return running.result;
      throw new CairnError('FAILED_PRECONDITION', 'another change of the members is under way');
    }
    const result = this.#parts.store.changeReplicas(rangeId, {
      ...change,
      confVersion,
      timeoutMs: CHANGE_TIMEOUT_MS,
      newReplicaId: async () => replicaId(await this.#parts.metadata.allocateIds(1)),
    });
    this.#running.set(rangeId, { change, result });
    try {
      return await result;
    } finally {
      this.#running.delete(rangeId);
    }
  }
}

/** The change that an RPC names; 0 stands for no store. */
export function changeOf(addStoreId: number, removeStoreId: number): ReplicaChange {
  const orNone = (id: number): StoreId | undefined => (id === 0 ? undefined : (id as StoreId));
  return { addStoreId: orNone(addStoreId), removeStoreId: orNone(removeStoreId) };
}

function isSame(one: ReplicaChange, other: ReplicaChange): boolean {
  return one.addStoreId === other.addStoreId && one.removeStoreId === other.removeStoreId;
}
