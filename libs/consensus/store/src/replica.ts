import {
  assert,
  type LogIndex,
  type RangeDescriptor,
  type RangeId,
  type ReplicaId,
  type StoreId,
  type Term,
} from '@cairn/base';
import type { ProposeResult, RaftNode } from '@cairn/raft';
import type { RangeLog } from '@cairn/raft-log';

import { ApplyQueue } from './apply-queue.js';
import type { StoreContact } from './heartbeat-peer.js';
import { ReadQueue } from './read-queue.js';
import type { SpanIndex } from './span-index.js';
import type { ReplicaHandle, StateMachine } from './state-machine.js';

const NO_STORE = 0 as StoreId;
/** To whoever proposes, a full log or backlog is like a full window: it comes again a little later. */
const BEHIND: ProposeResult = { type: 'refused', reason: 'too-many-uncommitted' };
const CLOSED: ProposeResult = { type: 'refused', reason: 'not-leader' };
/** Members outside the descriptor whose stores are remembered. */
const CORRESPONDENTS_MAX = 32;

/** What a replica may ask of the store that hosts it. */
export interface ReplicaHost {
  /** Puts the replica into the queue of the next turn. */
  enqueue(replica: Replica): void;
  /** Its core was given something to do: in its own turn that is seen to, else it is put into the queue. */
  proposed(replica: Replica): void;
  /** The log's disk or the engine is behind: no more entries are taken in. */
  readonly isBehind: boolean;
  /** Before a lease is relied on: notices that the machine was suspended. */
  guardLeases(nowMs: number): void;
  /** The core took in so many bytes of entries. */
  tookIn(replica: Replica, bytes: number): void;
}

export interface ReplicaParts {
  readonly rangeId: RangeId;
  readonly replicaId: ReplicaId;
  readonly raft: RaftNode;
  /** The very object that the core asks. */
  readonly contact: StoreContact;
  readonly log: RangeLog;
  readonly appliedIndex: LogIndex;
  readonly appliedTerm: Term;
  /** The last index that the engine may hold effects of; see `isConsistent`. */
  readonly consistentAtIndex: LogIndex;
  readonly host: ReplicaHost;
  /** Where the store finds it by key, once it has a descriptor. */
  readonly spans: SpanIndex<Replica>;
}

/** Someone in this process who waits for a proposal of his to be applied. */
export interface ProposalWaiter {
  readonly term: Term;
  resolve(result: unknown): void;
  lost(): void;
}

/**
 * One replica of one range on this store: the pure core, its log, its state machine, and the queues between
 * them. Only data and small steps; the order of things is in `turn.ts` and `applier.ts`.
 */
export class Replica implements ReplicaHandle {
  readonly rangeId: RangeId;
  readonly replicaId: ReplicaId;
  readonly raft: RaftNode;
  readonly contact: StoreContact;
  readonly log: RangeLog;
  readonly #host: ReplicaHost;
  readonly #spans: SpanIndex<Replica>;

  /** undefined until a first snapshot: such a replica votes and receives, and applies nothing. */
  #descriptor: RangeDescriptor | undefined;
  /** Of the descriptor: the id of each member, and behind it its store. Asked for with each message. */
  #members: readonly number[] = [];
  readonly #correspondents = new Map<ReplicaId, StoreId>();
  machine: StateMachine | undefined;

  /** The engine holds everything up to here. Advanced only by the applier and by snapshot installation. */
  appliedIndex: LogIndex;
  appliedTerm: Term;
  consistentAtIndex: LogIndex;
  /** The last committed entry that was handed to the applier. */
  handedOutIndex: LogIndex;

  /** In the queue of the store loop. */
  isQueued = false;
  /** Loads whose entries are held until the next turn: one per member at most. */
  readonly #turnWaiters: (() => void)[] = [];
  readonly applyQueue = new ApplyQueue();
  /** Payload bytes that the core took in and the turn has not staged yet. */
  unstagedBytes = 0;
  isInApplyList = false;
  /** A split or a snapshot is being carried out: the applier leaves the replica alone. */
  isApplyBlocked = false;
  /** A store command that is being applied alone; settles when the applier may have the replica back. */
  exclusiveWork: Promise<void> | undefined = undefined;
  /** Its machine is there, and has loaded what it needs. */
  isMachineOpen = false;
  /** A received snapshot is replacing the rows; settles when it has. */
  installation: Promise<void> | undefined = undefined;
  /** Resolves when the split is over that this leader has proposed; undefined = there is none. */
  #split: PromiseWithResolvers<void> | undefined;
  /** This leader is carrying out a change of the members. */
  isChangingMembers = false;
  /** While there is no descriptor: a membership version that named this replica; 0 = none is known. */
  confVersionSeen = 0;
  /** While there is no descriptor: when a message for it came last, or it began. */
  heardMs = 0;
  /** The newest cluster version that a leader has shown the range, or at which the replica was opened. */
  markedVersion = 0;
  /** Removed from the store; whoever still holds a reference must let go. */
  isClosed = false;

  /** Owned by `TickingReplicas`. */
  isTicking = false;

  isLeader = false;
  leaderReplicaId = 0 as ReplicaId;
  term = 0 as Term;
  /** `leadershipGained` was told for this term. */
  isReadyLeader = false;

  /** Waiting proposals of services in this process, by index. */
  readonly waiters = new Map<LogIndex, ProposalWaiter>();
  readonly reads: ReadQueue;
  /**
   * Snapshots being sent, one object each, for two may be of the same index: truncation stays below the
   * smallest.
   */
  readonly snapshotHolds = new Set<{ readonly index: LogIndex }>();
  /** Payload bytes applied since the last checkpoint. */
  appliedBytesSinceCheckpoint = 0;
  /** Sync groups that hold a Ready of this replica and are not durable yet. */
  unsyncedReadies = 0;

  constructor(parts: ReplicaParts) {
    this.rangeId = parts.rangeId;
    this.replicaId = parts.replicaId;
    this.raft = parts.raft;
    this.contact = parts.contact;
    this.log = parts.log;
    this.appliedIndex = parts.appliedIndex;
    this.appliedTerm = parts.appliedTerm;
    this.handedOutIndex = parts.appliedIndex;
    this.consistentAtIndex = parts.consistentAtIndex;
    this.#host = parts.host;
    this.#spans = parts.spans;
    this.reads = new ReadQueue();
  }

  get isInitialised(): boolean {
    return this.#descriptor !== undefined;
  }

  /**
   * Whether the creation of the range may take the place of this replica: it was created by a message and has
   * had no state yet. Once its core has accepted a snapshot it is on its way to one, beyond the initial
   * state, and its log is about to say so.
   */
  get isReplaceable(): boolean {
    return !this.isInitialised && !this.isApplyBlocked && this.raft.installing === undefined;
  }

  get descriptor(): RangeDescriptor {
    assert(this.#descriptor !== undefined, 'replica has no state yet', { rangeId: this.rangeId });
    return this.#descriptor;
  }

  get descriptorOrUndefined(): RangeDescriptor | undefined {
    return this.#descriptor;
  }

  setDescriptor(descriptor: RangeDescriptor): void {
    assert(descriptor.rangeId === this.rangeId, 'descriptor of another range', { rangeId: this.rangeId });
    const old = this.#descriptor;
    assert(
      old === undefined ||
        (descriptor.epoch.version >= old.epoch.version &&
          descriptor.epoch.confVersion >= old.epoch.confVersion),
      'an epoch never goes back',
      { rangeId: this.rangeId },
    );
    const isMoved = old === undefined || Buffer.compare(old.startKey, descriptor.startKey) !== 0;
    assert(!isMoved || !this.isClosed, 'a closed replica takes no place', { rangeId: this.rangeId });
    if (isMoved && old !== undefined) this.#spans.remove(this);
    this.#descriptor = descriptor;
    this.#members = descriptor.replicas.flatMap((member) => [member.replicaId, member.storeId]);
    if (isMoved) this.#spans.add(this);
    this.machine?.descriptorChanged?.(descriptor);
  }

  get leaderStoreId(): StoreId {
    return this.storeOf(this.leaderReplicaId);
  }

  /**
   * The store of a member, as the descriptor says, or (before there is one, or when it is older than a
   * membership change) as the member's own messages have shown. 0 = unknown.
   */
  storeOf(replicaId: ReplicaId): StoreId {
    const home = this.memberStore(replicaId);
    return home === NO_STORE ? (this.#correspondents.get(replicaId) ?? NO_STORE) : home;
  }

  /** The store of a member, as the descriptor says, which is for good; 0 = it names no such member. */
  memberStore(replicaId: ReplicaId): StoreId {
    const members = this.#members;
    for (let at = 0; at < members.length; at += 2) {
      if (members[at] === replicaId) return members[at + 1] as StoreId;
    }
    return NO_STORE;
  }

  /** A message of a member that the descriptor does not name came from this store. */
  noteCorrespondent(replicaId: ReplicaId, store: StoreId): void {
    if (this.#correspondents.get(replicaId) === store) return;
    if (this.#correspondents.size >= CORRESPONDENTS_MAX) this.#correspondents.clear();
    this.#correspondents.set(replicaId, store);
  }

  /** No change of the members is proposed, and none is half way through. */
  get hasSettledMembers(): boolean {
    const { config, pendingConfigIndex, appliedIndex } = this.raft.status();
    return config.outgoing.length === 0 && pendingConfigIndex <= appliedIndex;
  }

  /**
   * Whether a descriptor, applied somewhere, proves that this replica was removed from its range, or, when it
   * has no state yet, that a message invented it: the membership version that the message named may be
   * invented, too, but a store has one replica of a range.
   */
  isRemovedBy({ epoch, replicas }: RangeDescriptor, storeId: StoreId): boolean {
    if (replicas.some((member) => member.replicaId === this.replicaId)) return false;
    if (this.isReplaceable && replicas.some((member) => member.storeId === storeId)) return true;
    const known = this.#descriptor?.epoch.confVersion ?? this.confVersionSeen;
    // Unknown: then nothing tells a newer membership from an older one.
    return known !== 0 && epoch.confVersion > known;
  }

  /**
   * False for a while after a crash: the engine may hold effects of entries that are not applied again yet.
   */
  get isConsistent(): boolean {
    return this.appliedIndex >= this.consistentAtIndex;
  }

  /**
   * Why what is here must not be shown as the state of some moment; undefined when it may. A learner has not
   * shown yet that it has caught up: that is what makes it a voter.
   */
  get staleRefusal(): string | undefined {
    if (!this.isInitialised || !this.isMachineOpen) return 'it has no state yet';
    if (this.installation !== undefined) return 'a snapshot is replacing its state';
    if (!this.isConsistent) return 'it is catching up after a restart';
    return this.raft.isVoter ? undefined : 'it is a learner';
  }

  hasLease(nowMs: number): boolean {
    this.#host.guardLeases(nowMs);
    return this.isReadyLeader && !this.isFrozen && this.raft.hasLease(nowMs);
  }

  propose(command: Uint8Array): ProposeResult {
    // Its turns are over: what its core took in now would never be staged.
    if (this.isClosed) return CLOSED;
    if (this.#host.isBehind && this.isLeader) return BEHIND;
    const result = this.raft.propose(command);
    if (result.type === 'accepted') {
      this.#host.tookIn(this, command.length);
      this.#host.proposed(this);
    }
    return result;
  }

  readIndex(callback: (confirmed: boolean) => void): void {
    const context = this.reads.add(callback);
    if (context === undefined) {
      callback(false);
      return;
    }
    if (!this.raft.readIndex(context)) this.reads.refuse(context);
    this.#host.proposed(this);
  }

  confirmLeadership(callback: (confirmed: boolean) => void): void {
    // Of the core: the loop may not have heard yet that it was deposed.
    if (this.raft.role === 'leader') this.readIndex(callback);
    else callback(false);
  }

  wake(): void {
    this.#host.enqueue(this);
  }

  /** Resolves when the replica, which is queued, has had its turn. */
  nextTurn(): Promise<void> {
    return new Promise((resolve) => {
      this.#turnWaiters.push(resolve);
    });
  }

  /** Its turn is over. */
  endTurn(): void {
    if (this.#turnWaiters.length > 0) for (const resolve of this.#turnWaiters.splice(0)) resolve();
  }

  /** A split is proposed by this leader and not applied yet. */
  get isFrozen(): boolean {
    return this.#split !== undefined;
  }

  /** A split was proposed: nothing else is evaluated until it is over. */
  freeze(): void {
    assert(this.#split === undefined, 'one split at a time', { rangeId: this.rangeId });
    this.#split = Promise.withResolvers();
  }

  /** It is applied, or void, or the leadership is lost, or the replica gone: whoever waits looks which. */
  thaw(): void {
    this.#split?.resolve();
    this.#split = undefined;
  }

  /** Resolves when no split is under way. */
  async untilThawed(): Promise<void> {
    await this.#split?.promise;
  }

  /** For people: a line of its own, and those of its core. */
  toString(): string {
    const epoch = this.#descriptor?.epoch;
    const shape = this.#descriptor === undefined ? 'empty' : `v${epoch?.version}.${epoch?.confVersion}`;
    const marks = [
      this.isReadyLeader ? 'ready' : '',
      this.isClosed ? 'closed' : '',
      this.isFrozen ? 'frozen' : '',
      this.isApplyBlocked ? 'apply-blocked' : '',
      this.installation === undefined ? '' : 'installing',
      this.isMachineOpen ? '' : 'machine-closed',
      this.isConsistent ? '' : 'inconsistent',
      this.isQueued ? 'queued' : '',
      this.isTicking ? 'ticking' : '',
      this.contact.support === undefined ? '' : this.contact.support.kind,
      this.waiters.size > 0 ? `waiters=${this.waiters.size}` : '',
      this.reads.size > 0 ? `reads=${this.reads.size}` : '',
      this.applyQueue.length > 0 ? `to-apply=${this.applyQueue.length}` : '',
    ];
    const place = `applied=${this.appliedIndex} leader-store=${this.leaderStoreId}`;
    const own = [`range ${this.rangeId} ${shape} ${place}`, ...marks.filter((mark) => mark !== '')].join(' ');
    return `${own}\n  ${String(this.raft).replaceAll('\n', '\n  ')}`;
  }

  /** The store stops. */
  close(): void {
    this.isClosed = true;
    this.thaw();
    this.reads.refuseAll();
    this.loseWaiters();
    this.machine?.closed?.();
  }

  /** Tells all proposers of this process that nobody here will learn their outcome. */
  loseWaiters(): void {
    for (const waiter of this.waiters.values()) waiter.lost();
    this.waiters.clear();
  }
}
