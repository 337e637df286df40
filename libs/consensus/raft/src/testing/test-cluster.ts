import { assert, type LogIndex, type ReplicaId, type Term } from '@cairn/base';

import { defaultRaftConfig } from '../config.js';
import { RaftNode } from '../raft-node.js';
import {
  EntryKind,
  type ConfigState,
  type Entry,
  type Message,
  type RaftConfig,
  type Ready,
} from '../types.js';
import { MemoryRaftStorage } from './memory-storage.js';
import { TestContact } from './test-contact.js';

export interface TestReplica {
  readonly id: ReplicaId;
  readonly storage: MemoryRaftStorage;
  /** What its store has heard of the others. */
  contact: TestContact;
  node: RaftNode;
  /** Applied entries in order; durable, as if every apply were synced. */
  applied: Entry[];
  appliedConfig: ConfigState;
  appliedIndex: LogIndex;
  /** Readies that wait for a sync. */
  unsynced: Ready[];
  reads: { context: number; index: number; refused: boolean }[];
  isDown: boolean;
  /** Its process stands still: no ticks, no writes; what is sent to it waits in `inbox`. */
  isPaused: boolean;
  inbox: Message[];
  /** Its state machine stands still: committed entries wait in `unapplied`. */
  isApplyHeld: boolean;
  unapplied: Entry[];
  /** Its host turns down every snapshot before its core hears of it. */
  refusesSnapshots: boolean;
  /** Its own clock shows `localMs` at `atMs` of the cluster and runs `rate` times as fast. */
  clock: { readonly atMs: number; readonly localMs: number; readonly rate: number };
}

/** Where the log of a group begins that did not start from nothing: a range created from another. */
export interface LogStart {
  readonly index: LogIndex;
  readonly term: Term;
}

export interface TestClusterOptions {
  readonly config?: Partial<RaftConfig>;
  /** [0, 1); shared by all replicas. Default: always 0, so that nothing is left to chance. */
  readonly random?: () => number;
}

const EMPTY: ConfigState = { voters: [], outgoing: [], learners: [], learnersNext: [] };

/**
 * Replicas of one group on virtual time, with every step under the caller's hand: which messages arrive,
 * which writes become durable, who crashes. Each Ready checks the safety rules of Raft. For tests.
 */
export class TestCluster {
  readonly replicas = new Map<ReplicaId, TestReplica>();
  readonly #options: TestClusterOptions;
  nowMs = 1000;
  /** Messages under way, oldest first. */
  network: Message[] = [];
  readonly #leaderOfTerm = new Map<number, ReplicaId>();
  readonly #committed = new Map<number, Entry>();
  /** Snapshots that finished streaming wait in the network as the message that offers them. */
  onReady: ((replica: TestReplica, ready: Ready) => void) | undefined;

  constructor(options: TestClusterOptions = {}) {
    this.#options = options;
  }

  add(id: number, members: ConfigState = EMPTY, start?: LogStart): TestReplica {
    const storage = new MemoryRaftStorage();
    const applied = start?.index ?? (0 as LogIndex);
    if (start !== undefined) layOut(storage, start);
    const contact = new TestContact();
    const facts = { members, applied, nowMs: this.nowMs, isInitial: true };
    const replica: TestReplica = {
      id: id as ReplicaId,
      storage,
      contact,
      node: this.#start({ id: id as ReplicaId, storage, contact }, facts),
      applied: [],
      appliedConfig: members,
      appliedIndex: applied,
      unsynced: [],
      reads: [],
      isDown: false,
      isPaused: false,
      inbox: [],
      isApplyHeld: false,
      unapplied: [],
      refusesSnapshots: false,
      clock: { atMs: 0, localMs: 0, rate: 1 },
    };
    this.replicas.set(replica.id, replica);
    return replica;
  }

  /** `count` voters with ids 1.. and nobody else. */
  static of(count: number, options: TestClusterOptions = {}): TestCluster {
    const cluster = new TestCluster(options);
    const voters = Array.from({ length: count }, (_, at) => (at + 1) as ReplicaId);
    for (const id of voters) cluster.add(id, { ...EMPTY, voters });
    return cluster;
  }

  #start(
    { id, storage, contact }: Pick<TestReplica, 'id' | 'storage' | 'contact'>,
    facts: { members: ConfigState; applied: LogIndex; nowMs: number; isInitial: boolean },
  ): RaftNode {
    return new RaftNode({
      config: { ...defaultRaftConfig(id), ...this.#options.config },
      storage,
      contact,
      hardState: storage.hardState,
      appliedIndex: facts.applied,
      configState: facts.members,
      random: this.#options.random ?? (() => 0),
      startedAtMs: facts.nowMs,
      isInitial: facts.isInitial,
    });
  }

  get(id: number): TestReplica {
    const replica = this.replicas.get(id as ReplicaId);
    assert(replica !== undefined, 'no such replica', { id });
    return replica;
  }

  /** The time that the replica's own clock shows. */
  nowOf({ clock }: TestReplica): number {
    return clock.localMs + (this.nowMs - clock.atMs) * clock.rate;
  }

  /** From now on the replica's clock runs `rate` times as fast as the cluster's. */
  setClockRate(replica: TestReplica, rate: number): void {
    replica.clock = { atMs: this.nowMs, localMs: this.nowOf(replica), rate };
  }

  /** Handles one Ready without making it durable; false when there was none. */
  process(replica: TestReplica): boolean {
    if (replica.isDown || replica.isPaused || !replica.node.hasReady()) return false;
    const ready = replica.node.takeReady();
    replica.storage.stage(ready);
    if (ready.state?.role === 'leader') {
      const other = this.#leaderOfTerm.get(ready.state.term) ?? replica.id;
      assert(other === replica.id, 'two leaders in one term', { term: ready.state.term });
      this.#leaderOfTerm.set(ready.state.term, replica.id);
    }
    this.network.push(...ready.messages);
    replica.unsynced.push(ready);
    this.#applyCommitted(replica, ready.committed);
    replica.reads.push(...ready.reads);
    this.onReady?.(replica, ready);
    if (ready.snapshot !== undefined) this.#install(replica, ready);
    return true;
  }

  #install(replica: TestReplica, ready: Ready): void {
    const meta = ready.snapshot;
    assert(meta !== undefined, 'called with a snapshot');
    this.sync(replica);
    replica.storage.reset(meta);
    const donor = [...this.replicas.values()].find((other) => other.appliedIndex >= meta.index);
    assert(donor !== undefined, 'nobody has the state of the snapshot', { index: meta.index });
    replica.applied = donor.applied.filter((entry) => entry.index <= meta.index);
    replica.appliedConfig = meta.config;
    replica.appliedIndex = meta.index;
    replica.node.snapshotInstalled(meta);
  }

  #applyCommitted(replica: TestReplica, entries: readonly Entry[]): void {
    if (replica.isApplyHeld) {
      replica.unapplied.push(...entries);
      return;
    }
    for (const entry of entries) {
      assert(entry.index === replica.appliedIndex + 1, 'applied out of order', { index: entry.index });
      const known = this.#committed.get(entry.index) ?? entry;
      assert(known.term === entry.term && known.payload === entry.payload, 'state machines differ', {
        index: entry.index,
      });
      this.#committed.set(entry.index, entry);
      replica.applied.push(entry);
      if (entry.kind === EntryKind.config)
        replica.appliedConfig = replica.node.applyConfigChange(entry.payload);
      replica.appliedIndex = entry.index;
    }
    if (entries.length > 0) replica.node.applied(replica.appliedIndex);
  }

  /** The state machine of the replica goes on with what has waited. */
  releaseApply(replica: TestReplica): void {
    replica.isApplyHeld = false;
    const waiting = replica.unapplied;
    replica.unapplied = [];
    this.#applyCommitted(replica, waiting);
  }

  /** The process of the replica goes on and finds what was sent to it meanwhile. */
  resume(replica: TestReplica): void {
    replica.isPaused = false;
    const waiting = replica.inbox;
    replica.inbox = [];
    for (const message of waiting) this.deliver(message);
  }

  /** All writes of the replica become durable. */
  sync(replica: TestReplica): void {
    const last = replica.unsynced.at(-1);
    if (last === undefined || replica.isPaused) return;
    const done = replica.unsynced;
    replica.unsynced = [];
    replica.storage.sync(last.sequence);
    for (const ready of done) this.network.push(...ready.messagesAfterPersist);
    replica.node.persisted(last.sequence);
  }

  /** Hands the oldest message of the network over; a snapshot arrives whole and is reported to its sender. */
  deliver(message: Message): void {
    const target = this.replicas.get(message.to);
    if (target?.isPaused === true) {
      target.inbox.push(message);
      return;
    }
    const isRefused = message.type === 'snapshot' && target?.refusesSnapshots === true;
    const isLost = target === undefined || target.isDown || isRefused;
    if (!isLost) {
      const refusal = target.node.step(message, this.nowOf(target));
      assert(refusal === undefined, refusal ?? '', {
        type: message.type,
        from: message.from,
        to: message.to,
      });
    }
    if (message.type === 'snapshot') this.replicas.get(message.from)?.node.snapshotSent(message.to, !isLost);
  }

  /** Until nothing moves any more; messages for which `isCut` holds are lost. */
  stabilize(isCut: (message: Message) => boolean = () => false): void {
    for (let round = 0; round < 10_000; round += 1) {
      let moved = false;
      for (const replica of this.replicas.values()) {
        while (this.process(replica)) moved = true;
        if (!replica.isDown && !replica.isPaused && replica.unsynced.length > 0) {
          this.sync(replica);
          moved = true;
        }
      }
      const batch = this.network;
      this.network = [];
      for (const message of batch) {
        moved = true;
        if (!isCut(message)) this.deliver(message);
        else if (message.type === 'snapshot') this.get(message.from).node.snapshotSent(message.to, false);
      }
      if (!moved) return;
    }
    assert(false, 'the cluster does not come to rest');
  }

  /** Lets time pass for everyone, in steps of a store's tick. */
  advance(ms: number, isCut?: (message: Message) => boolean): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, this.nowMs + 50);
      for (const replica of this.replicas.values()) {
        if (!replica.isDown && !replica.isPaused) replica.node.tick(this.nowOf(replica));
      }
      if (isCut !== undefined) this.stabilize(isCut);
    }
  }

  crash(id: number): void {
    const replica = this.get(id);
    replica.isDown = true;
    replica.isPaused = false;
    replica.inbox = [];
    replica.unsynced = [];
    replica.unapplied = [];
    replica.storage.crash();
  }

  restart(id: number): void {
    const replica = this.get(id);
    const facts = {
      members: replica.appliedConfig,
      applied: replica.appliedIndex,
      nowMs: this.nowOf(replica),
      isInitial: false,
    };
    replica.contact = new TestContact();
    replica.node = this.#start(replica, facts);
    replica.isDown = false;
  }

  /** The engine of a crashed replica comes back as of `index`: the rest was applied, but not durable. */
  forgetApplied(id: number, index: LogIndex): void {
    const replica = this.get(id);
    assert(replica.isDown && index <= replica.appliedIndex, 'only a crash loses what was applied', { index });
    replica.applied = replica.applied.filter((entry) => entry.index <= index);
    replica.appliedIndex = index;
  }

  /** A replica without state gets the initial state of its range; what it promised before stays promised. */
  give(id: number, members: ConfigState, start: LogStart): void {
    const replica = this.get(id);
    layOut(replica.storage, start);
    replica.unsynced = [];
    replica.appliedConfig = members;
    replica.appliedIndex = start.index;
    this.restart(id);
  }

  /** The store of the leader was heard by that of the member, and that answered. */
  beat(leader: TestReplica, member: TestReplica): void {
    const sentAtMs = this.nowOf(leader);
    member.contact.hearLeader(this.nowOf(member));
    leader.contact.hearMember(member.id, sentAtMs, sentAtMs);
  }

  /** The member's store supports the leader, and the leader's store has heard that; false when it refused. */
  support(leader: TestReplica, member: TestReplica): boolean {
    this.beat(leader, member);
    if (!member.node.support(leader.node.term)) return false;
    leader.node.setSupported(member.id, true, this.nowOf(leader));
    return true;
  }

  /** The member's store supports the leader no longer, and the leader's store has heard that. */
  withdraw(leader: TestReplica, member: TestReplica): void {
    member.node.withdrawSupport(this.nowOf(member));
    leader.node.setSupported(member.id, false, this.nowOf(leader));
  }

  leader(): TestReplica | undefined {
    let best: TestReplica | undefined;
    for (const replica of this.replicas.values()) {
      if (replica.isDown || replica.node.role !== 'leader') continue;
      if (best === undefined || replica.node.term > best.node.term) best = replica;
    }
    return best;
  }

  /** Lease disjointness: at most one replica may believe it holds the lease. */
  checkLeases(): void {
    const holders = [...this.replicas.values()].filter(
      (one) => !one.isDown && one.node.hasLease(this.nowOf(one)),
    );
    assert(holders.length <= 1, 'two leases', { holders: holders.map((one) => one.id).join() });
  }
}

/** An empty log behind `start`; a newer term or vote that is already there is kept. */
function layOut(storage: MemoryRaftStorage, start: LogStart): void {
  const known = storage.hardState;
  storage.reset(start);
  const { term, vote } =
    known !== undefined && known.term >= start.term ? known : { term: start.term, vote: 0 as ReplicaId };
  storage.stage({ sequence: 0, entries: [], hardState: { term, vote, commit: start.index } });
  storage.sync(0);
}
