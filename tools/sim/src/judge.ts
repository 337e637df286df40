import {
  checkKey,
  counterFaults,
  coverageFaults,
  orderingFaults,
  overlapFaults,
  type HeldSpan,
  type History,
  type Operation,
} from '@cairn/checkers';
import { NO_BYTES } from '@cairn/base';
import { rowSpansOf } from '@cairn/mvcc';
import { KvMachine } from '@cairn/shard-node';
import type { EngineSpan, Replica, StateMachine } from '@cairn/store';
import { LOAD_PREFIX } from '@cairn/workloads';

import { collectionFaults } from './checkers/collections.js';
import { readRows, replicaFaults, strayFaults, type ReplicaState } from './checkers/replicas.js';
import { strictOrderFaults } from './checkers/strict.js';
import { futureFaults } from './checkers/timestamps.js';
import { lockFaults, transactionFaults } from './checkers/transactions.js';
import { windowFaults, type HeldWindow } from './checkers/windows.js';
import type { SimCluster } from './cluster.js';
import type { SimShardNode } from './shard-node.js';
import type { SimNode } from './sim-node.js';
import { COUNTERS } from './workload.js';

const STRAY_LOOKS = 10;
const STRAY_LOOK_MS = 100;

/** Judges a run when it is over: what clients saw, and what every node holds. */
export class Judge {
  readonly #cluster: SimCluster;
  readonly #history: History;

  constructor(cluster: SimCluster, history: History) {
    this.#cluster = cluster;
    this.#history = history;
  }

  /** `isCalm`: nothing was broken, so nobody has a reason to complain. */
  async judge(isCalm: boolean): Promise<void> {
    const { observer } = this.#cluster;
    for (const [key, operations] of this.#history.byKey()) this.#judgeKey(key, operations);
    for (const fault of orderingFaults(this.#history)) observer.violate('ordering', fault);
    for (const fault of strictOrderFaults(this.#history.operations)) observer.violate('strict-order', fault);
    for (const fault of futureFaults(this.#history.operations, this.#cluster.scheduler.unixOriginMs))
      observer.violate('timestamps', fault);
    for (const nodes of [this.#cluster.metadata, this.#cluster.shards]) {
      const states: ReplicaState[] = [];
      const windows: HeldWindow[] = [];
      const all = new Map<string, HeldSpan>();
      let collectedBelow = 0;
      for (const node of nodes) {
        const spans: HeldSpan[] = [];
        for (const replica of node.store?.replicas() ?? []) {
          const descriptor = replica.descriptorOrUndefined;
          if (descriptor === undefined || replica.machine === undefined) continue;
          spans.push(descriptor);
          const { rangeId, appliedIndex, machine } = replica;
          if (machine instanceof KvMachine)
            collectedBelow = Math.max(collectedBelow, machine.debugView().readableSince);
          if (machine instanceof KvMachine && machine.window !== undefined)
            windows.push({
              node: node.name,
              rangeId,
              appliedIndex,
              window: machine.window,
              machine: String(machine),
            });
          all.set(`${descriptor.rangeId} ${descriptor.epoch.version}`, descriptor);
          const state = await this.#stateOf(node, replica, machine);
          if (state !== undefined) states.push(state);
        }
        for (const fault of overlapFaults(spans)) observer.violate('coverage', `${node.name}: ${fault}`);
      }
      for (const fault of coverageFaults([...all.values()])) observer.violate('coverage', fault);
      for (const fault of replicaFaults(states)) observer.violate('replicas-equal', fault);
      for (const state of states)
        for (const fault of collectionFaults(state)) observer.violate('collections', fault);
      for (const fault of transactionFaults(states, collectedBelow)) observer.violate('transactions', fault);
      for (const state of states)
        for (const fault of lockFaults(state, LOAD_PREFIX)) observer.violate('lock-left', fault);
      for (const fault of windowFaults(windows)) observer.violate('outcomes-remembered', fault);
    }
    for (const node of this.#cluster.shards) await this.#judgeStrays(node);
    if (isCalm) {
      for (const line of observer.errorLines) observer.violate('error-line', line);
    }
  }

  /** A replica may be on its way out just now: its rows may take a moment to go. */
  async #judgeStrays(node: SimShardNode): Promise<void> {
    const all = rowSpansOf(NO_BYTES, NO_BYTES);
    for (let look = 1; node.store !== undefined; look += 1) {
      const rows = await this.#rowsOf(node, all);
      if (rows === undefined) return;
      const spans = [...node.replicas()].flatMap(({ machine }) => machine?.spans() ?? []);
      const faults = strayFaults(node.name, rows.keys(), spans);
      if (faults.length === 0) return;
      if (look === STRAY_LOOKS) {
        for (const fault of faults) this.#cluster.observer.violate('left-behind', fault);
        return;
      }
      await this.#cluster.scheduler.runFor(STRAY_LOOK_MS * look);
    }
  }

  /** Time passes while rows are read, and the oracle goes on: what was applied meanwhile is read again. */
  async #stateOf(node: SimNode, replica: Replica, machine: StateMachine): Promise<ReplicaState | undefined> {
    for (;;) {
      const { rangeId, appliedIndex } = replica;
      const shown = machine instanceof KvMachine ? String(machine) : 'no key range';
      const rows = await this.#rowsOf(node, machine.spans());
      // After a crash the engine may be ahead of what is applied again.
      if (rows === undefined || !replica.isConsistent) return undefined;
      if (replica.appliedIndex === appliedIndex)
        return { node: node.name, rangeId, appliedIndex, rows, machine: shown };
    }
  }

  /**
   * undefined when they cannot be read any more, because a bit of theirs was flipped and nobody had looked.
   */
  async #rowsOf(node: SimNode, spans: readonly EngineSpan[]): Promise<ReplicaState['rows'] | undefined> {
    const reading = readRows(node.engine, spans).catch((error: unknown) => {
      if (node.isNoticedRot(error)) return undefined;
      throw error;
    });
    return this.#cluster.scheduler.settle(reading);
  }

  #judgeKey(key: string, operations: readonly Operation[]): void {
    const { observer } = this.#cluster;
    const verdict = checkKey(key, operations);
    if (verdict.type === 'undecided') observer.violate('linearizability', `${key}: too hard to decide`);
    if (verdict.type === 'violated') {
      const shown = verdict.upTo.slice(-25).map((operation) => JSON.stringify(operation));
      observer.violate('linearizability', `${key}:\n  ${shown.join('\n  ')}`);
    }
    if (!COUNTERS.includes(key)) return;
    const last = operations.filter(({ action }) => action.f === 'read').at(-1)?.action;
    if (last?.f !== 'read') return;
    for (const fault of counterFaults(key, operations, Number(last.value ?? '0')))
      observer.violate('counters', fault);
  }
}
