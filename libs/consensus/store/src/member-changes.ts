import type { RangeDescriptor, RangeId, StoreId } from '@cairn/base';
import { decodeConfigChange, type Entry } from '@cairn/raft';

import { decodeNewMembers, descriptorAfterChange } from './membership.js';
import type { Replica } from './replica.js';
import type { ReplicaRemoval } from './replica-removal.js';
import type { ReplicaTable } from './replica-table.js';
import type { StoreHeartbeats } from './store-heartbeats.js';

export interface MemberChangesParts {
  readonly storeId: StoreId;
  readonly replicas: ReplicaTable;
  readonly heartbeats: Pick<StoreHeartbeats, 'lead' | 'leave'>;
  readonly removal: Pick<ReplicaRemoval, 'begin'>;
  /** Tells whoever hosts the store. */
  changed(rangeId: RangeId): void;
}

/** What a change of a range's members means for the replica here, also when it is the one that goes. */
export class MemberChanges {
  readonly #parts: MemberChangesParts;

  constructor(parts: MemberChangesParts) {
    this.#parts = parts;
  }

  /** A membership change is being applied: from here on the new members count. */
  apply(replica: Replica, entry: Entry): void {
    const change = decodeConfigChange(entry.payload);
    const config = replica.raft.applyConfigChange(entry.payload);
    const descriptor = descriptorAfterChange(replica.descriptor, config, decodeNewMembers(change.context));
    replica.setDescriptor(descriptor);
    const isMember = descriptor.replicas.some((member) => member.replicaId === replica.replicaId);
    if (!isMember) {
      this.#remove(replica, descriptor);
      return;
    }
    if (replica.contact.support?.kind === 'leading') this.#parts.heartbeats.lead(replica);
    this.#parts.changed(replica.rangeId);
  }

  /** See `Store.learnDescriptor`. */
  learn(descriptor: RangeDescriptor): void {
    const replica = this.#parts.replicas.get(descriptor.rangeId);
    if (replica?.isRemovedBy(descriptor, this.#parts.storeId) === true) this.#remove(replica, descriptor);
  }

  /**
   * Closes the replica at once; its rows, its log and a snapshot that it was to install follow. `proof`: a
   * descriptor that does not name it.
   */
  #remove(replica: Replica, proof: RangeDescriptor): void {
    this.#parts.replicas.remove(replica);
    this.#parts.heartbeats.leave(replica);
    this.#parts.removal.begin(replica, proof);
    this.#parts.changed(replica.rangeId);
  }
}
