import { assert, type LogIndex, type RangeId, type ReplicaId, type StoreId, type Term } from '@cairn/base';
import type { RaftContact, RaftNode } from '@cairn/raft';
import type { CommitNotice, LedRange, SupportAnswer, SupportRequest } from '@cairn/raft-wire';

import { Failover, type ElectingReplica } from './failover.js';

/** What heartbeats between stores, and ticks, need to know of a replica. */
export interface SupportedReplica extends ElectingReplica {
  readonly raft: RaftNode;
  readonly contact: StoreContact;
  /** Owned by `TickingReplicas`. */
  isTicking: boolean;
  /** Asks for a turn. */
  wake(): void;
}

/** What is known of one other store, for all ranges that are shared with it. */
export class HeartbeatPeer {
  readonly storeId: StoreId;
  /** Of our frames to that store; see `StoreHeartbeat.generation`. */
  generation: number;
  /** Of the last frame that came from there; 0 = none yet. */
  theirGeneration = 0;
  /** When its last heartbeat came: the votes of `followers` are held from then on. */
  heardAtMs = -Infinity;
  /** As `heardAtMs`, but silence of this process's own making is not counted against the other store. */
  judgedFromMs = -Infinity;
  /** A connection from or to it broke, and it was not heard since. */
  isLost = false;
  /**
   * The newest heartbeat of ours that it answered, by our clock at sending: what leaders here have leases
   * from.
   */
  ackedSentAtMs = -Infinity;
  /** When that answer came; silence of this process's own making is not counted. */
  answeredAtMs = -Infinity;
  /** The heartbeat of that store to answer; 0 = none. */
  echoSentAtMs = 0;
  /** Under way while the store is silent. */
  readonly failover = new Failover<SupportedReplica>();
  /** Replicas here whose leader is there: we support them. */
  readonly followers = new Set<SupportedReplica>();
  /** Members there of ranges that are led here, for which that store supports, or was asked to. */
  readonly supporters = new Set<Supporter>();
  /** Those for which it does not. */
  readonly unsupported = new Set<Supporter>();
  /** News for the next frame, at most a few of each kind per range. */
  ended: RangeId[] = [];
  answers: SupportAnswer[] = [];
  released: LedRange[] = [];
  asks: SupportRequest[] = [];
  commits: CommitNotice[] = [];
  /** Frames that news have left with. */
  frames = 0;

  constructor(storeId: StoreId, generation: number) {
    this.storeId = storeId;
    this.generation = generation;
  }

  /** No range is shared with it. */
  get isIdle(): boolean {
    return this.followers.size + this.supporters.size + this.unsupported.size === 0;
  }

  /** What the other store waits for; what leaders here have committed can wait for the tick. */
  get hasUrgentNews(): boolean {
    const isOfFollowers = this.ended.length + this.answers.length > 0 || this.echoSentAtMs > 0;
    return isOfFollowers || this.released.length + this.asks.length > 0;
  }

  get hasNews(): boolean {
    return this.commits.length > 0 || this.hasUrgentNews;
  }

  /** One line for people. */
  toString(): string {
    const { heardAtMs, answeredAtMs, ackedSentAtMs, followers, supporters, unsupported } = this;
    const ms = (value: number): string => (Number.isFinite(value) ? String(Math.round(value)) : '-');
    return [
      `store ${this.storeId}: generation=${this.generation}/${this.theirGeneration}`,
      `heard=${ms(heardAtMs)} answered=${ms(answeredAtMs)} acked=${ms(ackedSentAtMs)}`,
      `followers=${followers.size} supporters=${supporters.size} unsupported=${unsupported.size}`,
      ...(this.isLost ? ['lost'] : []),
      ...(this.failover.isUnderWay ? ['failing-over'] : []),
    ].join(' ');
  }

  /** This store supports the replica of a leader over there from now on. */
  follow(replica: SupportedReplica): void {
    assert(replica.contact.support === undefined, 'a replica is supported once', {
      rangeId: replica.rangeId,
    });
    replica.contact.support = { kind: 'following', replica, peer: this };
    this.followers.add(replica);
  }

  /** It does not any more, and the store will hear of it with the next frame. */
  stopFollowing(replica: SupportedReplica): void {
    replica.contact.support = undefined;
    this.followers.delete(replica);
    this.ended.push(replica.rangeId);
  }

  clearNews(): void {
    this.ended = [];
    this.answers = [];
    this.released = [];
    this.asks = [];
    this.commits = [];
    this.frames += 1;
    this.echoSentAtMs = 0;
  }
}

/**
 * A member, elsewhere, of a range that is led here.
 *
 *   unsupported --ask--> asked --yes--> supported
 *   asked, supported --no, ended, silence of its store, link lost--> unsupported
 */
export interface Supporter {
  readonly replica: SupportedReplica;
  readonly replicaId: ReplicaId;
  readonly peer: HeartbeatPeer;
  state: 'unsupported' | 'asked' | 'supported';
  /** Of the last ask: the answer to an earlier one says nothing. */
  round: number;
  /** What the frame with the number `noticeFrame` will say, or has said, of the commit index. */
  notice: { readonly rangeId: RangeId; readonly term: Term; commit: LogIndex } | undefined;
  noticeFrame: number;
}

/** What the stores' heartbeats are to a replica. */
export type Support =
  | { readonly kind: 'leading'; readonly term: Term; readonly members: readonly Supporter[] }
  /** This store supports it; its leader is there. */
  | { readonly kind: 'following'; readonly replica: SupportedReplica; readonly peer: HeartbeatPeer };

/**
 * What this store has heard of the stores of a range's other members: kept once per pair of stores, and asked
 * for by the core of each range when it decides. A follower has support here exactly while its core says that
 * it is supporting.
 */
export class StoreContact implements RaftContact {
  /** Owned by `StoreHeartbeats`; undefined while the replica is on its own. */
  support: Support | undefined = undefined;

  leaderHeardAtMs(): number {
    return this.support?.kind === 'following' ? this.support.peer.heardAtMs : -Infinity;
  }

  supportEnded(): void {
    const { support } = this;
    assert(support?.kind === 'following', 'support ended that was never given');
    support.peer.stopFollowing(support.replica);
  }

  memberHeardAtMs(replicaId: ReplicaId): number {
    return this.#storeOfSupporter(replicaId)?.answeredAtMs ?? -Infinity;
  }

  memberAckedSentAtMs(replicaId: ReplicaId): number {
    return this.#storeOfSupporter(replicaId)?.ackedSentAtMs ?? -Infinity;
  }

  #storeOfSupporter(replicaId: ReplicaId): HeartbeatPeer | undefined {
    if (this.support?.kind !== 'leading') return undefined;
    for (const member of this.support.members) if (member.replicaId === replicaId) return member.peer;
    return undefined;
  }
}
