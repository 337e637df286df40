import type { LogIndex, ReplicaId, Term } from '@cairn/base';
import { describe, expect, test } from '@jest/globals';

import { EntryKind, type ConfigOperation, type Message, type SnapshotMeta } from './index.js';
import { READS_PENDING_MAX } from './read-index.js';
import { TestCluster, type TestReplica } from './testing/index.js';

const id = (value: number): ReplicaId => value as ReplicaId;
const at = (value: number): LogIndex => value as LogIndex;
const inTerm = (value: number): Term => value as Term;
const nobodyIsCut = (): boolean => false;
const PAYLOAD = new Uint8Array(1);

const change = (...operations: [ConfigOperation['type'], number][]) => ({
  operations: operations.map(([type, replicaId]) => ({ type, replicaId: id(replicaId) })),
  leaveJoint: false,
  context: new Uint8Array(0),
});

function led(count: number): { cluster: TestCluster; leader: TestReplica } {
  const cluster = TestCluster.of(count);
  const leader = cluster.get(1);
  leader.node.campaign(cluster.nowMs);
  cluster.stabilize();
  expect(leader.node.role).toBe('leader');
  return { cluster, leader };
}

const heartbeat = (from: number, to: number, term: number): Message => ({
  type: 'heartbeat',
  from: id(from),
  to: id(to),
  term: inTerm(term),
  commit: at(0),
  readContext: 0,
  sentAtMs: 1,
});

const entry = (index: number, term: number) => ({
  index: at(index),
  term: inTerm(term),
  kind: EntryKind.command,
  payload: PAYLOAD,
});

const append = (
  from: number,
  to: number,
  {
    term,
    after,
    terms,
  }: { readonly term: number; readonly after: [number, number]; readonly terms: number[] },
): Message => ({
  type: 'append',
  from: id(from),
  to: id(to),
  term: inTerm(term),
  previousIndex: at(after[0]),
  previousTerm: inTerm(after[1]),
  commit: at(0),
  entries: terms.map((one, offset) => entry(after[0] + 1 + offset, one)),
  sentAtMs: 1,
});

describe('elections', () => {
  test('after a failed handover everything waits for the hold, also when the connection broke before', () => {
    const { cluster } = led(3);
    const { node } = cluster.get(2);
    node.leaderStoreLost(cluster.nowMs);
    node.step({ type: 'timeout-now', from: id(1), to: id(2), term: node.term }, cluster.nowMs);
    expect(node.role).toBe('candidate');
    cluster.advance(400, () => true);
    expect(node.role).toBe('candidate');
    cluster.advance(200, () => true);
    expect(node.role).toBe('pre-candidate');
  });

  test('a sync of something older does not count the own vote', () => {
    const cluster = TestCluster.of(3);
    const { node, storage } = cluster.get(1);
    node.step(append(2, 1, { term: 1, after: [0, 0], terms: [1] }), cluster.nowMs);
    const older = node.takeReady();
    storage.stage(older);
    cluster.nowMs += 2000;
    node.campaign(cluster.nowMs);
    const answer = { from: id(3), to: id(1), term: inTerm(2), granted: true } as const;
    node.step({ type: 'pre-vote-response', ...answer }, cluster.nowMs);
    const campaign = node.takeReady();
    storage.stage(campaign);
    node.step({ type: 'vote-response', ...answer }, cluster.nowMs);
    node.persisted(older.sequence);
    expect(node.role).toBe('candidate');
    node.persisted(campaign.sequence);
    expect(node.role).toBe('leader');
  });

  test('only the leader can ask a follower to take over', () => {
    const { cluster } = led(3);
    const { node } = cluster.get(2);
    node.step({ type: 'timeout-now', from: id(3), to: id(2), term: node.term }, cluster.nowMs);
    expect(node.role).toBe('follower');
  });

  test('a handover that waits for an apply is void in the next term', () => {
    const { cluster, leader } = led(3);
    const follower = cluster.get(2);
    follower.isApplyHeld = true;
    leader.node.proposeConfigChange(change(['add-learner', 4]));
    cluster.advance(200, nobodyIsCut);
    follower.node.step({ type: 'timeout-now', from: id(1), to: id(2), term: inTerm(1) }, cluster.nowMs);
    expect(follower.node.role).toBe('follower');
    follower.node.step(heartbeat(3, 2, 2), cluster.nowMs);
    cluster.releaseApply(follower);
    expect(follower.node.status()).toMatchObject({ role: 'follower', term: 2, leaderId: 3 });
  });
});

describe('snapshots', () => {
  const meta = (replica: TestReplica): SnapshotMeta => ({
    index: at(9),
    term: inTerm(1),
    config: replica.node.configState,
  });

  test('while one is installed the log and the commit index stand still', () => {
    const cluster = TestCluster.of(3);
    const follower = cluster.get(2);
    const { node } = follower;
    node.step(append(1, 2, { term: 1, after: [0, 0], terms: [1] }), cluster.nowMs);
    const ready = node.takeReady();
    follower.storage.stage(ready);
    const offer = {
      type: 'snapshot',
      from: id(1),
      to: id(2),
      term: inTerm(1),
      meta: meta(follower),
    } as const;
    node.step(offer, cluster.nowMs);
    expect(node.takeReady().snapshot?.index).toBe(9);
    node.step({ ...heartbeat(1, 2, 1), commit: at(1) } as Message, cluster.nowMs);
    node.step(offer, cluster.nowMs);
    expect(node.commitIndex).toBe(0);
    expect(node.takeReady().snapshot).toBeUndefined();
    // A newer term is known by the time it is there: nobody to tell. The old write proves nothing any more.
    const vote = { from: id(3), to: id(2), lastIndex: at(0), lastTerm: inTerm(0), transfer: true } as const;
    node.step({ type: 'vote', term: inTerm(2), ...vote }, cluster.nowMs);
    node.takeReady();
    follower.storage.reset(meta(follower));
    node.snapshotInstalled(meta(follower));
    node.persisted(ready.sequence);
    expect(node.status()).toMatchObject({ leaderId: 0, appliedIndex: 9, lastIndex: 9, durableIndex: 9 });
    expect(node.hasReady() ? node.takeReady().messages : []).toEqual([]);
  });
});

describe('leaders', () => {
  test('a late refusal of what was accepted meanwhile changes nothing', () => {
    const { cluster, leader } = led(3);
    leader.node.propose(PAYLOAD);
    cluster.stabilize();
    const before = leader.node.status().peers;
    const refusal = { index: at(1), rejected: true, hintIndex: at(0), hintTerm: inTerm(0), sentAtMs: 0 };
    leader.node.step(
      { type: 'append-response', from: id(2), to: id(1), term: leader.node.term, ...refusal },
      cluster.nowMs,
    );
    expect(leader.node.status().peers).toEqual(before);
  });

  test('a transfer to a voter that is demoted meanwhile is over', () => {
    const { cluster, leader } = led(3);
    cluster.stabilize();
    expect(leader.node.proposeConfigChange(change(['add-learner', 2])).type).toBe('accepted');
    // The change goes through, the request to take over does not.
    expect(leader.node.transferLeader(id(2)).type).toBe('accepted');
    cluster.stabilize((message) => message.type === 'timeout-now');
    expect(leader.node.status().transferTarget).toBe(0);
    expect(leader.node.propose(PAYLOAD).type).toBe('accepted');
  });

  test('more reads than may wait are refused', () => {
    const { cluster, leader } = led(3);
    for (let context = 0; context < READS_PENDING_MAX; context += 1) {
      expect(leader.node.readIndex(context)).toBe(true);
    }
    expect(leader.node.readIndex(READS_PENDING_MAX)).toBe(false);
    cluster.stabilize();
    expect(leader.reads).toHaveLength(READS_PENDING_MAX);
  });

  test('what the host reports late or about strangers is ignored', () => {
    const { cluster, leader } = led(3);
    leader.node.applied(at(0));
    leader.node.entriesLoaded(id(9));
    leader.node.snapshotSent(id(9), true);
    expect(leader.node.status()).toMatchObject({ appliedIndex: 1, role: 'leader' });
    cluster.stabilize();
    expect(leader.node.hasReady()).toBe(false);
  });
});

describe('groups whose members are supported', () => {
  function supportBy(cluster: TestCluster, leader: TestReplica, ...members: number[]): void {
    for (const each of members) {
      expect(cluster.support(leader, cluster.get(each))).toBe(true);
      expect(leader.node.takeCommitNotice(id(each))).toBe(leader.node.commitIndex);
      expect(leader.node.takeCommitNotice(id(each))).toBe(0);
    }
  }

  test('members that are down do not keep a group from quiescence, a transfer does', () => {
    const { cluster, leader } = led(3);
    cluster.crash(3);
    cluster.advance(1500, nobodyIsCut);
    expect(leader.node.isQuiescent).toBe(false);
    supportBy(cluster, leader, 2);
    expect(leader.node.isQuiescent).toBe(true);
    expect(leader.node.transferLeader(id(2)).type).toBe('accepted');
    expect(leader.node.isQuiescent).toBe(false);
  });

  test('a joint configuration keeps a group from quiescence, and no leader a follower', () => {
    const { cluster, leader } = led(3);
    cluster.advance(1000, nobodyIsCut);
    supportBy(cluster, leader, 2, 3);
    leader.isApplyHeld = true;
    leader.node.proposeConfigChange(change(['add-learner', 3]));
    cluster.stabilize();
    expect(leader.node.isQuiescent).toBe(false);
    const fresh = TestCluster.of(3).get(2);
    expect(fresh.node.isQuiescent).toBe(false);
    expect(fresh.node.support(inTerm(1))).toBe(false);
  });

  test('a leader steps down when no quorum is supported any more and none was heard', () => {
    const { cluster, leader } = led(3);
    cluster.advance(1000, nobodyIsCut);
    supportBy(cluster, leader, 2, 3);
    const isLost = (): boolean => true;
    cluster.advance(5000, isLost);
    expect(leader.node.role).toBe('leader');
    leader.node.setSupported(id(2), false, cluster.nowMs);
    cluster.advance(1000, isLost);
    expect(leader.node.role).toBe('leader');
    leader.node.setSupported(id(3), false, cluster.nowMs);
    cluster.advance(250, isLost);
    expect(leader.node.role).toBe('follower');
  });

  test('what another leader tells about the commit index is ignored', () => {
    const { cluster, leader } = led(3);
    const follower = cluster.get(2).node;
    leader.node.propose(new Uint8Array(1));
    cluster.stabilize((message) => message.type === 'heartbeat');
    const before = follower.commitIndex;
    follower.learnCommit(inTerm(leader.node.term - 1), at(2), cluster.nowMs);
    expect(follower.commitIndex).toBe(before);
    leader.node.learnCommit(leader.node.term, at(2), cluster.nowMs);
    expect(leader.node.takeCommitNotice(id(2))).toBe(0);
    expect(leader.node.takeCommitNotice(id(9))).toBe(0);
    follower.learnCommit(leader.node.term, at(2), cluster.nowMs);
    expect(follower.commitIndex).toBe(2);
  });

  test('when every member has everything, only the commit index is left to tell', () => {
    const { cluster, leader } = led(3);
    cluster.advance(1000, nobodyIsCut);
    supportBy(cluster, leader, 2, 3);
    expect(leader.node.owesOnlyNotices).toBe(true);
    leader.node.propose(new Uint8Array(1));
    cluster.stabilize((message) => message.to === 3);
    // Committed by two of three; the third may need to be sent its entry again.
    expect(leader.node.commitIndex).toBe(2);
    expect(leader.node.owesOnlyNotices).toBe(false);
    cluster.advance(400);
    cluster.stabilize();
    expect(leader.node.owesOnlyNotices).toBe(true);
    expect(leader.node.isQuiescent).toBe(false);
    expect([2, 3].map((each) => leader.node.takeCommitNotice(id(each)))).toEqual([2, 2]);
    expect(leader.node.isQuiescent).toBe(true);
    leader.node.setSupported(id(3), false, cluster.nowMs);
    expect(leader.node.owesOnlyNotices).toBe(false);
    expect(cluster.get(2).node.owesOnlyNotices).toBe(false);
  });

  test('support ends with the term, and once', () => {
    const { cluster, leader } = led(3);
    cluster.advance(1000, nobodyIsCut);
    supportBy(cluster, leader, 2, 3);
    const follower = cluster.get(2).node;
    expect(follower.isSupporting).toBe(true);
    const { contact } = cluster.get(2);
    follower.withdrawSupport(cluster.nowMs);
    follower.withdrawSupport(cluster.nowMs);
    expect(follower.isSupporting).toBe(false);
    expect(contact.endings).toBe(1);
    expect(follower.support(leader.node.term)).toBe(true);
    expect(follower.support(inTerm(leader.node.term + 1))).toBe(false);
    leader.node.setSupported(id(9), true, cluster.nowMs);
    expect(leader.node.isHeardFrom(id(9))).toBe(false);
    expect(leader.node.isHeardFrom(id(2))).toBe(true);
    const base = { from: id(3), to: id(2), term: inTerm(leader.node.term + 1) };
    follower.step({ ...base, type: 'heartbeat', commit: at(0), readContext: 0, sentAtMs: 1 }, cluster.nowMs);
    expect(follower.isSupporting).toBe(false);
    expect(contact.endings).toBe(2);
  });

  describe('a follower', () => {
    /** Replica 2 supports leader 1, whose store it heard 200 ms after the last message of the range. */
    function supporting(): { cluster: TestCluster; follower: TestReplica; heardAtMs: number } {
      const { cluster, leader } = led(3);
      cluster.advance(1000, nobodyIsCut);
      supportBy(cluster, leader, 2, 3);
      const follower = cluster.get(2);
      const heardAtMs = cluster.nowMs + 200;
      follower.contact.hearLeader(heardAtMs);
      return { cluster, follower, heardAtMs };
    }

    /** Whether replica 3 gets the vote of replica 2 in a term that is new to it. */
    function isVoteGranted({ node }: TestReplica, nowMs: number): boolean {
      const { lastIndex, term } = node.status();
      const log = { lastIndex, lastTerm: inTerm(1), transfer: false };
      const asked = inTerm(term + 1);
      const refusal = node.step({ type: 'pre-vote', from: id(3), to: id(2), term: asked, ...log }, nowMs);
      expect(refusal).toBeUndefined();
      const answers: Message[] = [];
      while (node.hasReady()) {
        const { messages, messagesAfterPersist } = node.takeReady();
        answers.push(...messages, ...messagesAfterPersist);
      }
      const answer = answers.find((each) => each.type === 'pre-vote-response');
      return answer?.type === 'pre-vote-response' && answer.granted;
    }

    test('holds its vote from the last heartbeat of the store that it supports', () => {
      const { follower, heardAtMs } = supporting();
      expect(isVoteGranted(follower, heardAtMs + 499)).toBe(false);
      expect(isVoteGranted(follower, heardAtMs + 500)).toBe(true);
    });

    test('keeps that hold when a late answer brings a newer term without a leader', () => {
      const { follower, heardAtMs } = supporting();
      const stray = { type: 'vote-response', from: id(3), to: id(2), granted: false } as const;
      follower.node.step({ ...stray, term: inTerm(follower.node.term + 1) }, heardAtMs + 1);
      expect(follower.node.isSupporting).toBe(false);
      expect(follower.node.leaderId).toBe(0);
      expect(isVoteGranted(follower, heardAtMs + 499)).toBe(false);
      follower.node.tick(heardAtMs + 499);
      expect(follower.node.role).toBe('follower');
      expect(isVoteGranted(follower, heardAtMs + 500)).toBe(true);
    });

    test('that takes over when it has applied a change keeps it, and waits for no timer within it', () => {
      const { cluster, follower, heardAtMs } = supporting();
      const leader = cluster.get(1);
      follower.isApplyHeld = true;
      leader.node.proposeConfigChange(change(['add-learner', 4]));
      cluster.stabilize();
      const late = heardAtMs + 10_000;
      follower.contact.hearLeader(late);
      follower.node.step(
        { type: 'timeout-now', from: id(1), to: id(2), term: leader.node.term },
        cluster.nowMs,
      );
      expect(follower.node.role).toBe('follower');
      // An apply says nothing of the time.
      cluster.releaseApply(follower);
      expect(follower.node.role).toBe('candidate');
      follower.node.tick(late + 1);
      expect(follower.node.role).toBe('candidate');
    });

    test('that supports a leader whose store was never heard is a contradiction', () => {
      const { cluster, leader } = led(3);
      cluster.advance(1000, nobodyIsCut);
      const { node } = cluster.get(2);
      expect(node.support(leader.node.term)).toBe(true);
      expect(() => {
        node.withdrawSupport(cluster.nowMs);
      }).toThrow('supported a leader whose store was never heard');
    });
  });

  describe('a leader', () => {
    test('counts its lease from what the stores answered, after a pause from later questions', () => {
      const { cluster, leader } = led(3);
      cluster.advance(1000, nobodyIsCut);
      supportBy(cluster, leader, 2, 3);
      const sentAtMs = cluster.nowMs + 1000;
      leader.contact.hearMember(id(2), sentAtMs, sentAtMs + 5);
      expect(leader.node.hasLease(sentAtMs + 399)).toBe(true);
      expect(leader.node.hasLease(sentAtMs + 400)).toBe(false);
      leader.node.dropLease(sentAtMs + 10);
      expect(leader.node.hasLease(sentAtMs + 11)).toBe(false);
      leader.contact.hearMember(id(3), sentAtMs + 500, sentAtMs + 505);
      expect(leader.node.hasLease(sentAtMs + 506)).toBe(true);
    });

    test('keeps what a store answered when its support ends, and hears no more of it', () => {
      const { cluster, leader } = led(3);
      cluster.advance(1000, nobodyIsCut);
      supportBy(cluster, leader, 2, 3);
      const sentAtMs = cluster.nowMs + 1000;
      leader.contact.hearMember(id(2), sentAtMs, sentAtMs + 5);
      for (const each of [2, 3]) leader.node.setSupported(id(each), false, sentAtMs + 10);
      leader.contact.hearMember(id(2), sentAtMs + 300, sentAtMs + 300);
      expect(leader.node.hasLease(sentAtMs + 399)).toBe(true);
      expect(leader.node.hasLease(sentAtMs + 400)).toBe(false);
    });
  });
});
