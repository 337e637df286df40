import { CairnError, type RangeDescriptor, type StoreId } from '@cairn/base';
import type { Clock } from '@cairn/ports';
import type { RaftLog } from '@cairn/raft-log';

import type { Applier } from './applier.js';
import type { HeldReplicas } from './held-replicas.js';
import { initialMarks } from './initial-state.js';
import type { MachineOpener } from './machine-opener.js';
import type { Occupancy } from './occupancy.js';
import { memberToCreate } from './replica-factory.js';
import type { ReplicaMaker } from './replica-maker.js';
import type { ReplicaTable } from './replica-table.js';
import type { StateMachine } from './state-machine.js';

export interface ReplicaCreationParts {
  readonly storeId: StoreId;
  readonly clock: Clock;
  readonly log: RaftLog;
  readonly replicas: Pick<ReplicaTable, 'get'>;
  readonly held: Pick<HeldReplicas, 'has'>;
  readonly occupancy: Pick<Occupancy, 'isGone' | 'overlapping'>;
  readonly maker: Pick<ReplicaMaker, 'forgetEmpty' | 'addChild'>;
  readonly machines: MachineOpener;
  readonly applier: Pick<Applier, 'unblock'>;
  machineFor(descriptor: RangeDescriptor, isInitial: boolean): StateMachine;
}

/** See `Store.createReplica`. */
export async function createReplica(parts: ReplicaCreationParts, descriptor: RangeDescriptor): Promise<void> {
  const { applier, clock, log, maker, machines, occupancy } = parts;
  const { rangeId } = descriptor;
  const existing = parts.replicas.get(rangeId);
  if (parts.held.has(rangeId) || (existing !== undefined && !existing.isReplaceable)) return;
  const mine = memberToCreate(descriptor, parts.storeId);
  if (occupancy.isGone(rangeId, mine.replicaId)) return;
  if (occupancy.overlapping(descriptor) !== undefined) {
    throw new CairnError('FAILED_PRECONDITION', 'another range here covers part of the span');
  }
  if (existing !== undefined) maker.forgetEmpty(existing);
  const machine = parts.machineFor(descriptor, true);
  log.setMarks([initialMarks(log.range(rangeId).hardState, descriptor, mine.replicaId)]);
  const replica = maker.addChild(descriptor, mine.replicaId, machine);
  replica.isApplyBlocked = true;
  machine.attach?.(replica);
  await log.sync();
  await machines.open(replica, machine, () => {
    replica.isMachineOpen = true;
    applier.unblock(replica);
    // The first member opens the first election at once; the others would only compete.
    if (descriptor.replicas[0] === mine) replica.raft.campaign(clock.nowMs());
    replica.wake();
  });
}
