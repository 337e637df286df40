/**
 * Goal: while a snapshot replaces the rows of a replica, and however that ends, no other range loses a row to
 * it and nothing stays behind. Method: whole stores on virtual time, with state machines whose rows lie where
 * their keys do.
 */
import { describe, expect, it } from '@jest/globals';
import { rangeId, replicaId, storeId } from '@cairn/base';

import { countKeys, KEYED_STORE, put } from './key-machine.testing.js';
import { RIG_RANGE, StoresRig } from './stores.testing.js';

const CHILD = rangeId(50);
const SMALL_LOGS = {
  checkpointBytes: 64 * 1024,
  checkpointIntervalMs: 200,
  logRetentionBytes: 1024,
  logForceTruncateBytes: 64 * 1024,
};

describe('a snapshot that is being installed', () => {
  it('costs no row of a range that was cut off meanwhile, when a crash cuts it short', async () => {
    const rig = await StoresRig.running(3, {
      config: { ...SMALL_LOGS, snapshotFreeBytesMin: 1 },
      store: KEYED_STORE,
    });
    const { id } = rig.follower;
    rig.cut.add(id);
    const ids = [{ rangeId: CHILD, replicaIds: [501, 502, 503].map((one) => replicaId(one)) }];
    await rig.scheduler.settle(rig.leader.store.splitRange(RIG_RANGE, 1, [Buffer.from('m')], ids), 5_000);
    for (let at = 10; at < 30; at += 1) {
      await put(rig, RIG_RANGE, `a${at}`, 100_000);
      await put(rig, CHILD, `z${at}`, 5_000);
    }
    await rig.run(2_000);
    // The rows of the large range take their time.
    const { engine } = rig.at(id);
    const write = engine.write.bind(engine);
    engine.write = (batch) => (batch.bytes > 500_000 ? new Promise(() => undefined) : write(batch));
    rig.cut.clear();
    const isInstalling = (): boolean => rig.at(id).store.replica(RIG_RANGE)?.installation !== undefined;
    await rig.scheduler.runUntilTrue(isInstalling, 30_000);
    await rig.run(6_000);
    await rig.restart(id);
    await rig.run(20_000);
    expect(rig.at(id).fatal).toEqual([]);
    expect(await countKeys(rig.at(id).engine, 'kz', 'l')).toBe(20);
    expect(await countKeys(rig.at(id).engine, 'ka', 'kz')).toBe(20);
  });

  it('leaves nothing behind when its replica is removed before it has a place', async () => {
    const rig = await StoresRig.open(3, { config: SMALL_LOGS });
    const third = storeId(3);
    rig.cut.add(third);
    const descriptor = await rig.create(3, { createdAt: 2 });
    await rig.fill(5, 1_000);
    rig.cut.clear();
    const { store } = rig.at(3);
    await rig.scheduler.runUntilTrue(() => store.replica(RIG_RANGE) !== undefined, 5_000);
    const replica = store.replica(RIG_RANGE);
    // The installation waits, as for a slow log.
    let goOn = (): void => undefined;
    if (replica !== undefined)
      replica.exclusiveWork = new Promise((resolve) => {
        goOn = resolve;
      });
    await rig.scheduler.runUntilTrue(() => replica?.raft.installing !== undefined, 20_000);
    await rig.run(50);
    // Meanwhile another store has got its place.
    store.learnDescriptor({
      ...descriptor,
      epoch: { version: 1, confVersion: 5 },
      replicas: descriptor.replicas.slice(0, 2),
    });
    if (replica !== undefined) replica.exclusiveWork = undefined;
    goOn();
    rig.cut.add(third);
    await rig.run(5_000);
    expect(rig.at(3).fatal).toEqual([]);
    expect(store.replicaCovering(Buffer.from('k'))).toBeUndefined();
  });

  it.each(['before it begins', 'while it is under way'])(
    'is no longer known after a restart when its replica is removed %s, whenever the process ends',
    async (when) => {
      const seen = new Set<string>();
      for (let ms = 0; ms < 60; ms += 1) {
        const rig = await StoresRig.open(3, { config: SMALL_LOGS });
        rig.cut.add(storeId(3));
        const descriptor = await rig.create(3, { createdAt: 2 });
        await rig.fill(5, 1_000);
        rig.cut.clear();
        const { store, disk } = rig.at(3);
        const isDue = (): boolean => {
          const replica = store.replica(RIG_RANGE);
          return (when.startsWith('before') ? replica?.raft.installing : replica?.installation) !== undefined;
        };
        await rig.scheduler.runUntilTrue(isDue, 20_000);
        rig.cut.add(storeId(3));
        disk.setExtraMs([1, 4]);
        const removed = {
          ...descriptor,
          epoch: { version: 1, confVersion: 5 },
          replicas: descriptor.replicas.slice(0, 2),
        };
        store.learnDescriptor(removed);
        await rig.run(ms);
        disk.setExtraMs(undefined);
        // The worst case: what was removed stays removed.
        await disk.attach().syncDirectory('/data/snapshots');
        seen.add(`spools ${disk.paths().filter((path) => path.endsWith('.spool')).length}`);
        await rig.restart(3);
        rig.at(3).store.learnDescriptor(removed);
        await rig.run(1_000);
        expect(rig.at(3).fatal).toEqual([]);
        expect(rig.at(3).store.replica(RIG_RANGE)).toBeUndefined();
        expect(
          rig
            .at(3)
            .disk.paths()
            .filter((path) => path.endsWith('.spool')),
        ).toEqual([]);
      }
      expect(seen).toEqual(new Set(['spools 0', 'spools 1']));
    },
  );
});

describe('two first snapshots that share keys', () => {
  const config = {
    ...SMALL_LOGS,
    logRetentionBytes: 1e7,
    logForceTruncateBytes: 1e8,
    snapshotFreeBytesMin: 1,
  };
  const ids = [{ rangeId: CHILD, replicaIds: [501, 502, 503].map((one) => replicaId(one)) }];

  it('are not both installed while the first of them waits', async () => {
    const rig = await StoresRig.open(3, { config, store: KEYED_STORE });
    rig.cut.add(storeId(3));
    await rig.create(3, { createdAt: 2 });
    for (let at = 10; at < 30; at += 1) await put(rig, RIG_RANGE, `z${at}`, 500);
    rig.cut.clear();
    const { store } = rig.at(3);
    await rig.scheduler.runUntilTrue(() => store.replica(RIG_RANGE) !== undefined, 5_000);
    const replica = rig.replicaAt(3);
    let goOn = (): void => undefined;
    replica.exclusiveWork = new Promise((resolve) => {
      goOn = resolve;
    });
    await rig.scheduler.runUntilTrue(() => replica.raft.installing !== undefined, 20_000);
    await rig.scheduler.settle(rig.leader.store.splitRange(RIG_RANGE, 1, [Buffer.from('m')], ids), 5_000);
    await rig.run(2_000);
    expect(store.replica(CHILD)?.isInitialised ?? false).toBe(false);
    for (let at = 40; at < 50; at += 1) await put(rig, CHILD, `z${at}`, 500);
    replica.exclusiveWork = undefined;
    goOn();
    await rig.run(10_000);
    expect(rig.at(3).fatal).toEqual([]);
    expect(await Promise.all(rig.stores.map(({ engine }) => countKeys(engine, 'kz', 'l')))).toEqual([
      30, 30, 30,
    ]);
  });

  it('leave the rows of the later one, where the engine is slow', async () => {
    const rig = await StoresRig.open(3, { config, store: KEYED_STORE });
    const other = rangeId(2);
    await rig.create(3, { range: other, startKey: 'y' });
    rig.cut.add(storeId(3));
    await rig.create(3, { createdAt: 2, endKey: 'y' });
    for (let at = 10; at < 60; at += 1) await put(rig, RIG_RANGE, `a${at}`, 100_000);
    for (let at = 10; at < 30; at += 1) await put(rig, RIG_RANGE, `t${at}`, 500);
    const { store, engine, process } = rig.at(3);
    const write = engine.write.bind(engine);
    const gate = Promise.withResolvers<void>();
    let isShut = true;
    engine.write = async (batch) => {
      if (isShut) await gate.promise;
      else if (batch.bytes > 500_000)
        await new Promise<void>((resolve) => {
          process.clock.setTimer(100, resolve);
        });
      await write(batch);
    };
    rig.cut.clear();
    await put(rig, other, 'yy', 10);
    await rig.scheduler.runUntilTrue(() => store.replica(RIG_RANGE)?.raft.installing !== undefined, 20_000);
    await rig.scheduler.settle(rig.leader.store.splitRange(RIG_RANGE, 1, [Buffer.from('m')], ids), 5_000);
    for (let at = 10; at < 30; at += 1) await put(rig, CHILD, `t${at}`, 700);
    await rig.run(10_000);
    expect(store.replica(CHILD)?.raft.installing).toBeUndefined();
    isShut = false;
    gate.resolve();
    await rig.run(30_000);
    expect(rig.at(3).fatal).toEqual([]);
    expect(rig.replicaAt(3).descriptor.endKey).toEqual(Buffer.from('m'));
    const iterator = engine.iterate({ start: Buffer.from('kt'), end: Buffer.from('ku') });
    expect((await iterator.next(100)).map(([, value]) => value.length)).toEqual(Array(20).fill(700));
    await iterator.close();
  });
});
