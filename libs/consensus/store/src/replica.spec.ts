import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, storeId, term, type RangeDescriptor } from '@cairn/base';
import { defaultRaftConfig, RaftNode, type ConfigState } from '@cairn/raft';
import { MemoryRaftStorage } from '@cairn/raft/testing';
import type { RangeLog } from '@cairn/raft-log';

import { StoreContact } from './heartbeat-peer.js';
import { Replica } from './replica.js';
import { SpanIndex } from './span-index.js';

const DESCRIPTOR: RangeDescriptor = {
  rangeId: rangeId(1),
  startKey: Buffer.alloc(0),
  endKey: Buffer.alloc(0),
  epoch: { version: 1, confVersion: 1 },
  replicas: [
    { replicaId: replicaId(4), storeId: storeId(1), role: 'voter' },
    { replicaId: replicaId(5), storeId: storeId(2), role: 'voter' },
  ],
};

function emptyReplica(members: Partial<ConfigState> = {}, tookIn = (): void => undefined): Replica {
  const storage = new MemoryRaftStorage();
  const contact = new StoreContact();
  const raft = new RaftNode({
    config: defaultRaftConfig(replicaId(4)),
    storage,
    contact,
    hardState: undefined,
    appliedIndex: logIndex(0),
    configState: { voters: [], outgoing: [], learners: [], learnersNext: [], ...members },
    random: () => 0.5,
    startedAtMs: 0,
  });
  return new Replica({
    rangeId: rangeId(1),
    replicaId: replicaId(4),
    raft,
    contact,
    log: storage as unknown as RangeLog,
    appliedIndex: logIndex(0),
    appliedTerm: term(0),
    consistentAtIndex: logIndex(0),
    host: {
      enqueue: () => undefined,
      proposed: () => undefined,
      isBehind: false,
      guardLeases: () => undefined,
      tookIn,
    },
    spans: new SpanIndex(),
  });
}

describe('a replica', () => {
  it('gives way to the creation of its range only before it is on its way to a state', () => {
    const replica = emptyReplica();
    expect(replica.isReplaceable).toBe(true);
    // A snapshot is being installed: its log is about to begin beyond the initial state.
    replica.isApplyBlocked = true;
    expect(replica.isReplaceable).toBe(false);
    replica.isApplyBlocked = false;
    replica.setDescriptor(DESCRIPTOR);
    expect(replica.isReplaceable).toBe(false);
  });

  it('gives way no more once its core has accepted a snapshot, before the next turn installs it', () => {
    const replica = emptyReplica();
    const config = { voters: [replicaId(4), replicaId(5)], outgoing: [], learners: [], learnersNext: [] };
    const meta = { index: logIndex(20), term: term(6), config };
    replica.raft.step({ type: 'snapshot', from: replicaId(5), to: replicaId(4), term: term(6), meta }, 0);
    expect(replica.raft.installing).toBe(meta);
    expect(replica.isReplaceable).toBe(false);
  });

  it('takes no proposal once it is on its way out: nobody would stage it', () => {
    let tookIn = 0;
    const replica = emptyReplica({}, () => {
      tookIn += 1;
    });
    replica.raft.propose = () => ({ type: 'accepted', index: logIndex(1), term: term(1) });
    replica.isClosed = true;
    expect(replica.propose(Buffer.from('late'))).toEqual({ type: 'refused', reason: 'not-leader' });
    expect(tookIn).toBe(0);
  });

  it('answers members by what their messages showed until a descriptor says better', () => {
    const replica = emptyReplica();
    expect(replica.storeOf(replicaId(5))).toBe(0);
    replica.noteCorrespondent(replicaId(5), storeId(9));
    expect(replica.storeOf(replicaId(5))).toBe(9);
    replica.setDescriptor(DESCRIPTOR);
    expect(replica.storeOf(replicaId(5))).toBe(2);
    expect(replica.leaderStoreId).toBe(0);
  });

  it('refuses a descriptor that goes back in time', () => {
    const replica = emptyReplica();
    replica.setDescriptor({ ...DESCRIPTOR, epoch: { version: 3, confVersion: 1 } });
    expect(() => {
      replica.setDescriptor(DESCRIPTOR);
    }).toThrow('an epoch never goes back');
  });

  it('knows by a newer descriptor without it that it was removed, and by nothing else', () => {
    const replica = emptyReplica();
    const without = {
      ...DESCRIPTOR,
      epoch: { version: 1, confVersion: 9 },
      replicas: DESCRIPTOR.replicas.slice(1),
    };
    expect(replica.isRemovedBy(without, storeId(1))).toBe(false);
    replica.confVersionSeen = 9;
    expect(replica.isRemovedBy(without, storeId(1))).toBe(false);
    replica.confVersionSeen = 8;
    expect(replica.isRemovedBy(without, storeId(1))).toBe(true);
    replica.setDescriptor({ ...DESCRIPTOR, epoch: { version: 1, confVersion: 9 } });
    expect(replica.isRemovedBy(without, storeId(1))).toBe(false);
    const newer = { version: 1, confVersion: 10 };
    expect(replica.isRemovedBy({ ...DESCRIPTOR, epoch: newer }, storeId(1))).toBe(false);
    expect(replica.isRemovedBy({ ...without, epoch: newer }, storeId(1))).toBe(true);
  });

  it('without a state goes when its store has another replica of the range, whatever version it was created with', () => {
    const replica = emptyReplica();
    replica.confVersionSeen = 2 ** 53 - 1;
    const member = { replicaId: replicaId(9), storeId: storeId(1), role: 'voter' as const };
    const other = { ...DESCRIPTOR, replicas: [...DESCRIPTOR.replicas.slice(1), member] };
    expect(replica.isRemovedBy(other, storeId(3))).toBe(false);
    expect(replica.isRemovedBy(other, storeId(1))).toBe(true);
    replica.setDescriptor({ ...DESCRIPTOR, epoch: { version: 1, confVersion: 2 } });
    expect(replica.isRemovedBy(other, storeId(1))).toBe(false);
  });

  it('serves stale reads as a voter whose state is whole, and otherwise says why not', () => {
    const learner = emptyReplica({ voters: [replicaId(5)], learners: [replicaId(4)] });
    learner.setDescriptor(DESCRIPTOR);
    learner.isMachineOpen = true;
    expect(learner.staleRefusal).toBe('it is a learner');
    const voter = emptyReplica({ voters: [replicaId(4), replicaId(5)] });
    expect(voter.staleRefusal).toBe('it has no state yet');
    voter.setDescriptor(DESCRIPTOR);
    expect(voter.staleRefusal).toBe('it has no state yet');
    voter.isMachineOpen = true;
    expect(voter.staleRefusal).toBeUndefined();
    voter.consistentAtIndex = logIndex(1);
    expect(voter.staleRefusal).toBe('it is catching up after a restart');
    voter.installation = Promise.resolve();
    expect(voter.staleRefusal).toBe('a snapshot is replacing its state');
  });

  it('confirms its own leadership only while it leads', () => {
    const replica = emptyReplica({ voters: [replicaId(4), replicaId(5)] });
    const answers: boolean[] = [];
    replica.confirmLeadership((isConfirmed) => answers.push(isConfirmed));
    expect(answers).toEqual([false]);
  });
});
