import { describe, expect, it } from '@jest/globals';
import { rangeId, replicaId, storeId, term, type LogIndex, type RangeDescriptor } from '@cairn/base';

import type { Replica } from './replica.js';
import { refusalOf, type SnapshotCheckParts } from './snapshot-check.js';
import { decodeSnapshotHeader, encodeSnapshotHeader, type SnapshotHeader } from './snapshot-frames.js';

const DESCRIPTOR: RangeDescriptor = {
  rangeId: rangeId(7),
  startKey: Buffer.from('a'),
  endKey: Buffer.from('m'),
  epoch: { version: 3, confVersion: 5 },
  replicas: [
    { replicaId: replicaId(3), storeId: storeId(1), role: 'voter' },
    { replicaId: replicaId(4), storeId: storeId(2), role: 'voter' },
  ],
};
const HEADER: SnapshotHeader = {
  rangeId: rangeId(7),
  from: replicaId(4),
  to: replicaId(3),
  term: term(6),
  meta: {
    index: 90 as LogIndex,
    term: term(6),
    config: { voters: [replicaId(3), replicaId(4)], outgoing: [], learners: [], learnersNext: [] },
  },
  descriptor: DESCRIPTOR,
  rowBytes: 0,
  namespaces: [],
  volatileState: Buffer.alloc(0),
};

/** Replica 3 at store 1, which follows replica 4 at store 2 in term 6 and has committed up to 20. */
function follower(changes: { leaderId?: number; term?: number; version?: number } = {}): Replica {
  const { leaderId = 4, term: inTerm = 6, version = 2 } = changes;
  return {
    replicaId: replicaId(3),
    raft: { status: () => ({ leaderId, term: inTerm, commitIndex: 20 }) },
    storeOf: (id: number) => (id === 4 ? 2 : 0),
    descriptorOrUndefined: { ...DESCRIPTOR, epoch: { version, confVersion: 5 } },
  } as unknown as Replica;
}

function judge(
  header: Partial<SnapshotHeader> = {},
  parts: Partial<SnapshotCheckParts> = {},
  from = 2,
): string | undefined {
  const around = { storeId: storeId(1), replica: follower(), isGone: false, overlaps: undefined };
  return refusalOf({ ...HEADER, ...header }, storeId(from), { ...around, ...parts });
}

describe('a store that is offered a snapshot', () => {
  it('takes the snapshot of the leader that the replica follows', () => {
    expect(judge()).toBeUndefined();
  });

  it.each([
    ['a store that the leader is not at', judge({}, {}, 5), 'replica 4 is not at store 5'],
    ['a range that is not here', judge({}, { replica: undefined }), 'store 1 has no replica 3 of range 7'],
    ['another replica', judge({ to: replicaId(9) }), 'store 1 has no replica 9 of range 7'],
    ['a removed replica', judge({}, { isGone: true }), 'replica 3 of range 7 was removed'],
    [
      'one that does not lead',
      judge({}, { replica: follower({ leaderId: 0 }) }),
      'does not follow replica 4',
    ],
    ['another term', judge({}, { replica: follower({ term: 7 }) }), 'does not follow replica 4 in term 6'],
    [
      'what is known here',
      judge({ meta: { ...HEADER.meta, index: 20 as LogIndex } }),
      'index 20 is known here',
    ],
    ['an older epoch', judge({}, { replica: follower({ version: 4 }) }), 'epoch 3.5 is older than 4.5 here'],
    ['a taken span', judge({}, { overlaps: { rangeId: 8 } as unknown as Replica }), 'range 8 here covers'],
    [
      'a descriptor without the replicas',
      judge({ descriptor: { ...DESCRIPTOR, replicas: [] } }),
      'does not name both replicas',
    ],
    [
      'a descriptor of another range',
      judge({ descriptor: { ...DESCRIPTOR, rangeId: rangeId(8) } }),
      'the descriptor is of range 8',
    ],
    [
      'an empty span',
      judge({ descriptor: { ...DESCRIPTOR, endKey: Buffer.from('a') } }),
      'its span is empty',
    ],
    [
      'a term above that of the sender',
      judge({ meta: { ...HEADER.meta, term: term(2 ** 40) } }),
      'is not of a log',
    ],
  ])('refuses %s', (_what, refusal, reason) => {
    expect(refusal).toContain(reason);
  });

  it('reads no header with millions of members to its end', () => {
    const many = Array.from({ length: 1_000 }, (_, at) => replicaId(at + 1));
    const { config } = HEADER.meta;
    const voters = { ...HEADER, meta: { ...HEADER.meta, config: { ...config, voters: many } } };
    const replicas = many.map((id) => ({ replicaId: id, storeId: storeId(1), role: 'voter' as const }));
    const members = { ...HEADER, descriptor: { ...DESCRIPTOR, replicas } };
    for (const header of [voters, members]) {
      expect(() => decodeSnapshotHeader(encodeSnapshotHeader(header))).toThrow(
        'a range of 1000 members; 64 is the most',
      );
    }
    expect(decodeSnapshotHeader(encodeSnapshotHeader(HEADER))).toMatchObject({ rangeId: 7 });
  });
});
