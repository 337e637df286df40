import { describe, expect, it } from '@jest/globals';

import { RIG_RANGE, StoresRig } from './stores.testing.js';

const MIB = 1024 * 1024;
/** The log of a range is cut soon, so that whoever was away needs a snapshot. */
const SHORT_LOG = {
  checkpointBytes: 64 * 1024,
  checkpointIntervalMs: 200,
  logRetentionBytes: 1024,
  logForceTruncateBytes: 64 * 1024,
};
describe('a store whose disk is full', () => {
  it('goes on with what the others have written, and by itself when there is room', async () => {
    const rig = await StoresRig.running(3);
    await rig.fill(5, 1_000);
    const full = rig.leader;
    full.disk.setBytesMax(full.disk.usedBytes);
    await rig.fill(60, 20_000);
    await rig.run(1_000);
    expect([full.fatal, full.store.disk.isOutOfRoom]).toEqual([[], true]);
    const others = rig.stores.filter((one) => one !== full);
    expect(others.map(({ store }) => store.disk.isOutOfRoom)).toEqual([false, false]);
    const replica = full.store.replica(RIG_RANGE);
    const target = others[0]?.store.replica(RIG_RANGE)?.replicaId;
    if (target !== undefined) replica?.raft.transferLeader(target);
    replica?.wake();
    await rig.run(3_000);
    expect(rig.leader.id).not.toBe(full.id);
    await rig.fill(5, 1_000);
    expect(rig.appliedAt(rig.leader.id)).toBeGreaterThan(70);
    full.disk.setBytesMax(1_024 * MIB);
    await rig.scheduler.runUntilTrue(() => rig.isCaughtUp(full.id), 20_000);
    expect([full.fatal, full.store.disk.isOutOfRoom]).toEqual([[], false]);
  });

  it('closes, without a checkpoint, and has everything again after the next start', async () => {
    const rig = await StoresRig.running(3);
    await rig.fill(5, 1_000);
    const full = rig.leader;
    full.disk.setBytesMax(full.disk.usedBytes);
    await rig.fill(60, 20_000);
    await rig.scheduler.settle(full.store.close(), 5_000);
    full.disk.setBytesMax(1_024 * MIB);
    await rig.restart(full.id);
    await rig.run(5_000);
    await rig.fill(1, 10);
    await rig.scheduler.runUntilTrue(() => rig.isCaughtUp(full.id), 20_000);
    expect(await rig.at(full.id).machines.get(RIG_RANGE)?.rows()).toEqual(
      await rig.leader.machines.get(RIG_RANGE)?.rows(),
    );
  });

  it('starts with a snapshot that is half installed, and finishes it when its rows have room', async () => {
    const rig = await StoresRig.running(3, { config: SHORT_LOG });
    const { id } = rig.follower;
    rig.cut.add(id);
    await rig.fill(20, 100_000);
    await rig.run(2_000);
    rig.at(id).engine.flush = () => new Promise(() => undefined);
    rig.cut.clear();
    await rig.scheduler.runUntilTrue(
      () => rig.at(id).store.replica(RIG_RANGE)?.installation !== undefined,
      30_000,
    );
    await rig.run(1_000);
    const { disk } = rig.at(id);
    disk.setBytesMax(disk.usedBytes + 1_000);
    await rig.restart(id);
    await rig.run(20_000);
    const { store } = rig.at(id);
    expect([store.heldReplicas, store.replica(RIG_RANGE), rig.at(id).fatal]).toEqual([1, undefined, []]);
    expect(disk.paths().filter((path) => path.endsWith('.spool'))).toHaveLength(1);
    disk.setBytesMax(1_024 * MIB);
    await rig.scheduler.runUntilTrue(() => rig.isCaughtUp(id), 20_000);
    expect(store.heldReplicas).toBe(0);
    expect(await rig.at(id).machines.get(RIG_RANGE)?.rows()).toEqual(
      await rig.leader.machines.get(RIG_RANGE)?.rows(),
    );
    expect(disk.paths().filter((path) => path.endsWith('.spool'))).toEqual([]);
  });
});
