import type { LogIndex, ReplicaId, Term } from '@cairn/base';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import {
  defaultRaftConfig,
  EntryKind,
  LEARNER_LAG_MAX,
  RaftNode,
  type AppendResponse,
  type ConfigOperation,
  type HeartbeatResponse,
  type Message,
} from './index.js';
import { MemoryRaftStorage, NO_CONTACT, TestCluster, type TestReplica } from './testing/index.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const id = (value: number): ReplicaId => value as ReplicaId;
const change = (...operations: [ConfigOperation['type'], number][]) => ({
  operations: operations.map(([type, replicaId]) => ({ type, replicaId: id(replicaId) })),
  leaveJoint: false,
  context: new Uint8Array(0),
});

function led(count: number): { cluster: TestCluster; leader: TestReplica } {
  const cluster = TestCluster.of(count);
  cluster.get(1).node.campaign(cluster.nowMs);
  cluster.stabilize();
  const leader = cluster.get(1);
  expect(leader.node.role).toBe('leader');
  return { cluster, leader };
}

describe('RaftNode', () => {
  test('one voter elects itself and commits alone', () => {
    const { cluster, leader } = led(1);
    expect(leader.node.propose(bytes('a'))).toMatchObject({ type: 'accepted', index: 2 });
    cluster.stabilize();
    expect(leader.appliedIndex).toBe(2);
    expect(leader.node.hasLease(cluster.nowMs)).toBe(true);
  });

  test('a read on a single voter and on a follower is confirmed', () => {
    const { cluster, leader } = led(3);
    expect(leader.node.readIndex(7)).toBe(true);
    expect(cluster.get(2).node.readIndex(9)).toBe(true);
    cluster.stabilize();
    expect(leader.reads).toEqual([{ context: 7, index: 1, refused: false }]);
    expect(cluster.get(2).reads).toEqual([{ context: 9, index: 1, refused: false }]);
    expect(cluster.get(2).appliedIndex).toBe(1);
  });

  test('a member begins as a learner, votes after a joint change, is demoted, then removed', () => {
    const { cluster, leader } = led(3);
    cluster.add(4, leader.node.configState);
    expect(leader.node.proposeConfigChange(change(['add-voter', 4]))).toMatchObject({
      reason: 'illegal-change',
    });
    expect(leader.node.proposeConfigChange(change(['add-learner', 4]))).toMatchObject({ type: 'accepted' });
    expect(leader.node.proposeConfigChange(change(['remove', 4]))).toMatchObject({
      reason: 'change-pending',
    });
    cluster.stabilize();
    expect(leader.node.configState.learners).toEqual([4]);
    expect(cluster.get(4).appliedIndex).toBe(leader.appliedIndex);
    leader.node.proposeConfigChange(change(['add-voter', 4], ['add-learner', 3]));
    cluster.stabilize();
    expect(leader.node.configState).toEqual({
      voters: [1, 2, 4],
      outgoing: [],
      learners: [3],
      learnersNext: [],
    });
    leader.node.proposeConfigChange(change(['remove', 3]));
    cluster.stabilize();
    expect(leader.node.configState.learners).toEqual([]);
    expect(leader.node.proposeConfigChange(change(['add-learner', 1]))).toMatchObject({
      reason: 'illegal-change',
    });
  });

  test('a transfer voids the lease, refuses proposals and moves leadership', () => {
    const { cluster, leader } = led(3);
    expect(leader.node.hasLease(cluster.nowMs + 100)).toBe(true);
    expect(leader.node.transferLeader(id(2))).toEqual({ type: 'accepted' });
    expect(leader.node.hasLease(cluster.nowMs)).toBe(false);
    expect(leader.node.propose(bytes('x'))).toEqual({ type: 'refused', reason: 'transferring' });
    cluster.stabilize();
    expect(cluster.leader()?.id).toBe(2);
  });

  test('a follower behind a compacted log catches up by snapshot', () => {
    const { cluster, leader } = led(3);
    const isCut = (message: { to: number; from: number }) => message.to === 3 || message.from === 3;
    for (let at = 0; at < 10; at += 1) leader.node.propose(bytes(`v${at}`));
    cluster.stabilize(isCut);
    leader.storage.compact(leader.appliedIndex);
    leader.node.propose(bytes('after'));
    cluster.stabilize();
    cluster.advance(400, () => false);
    expect(cluster.get(3).appliedIndex).toBe(leader.appliedIndex);
    expect(cluster.get(3).applied.map((entry) => entry.index)).toEqual(
      leader.applied.map((entry) => entry.index),
    );
  });

  test('what the host cannot apply stays in the log, and holds proposals back', () => {
    const cluster = TestCluster.of(3, { config: { uncommittedBytesMax: 10 } });
    const { node } = cluster.get(1);
    node.campaign(cluster.nowMs);
    cluster.stabilize();
    node.holdCommitted(true);
    let accepted = 0;
    while (accepted < 100 && node.propose(bytes('abc')).type === 'accepted') {
      accepted += 1;
      cluster.stabilize();
    }
    expect(accepted).toBe(3);
    expect([node.commitIndex, cluster.get(1).appliedIndex]).toEqual([4, 1]);
    expect(node.hasReady()).toBe(false);
    node.holdCommitted(false);
    cluster.stabilize();
    expect(cluster.get(1).appliedIndex).toBe(4);
    expect(node.propose(bytes('abc')).type).toBe('accepted');
  });

  test('a group whose members are supported needs no ticks, until a proposal', () => {
    const { cluster, leader } = led(3);
    cluster.advance(1000, () => false);
    supportBy(cluster, leader, 2, 3);
    expect([1, 2, 3].map((each) => cluster.get(each).node.isQuiescent)).toEqual([true, true, true]);
    cluster.advance(5000);
    expect(cluster.network).toEqual([]);
    leader.node.propose(bytes('w'));
    expect(leader.node.isQuiescent).toBe(false);
    cluster.stabilize();
    expect(cluster.get(2).node.isSupporting).toBe(true);
    expect(leader.appliedIndex).toBe(2);
  });
});

/**
 * Safety is asserted by TestCluster at every Ready; afterwards the network heals and the group must make
 * progress.
 */
test('random schedules keep the rules of Raft and recover', () => {
  const step = fc.record({ kind: fc.nat(15), who: fc.nat(4), what: fc.nat(1000) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 50, maxLength: 400 }), fc.integer(), (steps, seed) => {
      let state = seed >>> 0;
      const random = (): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32;
      };
      const cluster = TestCluster.of(5, { random });
      for (const { kind, who, what } of steps) {
        const replica = cluster.get(who + 1);
        act(cluster, replica, kind, what);
        cluster.checkLeases();
      }
      for (const replica of cluster.replicas.values()) if (replica.isDown) cluster.restart(replica.id);
      cluster.advance(8000, () => false);
      const leader = cluster.leader();
      expect(leader).toBeDefined();
      expect(leader?.node.propose(bytes('last')).type).toBe('accepted');
      cluster.advance(2000, () => false);
      const ends = [...cluster.replicas.values()].map((one) => one.appliedIndex);
      expect(new Set(ends).size).toBe(1);
    }),
    { numRuns: 150, seed: 20261120 },
  );
});

function act(cluster: TestCluster, replica: TestReplica, kind: number, what: number): void {
  if (kind === 0 && !replica.isDown) cluster.crash(replica.id);
  else if (kind === 1 && replica.isDown) cluster.restart(replica.id);
  else if (kind === 2) cluster.network.splice(what % (cluster.network.length + 1), 1);
  else if (kind === 3 && cluster.network.length > 0) {
    const message = cluster.network[what % cluster.network.length];
    if (message !== undefined) cluster.network.push(message);
  } else if (kind <= 5) cluster.advance(50 + (what % 300));
  else if (kind === 6 && !replica.isDown) replica.node.readIndex(what);
  else if (kind === 7 && !replica.isDown) replica.node.transferLeader(id((what % 5) + 1));
  else if (kind === 8 && !replica.isDown) replica.node.campaign(cluster.nowMs);
  else if (kind === 9 && !replica.isDown) replica.node.propose(bytes(String(what)));
  else if (kind === 10 && !replica.isDown) randomChange(replica, what);
  else if (kind === 11)
    cluster.stabilize((message) => message.to === replica.id || message.from === replica.id);
  else if (kind === 12 && !replica.isDown && replica.appliedIndex > 0)
    replica.storage.compact(replica.appliedIndex);
  else {
    for (const one of cluster.replicas.values()) cluster.process(one);
    if (!replica.isDown) cluster.sync(replica);
    for (let count = 0; count < 10 && cluster.network.length > 0; count += 1) {
      const [message] = cluster.network.splice(what % cluster.network.length, 1);
      if (message !== undefined) cluster.deliver(message);
    }
  }
}

function randomChange(replica: TestReplica, what: number): void {
  const target = (what % 5) + 1;
  const isVoter = replica.node.configState.voters.includes(id(target));
  replica.node.proposeConfigChange(change([isVoter ? 'add-learner' : 'add-voter', target]));
}

/** As the stores do: they answer for the members, and have told them what is committed. */
function supportBy(cluster: TestCluster, leader: TestReplica, ...members: number[]): void {
  const { nowMs } = cluster;
  for (const each of members) expect(cluster.support(leader, cluster.get(each))).toBe(true);
  leader.node.tick(nowMs + 100);
  for (const each of members) {
    const { node } = cluster.get(each);
    node.learnCommit(leader.node.term, leader.node.takeCommitNotice(id(each)), nowMs);
  }
}

describe('edges of the host contract', () => {
  const at = (value: number): LogIndex => value as LogIndex;
  const inTerm = (value: number): Term => value as Term;
  const append = (
    from: number,
    term: number,
    fields: { after: number; afterTerm: number; terms: number[] },
  ) => ({
    type: 'append' as const,
    from: id(from),
    to: id(2),
    term: inTerm(term),
    previousIndex: at(fields.after),
    previousTerm: inTerm(fields.afterTerm),
    commit: at(0),
    entries: fields.terms.map((one, offset) => ({
      index: at(fields.after + 1 + offset),
      term: inTerm(one),
      kind: EntryKind.command,
      payload: bytes(`${one}`),
    })),
    sentAtMs: 1,
  });

  test('a finished write of a suffix that was replaced meanwhile proves nothing', () => {
    const cluster = TestCluster.of(3);
    const { node, storage } = cluster.get(2);
    node.step(append(1, 1, { after: 0, afterTerm: 0, terms: [1, 1, 1] }), 1000);
    const first = node.takeReady();
    storage.stage(first);
    node.step(append(3, 2, { after: 1, afterTerm: 1, terms: [2] }), 1001);
    const second = node.takeReady();
    storage.stage(second);
    node.persisted(first.sequence);
    expect(node.status()).toMatchObject({ lastIndex: 2, durableIndex: 1 });
    node.persisted(second.sequence);
    expect(node.status()).toMatchObject({ lastIndex: 2, durableIndex: 2 });
    expect(second.messagesAfterPersist).toMatchObject([{ type: 'append-response', index: 2, term: 2 }]);
  });

  test('a snapshot of what is known only moves the commit index', () => {
    const cluster = TestCluster.of(3);
    const { node, storage } = cluster.get(2);
    node.step(append(1, 1, { after: 0, afterTerm: 0, terms: [1, 1] }), 1000);
    const ready = node.takeReady();
    storage.stage(ready);
    node.persisted(ready.sequence);
    const meta = { index: at(2), term: inTerm(1), config: node.configState };
    node.step({ type: 'snapshot', from: id(1), to: id(2), term: inTerm(1), meta }, 1001);
    expect(node.commitIndex).toBe(2);
    expect(node.takeReady()).toMatchObject({ snapshot: undefined, committed: [{ index: 1 }, { index: 2 }] });
  });

  test('committed entries that are not in memory are asked for, then applied', () => {
    const cluster = TestCluster.of(1);
    const { node, storage } = cluster.get(1);
    node.campaign(cluster.nowMs);
    cluster.stabilize();
    cluster.crash(1);
    storage.loadingBelow = 10;
    const again = cluster.get(1);
    again.appliedIndex = at(0);
    again.applied = [];
    cluster.restart(1);
    cluster.advance(2000);
    const loads: unknown[] = [];
    cluster.onReady = (_, ready) => loads.push(...ready.loads);
    cluster.stabilize();
    expect(loads).toMatchObject([{ to: 1, from: 1 }]);
    storage.loadingBelow = 0;
    again.node.entriesLoaded(id(1));
    cluster.stabilize();
    expect(again.appliedIndex).toBeGreaterThan(0);
  });

  test('a new replica with a log is electable at once only when it says that it was created now', () => {
    const make = (isInitial: boolean): RaftNode => {
      const storage = new MemoryRaftStorage();
      storage.reset({ index: at(10), term: inTerm(5) });
      const node = new RaftNode({
        config: defaultRaftConfig(id(1)),
        storage,
        contact: NO_CONTACT,
        hardState: { term: inTerm(5), vote: id(0), commit: at(10) },
        appliedIndex: at(10),
        configState: { voters: [id(1), id(2)], outgoing: [], learners: [], learnersNext: [] },
        random: () => 0.5,
        startedAtMs: 0,
        isInitial,
      });
      node.campaign(0);
      return node;
    };
    expect(make(true).role).toBe('pre-candidate');
    const restarted = make(false);
    expect(restarted.role).toBe('follower');
    restarted.tick(250);
    restarted.tick(499);
    expect(restarted.role).toBe('follower');
    restarted.tick(500);
    expect(restarted.role).toBe('pre-candidate');
  });

  test('a replica whose log is ahead of its term after a crash begins in the term of its last entry', () => {
    const cluster = TestCluster.of(3);
    const { node, storage } = cluster.get(2);
    node.step(append(1, 1, { after: 0, afterTerm: 0, terms: [1] }), 1000);
    const { sequence, entries } = node.takeReady();
    // The write of the log was cut off between the entries and the term.
    storage.stage({ sequence, entries, hardState: undefined });
    storage.sync(sequence);
    storage.crash();
    const again = new RaftNode({
      config: defaultRaftConfig(id(2)),
      storage,
      contact: NO_CONTACT,
      hardState: storage.hardState,
      appliedIndex: at(0),
      configState: { voters: [id(1), id(2), id(3)], outgoing: [], learners: [], learnersNext: [] },
      random: () => 0.5,
      startedAtMs: 2000,
    });
    expect(again.takeReady()).toMatchObject({ hardState: { term: 1, vote: 0 }, mustSync: true });
    again.persisted(1);
    again.campaign(4000);
    const { messages } = again.takeReady();
    expect(messages).toMatchObject([
      { type: 'pre-vote', term: 2, lastTerm: 1 },
      { type: 'pre-vote', term: 2, lastTerm: 1 },
    ]);
    for (const message of messages) expect(cluster.get(message.to).node.step(message, 4001)).toBeUndefined();
  });

  test('heartbeats of the stores stand for those of the range', () => {
    const { cluster, leader } = led(3);
    cluster.advance(1000, () => false);
    supportBy(cluster, leader, 2, 3);
    const sentAtMs = cluster.nowMs + 5000;
    leader.contact.hearMember(id(2), sentAtMs, sentAtMs + 1);
    leader.contact.hearMember(id(9), sentAtMs, sentAtMs + 1);
    cluster.get(2).contact.hearLeader(sentAtMs);
    expect(leader.node.hasLease(sentAtMs + 399)).toBe(true);
    expect(leader.node.hasLease(sentAtMs + 400)).toBe(false);
    cluster.get(2).node.withdrawSupport(sentAtMs);
    cluster.get(2).node.campaign(sentAtMs + 499);
    expect(cluster.get(2).node.role).toBe('follower');
    for (const each of [2, 3]) leader.node.setSupported(id(each), false, sentAtMs + 410);
    leader.node.tick(sentAtMs + 420);
    expect(leader.node.takeReady().messages).toHaveLength(2);
    expect([leader.node.id, leader.node.leaderId]).toEqual([1, 1]);
  });

  test('a member that drops what it is sent is asked with little until it takes entries again', () => {
    const { cluster, leader } = led(3);
    const sent: number[] = [];
    const drops = (message: Message): boolean => {
      if (message.to !== 3 || message.type !== 'append' || message.entries.length === 0) return false;
      sent.push(message.entries.reduce((sum, { payload }) => sum + payload.length, 0));
      return true;
    };
    for (let count = 0; count < 100; count += 1) leader.node.propose(Buffer.alloc(1024));
    cluster.stabilize(drops);
    sent.length = 0;
    cluster.advance(3_000, drops);
    expect(sent.length).toBeGreaterThan(5);
    expect(Math.max(...sent)).toBe(4 * 1024);
    // What is longer than that goes alone.
    cluster.advance(500, () => false);
    leader.node.propose(Buffer.alloc(100_000));
    cluster.advance(500, drops);
    sent.length = 0;
    cluster.advance(1_000, drops);
    expect(new Set(sent)).toEqual(new Set([100_000]));
    cluster.advance(500, () => false);
    expect(cluster.get(3).node.commitIndex).toBe(leader.node.commitIndex);
  });

  test('a member that refused a snapshot is asked first whether it got there otherwise', () => {
    const { cluster, leader } = led(3);
    const isCut = (message: { to: number; type: string }) => message.to === 3;
    for (let count = 0; count < 5; count += 1) leader.node.propose(bytes('v'));
    cluster.stabilize(isCut);
    leader.storage.compact(leader.appliedIndex);
    leader.node.propose(bytes('w'));
    cluster.stabilize(isCut);
    const sentAfterSign = () => {
      cluster.nowMs += 50;
      leader.node.step({ ...answer(3, 1, 'heartbeat-response'), sentAtMs: cluster.nowMs }, cluster.nowMs);
      return leader.node.takeReady().messages.filter((message) => message.to === 3);
    };
    expect(sentAfterSign()).toMatchObject([{ type: 'snapshot' }]);
    leader.node.snapshotSent(id(3), false);
    // The first entry that the log still has: whoever was given the state before it takes it.
    expect(sentAfterSign()).toMatchObject([{ type: 'append', previousIndex: 6 }]);
    const rejection = { ...answer(3, 1, 'append-response'), rejected: true, index: at(6) };
    leader.node.step(rejection, cluster.nowMs);
    expect(leader.node.takeReady().messages).toMatchObject([{ type: 'snapshot', to: 3 }]);
    leader.node.snapshotSent(id(3), false);
    expect(sentAfterSign()).toMatchObject([{ type: 'append', previousIndex: 6 }]);
    leader.node.step({ ...answer(3, 1, 'append-response'), index: at(7) }, cluster.nowMs);
    expect(leader.node.status().peers.find((peer) => peer.replicaId === 3)).toMatchObject({
      state: 'replicate',
      match: 7,
    });
  });

  test('a member that waits for a snapshot goes on from the log when it turns out to have caught up', () => {
    const { cluster, leader } = led(3);
    const isCut = (message: { to: number; type: string }) => message.to === 3;
    for (let count = 0; count < 5; count += 1) leader.node.propose(bytes('v'));
    cluster.stabilize(isCut);
    leader.storage.compact(leader.appliedIndex);
    cluster.nowMs += 50;
    leader.node.step({ ...answer(3, 1, 'heartbeat-response'), sentAtMs: cluster.nowMs }, cluster.nowMs);
    expect(leader.node.takeReady().messages.at(-1)).toMatchObject({ type: 'snapshot', to: 3 });
    const third = () => leader.node.status().peers.find((peer) => peer.replicaId === 3);
    expect(third()).toMatchObject({ state: 'snapshot', pendingSnapshotIndex: 6, match: 1 });
    leader.node.step({ ...answer(3, 1, 'append-response'), rejected: true, index: at(5) }, cluster.nowMs);
    leader.node.step({ ...answer(3, 1, 'append-response'), index: at(3) }, cluster.nowMs);
    expect(third()?.state).toBe('snapshot');
    leader.node.step({ ...answer(3, 1, 'append-response'), index: at(99) }, cluster.nowMs);
    expect(third()).toMatchObject({ state: 'snapshot', match: 3 });
    leader.node.step({ ...answer(3, 1, 'append-response'), index: at(6) }, cluster.nowMs);
    expect(third()).toMatchObject({ state: 'replicate', match: 6, next: 7 });
    leader.node.snapshotSent(id(3), true);
    expect(third()?.state).toBe('replicate');
  });

  function answer(from: number, term: number, type: 'append-response'): AppendResponse;
  function answer(from: number, term: number, type: 'heartbeat-response'): HeartbeatResponse;
  function answer(from: number, term: number, type: 'append-response' | 'heartbeat-response'): Message {
    const base = { from: id(from), to: id(1), term: inTerm(term), sentAtMs: 0 };
    if (type === 'heartbeat-response') return { ...base, type, readContext: 0 };
    return { ...base, type, index: at(0), rejected: false, hintIndex: at(0), hintTerm: inTerm(0) };
  }

  test('a node is quiescent only when nothing is under way', () => {
    const { cluster, leader } = led(3);
    cluster.advance(1000, () => false);
    expect(leader.node.isQuiescent).toBe(false);
    supportBy(cluster, leader, 2, 3);
    expect(leader.node.isQuiescent).toBe(true);
    leader.node.readIndex(1);
    expect(leader.node.isQuiescent).toBe(false);
    cluster.stabilize();
    cluster.get(2).node.readIndex(2);
    expect(cluster.get(2).node.isQuiescent).toBe(false);
    cluster.stabilize();
    expect([1, 2, 3].map((each) => cluster.get(each).node.isQuiescent)).toEqual([true, true, true]);
    leader.node.transferLeader(id(2));
    expect(leader.node.isQuiescent).toBe(false);
    cluster.get(3).node.leaderStoreLost(cluster.nowMs);
    leader.node.leaderStoreLost(cluster.nowMs);
    leader.node.campaign(cluster.nowMs);
    expect(leader.node.role).toBe('leader');
  });

  test('a learner that is too far behind, or has nothing yet, is not promoted', () => {
    const { cluster, leader } = led(3);
    cluster.add(4, leader.node.configState);
    const isCut = (message: { to: number }) => message.to === 4;
    leader.node.proposeConfigChange(change(['add-learner', 4]));
    cluster.stabilize(isCut);
    expect(leader.node.proposeConfigChange(change(['add-voter', 4]))).toMatchObject({
      reason: 'learner-behind',
    });
    cluster.advance(200, () => false);
    for (let count = 0; count <= LEARNER_LAG_MAX; count += 1) leader.node.propose(bytes('v'));
    expect(leader.node.proposeConfigChange(change(['add-voter', 4]))).toMatchObject({
      reason: 'learner-behind',
    });
    cluster.stabilize();
    expect(leader.node.proposeConfigChange(change(['add-voter', 4]))).toMatchObject({ type: 'accepted' });
  });

  test('the commit index is written with the next entries once it covers a change of the members', () => {
    const { cluster, leader } = led(3);
    const nextHardState = (): unknown => {
      leader.node.propose(bytes('b'));
      const ready = leader.node.takeReady();
      expect(ready.mustSync).toBe(true);
      leader.storage.stage(ready);
      leader.node.persisted(ready.sequence);
      return ready.hardState;
    };
    leader.node.propose(bytes('a'));
    cluster.stabilize();
    expect(nextHardState()).toBeUndefined();
    cluster.stabilize();
    leader.node.proposeConfigChange(change(['add-learner', 4]));
    cluster.stabilize();
    cluster.advance(50, () => false);
    const { commitIndex } = leader.node.status();
    expect(nextHardState()).toMatchObject({ commit: commitIndex });
    expect(nextHardState()).toBeUndefined();
  });

  test('a durable suffix that is replaced is not durable until its replacement is', () => {
    const { node, storage } = TestCluster.of(3).get(2);
    node.step(append(1, 1, { after: 0, afterTerm: 0, terms: [1, 1, 1] }), 1000);
    const first = node.takeReady();
    storage.stage(first);
    node.persisted(first.sequence);
    node.step(append(3, 2, { after: 1, afterTerm: 1, terms: [2, 2] }), 1001);
    const second = node.takeReady();
    expect(node.status()).toMatchObject({ lastIndex: 3, durableIndex: 1 });
    expect(second.messages).toEqual([]);
    expect(second.messagesAfterPersist).toHaveLength(1);
  });

  test('a follower that heard its leader refuses votes until the hold is over, except in a transfer', () => {
    const { node } = TestCluster.of(3).get(2);
    node.step(append(1, 1, { after: 0, afterTerm: 0, terms: [] }), 1000);
    node.persisted(node.takeReady().sequence);
    const ask = (type: 'vote' | 'pre-vote', transfer: boolean, nowMs: number) => {
      const base = { from: id(3), to: id(2), term: inTerm(2), lastIndex: at(5), lastTerm: inTerm(1) };
      node.step({ ...base, type, transfer }, nowMs);
      const ready = node.takeReady();
      return [...ready.messages, ...ready.messagesAfterPersist];
    };
    expect(ask('pre-vote', false, 1499)).toMatchObject([{ granted: false, term: 1 }]);
    expect(ask('vote', false, 1499)).toEqual([]);
    expect(node.term).toBe(1);
    expect(ask('pre-vote', false, 1500)).toMatchObject([{ granted: true, term: 2 }]);
    node.step(append(1, 1, { after: 0, afterTerm: 0, terms: [] }), 1600);
    node.takeReady();
    expect(ask('vote', true, 1601)).toMatchObject([{ granted: true, term: 2 }]);
  });

  test('figure 8: a majority that holds an entry of an older term does not commit it', () => {
    const cluster = TestCluster.of(3);
    const { node } = cluster.get(2);
    node.step(append(1, 1, { after: 0, afterTerm: 0, terms: [1, 1] }), cluster.nowMs);
    cluster.stabilize();
    cluster.nowMs += 500;
    node.campaign(cluster.nowMs);
    cluster.stabilize((message) => message.type === 'append');
    expect(node).toMatchObject({ role: 'leader', term: 2, commitIndex: 0 });
    node.step({ ...answer(3, 2, 'append-response'), to: id(2), index: at(2) }, cluster.nowMs);
    expect(node.commitIndex).toBe(0);
    node.step({ ...answer(3, 2, 'append-response'), to: id(2), index: at(3) }, cluster.nowMs);
    expect(node.commitIndex).toBe(3);
  });

  test('misuse is an invariant error', () => {
    const { leader } = led(1);
    expect(() => {
      leader.node.applied(at(99));
    }).toThrow(/never handed out/);
    expect(() => {
      leader.node.persisted(9999);
    }).toThrow(/never taken/);
    expect(() => {
      leader.node.step(append(3, 1, { after: 0, afterTerm: 0, terms: [] }), 0);
    }).toThrow(/another replica/);
  });
});
