import { assert, type ReplicaId, type RangeDescriptor, type RangeId, type StoreId } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import type { Clock } from '@cairn/ports';
import type { Entry } from '@cairn/raft';
import type { RaftLog, RangeMarks } from '@cairn/raft-log';

import { encodeCheckpointState } from './checkpoint-state.js';
import type { Delivery } from './delivery.js';
import { initialMarks } from './initial-state.js';
import type { ReplicaMaker } from './replica-maker.js';
import type { Replica } from './replica.js';
import type { StateMachine } from './state-machine.js';
import type { SplitCommand } from './store-commands.js';
import type { StoreMetrics } from './store-metrics.js';

export interface SplitApplierParts {
  readonly storeId: StoreId;
  readonly engine: KvEngine;
  readonly log: RaftLog;
  readonly clock: Clock;
  readonly metrics: StoreMetrics;
  readonly maker: Pick<ReplicaMaker, 'makeRoomFor' | 'addChild'>;
  readonly delivery: Pick<Delivery, 'deliverEarly'>;
  /** Tells whoever hosts the store. */
  changed(rangeId: RangeId): void;
}

type EntryPlace = Pick<Entry, 'index' | 'term'>;

/** A child that lives on this store. */
interface Child {
  readonly descriptor: RangeDescriptor;
  readonly replicaId: ReplicaId;
  readonly machine: StateMachine;
}

/**
 * Applies splits, on every replica of the range alike. The engine is flushed first, and the parent's new
 * span, the children's initial state and everybody's checkpoint become durable as one: after it, nothing from
 * before the split is applied again. A crash before its end leaves nothing of the split, which is then
 * applied again. Children beside a parent that still has their span would lose their rows with its own, when
 * a snapshot replaces those or it goes.
 *
 * Timeline: docs/timelines/split.md
 */
export class SplitApplier {
  readonly #parts: SplitApplierParts;

  constructor(parts: SplitApplierParts) {
    this.#parts = parts;
  }

  /** Resolves when the parent may apply what follows. The applier leaves it alone until then. */
  async apply(replica: Replica, entry: EntryPlace, command: SplitCommand): Promise<void> {
    const children = await this.#cut(replica, entry, command);
    const nowMs = this.#parts.clock.nowMs();
    for (const child of children) {
      // Where the parent's leader is, the child's shall be: it opens the first election alone.
      if (replica.isLeader) child.raft.campaign(nowMs);
      this.#parts.delivery.deliverEarly(child.rangeId);
      child.wake();
    }
    if (children.length > 0) this.#parts.metrics.split();
    this.#parts.changed(replica.rangeId);
  }

  /** Answers the children that live here. */
  async #cut(replica: Replica, entry: EntryPlace, command: SplitCommand): Promise<Replica[]> {
    const { engine, log, maker } = this.#parts;
    const { epoch } = replica.descriptor;
    // The command names the members it was planned for: a change of them that came first makes it void, too.
    const isVoid =
      epoch.version !== command.baseVersion || epoch.confVersion !== command.left.epoch.confVersion;
    if (isVoid) {
      replica.thaw();
      return [];
    }
    await engine.flush();
    const children = this.#childrenOf(replica, command);
    const marks = children.map((child) =>
      initialMarks(log.range(child.descriptor.rangeId).hardState, child.descriptor, child.replicaId),
    );
    log.setMarks([...marks, marksOfParent(replica, entry, command)]);
    await log.sync();
    replica.setDescriptor(command.left);
    replica.thaw();
    return children.map(({ descriptor, replicaId, machine }) => {
      const child = maker.addChild(descriptor, replicaId, machine);
      machine.attach?.(child);
      child.isMachineOpen = true;
      return child;
    });
  }

  /** Cuts the machine, and makes room for each child that this store is to have. */
  #childrenOf(replica: Replica, { left, children }: SplitCommand): Child[] {
    const { maker, storeId } = this.#parts;
    assert(replica.machine?.split !== undefined, 'the state machine cannot be split', {
      rangeId: replica.rangeId,
    });
    const machines = replica.machine.split(left, children);
    const mineOfThem: Child[] = [];
    children.forEach((descriptor, at) => {
      const mine = descriptor.replicas.find((member) => member.storeId === storeId);
      const machine = machines[at];
      assert(machine !== undefined, 'a machine per child');
      // The child may be here already, created by a message since and fed by a snapshot.
      if (mine === undefined || !maker.makeRoomFor(descriptor.rangeId, mine.replicaId)) return;
      mineOfThem.push({ descriptor, replicaId: mine.replicaId, machine });
    });
    return mineOfThem;
  }
}

function marksOfParent(replica: Replica, { index, term }: EntryPlace, { left }: SplitCommand): RangeMarks {
  const state = encodeCheckpointState({
    replicaId: replica.replicaId,
    descriptor: left,
    config: replica.raft.configState,
    confVersionSeen: 0,
    installing: undefined,
  });
  return { rangeId: replica.rangeId, checkpoint: { index, term, state } };
}
