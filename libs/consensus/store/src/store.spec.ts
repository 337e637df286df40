import { describe, expect, it } from '@jest/globals';
import { CairnError, logIndex, rangeId, replicaId, storeId, term, type ReplicaId } from '@cairn/base';
import type { Message } from '@cairn/raft';

import { RIG_RANGE, StoresRig } from './stores.testing.js';

const heartbeatTo = (to: ReplicaId): Message => ({
  ...{ type: 'heartbeat', from: replicaId(11), to, term: term(6) },
  ...{ commit: logIndex(0), readContext: 0, sentAtMs: 1 },
});

describe('the creation of a replica', () => {
  it('is tried again when its machine does not open, instead of never applying anything', async () => {
    const rig = await StoresRig.open(3, {
      prepare: (id, machine) => {
        if (id === 3) machine.failuresLeft = 2;
      },
    });
    await expect(rig.create()).rejects.toThrow('the engine cannot read');
    const replica = rig.replicaAt(3);
    expect(replica.staleRefusal).toBe('it has no state yet');
    await rig.run(2_000);
    rig.replicaAt(1).propose(Buffer.from('k'));
    await rig.run(500);
    expect(rig.at(3).machines.get(rangeId(1))?.applied).toEqual(['k']);
    expect(replica.staleRefusal).toBeUndefined();
    expect(rig.at(3).warnings).toHaveLength(2);
  });

  it('is told to the leader that counted on the hold of the empty replica that was there before', async () => {
    const rig = await StoresRig.open(3);
    rig.refuseSnapshots();
    const descriptor = await rig.create(3, { createdAt: 2 });
    const supporter = (): string | undefined => {
      const { support } = rig.replicaAt(1).contact;
      if (support?.kind !== 'leading') return undefined;
      return support.members.find((member) => member.replicaId === replicaId(13))?.state;
    };
    await rig.run(1_000);
    const empty = rig.replicaAt(3);
    expect([empty.isInitialised, supporter()]).toEqual([false, 'supported']);
    // From here on store 1 hears of store 3, but not the other way round.
    rig.passes = (from, to) => from !== 1 || to !== 3;
    await rig.scheduler.settle(rig.at(3).store.createReplica(descriptor));
    await rig.run(60);
    expect([empty.isClosed, empty.contact.support, supporter()]).toEqual([true, undefined, 'unsupported']);
  });
});

describe('what a store is told to create', () => {
  it('is refused when it is for another store, and takes the place of a later replica that messages invented', async () => {
    const rig = await StoresRig.open(2);
    rig.refuseSnapshots();
    const descriptor = await rig.create(1);
    const { store } = rig.at(2);
    await expect(rig.scheduler.settle(store.createReplica(descriptor))).rejects.toThrow(
      'store 2 is no member of range 1',
    );
    const hint = { startKey: Buffer.alloc(0), confVersion: 1 };
    rig.send(1, 2, heartbeatTo(replicaId(90)), { hint });
    await rig.run(50);
    const late = { replicaId: replicaId(12), storeId: storeId(2), role: 'voter' as const };
    const withLate = { ...descriptor, replicas: [...descriptor.replicas, late] };
    expect(store.replica(rangeId(1))?.replicaId).toBe(90);
    await rig.scheduler.settle(store.createReplica(withLate));
    expect(store.replica(rangeId(1))).toMatchObject({ replicaId: 12, isInitialised: true });
  });
});

describe('a split', () => {
  it('creates its child also where a message has invented a replica of it', async () => {
    const rig = await StoresRig.open(3);
    rig.refuseSnapshots();
    await rig.create(3, { endKey: 'm' });
    const child = rangeId(50);
    rig.send(1, 3, heartbeatTo(replicaId(999)), {
      hint: { startKey: Buffer.from('z'), confVersion: 9 },
      range: child,
    });
    await rig.run(50);
    expect(rig.at(3).store.replica(child)?.replicaId).toBe(999);
    const ids = [{ rangeId: child, replicaIds: [501, 502, 503].map(replicaId) }];
    await rig.scheduler.settle(rig.at(1).store.splitRange(rangeId(1), 1, [Buffer.from('c')], ids));
    await rig.run(2_000);
    expect(rig.at(3).store.replica(child)).toMatchObject({ replicaId: 503, staleRefusal: undefined });
  });

  /** The leader of range 1, with a split in its log that nobody else gets. */
  async function splitUnderWay(): Promise<{ rig: StoresRig; split: Promise<void> }> {
    const rig = await StoresRig.open(3);
    await rig.create();
    await rig.run(1_000);
    rig.passes = (from, to) => from !== 1 && to !== 1;
    const ids = [{ rangeId: rangeId(50), replicaIds: [501, 502, 503].map(replicaId) }];
    const split = rig.at(1).store.splitRange(rangeId(1), 1, [Buffer.from('c')], ids);
    expect(rig.replicaAt(1).isFrozen).toBe(true);
    return { rig, split };
  }

  it('fails for whoever asked for it when its leader hears nobody any more', async () => {
    const { rig, split } = await splitUnderWay();
    const told = expect(split).rejects.toMatchObject({ code: 'NOT_LEADER' });
    await rig.run(3_000);
    await told;
    expect(rig.replicaAt(1)).toMatchObject({ isFrozen: false, descriptor: { epoch: { version: 1 } } });
  });

  it('fails for whoever asked for it when the store stops', async () => {
    const { rig, split } = await splitUnderWay();
    const told = expect(split).rejects.toMatchObject({ code: 'NOT_LEADER' });
    await rig.scheduler.settle(rig.at(1).store.close());
    await told;
  });
});

describe('a lease', () => {
  it('does not outlive a suspension of the machine, in which the monotonic clock stands still', async () => {
    const rig = await StoresRig.open(3);
    await rig.create();
    await rig.run(1_000);
    const leader = rig.replicaAt(1);
    const { process } = rig.at(1);
    expect(leader.hasLease(process.clock.nowMs())).toBe(true);
    // The others have had time to elect somebody; nobody has told this store, and no tick has come yet.
    process.stepWallClock(5_000);
    expect(leader.hasLease(process.clock.nowMs())).toBe(false);
    await rig.run(500);
    expect(leader.hasLease(process.clock.nowMs())).toBe(true);
    process.stepWallClock(-5_000);
    expect(leader.hasLease(process.clock.nowMs())).toBe(true);
  });

  it('does not outlive many short suspensions, and stands a clock that is slewed', async () => {
    const rig = await StoresRig.open(3);
    await rig.create();
    await rig.run(1_000);
    const leader = rig.replicaAt(1);
    const { process } = rig.at(1);
    for (let at = 0; at < 60; at += 1) {
      process.stepWallClock(0.5);
      await rig.run(1_000);
      expect(leader.hasLease(process.clock.nowMs())).toBe(true);
    }
    let lost = 0;
    for (let at = 0; at < 10; at += 1) {
      process.stepWallClock(20);
      if (!leader.hasLease(process.clock.nowMs())) lost += 1;
      await rig.run(60);
    }
    expect(lost).toBeGreaterThan(1);
  });
});

describe('a replica whose state is on its way', () => {
  it('serves no stale reads before its snapshot is installed', async () => {
    let hold: Promise<void> = Promise.resolve();
    let letGo = (): void => undefined;
    const rig = await StoresRig.open(3, { engineDelay: (id) => (id === 3 ? hold : Promise.resolve()) });
    await rig.create(3, { createdAt: 2 });
    hold = new Promise((resolve) => {
      letGo = resolve;
    });
    rig.replicaAt(1).propose(Buffer.from('k'));
    await rig.run(1_000);
    const replica = rig.replicaAt(3);
    // Clients reach its machine already, and its rows are not there.
    expect(replica.machine).toBeDefined();
    expect(replica.staleRefusal).toBe('it has no state yet');
    letGo();
    await rig.run(1_000);
    expect(replica.staleRefusal).toBeUndefined();
  });
});

describe('a command of a later release', () => {
  it('ends the store with that sentence, at every start again, and damages nothing', async () => {
    const newer = new CairnError('FORMAT_TOO_NEW', 'a later release of Cairn wrote it');
    let refuses = true;
    const rig = await StoresRig.running(3, {
      prepare: (id, machine) => {
        const apply = machine.apply.bind(machine);
        machine.apply = (entry, batch): void => {
          if (refuses && id === storeId(3) && entry.payload[0] === 9) throw newer;
          apply(entry, batch);
        };
      },
    });
    await rig.fill(2, 10);
    expect(rig.propose(10, 9)).toBe(true);
    await rig.run(500);
    expect(rig.at(3).fatal).toEqual([newer]);
    await rig.restart(3);
    await rig.run(500);
    expect(rig.at(3).fatal).toEqual([newer]);
    // The release that knows it.
    refuses = false;
    await rig.restart(3);
    await rig.scheduler.runUntilTrue(() => rig.isCaughtUp(storeId(3)), 20_000);
    const rows = await rig.leader.machines.get(RIG_RANGE)?.rows();
    expect(await rig.at(3).machines.get(RIG_RANGE)?.rows()).toEqual(rows);
    expect(rig.at(3).fatal).toEqual([]);
  });
});
