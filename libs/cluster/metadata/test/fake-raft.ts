import {
  CairnError,
  CLUSTER_VERSIONS,
  logIndex,
  storeId,
  term,
  type ReplicaId,
  type StoreId,
  type Term,
} from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';
import { EntryKind, type Entry } from '@cairn/raft';
import type { ReplicaGroup } from '@cairn/store';

import { MetadataStateMachine } from '../src/metadata-state-machine.js';

interface Waiter {
  readonly index: number;
  readonly term: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** One member of the fake group: a real machine on a memory engine. */
export class FakeMember implements ReplicaGroup {
  readonly storeId: StoreId;
  engine: MemoryEngine;
  machine: MetadataStateMachine;
  appliedIndex = 0;
  /** Believes to lead. */
  isLeader = false;
  /** Hears nothing of what is committed. */
  isCutOff = false;
  term: Term = term(0);
  waiters: Waiter[] = [];
  leaderHint = 0;
  readonly #raft: FakeRaft;

  constructor(raft: FakeRaft, id: number) {
    this.#raft = raft;
    this.storeId = storeId(id);
    this.engine = new MemoryEngine();
    this.machine = new MetadataStateMachine(this.engine, CLUSTER_VERSIONS);
  }

  get leaderReplicaId(): ReplicaId {
    return this.leaderStoreId as number as ReplicaId;
  }

  get leaderStoreId(): StoreId {
    return storeId(this.leaderHint);
  }

  propose(command: Uint8Array): Promise<unknown> {
    return this.#raft.propose(this, command);
  }

  readBarrier(): Promise<void> {
    if (this.isLeader && this.#raft.leader === this) return Promise.resolve();
    return Promise.reject(new CairnError('NOT_LEADER', 'no quorum'));
  }
}

/**
 * A log that everybody agrees on, without messages: proposals commit in order, and all members apply them.
 * Tests decide who leads, when commits stop, and what becomes of what was not committed.
 */
export class FakeRaft {
  readonly members: FakeMember[];
  readonly log: Entry[] = [];
  committed = 0;
  /** The member that really leads. */
  leader: FakeMember | undefined;
  /** Nothing commits while true. */
  isHeld = false;
  #term = 0;
  #pumping: Promise<void> = Promise.resolve();

  constructor(size: number) {
    this.members = Array.from({ length: size }, (_, index) => new FakeMember(this, index + 1));
  }

  async open(): Promise<void> {
    for (const member of this.members) await member.machine.open();
  }

  propose(member: FakeMember, command: Uint8Array): Promise<unknown> {
    if (!member.isLeader) return Promise.reject(new CairnError('NOT_LEADER', 'does not lead'));
    return new Promise((resolve, reject) => {
      if (this.leader !== member) {
        // A leader that was replaced and does not know: its proposals go nowhere.
        member.waiters.push({ index: Infinity, term: 0, resolve, reject });
        return;
      }
      this.#append(EntryKind.command, command);
      member.waiters.push({ index: this.log.length, term: this.#term, resolve, reject });
      void this.pump();
    });
  }

  #append(kind: Entry['kind'], payload: Uint8Array): void {
    this.log.push({ index: logIndex(this.log.length + 1), term: term(this.#term), kind, payload });
  }

  /** The member learns that it leads no more. */
  notice(member: FakeMember): void {
    if (!member.isLeader) return;
    member.isLeader = false;
    member.machine.leadershipLost();
    for (const waiter of member.waiters.splice(0))
      waiter.reject(new CairnError('OUTCOME_UNKNOWN', 'leadership lost'));
  }

  /**
   * A new term under this leader. `keep`: how many entries beyond the committed ones it has. `isNoticed`: the
   * old leader hears of it at once.
   */
  async elect(index: number, options: { keep?: number; isNoticed?: boolean } = {}): Promise<void> {
    const { keep = Infinity, isNoticed = true } = options;
    const old = this.leader;
    const next = this.members[index] as FakeMember;
    if (old !== undefined && isNoticed) this.notice(old);
    // Whoever campaigns has learned that it led no more.
    this.notice(next);
    this.log.length = Math.min(this.log.length, this.committed + keep);
    this.#term += 1;
    this.leader = next;
    next.isLeader = true;
    next.term = term(this.#term);
    for (const member of this.members) if (isNoticed || member !== old) member.leaderHint = next.storeId;
    this.#append(EntryKind.noop, new Uint8Array(0));
    this.isHeld = false;
    await this.pump();
    next.machine.leadershipGained(next.term);
  }

  /** Commits and applies what there is. */
  pump(): Promise<void> {
    this.#pumping = this.#pumping.then(() => this.#pumpNow());
    return this.#pumping;
  }

  async #pumpNow(): Promise<void> {
    if (!this.isHeld) this.committed = this.log.length;
    for (const member of this.members) {
      while (!member.isCutOff && member.appliedIndex < this.committed) {
        await this.#applyNext(member);
      }
    }
  }

  async #applyNext(member: FakeMember): Promise<void> {
    const entry = this.log[member.appliedIndex] as Entry;
    const batch = member.engine.newBatch();
    const value = entry.kind === EntryKind.command ? member.machine.apply(entry, batch) : undefined;
    await member.engine.write(batch);
    member.appliedIndex += 1;
    member.machine.published(entry.index);
    for (const waiter of member.waiters) {
      if (waiter.index !== entry.index) continue;
      // Another leader's entry may stand there now.
      if (waiter.term === entry.term) waiter.resolve(value);
      else waiter.reject(new CairnError('OUTCOME_UNKNOWN', 'replaced by an entry of another leader'));
    }
    member.waiters = member.waiters.filter((waiter) => waiter.index !== entry.index);
  }
}
