import { assert, type GateView, type RangeDescriptor, type RangeId, type ReplicaId } from '@cairn/base';
import type { Clock, Rng } from '@cairn/ports';
import type { RaftLog } from '@cairn/raft-log';

import type { SupportedReplica } from './heartbeat-peer.js';
import { INITIAL_TERM, INITIAL_INDEX } from './initial-state.js';
import { configStateOf } from './membership.js';
import type { Occupancy } from './occupancy.js';
import { beginEmptyLog, buildReplica, type ReplicaStart } from './replica-factory.js';
import type { ReplicaTable } from './replica-table.js';
import type { Replica, ReplicaHost } from './replica.js';
import type { SpanIndex } from './span-index.js';
import type { StateMachine } from './state-machine.js';
import type { StoreConfig } from './store-config.js';
import type { StoreHeartbeats } from './store-heartbeats.js';
import type { TickingReplicas } from './ticking-replicas.js';

export interface ReplicaMakerParts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly config: StoreConfig;
  readonly gates: GateView;
  readonly log: RaftLog;
  readonly host: ReplicaHost;
  readonly spans: SpanIndex<Replica>;
  readonly replicas: ReplicaTable;
  readonly ticking: TickingReplicas<SupportedReplica>;
  readonly heartbeats: Pick<StoreHeartbeats, 'leave'>;
  readonly occupancy: Pick<Occupancy, 'isGone'>;
  /** Tells whoever hosts the store. */
  changed(rangeId: RangeId): void;
}

/** Puts replicas into the books of a store, and lets those go that have no state yet. */
export class ReplicaMaker {
  readonly #parts: ReplicaMakerParts;
  /**
   * Ranges whose empty replica made room for the initial state: it may have promised its vote, so the new one
   * holds it, too.
   */
  readonly #hadPromises = new Set<RangeId>();

  constructor(parts: ReplicaMakerParts) {
    this.#parts = parts;
  }

  /** A replica as its log and the start say; its machine comes later. */
  newReplica(start: ReplicaStart): Replica {
    const { clock, gates, replicas, ticking } = this.#parts;
    const replica = buildReplica(this.#parts, start);
    replica.heardMs = clock.nowMs();
    replica.markedVersion = gates.clusterVersion;
    replicas.add(replica);
    ticking.start(replica);
    return replica;
  }

  /** A replica without a state: it takes part in votes and waits for a snapshot. */
  createEmpty(rangeId: RangeId, replicaId: ReplicaId, confVersionSeen: number): Replica {
    return this.newReplica(beginEmptyLog(this.#parts.log.range(rangeId), replicaId, confVersionSeen));
  }

  /**
   * The replica of a range whose log was just created; its machine is open, or is being opened by the caller.
   */
  addChild(descriptor: RangeDescriptor, replicaId: ReplicaId, machine: StateMachine): Replica {
    const replica = this.newReplica({
      rangeId: descriptor.rangeId,
      replicaId,
      descriptor,
      config: configStateOf(descriptor),
      confVersionSeen: 0,
      appliedIndex: INITIAL_INDEX,
      appliedTerm: INITIAL_TERM,
      isInitial: !this.#hadPromises.delete(descriptor.rangeId),
    });
    replica.machine = machine;
    this.#parts.changed(descriptor.rangeId);
    return replica;
  }

  /** Whether a split may create the child here: not when it is here already, with a later state, or was. */
  makeRoomFor(child: RangeId, replicaId: ReplicaId): boolean {
    if (this.#parts.occupancy.isGone(child, replicaId)) return false;
    const existing = this.#parts.replicas.get(child);
    if (existing === undefined) return true;
    // Whatever id a message gave it: that this one is created here is in the range's log.
    if (!existing.isReplaceable) return false;
    this.forgetEmpty(existing);
    return true;
  }

  /**
   * Makes room for the initial state of a range that messages announced first, or for another empty replica.
   * What this one promised stays in its log.
   */
  forgetEmpty(replica: Replica): void {
    assert(replica.isReplaceable, 'only an empty replica makes room', { range: replica.rangeId });
    replica.isClosed = true;
    replica.reads.refuseAll();
    // A leader may count on its hold of the vote, which the new begins anew.
    this.#parts.heartbeats.leave(replica);
    this.#parts.replicas.remove(replica);
    this.#hadPromises.add(replica.rangeId);
  }

  /** See `Store.forgetInvented`. */
  forgetInvented(rangeId: RangeId, replicaId: ReplicaId, asOfMs: number): void {
    const replica = this.#parts.replicas.get(rangeId);
    if (replica?.replicaId !== replicaId || !replica.isReplaceable || replica.heardMs >= asOfMs) return;
    this.forgetEmpty(replica);
    this.#hadPromises.delete(rangeId);
    this.#parts.log.removeRange(rangeId);
  }
}
