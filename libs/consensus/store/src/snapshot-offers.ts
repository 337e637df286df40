import type { RangeId, StoreId } from '@cairn/base';
import type { Message } from '@cairn/raft';

import type { Delivery } from './delivery.js';
import type { Occupancy } from './occupancy.js';
import type { ReplicaRemoval } from './replica-removal.js';
import type { ReplicaTable } from './replica-table.js';
import type { RunQueue } from './run-queue.js';
import { refusalOf } from './snapshot-check.js';
import type { SnapshotHeader } from './snapshot-frames.js';

export interface SnapshotOffersParts {
  readonly storeId: StoreId;
  readonly replicas: Pick<ReplicaTable, 'get'>;
  readonly removal: Pick<ReplicaRemoval, 'isGone'>;
  readonly occupancy: Pick<Occupancy, 'overlapping'>;
  readonly delivery: Pick<Delivery, 'deliver'>;
  readonly queue: Pick<RunQueue, 'schedule'>;
}

/** What the store, and the core of the replica, say to a snapshot that somebody offers. */
export class SnapshotOffers {
  readonly #parts: SnapshotOffersParts;

  constructor(parts: SnapshotOffersParts) {
    this.#parts = parts;
  }

  /** Why the snapshot has no place here, if it has none. */
  refusalOf(header: SnapshotHeader, from: StoreId): string | undefined {
    const { occupancy, removal, replicas, storeId } = this.#parts;
    return refusalOf(header, from, {
      storeId,
      replica: replicas.get(header.rangeId),
      isGone: removal.isGone(header.rangeId, header.to),
      overlaps: occupancy.overlapping(header.descriptor),
    });
  }

  /**
   * The stream is complete: whether the core asks for the snapshot to be installed. Throws CORRUPTION for one
   * that no member can have sent.
   */
  step(from: StoreId, rangeId: RangeId, message: Message & { type: 'snapshot' }): boolean {
    const { delivery, queue, replicas } = this.#parts;
    const refusal = delivery.deliver(from, rangeId, message, undefined);
    if (refusal !== undefined) throw refusal;
    queue.schedule();
    return replicas.get(rangeId)?.raft.installing === message.meta;
  }
}
