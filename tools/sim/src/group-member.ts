import { assert, type LogIndex, type ReplicaId, type Term } from '@cairn/base';
import type { SeenReplica } from '@cairn/checkers';
import {
  defaultRaftConfig,
  EntryKind,
  RaftNode,
  type ConfigChange,
  type ConfigState,
  type Message,
  type RaftConfig,
  type Ready,
} from '@cairn/raft';
import { MemoryRaftStorage, NO_CONTACT } from '@cairn/raft/testing';
import type { SimRng } from '@cairn/runtime-sim';

import type { GroupChecker } from './checkers/group.js';

const TICK_MS = 15;
/** Where the logs of founders begin: whoever comes later needs a snapshot, and with it the members. */
const BIRTH = { index: 10 as LogIndex, term: 5 as Term };
/** Clocks of members run at most this much too fast or too slow. */
const DRIFT_MAX = 0.01;

export type GroupTiming = Partial<RaftConfig>;

export interface GroupMemberOptions {
  readonly id: ReplicaId;
  readonly config: ConfigState;
  readonly timing: GroupTiming;
  /** Of the syncs, this share takes up to 200 ms. */
  readonly slowSyncChance: number;
  readonly rng: SimRng;
  /** Virtual milliseconds, the same for all members. */
  nowMs(): number;
  send(message: Message): void;
  readonly checker: GroupChecker;
}

/**
 * One replica of a group with a log that knows what is durable. Carries out each Ready in the order that the
 * core demands, with syncs that take time. What it has applied is durable: entries are applied only once
 * they are durable here.
 */
export class GroupMember {
  readonly id: ReplicaId;
  readonly storage = new MemoryRaftStorage();
  readonly #options: GroupMemberOptions;
  readonly #rate: number;
  readonly #offsetMs: number;
  #node: RaftNode;
  /** As of the applied index. */
  config: ConfigState;
  appliedIndex = 0 as LogIndex;
  #appliedTerm = 0;
  #unsynced: Ready[] = [];
  /** How many of them the sync under way covers; what comes while it runs waits for the next. */
  #syncing = 0;
  #syncDueMs = 0;
  #nextTickMs = 0;
  #downUntilMs = -Infinity;
  #isDown = false;
  #pausedUntilMs = -Infinity;
  #inbox: Message[] = [];
  #reads = 0;
  #lives = 1;

  constructor(options: GroupMemberOptions) {
    this.#options = options;
    const { rng } = options;
    this.id = options.id;
    this.config = options.config;
    this.#rate = 1 + rng.between(-DRIFT_MAX, DRIFT_MAX);
    this.#offsetMs = rng.between(0, 1_000_000);
    if (options.config.voters.length > 0) {
      this.storage.reset(BIRTH);
      const hardState = { term: BIRTH.term, vote: 0 as ReplicaId, commit: BIRTH.index };
      this.storage.stage({ sequence: 0, entries: [], hardState });
      this.storage.sync(0);
      this.appliedIndex = BIRTH.index;
    }
    this.#node = this.#start(true);
  }

  #start(isInitial: boolean): RaftNode {
    const { id, timing, rng } = this.#options;
    return new RaftNode({
      config: { ...defaultRaftConfig(id), ...timing },
      storage: this.storage,
      contact: NO_CONTACT,
      hardState: this.storage.hardState,
      appliedIndex: this.appliedIndex,
      configState: this.config,
      random: () => rng.next(),
      startedAtMs: this.localMs,
      isInitial,
    });
  }

  /** The member's own clock. */
  get localMs(): number {
    return this.#offsetMs + this.#options.nowMs() * this.#rate;
  }

  get isUp(): boolean {
    return !this.#isDown && this.#options.nowMs() >= this.#pausedUntilMs;
  }

  get isLeader(): boolean {
    return this.isUp && this.#node.role === 'leader';
  }

  /** 0 = unknown. */
  get leaderId(): ReplicaId {
    return this.#node.leaderId;
  }

  get term(): number {
    return this.#node.term;
  }

  /** It may answer reads from its own state now: it has the lease and has applied an entry of its term. */
  get servesAlone(): boolean {
    return this.isUp && this.#appliedTerm === this.#node.term && this.#node.hasLease(this.localMs);
  }

  /** How far it is, for those who compare members. Its entries are looked at elsewhere. */
  get seen(): SeenReplica {
    const { term, role, commitIndex, appliedIndex, durableIndex, config } = this.#node.status();
    return {
      ...{ group: 'the group', node: String(this.id), life: this.#lives, term, isLeader: role === 'leader' },
      ...{ commitIndex, appliedIndex, durableIndex, voters: config.voters, outgoing: config.outgoing },
      firstIndex: this.storage.firstIndex(),
      lastIndex: this.storage.lastIndex(),
      entryAt: () => undefined,
    };
  }

  /** Lets everything happen that is due. */
  run(): void {
    const nowMs = this.#options.nowMs();
    if (this.#isDown && nowMs >= this.#downUntilMs) {
      this.#isDown = false;
      this.#lives += 1;
      this.#node = this.#start(false);
    }
    if (!this.isUp) return;
    for (const message of this.#inbox.splice(0)) {
      // Nobody lies here: a message that no replica can have sent is a contradiction like any other.
      const refusal = this.#node.step(message, this.localMs);
      assert(refusal === undefined, refusal ?? '', {
        type: message.type,
        from: message.from,
        to: message.to,
      });
    }
    if (nowMs >= this.#nextTickMs) {
      this.#nextTickMs = nowMs + TICK_MS;
      this.#node.tick(this.localMs);
    }
    this.#drain();
    if (this.#unsynced.length > 0 && nowMs >= this.#syncDueMs) {
      this.#finishSync(this.#syncing);
      this.#drain();
    }
  }

  #drain(): void {
    while (this.#node.hasReady()) this.#handle(this.#node.takeReady());
  }

  #handle(ready: Ready): void {
    const { checker } = this.#options;
    this.storage.stage(ready);
    if (ready.state?.role === 'leader') checker.leads(this, ready.state.term);
    for (const message of ready.messages) this.#options.send(message);
    this.#unsynced.push(ready);
    if (this.#syncing === 0) this.#beginSync();
    for (const entry of ready.committed) {
      checker.applied(this, entry);
      if (entry.kind === EntryKind.config) this.config = this.#node.applyConfigChange(entry.payload);
      this.appliedIndex = entry.index;
      this.#appliedTerm = entry.term;
    }
    if (ready.committed.length > 0) this.#node.applied(this.appliedIndex);
    for (const read of ready.reads) checker.readConfirmed(this.#readName(read.context), read);
    if (ready.snapshot !== undefined) this.#install(ready);
  }

  #readName(context: number): string {
    return `${this.id}/${context}`;
  }

  #install(ready: Ready): void {
    const meta = ready.snapshot;
    if (meta === undefined) return;
    this.#finishSync(this.#unsynced.length);
    this.storage.reset(meta);
    this.#options.checker.installed(this, meta);
    this.config = meta.config;
    this.appliedIndex = meta.index;
    this.#appliedTerm = meta.term;
    this.#node.snapshotInstalled(meta);
  }

  #beginSync(): void {
    const { rng, slowSyncChance } = this.#options;
    this.#syncing = this.#unsynced.length;
    if (this.#syncing === 0) return;
    this.#syncDueMs = this.#options.nowMs() + rng.between(0.2, rng.chance(slowSyncChance) ? 200 : 8);
  }

  /** The first `count` writes become durable. */
  #finishSync(count: number): void {
    const done = this.#unsynced.splice(0, count);
    const last = done.at(-1);
    if (last === undefined) return;
    this.#beginSync();
    this.storage.sync(last.sequence);
    for (const ready of done) for (const message of ready.messagesAfterPersist) this.#options.send(message);
    this.#node.persisted(last.sequence);
  }

  /** Answers whether the message arrived. A paused member finds it when it goes on. */
  receive(message: Message): boolean {
    if (this.#isDown) return false;
    this.#inbox.push(message);
    return true;
  }

  snapshotSent(to: ReplicaId, ok: boolean): void {
    if (!this.#isDown) this.#node.snapshotSent(to, ok);
  }

  propose(payload: Uint8Array): void {
    const result = this.#node.propose(payload);
    if (result.type === 'accepted') this.#options.checker.proposed(this, result);
  }

  /** The connection to the leader's store broke. */
  loseLeader(): void {
    if (this.isUp) this.#node.leaderStoreLost(this.localMs);
  }

  proposeChange(change: ConfigChange): void {
    this.#node.proposeConfigChange(change);
  }

  transfer(to: ReplicaId): void {
    this.#node.transferLeader(to);
  }

  /** Asks for a linearizable read, wherever this member is. */
  read(): void {
    if (!this.isUp) return;
    this.#reads += 1;
    if (this.#node.readIndex(this.#reads)) this.#options.checker.readAsked(this.#readName(this.#reads));
  }

  crash(downMs: number): void {
    if (this.#isDown) return;
    this.#isDown = true;
    this.#downUntilMs = this.#options.nowMs() + downMs;
    this.#unsynced = [];
    this.#syncing = 0;
    this.#inbox = [];
    this.storage.crash();
  }

  pause(ms: number): void {
    this.#pausedUntilMs = this.#options.nowMs() + ms;
  }

  /** Cuts the log behind what is applied, but for the last entries. */
  compact(kept: number): void {
    const index = this.appliedIndex - kept;
    if (!this.#isDown && index >= this.storage.firstIndex()) this.storage.compact(index as LogIndex);
  }
}
