import { assert, messageOf, type LogIndex, type RangeId, type StoreId } from '@cairn/base';
import type { Clock, Logger, Rng } from '@cairn/ports';
import { decodeStoreHeartbeat, encodeStoreHeartbeat, type QuietAnswer, type QuietRange } from '@cairn/wire';

import type { PeerLinks } from './peer-links.js';
import { applyContact, QuietPeer, type QuietState, type Vouched } from './quiet-state.js';
import type { Replica } from './replica.js';
import type { StoreConfig } from './store-config.js';

/** Ranges that one tick asks to go quiet: an idle store falls asleep within seconds, not in one frame. */
const ASKS_PER_TICK_MAX = 512;
const GENERATION_MAX = 2 ** 31;

export interface QuietRangesParts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly config: StoreConfig;
  readonly links: PeerLinks;
  replica(rangeId: RangeId): Replica | undefined;
  /** Puts a replica that woke into the queue of the next turn. */
  enqueue(replica: Replica): void;
}

/**
 * Lets idle ranges sleep: no ticks, no messages, whatever their number. One heartbeat per pair of stores
 * stands for those of all quiet ranges that the two share (after CockroachDB's store liveness and TiKV's
 * hibernation).
 *
 * The leader asks the members that are alive; each that has the whole log goes quiet and its store vouches
 * for it: "it follows you in this term, and its vote was held anew when your heartbeat came". When all have,
 * the leader goes quiet, too. Whatever wakes a follower ends the vouching, and the leader's store is told
 * before any later heartbeat is answered. Frames of a pair are ordered; when one may have been lost the
 * sender begins a new generation and wakes what it vouched for, and the receiver wakes what it had counted
 * on.
 *
 * A follower does not need a message to wake: when the heartbeats of the leader's store stop for an election
 * timeout, or its connection breaks, all ranges it led wake at once.
 */
export class QuietRanges {
  readonly #parts: QuietRangesParts;
  readonly #peers = new Map<StoreId, QuietPeer>();
  readonly #quiet = new Set<Replica>();
  #beatDueMs = 0;
  #asksLeft = ASKS_PER_TICK_MAX;

  constructor(parts: QuietRangesParts) {
    this.#parts = parts;
  }

  /** Replicas that sleep or are about to. */
  get size(): number {
    return this.#quiet.size;
  }

  /** Once per tick of the store, before the replicas': wakes what other stores no longer answer for. */
  tick(nowMs: number, wasPaused: boolean): void {
    const { electionTimeoutMs } = this.#parts.config;
    this.#asksLeft = ASKS_PER_TICK_MAX;
    if (wasPaused) this.#afterPause(nowMs);
    for (const peer of this.#peers.values()) {
      if (peer.followers.size > 0 && nowMs - peer.judgedFromMs > electionTimeoutMs) {
        for (const replica of [...peer.followers]) this.#wakeFollower(replica, peer, 'leader lost');
      }
      if (peer.leaders.size > 0 && nowMs - peer.answeredAtMs > electionTimeoutMs) this.#wakeLeaders(peer);
    }
  }

  /** Once per tick of the store, after the replicas': sends heartbeats that are due, and asks. */
  flush(nowMs: number): void {
    const isBeatDue = nowMs >= this.#beatDueMs;
    if (isBeatDue) this.#beatDueMs = nowMs + this.#parts.config.heartbeatIntervalMs;
    for (const peer of this.#peers.values()) {
      if (isBeatDue && peer.leaders.size > 0) this.#send(peer, nowMs);
      else if (peer.hasNews) this.#send(peer, undefined);
    }
  }

  /** Nothing that was promised before the pause may be relied on, and silence during it says nothing. */
  #afterPause(nowMs: number): void {
    for (const peer of this.#peers.values()) {
      peer.judgedFromMs = nowMs;
      peer.ackedSentAtMs = -Infinity;
      this.#wakeLeaders(peer);
    }
  }

  /** Once per tick for a leader that is awake: begins to ask when nothing has happened for a while. */
  consider(replica: Replica, nowMs: number): void {
    const lastIndex = replica.log.lastIndex();
    if (lastIndex !== replica.idleAtIndex) {
      replica.idleAtIndex = lastIndex;
      replica.idleSinceMs = nowMs;
      return;
    }
    if (nowMs - replica.idleSinceMs < this.#parts.config.quiesceAfterMs || this.#asksLeft === 0) return;
    if (replica.isFrozen || !replica.isReadyLeader || !replica.raft.canQuiesce()) return;
    this.#asksLeft -= 1;
    this.#ask(replica, lastIndex, nowMs);
  }

  #ask(replica: Replica, index: LogIndex, nowMs: number): void {
    const members: Vouched[] = [];
    const absent: StoreId[] = [];
    for (const { replicaId, recentlyActive } of replica.raft.status().peers) {
      const storeId = replica.storeOf(replicaId);
      if (storeId === 0) return;
      if (recentlyActive) members.push({ replicaId, peer: this.#peer(storeId) });
      else absent.push(storeId);
    }
    // The ask says as much as a heartbeat, which would wake those that have just gone quiet.
    replica.raft.deferHeartbeat();
    const { rangeId, term } = replica;
    const missing = new Set(members.map(({ peer }) => peer.storeId));
    this.#enter(replica, { kind: 'asking', term, index, sinceMs: nowMs, members, missing, absent });
    for (const { peer } of members) {
      // Whoever has nothing to answer yet is not behind with it.
      if (peer.leaders.size === 0) peer.answeredAtMs = nowMs;
      peer.leaders.add(replica);
      peer.asks.push({ rangeId, term, index });
    }
    if (missing.size === 0) this.#fallAsleep(replica);
  }

  #fallAsleep(replica: Replica): void {
    const state = replica.quietState;
    assert(state?.kind === 'asking', 'only who asked goes quiet', { rangeId: replica.rangeId });
    const { members, absent } = state;
    if (replica.log.lastIndex() === state.index && replica.raft.quiesce()) {
      this.#enter(replica, { kind: 'leading', members, absent });
    } else this.#wakeLeader(replica);
  }

  #enter(replica: Replica, state: QuietState): void {
    replica.quietState = state;
    this.#quiet.add(replica);
  }

  /** A heartbeat frame of another store. Throws CORRUPTION when it is garbled. */
  receive(from: StoreId, body: Buffer): void {
    const beat = decodeStoreHeartbeat(body);
    const nowMs = this.#parts.clock.nowMs();
    const peer = this.#peer(from);
    if (beat.generation !== peer.theirGeneration) {
      this.#wakeLeaders(peer);
      peer.theirGeneration = beat.generation;
      peer.ackedSentAtMs = -Infinity;
    }
    // In this order: what woke was not covered by the heartbeat that is answered, what fell asleep was.
    for (const rangeId of beat.woken) this.#hearWoken(peer, rangeId);
    for (const answer of beat.answers) this.#hearAnswer(peer, answer);
    if (beat.echoSentAtMs > 0) {
      peer.answeredAtMs = nowMs;
      peer.ackedSentAtMs = Math.max(peer.ackedSentAtMs, Math.min(beat.echoSentAtMs, nowMs));
    }
    if (beat.sentAtMs > 0) {
      peer.heardAtMs = nowMs;
      peer.judgedFromMs = nowMs;
      peer.echoSentAtMs = beat.sentAtMs;
    }
    for (const ask of beat.asks) this.#hearAsk(peer, ask, nowMs);
    if (peer.hasNews) this.#send(peer, undefined);
  }

  #hearWoken(peer: QuietPeer, rangeId: RangeId): void {
    const replica = this.#parts.replica(rangeId);
    if (replica !== undefined && peer.leaders.has(replica)) this.#wakeLeader(replica);
  }

  #hearAnswer(peer: QuietPeer, answer: QuietAnswer): void {
    const replica = this.#parts.replica(answer.rangeId);
    const state = replica?.quietState;
    if (replica === undefined || state?.kind !== 'asking') return;
    if (state.term !== answer.term || state.index !== answer.index) return;
    if (!answer.isQuiet) {
      this.#wakeLeader(replica);
      return;
    }
    state.missing.delete(peer.storeId);
    if (state.missing.size === 0) this.#fallAsleep(replica);
  }

  #hearAsk(peer: QuietPeer, ask: QuietRange, nowMs: number): void {
    const replica = this.#parts.replica(ask.rangeId);
    const isQuiet = replica !== undefined && this.#goQuiet(replica, peer, ask, nowMs);
    peer.answers.push({ ...ask, isQuiet });
  }

  #goQuiet(replica: Replica, peer: QuietPeer, ask: QuietRange, nowMs: number): boolean {
    if (replica.isLeader || replica.term !== ask.term || replica.leaderStoreId !== peer.storeId) return false;
    if (replica.log.lastIndex() !== ask.index) return false;
    if (replica.quietState?.kind === 'following') return replica.raft.isQuiesced;
    if (!replica.raft.quiesce()) return false;
    // The ask is word from the leader as good as a heartbeat.
    peer.heardAtMs = nowMs;
    peer.judgedFromMs = nowMs;
    this.#enter(replica, { kind: 'following', peer });
    peer.followers.add(replica);
    return true;
  }

  /** Before messages are stepped into a replica that has a quiet state, or it is woken in another way. */
  beforeSteps(replica: Replica, nowMs: number): void {
    applyContact(replica, nowMs);
  }

  /** Afterwards: it may have woken. */
  afterSteps(replica: Replica): void {
    const state = replica.quietState;
    if (state === undefined) return;
    switch (state.kind) {
      case 'asking':
        if (replica.isLeader && replica.log.lastIndex() === state.index && !this.#isOverdue(state)) return;
        this.#leave(replica);
        return;
      case 'leading':
        if (!replica.raft.isQuiesced) this.#leave(replica);
        return;
      case 'following':
        if (!replica.raft.isQuiesced) this.#leave(replica);
    }
  }

  #isOverdue(state: QuietState & { readonly kind: 'asking' }): boolean {
    return this.#parts.clock.nowMs() - state.sinceMs > this.#parts.config.electionTimeoutMs;
  }

  /** The state ends; of a follower the leader's store will hear. */
  #leave(replica: Replica): void {
    const state = replica.quietState;
    if (state === undefined) return;
    replica.quietState = undefined;
    replica.idleSinceMs = this.#parts.clock.nowMs();
    this.#quiet.delete(replica);
    switch (state.kind) {
      case 'asking':
      case 'leading':
        for (const { peer } of state.members) peer.leaders.delete(replica);
        return;
      case 'following':
        state.peer.followers.delete(replica);
        state.peer.woken.push(replica.rangeId);
    }
  }

  #wakeLeader(replica: Replica): void {
    const nowMs = this.#parts.clock.nowMs();
    applyContact(replica, nowMs);
    replica.raft.wake(nowMs);
    this.#leave(replica);
    this.#parts.enqueue(replica);
  }

  #wakeLeaders(peer: QuietPeer): void {
    for (const replica of [...peer.leaders]) this.#wakeLeader(replica);
  }

  #wakeFollower(replica: Replica, peer: QuietPeer, why: 'leader lost' | 'link lost'): void {
    const nowMs = this.#parts.clock.nowMs();
    applyContact(replica, nowMs);
    if (why === 'leader lost') replica.raft.leaderStoreLost(nowMs);
    else replica.raft.wake(nowMs);
    this.#leave(replica);
    this.#parts.enqueue(replica);
    assert(!peer.followers.has(replica), 'who woke is not vouched for', { rangeId: replica.rangeId });
  }

  /** A connection from or to the store broke: neither side knows what the other has heard. */
  peerLost(storeId: StoreId): void {
    const peer = this.#peers.get(storeId);
    if (peer === undefined) return;
    this.#wakeLeaders(peer);
    this.#beginGeneration(peer);
  }

  /** Frames to the store may have been lost: what was promised to it is taken back with the next one. */
  #beginGeneration(peer: QuietPeer): void {
    for (const replica of [...peer.followers]) this.#wakeFollower(replica, peer, 'link lost');
    peer.generation = (peer.generation % GENERATION_MAX) + 1;
    peer.asks = [];
    peer.answers = [];
    peer.woken = [];
    peer.echoSentAtMs = 0;
  }

  /** A store that was away is back: ranges that went quiet without it have news for it. */
  peerFound(storeId: StoreId): void {
    for (const replica of [...this.#quiet]) {
      const state = replica.quietState;
      if (state === undefined || state.kind === 'following') continue;
      if (state.absent.includes(storeId)) this.#wakeLeader(replica);
    }
  }

  /** The replica leaves the store. */
  forget(replica: Replica): void {
    this.#leave(replica);
  }

  /** Sends what there is to say to the store; with `beatMs` also the heartbeat of that time. */
  #send(peer: QuietPeer, beatMs: number | undefined): void {
    for (const replica of [...peer.followers]) if (!replica.raft.isQuiesced) this.#leave(replica);
    const { asks, answers, woken, generation, echoSentAtMs } = peer;
    peer.asks = [];
    peer.answers = [];
    peer.woken = [];
    peer.echoSentAtMs = 0;
    // Rounded down: a lease may only end too early. Asks are heartbeats, too: they say that the leader is
    // alive.
    const sentAtMs = beatMs === undefined ? 0 : Math.floor(beatMs);
    const frame = encodeStoreHeartbeat({ generation, sentAtMs, echoSentAtMs, asks, answers, woken });
    if (this.#parts.links.sendHeartbeat(peer.storeId, frame)) return;
    this.#parts.logger.debug('heartbeat not sent', { to: peer.storeId });
    this.#beginGeneration(peer);
  }

  #peer(storeId: StoreId): QuietPeer {
    let peer = this.#peers.get(storeId);
    if (peer === undefined) {
      // Another life of this process must not be taken for this one.
      peer = new QuietPeer(storeId, this.#parts.rng.integer(GENERATION_MAX) + 1);
      this.#peers.set(storeId, peer);
    }
    return peer;
  }

  /** For frames that cannot be read. */
  garbled(from: StoreId, error: unknown): void {
    this.#parts.logger.warn('garbled heartbeat, link counted as lost', { from, reason: messageOf(error) });
    this.peerLost(from);
  }
}
