import { describe, expect, it } from '@jest/globals';
import {
  logIndex,
  rangeId,
  replicaId,
  storeId,
  term,
  type RangeDescriptor,
  type RangeId,
  type ReplicaId,
} from '@cairn/base';
import { EntryKind, type Message } from '@cairn/raft';
import { encodeStoreHeartbeat, type StoreHeartbeat } from '@cairn/raft-wire';

import { EMPTY_REPLICAS_MAX } from './delivery.js';
import { encodeSnapshotHeader, type SnapshotHeader } from './snapshot-frames.js';
import { StoresRig } from './stores.testing.js';

const heartbeat = (from: number, to: number, inTerm: number, commit = 0): Message => ({
  type: 'heartbeat',
  from: replicaId(from),
  to: replicaId(to),
  term: term(inTerm),
  commit: logIndex(commit),
  readContext: 0,
  sentAtMs: 1,
});

const beat = (fields: Partial<StoreHeartbeat>): Buffer =>
  encodeStoreHeartbeat({
    ...{
      generation: 1,
      sentAtMs: 1,
      echoSentAtMs: 0,
      ended: [],
      answers: [],
      released: [],
      asks: [],
      commits: [],
    },
    ...fields,
  });

const NOBODY = 0 as ReplicaId;

const VOTE: Message = {
  type: 'vote',
  from: replicaId(13),
  to: replicaId(12),
  term: term(9),
  lastIndex: logIndex(100),
  lastTerm: term(8),
  transfer: true,
};

async function running(): Promise<StoresRig> {
  const rig = await StoresRig.open(3);
  await rig.create();
  rig.replicaAt(1).propose(Buffer.from('a'));
  await rig.run(1_000);
  return rig;
}

/** The range still takes writes, on all stores, in the term that it had. */
async function expectUnharmed(rig: StoresRig, inTerm: number): Promise<void> {
  rig.replicaAt(1).propose(Buffer.from('after'));
  await rig.run(1_000);
  for (const id of [1, 2, 3]) {
    expect(rig.at(id).fatal).toEqual([]);
    expect(rig.at(id).machines.get(rangeId(1))?.applied).toEqual(['a', 'after']);
    expect(rig.replicaAt(id).term).toBe(inTerm);
  }
}

describe('a message that no member can have sent', () => {
  it.each<[string, number, Message, string]>([
    ['a term near the top of its range', 3, heartbeat(13, 12, 2 ** 48 - 2), 'no time for so many elections'],
    ['a commit index beyond the log', 1, heartbeat(11, 12, 1, 2 ** 40), 'is committed'],
    ['a sender that no vote can name', 3, { ...VOTE, from: NOBODY }, 'replica 0 of it cannot be'],
    ['a member in the name of another store', 3, heartbeat(11, 12, 9), 'replica 11 lives on store 1'],
  ])('ends its session and nothing else: %s', async (_, from, message, reason) => {
    const rig = await running();
    const inTerm = rig.replicaAt(1).term;
    rig.send(from, 2, { ...message, term: message.term === 1 ? inTerm : message.term });
    await rig.run(20);
    expect(rig.at(2).refusals.map((error) => error.code)).toEqual(['CORRUPTION']);
    expect(rig.at(2).refusals[0]?.message).toContain(reason);
    await expectUnharmed(rig, inTerm);
  });

  it('is not listened to when it is the answer of nobody known', async () => {
    const rig = await running();
    const inTerm = rig.replicaAt(1).term;
    rig.send(3, 1, { ...heartbeat(99, 11, 900), type: 'heartbeat-response' } as Message);
    await rig.run(20);
    await expectUnharmed(rig, inTerm);
  });
});

describe('a replica', () => {
  it('is not removed because a message is for a later replica of its store', async () => {
    const rig = await running();
    const inTerm = rig.replicaAt(1).term;
    rig.send(1, 2, heartbeat(11, 2 ** 30, inTerm));
    await rig.run(200);
    await expectUnharmed(rig, inTerm);
  });

  it('is removed by a descriptor that some replica has applied and that does not name it', async () => {
    const rig = await running();
    const { descriptor } = rig.replicaAt(1);
    rig.at(2).store.learnDescriptor({
      ...descriptor,
      epoch: { ...descriptor.epoch, confVersion: descriptor.epoch.confVersion + 1 },
      replicas: descriptor.replicas.filter((member) => member.replicaId !== replicaId(12)),
    });
    await rig.run(200);
    expect(rig.at(2).store.replica(rangeId(1))).toBeUndefined();
  });

  it('that was invented closes the way for no later one when it is removed', async () => {
    const rig = await StoresRig.open(2);
    rig.refuseSnapshots();
    const descriptor = await rig.create(1);
    const hint = { startKey: Buffer.alloc(0), confVersion: 0 };
    const { store } = rig.at(2);
    const hear = async (id: number, confVersion: number): Promise<unknown> => {
      rig.send(1, 2, heartbeat(11, id, 6), { hint: { ...hint, confVersion } });
      await rig.run(50);
      return store.replica(rangeId(1))?.replicaId;
    };
    expect(await hear(2 ** 40, 1)).toBe(2 ** 40);
    const members = [
      {
        replicaId: replicaId(20),
        storeId: descriptor.replicas[0]?.storeId ?? storeId(1),
        role: 'voter' as const,
      },
    ];
    store.learnDescriptor({ ...descriptor, epoch: { version: 1, confVersion: 2 }, replicas: members });
    await rig.run(200);
    expect(store.replica(rangeId(1))).toBeUndefined();
    expect(await hear(20, 3)).toBeUndefined();
    expect(await hear(21, 3)).toBe(21);
  });

  it('that was invented gives way when the metadata service says which one is created here', async () => {
    const rig = await StoresRig.open(2);
    rig.refuseSnapshots();
    const descriptor = await rig.create(1);
    const { store } = rig.at(2);
    const hint = { startKey: Buffer.alloc(0), confVersion: 0 };
    rig.send(1, 2, heartbeat(11, 2 ** 40, 6), { hint: { ...hint, confVersion: 2 ** 40 } });
    await rig.run(50);
    expect(store.replica(rangeId(1))?.replicaId).toBe(2 ** 40);
    const mine = { replicaId: replicaId(12), storeId: storeId(2), role: 'voter' as const };
    await rig.scheduler.settle(store.createReplica({ ...descriptor, replicas: [mine] }));
    expect(store.replica(rangeId(1))).toMatchObject({ replicaId: 12, isInitialised: true });
  });

  it('that was invented closes no way for the member that the metadata service has on its store', async () => {
    const rig = await StoresRig.open(2);
    rig.refuseSnapshots();
    const descriptor = await rig.create(1);
    const { store } = rig.at(2);
    const hear = async (id: number, confVersion: number): Promise<unknown> => {
      rig.send(1, 2, heartbeat(11, id, 6), { hint: { startKey: Buffer.alloc(0), confVersion } });
      await rig.run(50);
      return store.replica(rangeId(1))?.replicaId;
    };
    expect(await hear(2 ** 40, 1)).toBe(2 ** 40);
    const member = (id: number, on: number): RangeDescriptor['replicas'][number] => ({
      ...{ replicaId: replicaId(id), storeId: storeId(on), role: 'voter' },
    });
    store.learnDescriptor({
      ...descriptor,
      epoch: { version: 1, confVersion: 2 },
      replicas: [member(20, 1), member(21, 2), member(22, 3)],
    });
    await rig.run(200);
    expect(store.replica(rangeId(1))).toBeUndefined();
    expect(await hear(20, 3)).toBeUndefined();
    expect(await hear(21, 3)).toBe(21);
  });

  it.each([2 ** 47, 2 ** 47 + 1, 2 ** 48, 0])(
    'of range %d, whose records have no place, never is',
    async (id) => {
      const rig = await StoresRig.open(1);
      const hint = { startKey: Buffer.from('k'), confVersion: 1 };
      rig.send(2, 1, heartbeat(1, 2, 1), { hint, range: id as RangeId });
      await rig.run(100);
      expect([...rig.at(1).store.replicas()]).toEqual([]);
      expect([rig.at(1).fatal, rig.at(1).refusals.length]).toEqual([[], 1]);
    },
  );

  it('without a state takes no entries: they follow the initial state of the range', async () => {
    const rig = await StoresRig.open(1);
    const hint = { startKey: Buffer.from('k'), confVersion: 1 };
    rig.send(2, 1, heartbeat(1, 2, 1), { hint });
    const payload = Buffer.from('invented');
    const entries = [{ index: logIndex(1), term: term(1), kind: EntryKind.command, payload }];
    const before = { previousIndex: logIndex(0), previousTerm: term(0), commit: logIndex(1) };
    const head = { from: replicaId(1), to: replicaId(2), term: term(1), sentAtMs: 1 };
    rig.send(2, 1, { type: 'append', ...head, ...before, entries });
    await rig.run(500);
    expect(rig.at(1).fatal).toEqual([]);
    expect(rig.at(1).refusals[0]?.message).toContain('entries follow 0');
  });

  it('is brought into existence by messages only so many times', async () => {
    const rig = await StoresRig.open(1);
    const hint = { startKey: Buffer.from('k'), confVersion: 1 };
    for (let at = 0; at < EMPTY_REPLICAS_MAX + 10; at += 1) {
      rig.send(2, 1, heartbeat(1, 2, 1), { hint, range: (1_000 + at) as RangeId });
    }
    await rig.run(2_000);
    expect([...rig.at(1).store.replicas()]).toHaveLength(EMPTY_REPLICAS_MAX);
    // Nobody writes to what was invented, and it makes room for a member.
    const member = 5 as RangeId;
    rig.send(2, 1, heartbeat(1, 2, 1), { hint, range: member });
    await rig.run(100);
    expect(rig.at(1).store.replica(member)).toBeUndefined();
    await rig.run(60_000);
    rig.send(2, 1, heartbeat(1, 2, 1), { hint, range: 1_000 as RangeId });
    await rig.run(100);
    rig.send(2, 1, heartbeat(1, 2, 1), { hint, range: member });
    await rig.run(100);
    const left = [...rig.at(1).store.replicas()].map((replica) => replica.rangeId);
    expect(left).toEqual([1_000, member]);
    // One that was let go and is written to again comes again.
    rig.send(2, 1, heartbeat(1, 2, 1), { hint, range: 1_001 as RangeId });
    await rig.run(100);
    expect(rig.at(1).store.replica(1_001 as RangeId)?.term).toBe(1);
    expect(rig.at(1).fatal).toEqual([]);
  });
});

describe('a snapshot', () => {
  it('is refused before a byte of it is kept when it is for nobody here, or has an older shape', async () => {
    const rig = await running();
    const replica = rig.replicaAt(2);
    const { descriptor } = replica;
    const header = (fields: Partial<SnapshotHeader>): Buffer =>
      encodeSnapshotHeader({
        ...{ rangeId: rangeId(1), from: replicaId(11), to: replicaId(12), term: replica.term, descriptor },
        meta: { index: logIndex(50), term: replica.term, config: replica.raft.configState },
        rowBytes: 0,
        namespaces: [],
        volatileState: Buffer.alloc(0),
        ...fields,
      });
    const begin = (fields: Partial<SnapshotHeader>): Promise<unknown> =>
      rig.scheduler.settle(
        rig.at(2).store.snapshotReceiver.begin(header(fields), rig.at(1).id, () => undefined),
      );
    await expect(begin({ to: replicaId(13) })).rejects.toThrow('store 2 has no replica 13 of range 1');
    await expect(begin({ rangeId: rangeId(5) })).rejects.toThrow('store 2 has no replica 12 of range 5');
    const others = descriptor.replicas.filter((member) => member.replicaId !== replicaId(12));
    await expect(begin({ descriptor: { ...descriptor, replicas: others } })).rejects.toThrow('does not name');
    const old = { ...descriptor, epoch: { version: 0, confVersion: 1 } };
    await expect(begin({ descriptor: old })).rejects.toThrow('epoch 0.1 is older than 1.1 here');
  });
});

describe('a heartbeat of another store', () => {
  it('is refused when it answers one that is not sent yet', async () => {
    const rig = await running();
    const { store } = rig.at(1);
    expect(() => {
      store.receiveHeartbeat(rig.at(2).id, beat({ echoSentAtMs: 10 ** 9 }));
    }).toThrow('answers a heartbeat of 1000000000 ms');
    await expectUnharmed(rig, rig.replicaAt(1).term);
  });

  it('is refused when it tells a commit index beyond the log', async () => {
    const rig = await running();
    const { store } = rig.at(2);
    const inTerm = rig.replicaAt(1).term;
    const notice = { rangeId: rangeId(1), term: inTerm, commit: logIndex(2 ** 40) };
    expect(() => {
      store.receiveHeartbeat(
        rig.at(1).id,
        beat({ asks: [{ rangeId: rangeId(1), term: inTerm, round: 1 }], commits: [notice] }),
      );
    }).toThrow('is committed, and the log');
    // As when the session ends that it came by.
    store.peerLost(rig.at(1).id);
    await rig.run(3_000);
    const leader = [1, 2, 3].find((id) => rig.replicaAt(id).isReadyLeader) ?? 0;
    rig.replicaAt(leader).propose(Buffer.from('after'));
    await rig.run(1_000);
    expect(rig.at(2).fatal).toEqual([]);
    expect(rig.at(2).machines.get(rangeId(1))?.applied).toEqual(['a', 'after']);
  });
});
