import { assert, type LogIndex, type ReplicaId, type Term } from '@cairn/base';

import { validateRaftConfig } from './config.js';
import { Core, NO_REPLICA, type CoreOptions } from './core.js';
import { coreText } from './debug-view.js';
import * as election from './election.js';
import * as follower from './follower.js';
import * as leader from './leader.js';
import * as lease from './lease.js';
import * as membership from './membership.js';
import type { Progress } from './progress.js';
import { beyondLog, implausibility } from './plausible.js';
import * as quiescence from './quiescence.js';
import * as reads from './read-index.js';
import * as readies from './ready.js';
import { appendOwn, isRecentlyActive, requestAppend, takeCommitNotice } from './replication.js';
import { step } from './step.js';
import { tick } from './tick.js';
import { transferLeader } from './transfer.js';
import {
  EntryKind,
  type ConfigChange,
  type ConfigChangeResult,
  type ConfigState,
  type Message,
  type PeerProgress,
  type ProposeResult,
  type RaftStatus,
  type Ready,
  type Role,
  type SnapshotMeta,
  type TransferResult,
} from './types.js';

/**
 * `random` answers [0, 1). `startedAtMs` and every later `nowMs` come from one monotonic clock; a smaller one
 * than before is taken as the last. `isInitial` (default false) says that this replica never existed before,
 * so that it has promised nothing: only for ranges being created, and false when in doubt (a split replayed
 * after a crash).
 */
export type RaftNodeOptions = CoreOptions;

/** All state of a node, for `testing/` only: whoever explores must see what decides what happens next. */
export let coreOf: (node: RaftNode) => Core;

/**
 * One replica of one Raft group, as a pure state machine: inputs change memory only, everything to be done
 * comes out of `takeReady`. Not reentrant. The README has the loop that a host must run.
 */
export class RaftNode {
  static {
    coreOf = (node) => node.#core;
  }

  readonly #core: Core;

  /** Throws CairnError INVALID_ARGUMENT for a configuration that contradicts itself. */
  constructor(options: RaftNodeOptions) {
    validateRaftConfig(options.config);
    this.#core = new Core(options);
  }

  get id(): ReplicaId {
    return this.#core.id;
  }
  get role(): Role {
    return this.#core.role;
  }
  get term(): Term {
    return this.#core.termNumber;
  }
  /** 0 = unknown. */
  get leaderId(): ReplicaId {
    return this.#core.leaderId;
  }
  get commitIndex(): LogIndex {
    return this.#core.commit as LogIndex;
  }
  /** The last entry that is on its disk. */
  get durableIndex(): LogIndex {
    return this.#core.log.durableIndex as LogIndex;
  }
  get configState(): ConfigState {
    return this.#core.members;
  }
  /** Its vote counts, in the configuration it has applied. */
  get isVoter(): boolean {
    return this.#core.isVoter;
  }
  /** Ticks would do nothing until another input comes. Constant time. */
  get isQuiescent(): boolean {
    return quiescence.isQuiescent(this.#core);
  }
  /** Members have nothing to do for it any more; see `takeCommitNotice`. Constant time. */
  get owesOnlyNotices(): boolean {
    return quiescence.owesOnlyNotices(this.#core);
  }
  /** See `support`. */
  get isSupporting(): boolean {
    return this.#core.isSupporting;
  }

  /** Lets time pass; at least every third of a heartbeat interval unless `isQuiescent`. */
  tick(nowMs: number): void {
    this.#core.advance(nowMs);
    tick(this.#core);
  }

  /**
   * Takes a message in. Owns `message` and its entries from here on. Answers why it did not, when no replica
   * can have sent it (see `plausible.ts`): then nothing has changed, and who brought it is not to be
   * believed.
   */
  step(message: Message, nowMs: number): string | undefined {
    this.#core.advance(nowMs);
    const reason = implausibility(this.#core, message);
    if (reason === undefined) step(this.#core, message);
    return reason;
  }

  /** Appends a command; the payload must not change afterwards. Accepted is not committed. */
  propose(payload: Uint8Array): ProposeResult {
    const core = this.#core;
    if (core.role !== 'leader') return { type: 'refused', reason: 'not-leader' };
    if (core.transferTarget !== NO_REPLICA) return { type: 'refused', reason: 'transferring' };
    if (!core.isVoter) return { type: 'refused', reason: 'not-a-member' };
    const after = core.uncommittedBytes + payload.length;
    // One proposal always fits, however large.
    if (core.uncommittedBytes > 0 && payload.length > 0 && after > core.config.uncommittedBytesMax) {
      return { type: 'refused', reason: 'too-many-uncommitted' };
    }
    return { type: 'accepted', index: appendOwn(core, EntryKind.command, payload), term: core.termNumber };
  }

  /** Proposes a membership change; it takes effect when the host applies its entry. */
  proposeConfigChange(change: ConfigChange): ConfigChangeResult {
    return membership.proposeConfigChange(this.#core, change);
  }

  /**
   * Asks for a linearizable read; the answer comes in `Ready.reads` under `context` (unique among the reads
   * that wait). False: refused at once, no answer follows. Every accepted read is answered or refused within
   * an election timeout or so, given ticks.
   */
  readIndex(context: number): boolean {
    return reads.readIndex(this.#core, context);
  }

  /**
   * True while no other replica can have become leader. The caller takes its view of the state first, then
   * asks with a fresh `nowMs`, and has applied the no-op of this term.
   */
  hasLease(nowMs: number): boolean {
    return nowMs < lease.leaseExpiresAtMs(this.#core, nowMs);
  }

  /** After a pause of the process: no lease until a quorum answered a round that started later. */
  dropLease(nowMs: number): void {
    this.#core.advance(nowMs);
    lease.dropLease(this.#core);
  }

  /** Hands leadership to a voter; given up after an election timeout. */
  transferLeader(to: ReplicaId): TransferResult {
    return transferLeader(this.#core, to);
  }

  /** Campaigns now, or when this replica's own vote hold runs out. */
  campaign(nowMs: number): void {
    this.#core.advance(nowMs);
    quiescence.withdrawSupport(this.#core);
    election.campaign(this.#core);
  }

  /**
   * The leader's store was lost: campaign once the vote hold is over, after `delayMs` and up to 50 ms more.
   */
  leaderStoreLost(nowMs: number, delayMs = 0): void {
    this.#core.advance(nowMs);
    quiescence.withdrawSupport(this.#core);
    election.leaderStoreLost(this.#core, delayMs);
  }

  /** Constant time. */
  hasReady(): boolean {
    return readies.hasReady(this.#core);
  }

  /** The host stages entries and hardState in storage before it calls anything else here. */
  takeReady(): Ready {
    return readies.takeReady(this.#core);
  }

  /**
   * While held, no Ready hands out committed entries: they stay in the log, and on the leader in the window
   * of uncommitted bytes, so that what cannot be applied in time holds the proposals back.
   */
  holdCommitted(isHeld: boolean): void {
    this.#core.isApplyHeld = isHeld;
  }

  /**
   * Everything of the Readies up to `sequence` is durable. Late and several at once is fine; backwards is
   * ignored.
   */
  persisted(sequence: number): void {
    readies.persisted(this.#core, sequence);
  }

  /**
   * The state machine holds everything up to `index`; config entries went through `applyConfigChange`
   * before.
   */
  applied(index: LogIndex): void {
    const core = this.#core;
    if (index <= core.applied) return;
    assert(index <= core.handedOutIndex, 'applied what was never handed out', {
      index,
      handedOutIndex: core.handedOutIndex,
    });
    core.applied = index;
    membership.maybeLeaveJoint(core);
    election.resumeTransfer(core);
  }

  /** The host applies a config entry: adopts and returns the configuration after it. */
  applyConfigChange(payload: Uint8Array): ConfigState {
    return membership.applyConfigChange(this.#core, payload);
  }

  /** The snapshot of `Ready.snapshot` is durable in engine and log. */
  snapshotInstalled(meta: SnapshotMeta): void {
    follower.snapshotInstalled(this.#core, meta);
  }

  /** The snapshot that was offered and accepted: the very object of the message. */
  get installing(): SnapshotMeta | undefined {
    return this.#core.installing;
  }

  /** A snapshot stream to a member ended. Must be called for every `snapshot` message taken. */
  snapshotSent(to: ReplicaId, ok: boolean): void {
    const peer = this.#peer(to);
    if (peer !== undefined) leader.snapshotSent(this.#core, peer, ok);
  }

  /** What storage answered `loading` for is readable now; the own id stands for entries to apply. */
  entriesLoaded(to: ReplicaId): void {
    if (to === this.#core.id) {
      this.#core.isApplyLoading = false;
      return;
    }
    const peer = this.#peer(to);
    if (peer === undefined) return;
    peer.isLoading = false;
    requestAppend(this.#core, peer);
  }

  /**
   * Follower: the heartbeats of the leader's store, and its answers to them, stand for those of this range
   * from now on; the election timer rests. False and no effect unless it follows the leader of `term`. Ends
   * with `withdrawSupport`, and by itself with the term, the role or the leader. From here until it says
   * `RaftContact.supportEnded`, the core asks `RaftContact.leaderHeardAtMs`.
   */
  support(term: Term): boolean {
    return quiescence.support(this.#core, term);
  }

  /**
   * Follower: the stores' heartbeats do not stand for the leader's any more; the election timer runs anew.
   */
  withdrawSupport(nowMs: number): void {
    this.#core.advance(nowMs);
    quiescence.withdrawSupport(this.#core);
  }

  /**
   * Leader: the store of a member supports it, or no longer does. From the one to the other the member counts
   * as heard, and the core asks `RaftContact` about it. So the host takes the support back once the store has
   * said that it ended, was silent for an election timeout, or may not have got a frame.
   */
  setSupported(replicaId: ReplicaId, isSupported: boolean, nowMs: number): void {
    this.#core.advance(nowMs);
    const peer = this.#peer(replicaId);
    if (peer !== undefined) quiescence.setSupported(this.#core, peer, isSupported);
  }

  /** Leader: the member answers, and has answered this leader before. */
  isHeardFrom(replicaId: ReplicaId): boolean {
    const peer = this.#peer(replicaId);
    return peer !== undefined && peer.hasAnswered && isRecentlyActive(this.#core, peer);
  }

  /**
   * Leader: the commit index that a member which is supported has and was not told; 0 = nothing. Counts as
   * told: it must arrive, or `setSupported` says that the member is on its own again.
   */
  takeCommitNotice(replicaId: ReplicaId): LogIndex {
    const peer = this.#peer(replicaId);
    return (peer === undefined ? 0 : takeCommitNotice(this.#core, peer)) as LogIndex;
  }

  /**
   * Follower: such a notice of the leader of `term`; any other is ignored. Answers, as `step`, why it cannot
   * be one.
   */
  learnCommit(term: Term, commit: LogIndex, nowMs: number): string | undefined {
    const core = this.#core;
    core.advance(nowMs);
    if (core.role !== 'follower' || core.term !== term || core.installing !== undefined) return undefined;
    if (commit > core.log.lastIndex) return beyondLog(core, commit);
    follower.commitTo(core, commit);
    return undefined;
  }

  /** For people: a line, and one for each member that is led, at most seventeen. */
  toString(): string {
    return coreText(this.#core);
  }

  status(): RaftStatus {
    const core = this.#core;
    return {
      id: core.id,
      role: core.role,
      term: core.termNumber,
      vote: core.vote,
      leaderId: core.leaderId,
      commitIndex: core.commit as LogIndex,
      appliedIndex: core.applied as LogIndex,
      lastIndex: core.log.lastIndex as LogIndex,
      durableIndex: core.log.durableIndex as LogIndex,
      config: core.members,
      isQuiescent: quiescence.isQuiescent(core),
      transferTarget: core.transferTarget,
      leaseExpiresAtMs: lease.leaseExpiresAtMs(core, core.nowMs),
      pendingConfigIndex: core.pendingConfigIndex as LogIndex,
      peers: core.role === 'leader' ? core.peers.map((peer) => describe(core, peer)) : [],
    };
  }

  #peer(id: ReplicaId): Progress | undefined {
    if (this.#core.role !== 'leader' || id === this.#core.id) return undefined;
    return this.#core.progress.get(id);
  }
}

function describe(core: Core, peer: Progress): PeerProgress {
  return {
    replicaId: peer.id,
    state: peer.state,
    match: peer.match as LogIndex,
    next: peer.next as LogIndex,
    isLearner: peer.isLearner,
    recentlyActive: isRecentlyActive(core, peer),
    pendingSnapshotIndex: peer.pendingSnapshotIndex as LogIndex,
  };
}
