import {
  CairnError,
  type LogIndex,
  type RangeId,
  type ReplicaId,
  type StoreId,
  type Term,
} from '@cairn/base';
import type { Clock, Logger, Rng } from '@cairn/ports';
import {
  cutStoreHeartbeat,
  decodeStoreHeartbeat,
  encodeStoreHeartbeat,
  type CommitNotice,
  type LedRange,
  type SupportAnswer,
  type SupportRequest,
} from '@cairn/raft-wire';

import { HeartbeatPeer, type SupportedReplica, type Supporter } from './heartbeat-peer.js';
import type { PeerLinks } from './peer-links.js';
import type { StoreConfig } from './store-config.js';
import type { TickingReplicas } from './ticking-replicas.js';

/** Members per store and tick that one is asked to support: ten thousand within a second. */
const ASKS_PER_TICK_MAX = 512;
const GENERATION_MAX = 2 ** 31;
/** Other stores that are remembered, besides those of the members of ranges that are here. */
const PEERS_MAX = 4_096;

export interface StoreHeartbeatsParts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly config: StoreConfig;
  readonly links: PeerLinks;
  readonly replicas: { get(rangeId: RangeId): SupportedReplica | undefined };
  readonly ticking: Pick<TickingReplicas<SupportedReplica>, 'start'>;
}

/**
 * One heartbeat per pair of stores stands for those of all ranges that the two share, however many they are
 * and whatever they do (after CockroachDB's store liveness). Each range has its own term, votes and lease all
 * the same: when its core decides, it asks what the stores have heard of each other (`StoreContact`).
 *
 * A leader asks the stores of its members, one by one. A store that supports a replica says: "it follows
 * you in this term, and its vote was held anew when your heartbeat came". When that ends, whatever the cause,
 * the leader's store is told before any later heartbeat is answered; when the leadership ends, the store
 * that supports is told. Frames of a pair are ordered; when one may have been lost the sender begins a new
 * generation, and both sides drop what rested on the old one.
 *
 * When the heartbeats of the leader's store stop for an election timeout, or its connection breaks, the
 * ranges that it led look for other leaders, some at a time (see `Failover`). A store that was only slow and
 * comes back meanwhile keeps the others, so that slowness does not feed on itself.
 *
 * Timeline: docs/timelines/failover.md
 */
export class StoreHeartbeats {
  readonly #parts: StoreHeartbeatsParts;
  readonly #peers = new Map<StoreId, HeartbeatPeer>();
  #beatDueMs = 0;
  #rounds = 0;

  constructor(parts: StoreHeartbeatsParts) {
    this.#parts = parts;
  }

  /**
   * Once per tick of the store, before the replicas': gives up stores that are silent, asks those that are
   * not. For `excusedMs` this process stood still: silence says nothing about others.
   */
  tick(nowMs: number, excusedMs: number): void {
    const { electionTimeoutMs } = this.#parts.config;
    for (const peer of this.#peers.values()) {
      peer.judgedFromMs = Math.min(peer.judgedFromMs + excusedMs, nowMs);
      peer.answeredAtMs = Math.min(peer.answeredAtMs + excusedMs, nowMs);
      if (peer.followers.size > 0 && this.#isSilent(peer, nowMs)) this.#failOver(peer, nowMs);
      if (nowMs - peer.answeredAtMs > electionTimeoutMs) this.#loseSupportOf(peer, nowMs);
      else if (peer.unsupported.size > 0) this.#askSome(peer);
    }
  }

  /** The other stores that are known, for views. */
  get peers(): Iterable<HeartbeatPeer> {
    return this.#peers.values();
  }

  /** Nothing that was promised before a pause of the process may be relied on. */
  dropLeases(): void {
    for (const peer of this.#peers.values()) peer.ackedSentAtMs = -Infinity;
  }

  /** Once per tick of the store, after the replicas': sends heartbeats that are due, and news. */
  flush(nowMs: number): void {
    const isBeatDue = nowMs >= this.#beatDueMs;
    if (isBeatDue) this.#beatDueMs = nowMs + this.#parts.config.heartbeatIntervalMs;
    for (const peer of this.#peers.values()) {
      if (isBeatDue) this.#send(peer, nowMs);
      else if (peer.hasNews) this.#send(peer, undefined);
    }
  }

  /** The replica leads, and may ask its members' stores to support them. Also when its members changed. */
  lead(replica: SupportedReplica): void {
    this.leave(replica);
    const { role, term } = replica.raft;
    if (role !== 'leader' || replica.isClosed) return;
    const members: Supporter[] = [];
    for (const { replicaId } of replica.raft.status().peers) {
      const peer = this.#peerOf(replica, replicaId);
      if (peer === undefined) continue;
      const supporter: Supporter = {
        ...{ replica, replicaId, peer, state: 'unsupported', round: 0 },
        ...{ notice: undefined, noticeFrame: 0 },
      };
      members.push(supporter);
      peer.unsupported.add(supporter);
    }
    replica.contact.support = { kind: 'leading', term, members };
    this.#parts.ticking.start(replica);
  }

  /** Asks for some of the members that are not supported, in turn. */
  #askSome(peer: HeartbeatPeer): void {
    const some: Supporter[] = [];
    for (const supporter of peer.unsupported) {
      if (some.length === ASKS_PER_TICK_MAX) break;
      some.push(supporter);
    }
    for (const supporter of some) {
      const { replica, replicaId } = supporter;
      peer.unsupported.delete(supporter);
      if (replica.raft.isHeardFrom(replicaId)) {
        supporter.state = 'asked';
        supporter.round = this.#rounds += 1;
        peer.supporters.add(supporter);
        peer.asks.push({ rangeId: replica.rangeId, term: replica.raft.term, round: supporter.round });
      } else {
        // Its store is there: with ticks it gets heartbeats of its own, until it answers.
        peer.unsupported.add(supporter);
        this.#parts.ticking.start(replica);
      }
    }
  }

  /** What members have to be told about the commit index of their leader goes with the next frames. */
  noteCommits(replica: SupportedReplica): void {
    this.afterInput(replica);
    const { support } = replica.contact;
    if (support?.kind !== 'leading') return;
    for (const supporter of support.members) {
      if (supporter.state !== 'supported') continue;
      const commit = replica.raft.takeCommitNotice(supporter.replicaId);
      if (commit > 0) noteCommit(supporter, support.term, commit);
    }
  }

  /** A heartbeat frame of another store. Throws CORRUPTION when it is garbled, or says what cannot be. */
  receive(from: StoreId, body: Buffer): void {
    const beat = decodeStoreHeartbeat(body);
    const nowMs = this.#parts.clock.nowMs();
    if (beat.echoSentAtMs > nowMs) {
      throw new CairnError(
        'CORRUPTION',
        `store ${from} answers a heartbeat of ${beat.echoSentAtMs} ms, and it is ${Math.floor(nowMs)} ms here`,
      );
    }
    if (!this.#peers.has(from)) this.#makeRoomForPeer(nowMs);
    const peer = this.#peer(from);
    peer.isLost = false;
    peer.failover.stop();
    if (beat.generation !== peer.theirGeneration) {
      peer.theirGeneration = beat.generation;
      peer.ackedSentAtMs = -Infinity;
      this.#loseSupportOf(peer, nowMs);
      // Told all the same: the frame may not have been of that store, which then still counts on this one.
      for (const replica of peer.followers) this.#withdraw(replica, nowMs);
    }
    // In this order: what ended was not covered by the heartbeat that is answered, what began was.
    for (const rangeId of beat.ended) this.#hearEnded(peer, rangeId, nowMs);
    for (const answer of beat.answers) this.#hearAnswer(peer, answer, nowMs);
    if (beat.echoSentAtMs > 0) {
      peer.answeredAtMs = nowMs;
      peer.ackedSentAtMs = Math.max(peer.ackedSentAtMs, beat.echoSentAtMs);
    }
    if (beat.sentAtMs > 0) {
      peer.heardAtMs = nowMs;
      peer.judgedFromMs = nowMs;
      peer.echoSentAtMs = beat.sentAtMs;
    }
    for (const range of beat.released) this.#hearReleased(peer, range, nowMs);
    for (const ask of beat.asks) this.#hearAsk(peer, ask, nowMs);
    for (const notice of beat.commits) this.#hearCommit(peer, notice, nowMs);
    // Two busy stores must not answer each other's commits with their own without end.
    if (peer.hasUrgentNews) this.#send(peer, undefined);
  }

  #hearEnded(peer: HeartbeatPeer, rangeId: RangeId, nowMs: number): void {
    const supporter = supporterIn(peer, this.#parts.replicas.get(rangeId));
    // When it was asked since, this was about the time before.
    if (supporter?.state === 'supported') this.#loseSupport(supporter, nowMs);
  }

  #hearAnswer(peer: HeartbeatPeer, answer: SupportAnswer, nowMs: number): void {
    const replica = this.#parts.replicas.get(answer.rangeId);
    const supporter = supporterIn(peer, replica);
    if (replica === undefined || supporter?.state !== 'asked' || supporter.round !== answer.round) return;
    if (!answer.isSupporting) {
      this.#loseSupport(supporter, nowMs);
      return;
    }
    supporter.state = 'supported';
    replica.raft.setSupported(supporter.replicaId, true, nowMs);
    this.#parts.ticking.start(replica);
  }

  /** The member's store does not support it any more. */
  #loseSupport(supporter: Supporter, nowMs: number): void {
    const { replica, replicaId, peer } = supporter;
    replica.raft.setSupported(replicaId, false, nowMs);
    supporter.state = 'unsupported';
    peer.supporters.delete(supporter);
    peer.unsupported.add(supporter);
    this.#parts.ticking.start(replica);
  }

  #loseSupportOf(peer: HeartbeatPeer, nowMs: number): void {
    for (const supporter of peer.supporters) this.#loseSupport(supporter, nowMs);
  }

  #hearAsk(peer: HeartbeatPeer, ask: SupportRequest, nowMs: number): void {
    const replica = this.#parts.replicas.get(ask.rangeId);
    const isSupporting = replica !== undefined && this.#support(replica, peer, ask, nowMs);
    peer.answers.push({ ...ask, isSupporting });
  }

  #support(replica: SupportedReplica, peer: HeartbeatPeer, ask: SupportRequest, nowMs: number): boolean {
    const { raft, contact } = replica;
    this.afterInput(replica);
    if (replica.storeOf(raft.leaderId) !== peer.storeId) return false;
    if (contact.support?.kind === 'following' && contact.support.peer !== peer)
      this.#withdraw(replica, nowMs);
    if (!raft.support(ask.term)) return false;
    // The ask is word from the leader as good as a heartbeat.
    peer.heardAtMs = nowMs;
    peer.judgedFromMs = nowMs;
    if (contact.support !== undefined) return true;
    peer.follow(replica);
    // Whether the other members are there will matter when the leader's store is lost.
    for (const member of raft.configState.voters) this.#peerOf(replica, member);
    return true;
  }

  #hearReleased(peer: HeartbeatPeer, { rangeId, term }: LedRange, nowMs: number): void {
    const replica = this.#parts.replicas.get(rangeId);
    const support = replica?.contact.support;
    if (replica === undefined || support?.kind !== 'following') return;
    if (support.peer === peer && replica.raft.term === term) this.#withdraw(replica, nowMs);
  }

  #hearCommit(peer: HeartbeatPeer, { rangeId, term, commit }: CommitNotice, nowMs: number): void {
    const replica = this.#parts.replicas.get(rangeId);
    if (replica?.contact.support?.kind !== 'following' || replica.contact.support.peer !== peer) return;
    const reason = replica.raft.learnCommit(term, commit, nowMs);
    if (reason !== undefined) {
      throw new CairnError(
        'CORRUPTION',
        `store ${peer.storeId} sent a notice for range ${rangeId}: ${reason}`,
      );
    }
    if (replica.raft.hasReady()) replica.wake();
  }

  /** This store does not support the replica any more; see `StoreContact.supportEnded`. */
  #withdraw(replica: SupportedReplica, nowMs: number): void {
    replica.raft.withdrawSupport(nowMs);
    this.#parts.ticking.start(replica);
  }

  #isSilent(peer: HeartbeatPeer, nowMs: number): boolean {
    return peer.isLost || nowMs - peer.judgedFromMs > this.#parts.config.electionTimeoutMs;
  }

  /** The store was silent too long, or its connection broke: its ranges look for other leaders. */
  #failOver(peer: HeartbeatPeer, nowMs: number): void {
    if (!peer.failover.isUnderWay) {
      peer.failover.begin(peer.followers, (storeId) => {
        const other = this.#peers.get(storeId);
        return other !== undefined && this.#isSilent(other, nowMs);
      });
    }
    peer.failover.advance(nowMs, (replica, delayMs) => {
      if (!peer.followers.has(replica)) return false;
      this.#withdraw(replica, nowMs);
      replica.raft.leaderStoreLost(nowMs, delayMs);
      replica.wake();
      return true;
    });
  }

  /** After an input to the core of a replica: the leadership may have ended. */
  afterInput(replica: SupportedReplica): void {
    const { support } = replica.contact;
    if (support?.kind !== 'leading') return;
    const { raft } = replica;
    if (raft.role !== 'leader' || raft.term !== support.term) this.leave(replica);
  }

  /** The support ends here, or the replica leaves the store; whoever took part in it will hear. */
  leave(replica: SupportedReplica): void {
    const { rangeId, contact } = replica;
    const { support } = contact;
    if (support === undefined) return;
    const nowMs = this.#parts.clock.nowMs();
    if (support.kind === 'following') {
      this.#withdraw(replica, nowMs);
      return;
    }
    this.#parts.ticking.start(replica);
    for (const supporter of support.members) {
      const { peer, replicaId } = supporter;
      peer.unsupported.delete(supporter);
      peer.supporters.delete(supporter);
      replica.raft.setSupported(replicaId, false, nowMs);
      // Also to those that are not supported as far as this store knows: theirs may think otherwise.
      peer.released.push({ rangeId, term: support.term });
    }
    contact.support = undefined;
  }

  /** A connection from or to the store broke: neither side knows what the other has heard. */
  peerLost(storeId: StoreId): void {
    const peer = this.#peers.get(storeId);
    if (peer === undefined) return;
    this.#beginGeneration(peer);
    peer.isLost = true;
    this.#failOver(peer, this.#parts.clock.nowMs());
  }

  /** Frames to the store may have been lost. It will drop what rested on them when the next one comes. */
  #beginGeneration(peer: HeartbeatPeer): void {
    this.#loseSupportOf(peer, this.#parts.clock.nowMs());
    peer.generation = (peer.generation % GENERATION_MAX) + 1;
    peer.clearNews();
  }

  /** Sends what there is to say to the store; with `beatMs` also the heartbeat of that time. */
  #send(peer: HeartbeatPeer, beatMs: number | undefined): void {
    const { generation, echoSentAtMs, ended, answers, released, asks, commits } = peer;
    peer.clearNews();
    // Rounded down: a lease may only end too early.
    const sentAtMs = beatMs === undefined ? 0 : Math.floor(beatMs);
    const beat = { generation, sentAtMs, echoSentAtMs, ended, answers, released, asks, commits };
    const isSent = cutStoreHeartbeat(beat).every((part) =>
      this.#parts.links.sendHeartbeat(peer.storeId, encodeStoreHeartbeat(part)),
    );
    if (isSent) return;
    this.#parts.logger.debug('heartbeat not sent', { to: peer.storeId });
    this.#beginGeneration(peer);
  }

  /** Anybody may claim to be a store: those that have nothing in common with this one and are silent, go. */
  #makeRoomForPeer(nowMs: number): void {
    if (this.#peers.size < PEERS_MAX) return;
    for (const [storeId, peer] of this.#peers) {
      if (peer.isIdle && this.#isSilent(peer, nowMs)) this.#peers.delete(storeId);
    }
    if (this.#peers.size < PEERS_MAX) return;
    throw new CairnError('RESOURCE_EXHAUSTED', `${PEERS_MAX} other stores are known here`);
  }

  /** The store of another member. */
  #peerOf(replica: SupportedReplica, member: ReplicaId): HeartbeatPeer | undefined {
    const storeId = replica.storeOf(member);
    return storeId === 0 || member === replica.replicaId ? undefined : this.#peer(storeId);
  }

  #peer(storeId: StoreId): HeartbeatPeer {
    let peer = this.#peers.get(storeId);
    if (peer === undefined) {
      // Another life of this process must not be taken for this one.
      peer = new HeartbeatPeer(storeId, this.#parts.rng.integer(GENERATION_MAX) + 1);
      this.#peers.set(storeId, peer);
    }
    return peer;
  }
}

/** One notice per member and frame, however often its leader commits meanwhile. */
function noteCommit(supporter: Supporter, term: Term, commit: LogIndex): void {
  const { peer, replica } = supporter;
  if (supporter.notice !== undefined && supporter.noticeFrame === peer.frames) {
    supporter.notice.commit = commit;
    return;
  }
  supporter.notice = { rangeId: replica.rangeId, term, commit };
  supporter.noticeFrame = peer.frames;
  peer.commits.push(supporter.notice);
}

/** The member on that store of a range that is led here. */
function supporterIn(peer: HeartbeatPeer, replica: SupportedReplica | undefined): Supporter | undefined {
  const support = replica?.contact.support;
  if (support?.kind !== 'leading') return undefined;
  return support.members.find((member) => member.peer === peer);
}
