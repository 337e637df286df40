import { assert, NOTHING, withItem, type LogIndex, type ReplicaId, type Term } from '@cairn/base';

import { LogView } from './log.js';
import { majorityValue } from './quorum.js';
import { Progress } from './progress.js';
import type {
  ConfigState,
  EntriesLoad,
  Message,
  RaftConfig,
  RaftContact,
  RaftStorage,
  Ready,
  Role,
  SnapshotMeta,
} from './types.js';
import type { HardState } from './types.js';

export const NO_REPLICA = 0 as ReplicaId;

/** What one Ready has to make durable, waiting for `persisted`. */
export interface PendingPersist {
  readonly sequence: number;
  readonly term: number;
  readonly vote: ReplicaId;
  /** Falls when a conflict cuts the log: what was replaced must not count when its write finishes. */
  lastIndex: number;
}

/** A read on the leader that waits for its round of heartbeats. */
export interface PendingRead {
  readonly context: number;
  /** The own id for local reads. */
  readonly from: ReplicaId;
  /** 0 until an entry of the own term is committed. */
  round: number;
  index: number;
}

/** A read forwarded to the leader. */
export interface ForwardedRead {
  readonly context: number;
  readonly sentAtMs: number;
}

export interface CoreOptions {
  readonly config: RaftConfig;
  readonly storage: RaftStorage;
  readonly contact: RaftContact;
  readonly hardState: HardState | undefined;
  readonly appliedIndex: LogIndex;
  readonly configState: ConfigState;
  readonly random: () => number;
  readonly startedAtMs: number;
  readonly isInitial?: boolean;
}

/**
 * All state of one replica, and the few steps that every operation needs. Private to the package: the
 * operations are functions in the other files, `RaftNode` is what the host sees.
 */
export class Core {
  // What every message and every Ready looks at comes first: a store with thousands of ranges finds it cold,
  // and pays for each cache line. Times begin with a number: of a field that was undefined first, V8 makes a
  // new object for each fraction it is set to.
  readonly id: ReplicaId;
  readonly config: RaftConfig;
  readonly log: LogView;
  nowMs = -Infinity;
  role: Role = 'follower';
  term: number;
  vote: ReplicaId;
  leaderId: ReplicaId = NO_REPLICA;
  commit: number;
  /** Last committed entry given to the host. */
  handedOutIndex: number;
  durableTerm: number;
  durableVote: ReplicaId;
  emittedTerm: number;
  emittedVote: ReplicaId;
  /** The commit index that the host was last asked to write, and the last one that it was asked to sync. */
  emittedCommit: number;
  syncedCommit: number;
  /** Everything at or before it is either no membership change or not known to be applied. */
  pendingConfigIndex: number;
  needsFlush = false;
  isStateChanged = false;
  isApplyLoading = false;
  /** The host takes no committed entries now. */
  isApplyHeld = false;
  messages: readonly Message[] = NOTHING;
  messagesAfterPersist: readonly Message[] = NOTHING;
  reads: Ready['reads'] = NOTHING;
  loads: readonly EntriesLoad[] = NOTHING;
  offeredSnapshot: SnapshotMeta | undefined;
  /** The host is installing it; the log stands still meanwhile. */
  installing: SnapshotMeta | undefined;
  sequence = 0;
  readonly pendingPersists: PendingPersist[] = [];
  applied: number;

  peers: Progress[] = [];
  voters: Progress[] = [];
  outgoing: Progress[] = [];
  self: Progress | undefined;
  /** Index of the no-op that opened the own term. */
  noopIndex = 0;
  uncommittedBytes = 0;
  transferTarget: ReplicaId = NO_REPLICA;
  isVoter = false;
  /** Acknowledgements came since `leaseBaseMs` was computed: who asks for the lease computes it again. */
  isLeaseBaseStale = false;
  /** Acknowledgements of messages sent at or before this do not feed the lease. */
  leaseFloorMs = -Infinity;
  /** What a quorum has acknowledged; see `isLeaseBaseStale`. */
  leaseBaseMs = -Infinity;
  needsReadRound = false;
  pendingReads: PendingRead[] = [];
  readRound = 0;

  /**
   * Follower: the heartbeats of the leader's store stand for the leader's own, and the election timer rests.
   * Ends with the term, the role or the leader.
   */
  isSupporting = false;
  wasGap = false;
  lastTickMs = -Infinity;
  heartbeatDueMs = 0;
  quorumCheckDueMs = 0;
  /** Vote hold by what came to this replica itself, never shortened. Read by `voteHeldUntilMs` alone. */
  holdUntilMs = -Infinity;
  electionDeadlineMs = 0;
  /** How much longer than others this replica waits before it campaigns; drawn anew for each campaign. */
  electionJitterMs = 0;
  readonly forwardedReads = new Map<number, ForwardedRead>();

  readonly storage: RaftStorage;
  readonly contact: RaftContact;
  readonly random: () => number;
  members: ConfigState;
  /** Quick retries left after the leader's store was lost. */
  fastCampaigns = 0;
  isTransferCandidate = false;
  /** The term whose leader asked this replica to take over while it could not campaign yet; 0 = none. */
  deferredTransferTerm = 0;
  readonly votes = new Map<ReplicaId, boolean>();
  readonly progress = new Map<ReplicaId, Progress>();
  readonly #scratch: number[] = [];
  /** A timeout-now of this term may still be under way somewhere: no lease for the rest of the term. */
  isLeaseForfeited = false;
  transferDeadlineMs = 0;
  nextForwardId: number;

  constructor(options: CoreOptions) {
    const { config, hardState, startedAtMs } = options;
    this.config = config;
    this.id = config.id;
    this.storage = options.storage;
    this.contact = options.contact;
    this.random = options.random;
    this.log = new LogView(options.storage, config.uncommittedBytesMax);
    this.nowMs = startedAtMs;
    this.lastTickMs = startedAtMs;
    this.durableTerm = hardState?.term ?? 0;
    this.durableVote = hardState?.vote ?? NO_REPLICA;
    // A crash may have cut a write off between entries and their term. Nobody was told of a vote in it then.
    this.term = Math.max(this.durableTerm, this.log.lastTerm);
    this.vote = this.term === this.durableTerm ? this.durableVote : NO_REPLICA;
    this.applied = options.appliedIndex;
    this.handedOutIndex = options.appliedIndex;
    this.commit = Math.max(hardState?.commit ?? 0, options.appliedIndex);
    assert(this.commit <= this.log.lastIndex, 'committed entries are missing from the log', {
      commit: this.commit,
      lastIndex: this.log.lastIndex,
    });
    this.emittedTerm = this.durableTerm;
    this.emittedVote = this.durableVote;
    this.emittedCommit = this.commit;
    this.syncedCommit = hardState?.commit ?? 0;
    // A term of 0 was never written, so this replica never answered a leader and has promised nothing.
    const mayHavePromised = this.term > 0 && options.isInitial !== true;
    this.holdUntilMs = mayHavePromised ? startedAtMs + config.voteHoldMs : -Infinity;
    // Any entry not applied yet may be a membership change.
    this.pendingConfigIndex = this.log.lastIndex > this.applied ? this.log.lastIndex : 0;
    // Answers to an earlier life of this replica must not match: start the ids at a random place.
    this.nextForwardId = Math.floor(options.random() * 2 ** 27) * 2 ** 20 + 1;
    this.members = options.configState;
    this.setMembers(options.configState);
    this.armElection();
  }

  advance(nowMs: number): void {
    if (nowMs > this.nowMs) this.nowMs = nowMs;
  }

  /** Whole milliseconds, rounded down: claiming to have sent earlier only shortens a lease. */
  get stampMs(): number {
    return Math.floor(this.nowMs);
  }

  /** Adopts a configuration: keeps what is known of members that stay. */
  setMembers(members: ConfigState): void {
    this.members = members;
    const learners = new Set([...members.learners, ...members.learnersNext]);
    const ids = new Set([...members.voters, ...members.outgoing, ...learners]);
    for (const id of this.progress.keys()) if (!ids.has(id)) this.progress.delete(id);
    for (const id of ids) {
      const known = this.progress.get(id);
      const isLearner = !members.voters.includes(id) && !members.outgoing.includes(id);
      if (known !== undefined) known.isLearner = isLearner;
      else this.progress.set(id, new Progress(id, this.log.lastIndex + 1, isLearner, this));
    }
    const find = (id: ReplicaId): Progress => this.progress.get(id) as Progress;
    this.voters = members.voters.map(find);
    this.outgoing = members.outgoing.map(find);
    this.isVoter = members.voters.includes(this.id) || members.outgoing.includes(this.id);
    this.self = this.progress.get(this.id);
    if (this.self !== undefined) this.self.ackedSentAtMs = Infinity;
    this.peers = [...this.progress.values()].filter((peer) => peer.id !== this.id);
  }

  /** Another member, by its id. */
  peer(id: ReplicaId): Progress | undefined {
    // There are few, and they are about to be looked at anyway.
    for (const peer of this.peers) if (peer.id === id) return peer;
    return undefined;
  }

  /** Forgets everything a leader knew; for the start of a leadership. */
  resetProgress(): void {
    for (const id of [...this.progress.keys()]) this.progress.delete(id);
    this.setMembers(this.members);
    if (this.self !== undefined) this.self.match = this.log.durableIndex;
  }

  /**
   * The largest value that both majorities reach, where `valueOf` tells what a member has reached. Infinity
   * when there are no voters.
   */
  quorumValue(valueOf: (peer: Progress) => number): number {
    if (this.voters.length === 3 && this.outgoing.length === 0) return medianOf(this.voters, valueOf);
    const scratch = this.#scratch;
    scratch.length = 0;
    for (const voter of this.voters) scratch.push(valueOf(voter));
    const incoming = majorityValue(scratch);
    if (this.outgoing.length === 0) return incoming;
    scratch.length = 0;
    for (const voter of this.outgoing) scratch.push(valueOf(voter));
    return Math.min(incoming, majorityValue(scratch));
  }

  armElection(): void {
    this.electionJitterMs = this.random() * this.config.electionJitterMs;
    this.electionDeadlineMs = this.nowMs + this.config.electionTimeoutMs + this.electionJitterMs;
  }

  /** A message of the current leader arrived: hold the vote, start the election timer again. */
  heardFromLeader(heardAtMs: number = this.nowMs): void {
    this.holdUntilMs = Math.max(this.holdUntilMs, heardAtMs + this.config.voteHoldMs);
    this.fastCampaigns = 0;
    this.electionDeadlineMs = this.nowMs + this.config.electionTimeoutMs + this.electionJitterMs;
  }

  /** Vote hold: no vote before this, except in a transfer. Heartbeats between the stores hold it, too. */
  get voteHeldUntilMs(): number {
    if (!this.isSupporting) return this.holdUntilMs;
    return Math.max(this.holdUntilMs, this.contact.leaderHeardAtMs() + this.config.voteHoldMs);
  }

  /**
   * Whatever ends the support, a term, a role, another leader or the host's word, comes by here: the hold
   * that the store's heartbeats have given stays, because the old leader's lease rests on it.
   */
  endSupport(): void {
    if (!this.isSupporting) return;
    this.isSupporting = false;
    const heardAtMs = this.contact.leaderHeardAtMs();
    assert(heardAtMs > -Infinity, 'supported a leader whose store was never heard', { term: this.term });
    // Not every input brings the time along.
    this.advance(heardAtMs);
    this.heardFromLeader(heardAtMs);
    this.contact.supportEnded();
  }

  /** Leaves as soon as the term (and, for a granted vote, the vote) it depends on is durable. */
  send(message: Message): void {
    if (this.durableTerm === this.term && this.durableVote === this.vote)
      this.messages = withItem(this.messages, message);
    else this.sendAfterPersist(message);
  }

  /** Leaves when log, term and vote as of now are durable. */
  sendAfterPersist(message: Message): void {
    this.messagesAfterPersist = withItem(this.messagesAfterPersist, message);
  }

  confirmRead(context: number, index: LogIndex): void {
    this.reads = withItem(this.reads, { context, index, refused: false });
  }

  rejectRead(context: number): void {
    this.reads = withItem(this.reads, { context, index: 0 as LogIndex, refused: true });
  }

  /** Asks the host for entries that storage does not hold in memory. */
  load(load: EntriesLoad): void {
    this.loads = withItem(this.loads, load);
  }

  get termNumber(): Term {
    return this.term as Term;
  }
}

/** The majority value of the usual group, without a copy. */
function medianOf(voters: readonly Progress[], valueOf: (peer: Progress) => number): number {
  const first = valueOf(voters[0] as Progress);
  const second = valueOf(voters[1] as Progress);
  const third = valueOf(voters[2] as Progress);
  if (first < second) return second < third ? second : Math.max(first, third);
  return first < third ? first : Math.max(second, third);
}
