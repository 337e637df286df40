import { logIndex, rangeId, replicaId, storeId, term, type LogIndex, type StoreId } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import { noopLogger, type Clock, type Rng } from '@cairn/ports';
import { decodeStoreHeartbeat, encodeStoreHeartbeat, type StoreHeartbeat } from '@cairn/raft-wire';

import { StoreContact, type SupportedReplica } from './heartbeat-peer.js';
import { DEFAULT_STORE_CONFIG } from './store-config.js';
import { StoreHeartbeats } from './store-heartbeats.js';

const [LEADER_STORE, MEMBER_STORE] = [storeId(1), storeId(2)];
const [LEADER, MEMBER] = [replicaId(11), replicaId(12)];
const RANGE = rangeId(7);

/** What the heartbeats of two stores tell the cores of the two replicas of a range. */
class Cores {
  role: 'leader' | 'follower' = 'leader';
  isSupported = false;
  isSupporting = false;
  commit: LogIndex = logIndex(3);
  told: LogIndex = logIndex(0);
  learned: LogIndex[] = [];

  leader(): SupportedReplica {
    return this.#replica(LEADER, {
      status: () => ({ peers: [{ replicaId: MEMBER }] }),
      isHeardFrom: () => true,
      setSupported: (_: unknown, isSupported: boolean) => {
        this.isSupported = isSupported;
      },
      takeCommitNotice: () => {
        const isNews = this.commit > this.told;
        this.told = this.commit;
        return isNews ? this.commit : logIndex(0);
      },
    });
  }

  member(): SupportedReplica {
    const replica = this.#replica(MEMBER, {
      support: () => (this.isSupporting = true),
      withdrawSupport: () => {
        if (!this.isSupporting) return;
        this.isSupporting = false;
        replica.contact.supportEnded();
      },
      learnCommit: (_: unknown, commit: LogIndex) => void this.learned.push(commit),
      hasReady: () => false,
    });
    return replica;
  }

  #replica(id: typeof LEADER, raft: object): SupportedReplica {
    const core = Object.defineProperties(
      { term: term(5), leaderId: LEADER, configState: { voters: [LEADER, MEMBER] }, ...raft },
      { role: { get: () => this.role }, isSupporting: { get: () => this.isSupporting } },
    );
    const storeOf = (member: number): StoreId => (member === LEADER ? LEADER_STORE : MEMBER_STORE);
    return {
      ...{ rangeId: RANGE, replicaId: id, isClosed: false, contact: new StoreContact(), storeOf },
      raft: core,
    } as unknown as SupportedReplica;
  }
}

/** Two stores with one range, and the frames between them. */
class Pair {
  nowMs = 1_000;
  readonly cores = new Cores();
  readonly leader = this.cores.leader();
  readonly member = this.cores.member();
  /** Frames of the member's store get lost, and nobody notices. */
  isMemberMute = false;
  readonly sent: StoreHeartbeat[] = [];
  readonly #frames: (() => void)[] = [];
  readonly leaderStore: StoreHeartbeats = this.#store(this.leader, (frame) => {
    this.sent.push(decodeStoreHeartbeat(frame));
    this.#frames.push(() => {
      this.memberStore.receive(LEADER_STORE, frame);
    });
  });
  readonly memberStore: StoreHeartbeats = this.#store(this.member, (frame) => {
    if (this.isMemberMute) return;
    this.#frames.push(() => {
      this.leaderStore.receive(MEMBER_STORE, frame);
    });
  });

  #store(replica: SupportedReplica, send: (frame: Buffer) => void): StoreHeartbeats {
    return new StoreHeartbeats({
      clock: { nowMs: () => this.nowMs } as Clock,
      rng: { integer: () => 4 } as unknown as Rng,
      logger: noopLogger,
      config: DEFAULT_STORE_CONFIG,
      links: {
        post: () => undefined,
        flush: () => undefined,
        close: () => undefined,
        sendHeartbeat: (_, frame) => {
          send(frame);
          return true;
        },
      },
      replicas: { get: (id) => (id === RANGE ? replica : undefined) },
      ticking: { start: () => undefined },
    });
  }

  tick(): void {
    this.nowMs += DEFAULT_STORE_CONFIG.heartbeatIntervalMs;
    for (const store of [this.leaderStore, this.memberStore]) {
      store.tick(this.nowMs, 0);
      store.flush(this.nowMs);
    }
    this.deliver();
    this.deliver();
  }

  deliver(): void {
    for (const deliver of this.#frames.splice(0)) deliver();
  }

  supported(): this {
    this.leaderStore.lead(this.leader);
    for (let ticks = 0; ticks < 5 && !this.cores.isSupported; ticks += 1) this.tick();
    expect(this.cores).toMatchObject({ isSupported: true, isSupporting: true });
    return this;
  }
}

describe('heartbeats between two stores', () => {
  it('tell a member what its leader committed, once per frame', () => {
    const pair = new Pair().supported();
    const { cores, leader, leaderStore } = pair;
    pair.tick();
    pair.sent.length = 0;
    for (const commit of [4, 6, 9]) {
      cores.commit = logIndex(commit);
      leaderStore.noteCommits(leader);
    }
    leaderStore.noteCommits(leader);
    pair.tick();
    expect(pair.sent.flatMap(({ commits }) => commits)).toEqual([
      { rangeId: RANGE, term: term(5), commit: 9 },
    ]);
    cores.commit = logIndex(10);
    leaderStore.noteCommits(leader);
    pair.tick();
    expect(cores.learned.slice(-2)).toEqual([9, 10]);
  });

  it('do not answer news with what members hear of commits', () => {
    const pair = new Pair().supported();
    const { cores, leader, leaderStore, memberStore } = pair;
    pair.tick();
    pair.sent.length = 0;
    cores.commit = logIndex(4);
    leaderStore.noteCommits(leader);
    // News without a heartbeat.
    memberStore.leave(pair.member);
    memberStore.flush(pair.nowMs + 1);
    pair.deliver();
    expect(pair.sent).toEqual([]);
    pair.tick();
    expect(pair.sent.flatMap(({ commits }) => commits)).toHaveLength(1);
  });

  it('count an answer only for the member that lives on the store it comes from', () => {
    const pair = new Pair();
    pair.isMemberMute = true;
    pair.leaderStore.lead(pair.leader);
    for (let ticks = 0; ticks < 3; ticks += 1) pair.tick();
    // The member's store was there once, so it is asked.
    const beat = { generation: 1, sentAtMs: 1, echoSentAtMs: pair.nowMs, ended: [], released: [], asks: [] };
    pair.leaderStore.receive(MEMBER_STORE, encodeStoreHeartbeat({ ...beat, answers: [], commits: [] }));
    pair.tick();
    const ask = pair.sent.flatMap(({ asks }) => asks).at(-1);
    if (ask === undefined) throw new Error('nobody was asked');
    const yes = encodeStoreHeartbeat({ ...beat, answers: [{ ...ask, isSupporting: true }], commits: [] });
    pair.leaderStore.receive(storeId(3), yes);
    expect(pair.cores.isSupported).toBe(false);
    pair.leaderStore.receive(MEMBER_STORE, yes);
    expect(pair.cores.isSupported).toBe(true);
  });

  it('tell the leader that a member is not supported any more, when a frame of another generation was not of its store', () => {
    const pair = new Pair().supported();
    const forged = { generation: 77, sentAtMs: 1, echoSentAtMs: 0, ended: [], released: [], asks: [] };
    pair.memberStore.receive(LEADER_STORE, encodeStoreHeartbeat({ ...forged, answers: [], commits: [] }));
    expect(pair.cores).toMatchObject({ isSupported: true, isSupporting: false });
    // Nobody counts on a vote hold that is not kept.
    pair.memberStore.flush(pair.nowMs);
    pair.deliver();
    expect(pair.cores.isSupported).toBe(false);
  });

  it('tell the leader that support ended before they answer it again, whatever ended it', () => {
    const pair = new Pair().supported();
    // An input of the core, which nobody reports: a newer term, say.
    pair.cores.isSupporting = false;
    pair.member.contact.supportEnded();
    const beat = {
      generation: 5,
      sentAtMs: pair.nowMs,
      echoSentAtMs: 0,
      ended: [],
      answers: [],
      released: [],
    };
    pair.memberStore.receive(LEADER_STORE, encodeStoreHeartbeat({ ...beat, asks: [], commits: [] }));
    pair.deliver();
    expect(pair.cores.isSupported).toBe(false);
  });

  it('count support for one store only, the one whose replica leads', () => {
    const pair = new Pair().supported();
    const other = storeId(3);
    Object.assign(pair.member, { storeOf: () => other });
    const ask = { rangeId: RANGE, term: term(5), round: 9 };
    const beat = { generation: 5, sentAtMs: 1, echoSentAtMs: 0, ended: [], answers: [], released: [] };
    pair.memberStore.receive(other, encodeStoreHeartbeat({ ...beat, asks: [ask], commits: [] }));
    expect([...pair.memberStore.peers].map(({ followers }) => followers.size)).toEqual([0, 1]);
    pair.memberStore.flush(pair.nowMs);
    pair.deliver();
    expect(pair.cores.isSupported).toBe(false);
  });

  it('tell that a leadership ended also to a store that seems not to support any member', () => {
    const pair = new Pair().supported();
    const { cores } = pair;
    pair.isMemberMute = true;
    for (let ticks = 0; ticks < 10; ticks += 1) pair.tick();
    // It still hears the leader's store, so it still answers for the member.
    expect(cores).toMatchObject({ isSupported: false, isSupporting: true });
    cores.role = 'follower';
    pair.leaderStore.afterInput(pair.leader);
    pair.tick();
    expect(cores.isSupporting).toBe(false);
  });
});
