import type { LogIndex, ReplicaId, Term } from '@cairn/base';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import {
  defaultRaftConfig,
  EntryKind,
  isTermBelievable,
  RaftNode,
  TERM_MAX,
  type Entry,
  type Message,
  type MessageType,
} from './index.js';
import { MemoryRaftStorage, NO_CONTACT, TestCluster, type TestReplica } from './testing/index.js';

const PAYLOAD = new Uint8Array(1);
/** As much as is believed in 2026. */
const LIE = 1_780_000_000_000;
const nobodyIsCut = (): boolean => false;

function led(): { cluster: TestCluster; leader: TestReplica; follower: TestReplica } {
  const cluster = TestCluster.of(3);
  const leader = cluster.get(1);
  leader.node.campaign(cluster.nowMs);
  cluster.stabilize();
  leader.node.propose(PAYLOAD);
  cluster.stabilize();
  return { cluster, leader, follower: cluster.get(2) };
}

interface Fields {
  readonly from?: number;
  readonly to?: number;
  readonly term?: number;
  readonly index?: number;
  readonly indexTerm?: number;
  readonly commit?: number;
  readonly context?: number;
  readonly sentAtMs?: number;
  readonly terms?: readonly number[];
  readonly isYes?: boolean;
}

/** A message of any type out of one set of numbers. */
function messageOf(type: MessageType, fields: Fields): Message {
  const {
    index = 0,
    indexTerm = 0,
    commit = 0,
    context = 0,
    sentAtMs = 1,
    terms = [],
    isYes = false,
  } = fields;
  const head = {
    from: (fields.from ?? 2) as ReplicaId,
    to: (fields.to ?? 1) as ReplicaId,
    term: (fields.term ?? 1) as Term,
  };
  const at = index as LogIndex;
  const entries = terms.map((term, offset): Entry => ({
    index: (index + 1 + offset) as LogIndex,
    term: term as Term,
    kind: EntryKind.command,
    payload: PAYLOAD,
  }));
  const ids = [1, 2, 3] as ReplicaId[];
  const config = { voters: ids, outgoing: [], learners: [], learnersNext: [] };
  switch (type) {
    case 'pre-vote':
    case 'vote':
      return { ...head, type, lastIndex: at, lastTerm: indexTerm as Term, transfer: isYes };
    case 'pre-vote-response':
    case 'vote-response':
      return { ...head, type, granted: isYes };
    case 'append': {
      const before = { previousIndex: at, previousTerm: indexTerm as Term, commit: commit as LogIndex };
      return { ...head, type, ...before, entries, sentAtMs };
    }
    case 'append-response': {
      const hint = { hintIndex: commit as LogIndex, hintTerm: indexTerm as Term };
      return { ...head, type, index: at, rejected: isYes, ...hint, sentAtMs };
    }
    case 'heartbeat':
      return { ...head, type, commit: commit as LogIndex, readContext: context, sentAtMs };
    case 'heartbeat-response':
      return { ...head, type, readContext: context, sentAtMs };
    case 'snapshot':
      return { ...head, type, meta: { index: at, term: indexTerm as Term, config } };
    case 'timeout-now':
      return { ...head, type };
    case 'read-index':
      return { ...head, type, context };
    case 'read-index-response':
      return { ...head, type, context, index: at, refused: isYes };
  }
}

describe('what no replica can have sent changes nothing', () => {
  const toFollower = { from: 1, to: 2 };
  test.each<[string, 'leader' | 'follower', MessageType, Fields]>([
    ['a term above the top', 'follower', 'heartbeat', { ...toFollower, term: TERM_MAX + 1 }],
    ['a second leader of the term', 'leader', 'heartbeat', {}],
    ['entries of a second leader', 'leader', 'append', { index: 2, indexTerm: 1, terms: [1] }],
    ['a snapshot of a second leader', 'leader', 'snapshot', { index: 9, indexTerm: 1 }],
    ['a commit index beyond the log', 'follower', 'heartbeat', { ...toFollower, commit: 2 ** 40 }],
    ['an acknowledgement beyond the log', 'leader', 'append-response', { index: 3 }],
    ['an answer to what is not sent yet', 'leader', 'heartbeat-response', { sentAtMs: 1e9 }],
    ['an answer to no time', 'leader', 'append-response', { index: 2, sentAtMs: Number.NaN }],
    ['an answer to the end of time', 'leader', 'heartbeat-response', { sentAtMs: Infinity }],
    ['a read round that was not asked for', 'leader', 'heartbeat-response', { context: 7, sentAtMs: 0 }],
    ['a heartbeat without a time', 'follower', 'heartbeat', { ...toFollower, sentAtMs: Infinity }],
    [
      'an index at the top',
      'follower',
      'append',
      { ...toFollower, index: 2 ** 48 - 1, indexTerm: 1, terms: [1] },
    ],
    [
      'an entry that contradicts a committed one',
      'follower',
      'append',
      { from: 3, to: 2, term: 3, terms: [1, 2] },
    ],
    [
      'another term of the committed entry that it follows',
      'follower',
      'append',
      { from: 3, to: 2, term: 3, index: 2, indexTerm: 2, terms: [2] },
    ],
    ['a candidate that is ahead of its term', 'follower', 'vote', { from: 3, to: 2, term: 2, indexTerm: 2 }],
    [
      'a snapshot that is ahead of its term',
      'follower',
      'snapshot',
      { ...toFollower, index: 9, indexTerm: 2 },
    ],
    ['no term', 'follower', 'timeout-now', { ...toFollower, term: 0 }],
  ])('%s', (_, who, type, fields) => {
    const { cluster, leader, follower } = led();
    cluster.advance(200, nobodyIsCut);
    const { node } = who === 'leader' ? leader : follower;
    const before = node.status();
    expect(node.step(messageOf(type, fields), cluster.nowMs)).toEqual(expect.any(String));
    expect(node.hasReady()).toBe(false);
    expect(node.status()).toEqual(before);
  });

  test('a commit notice beyond the log', () => {
    const { cluster, follower } = led();
    const { node } = follower;
    const commit = node.commitIndex;
    expect(node.learnCommit(node.term, (2 ** 40) as LogIndex, cluster.nowMs)).toContain('is committed');
    expect(node.commitIndex).toBe(commit);
  });

  test('an answer to a read by somebody who does not lead', () => {
    const { cluster, follower } = led();
    expect(follower.node.readIndex(5)).toBe(true);
    const asked = follower.node.takeReady().messages[0];
    if (asked?.type !== 'read-index') throw new Error('no question');
    const answer = messageOf('read-index-response', { from: 3, to: 2, context: asked.context });
    expect(follower.node.step(answer, cluster.nowMs)).toBeUndefined();
    expect(follower.node.hasReady()).toBe(false);
  });
});

describe('terms', () => {
  test('are believed as far as there was time for so many elections', () => {
    const unixMs = 1_780_000_000_000;
    const terms = [1, 2 ** 32, unixMs, unixMs + 1, TERM_MAX];
    expect(terms.map((term) => isTermBelievable(term, unixMs))).toEqual([true, true, true, false, false]);
    // A clock that was never set.
    expect(isTermBelievable(40_000, 0)).toBe(true);
  });

  test('leave a group that was lied to able to elect', () => {
    const { cluster, leader } = led();
    leader.node.step(messageOf('append-response', { term: LIE, isYes: true }), cluster.nowMs);
    cluster.advance(5_000, nobodyIsCut);
    expect(cluster.leader()?.node.term).toBeGreaterThan(LIE);
  });

  test('that cannot rise any more end no process: nobody campaigns', () => {
    const node = nodeAt(1, TERM_MAX);
    for (let nowMs = 0; nowMs < 5_000; nowMs += 50) node.tick(nowMs);
    node.campaign(5_000);
    node.leaderStoreLost(5_000);
    node.tick(6_000);
    expect([node.term, node.role, node.hasReady()]).toEqual([TERM_MAX, 'follower', false]);
  });
});

function nodeAt(id: number, term: number, storage = new MemoryRaftStorage()): RaftNode {
  const voters = [1, 2, 3] as ReplicaId[];
  return new RaftNode({
    config: defaultRaftConfig(id as ReplicaId),
    storage,
    hardState: { term: term as Term, vote: 0 as ReplicaId, commit: 0 as LogIndex },
    contact: NO_CONTACT,
    appliedIndex: 0 as LogIndex,
    configState: { voters, outgoing: [], learners: [], learnersNext: [] },
    random: () => 0,
    startedAtMs: 0,
  });
}

/**
 * Three replicas whose host does as it is told and asserts nothing: only the cores may contradict themselves.
 */
class PlainHost {
  nowMs = 1_000;
  readonly nodes: readonly { readonly node: RaftNode; readonly storage: MemoryRaftStorage }[];

  constructor() {
    this.nodes = [1, 2, 3].map((id) => {
      const storage = new MemoryRaftStorage();
      return { storage, node: nodeAt(id, 0, storage) };
    });
  }

  step(message: Message): void {
    this.nodes[message.to - 1]?.node.step(message, this.nowMs);
  }

  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 50) {
      this.nowMs += 50;
      for (const { node } of this.nodes) node.tick(this.nowMs);
      for (let round = 0; round < 8; round += 1) this.#work();
    }
  }

  #work(): void {
    for (const { node, storage } of this.nodes) {
      if (!node.hasReady()) continue;
      const ready = node.takeReady();
      storage.stage(ready);
      node.persisted(ready.sequence);
      const last = ready.committed.at(-1);
      if (last !== undefined) node.applied(last.index);
      for (const message of [...ready.messages, ...ready.messagesAfterPersist]) {
        if (message.type !== 'snapshot') this.step(message);
        else node.snapshotSent(message.to, false);
      }
    }
  }
}

const TYPES: readonly MessageType[] = [
  ...(['pre-vote', 'pre-vote-response', 'vote', 'vote-response', 'append', 'append-response'] as const),
  ...(['heartbeat', 'heartbeat-response', 'timeout-now', 'read-index'] as const),
  'read-index-response',
];
const NUMBERS = fc.oneof(
  fc.integer({ min: 0, max: 6 }),
  fc.constantFrom(2 ** 32, 2 ** 40, 2 ** 48 - 2, 2 ** 48 - 1, 2 ** 48, Number.MAX_SAFE_INTEGER),
);

test('no sequence of forged and true messages makes the core contradict itself', () => {
  const forged = fc.record({
    type: fc.constantFrom(...TYPES),
    fields: fc.record({
      from: fc.integer({ min: 1, max: 4 }),
      to: fc.integer({ min: 1, max: 3 }),
      term: fc.oneof(fc.integer({ min: 0, max: 4 }), NUMBERS),
      ...{ index: NUMBERS, indexTerm: NUMBERS, commit: NUMBERS, context: NUMBERS },
      sentAtMs: fc.oneof(NUMBERS, fc.constantFrom(Number.NaN, Infinity, -Infinity, -1)),
      growth: fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 3 }),
      isYes: fc.boolean(),
    }),
  });
  const step = fc.oneof(
    { weight: 4, arbitrary: forged },
    { weight: 1, arbitrary: fc.constant('time' as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 24 }), (steps) => {
      const host = new PlainHost();
      host.pass(2_000);
      for (const one of steps) {
        if (one === 'time') {
          host.pass(700);
          continue;
        }
        const { growth, ...fields } = one.fields;
        // As the decoder sees to: terms of entries do not fall, and none is above the message's.
        let last = fields.indexTerm;
        const terms = growth.map((by) => (last += by)).filter((each) => each <= fields.term);
        host.step(messageOf(one.type, { ...fields, terms }));
      }
      host.pass(700);
    }),
    { numRuns: 300 },
  );
});
