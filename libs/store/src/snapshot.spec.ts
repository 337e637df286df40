import { describe, expect, it } from '@jest/globals';
import { sleep } from '@cairn/ports';

import type { SnapshotChannel } from './snapshot-send.js';
import { RIG_RANGE, StoreRig } from './store-rig.testing.js';

const MIB = 1024 * 1024;
/** The log of a range is cut soon, so that whoever was away needs a snapshot. */
const SHORT_LOG = {
  checkpointBytes: 64 * 1024,
  checkpointIntervalMs: 200,
  logRetentionBytes: 1024,
  logForceTruncateBytes: 64 * 1024,
};

async function fill(rig: StoreRig, count: number, bytes: number): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    while (!rig.propose(bytes, at)) await rig.scheduler.runFor(10);
    await rig.scheduler.runFor(50);
  }
  await rig.scheduler.runFor(2_000);
}

/** The store that was away has applied as much as the leader. */
function isCaughtUp(rig: StoreRig, id: number): boolean {
  const wanted = rig.leader.store.replica(RIG_RANGE)?.appliedIndex;
  return rig.at(id).store.replica(RIG_RANGE)?.appliedIndex === wanted;
}

function awayFrom(rig: StoreRig): number {
  return rig.stores.findLast((one) => one !== rig.leader)?.id ?? 0;
}

describe('snapshots between stores', () => {
  it.each([
    [200, 10],
    [5, 3 * MIB],
    [4, 8 * MIB],
  ])('bring %s values of %s bytes, and a restart keeps them', async (count, bytes) => {
    const rig = new StoreRig(SHORT_LOG);
    await rig.open();
    const id = awayFrom(rig);
    rig.cut.add(rig.at(id).id);
    await fill(rig, count, bytes);
    rig.cut.clear();
    await rig.scheduler.runUntilTrue(() => isCaughtUp(rig, id), 60_000);
    expect(rig.at(id).metrics.valueOf('cairn_store_snapshots_total', 'installed')).toBe(1);
    const rows = await rig.leader.machine?.rows();
    expect(rows?.filter((row) => row.endsWith(`=${bytes}`))).toHaveLength(count);
    expect(await rig.at(id).machine?.rows()).toEqual(rows);
    expect(
      rig
        .at(id)
        .disk.paths()
        .filter((path) => path.endsWith('.spool')),
    ).toEqual([]);
    await rig.restart(id);
    await rig.scheduler.runUntilTrue(() => isCaughtUp(rig, id), 60_000);
    expect(await rig.at(id).machine?.rows()).toEqual(rows);
    expect(rig.stores.map(({ fatal }) => fatal)).toEqual([undefined, undefined, undefined]);
  });

  it('are given up without harm when there is no way to the store', async () => {
    const rig = new StoreRig(SHORT_LOG);
    let asked = 0;
    rig.openChannel = () => {
      asked += 1;
      throw new Error('no address is known');
    };
    await rig.open();
    const id = awayFrom(rig);
    rig.cut.add(rig.at(id).id);
    await fill(rig, 20, 10_000);
    rig.cut.clear();
    await rig.scheduler.runFor(3_000);
    expect(asked).toBeGreaterThan(1);
    expect(rig.leader.fatal).toBeUndefined();
    expect(rig.propose(10)).toBe(true);
  });

  it('are given up when the receiver takes them by drops, and hold the log no longer', async () => {
    const rig = new StoreRig(SHORT_LOG);
    await rig.open();
    let ended = 0;
    rig.openChannel = ({ process }) => ({
      begin: () => Promise.resolve({ type: 'accepted' }),
      chunk: () => sleep(process.clock, 20_000),
      end: () => Promise.resolve({ type: 'received' }),
      close: () => {
        ended += 1;
      },
    });
    rig.cut.add(rig.at(awayFrom(rig)).id);
    await fill(rig, 20, 200_000);
    rig.cut.clear();
    const replica = rig.leader.store.replica(RIG_RANGE);
    await rig.scheduler.runUntilTrue(() => replica?.snapshotHolds.size === 1, 10_000);
    await rig.scheduler.runFor(45_000);
    expect(ended).toBeGreaterThan(0);
    expect(rig.leader.metrics.valueOf('cairn_store_snapshots_total', 'send-failed')).toBeGreaterThan(0);
  });

  it('hold the log for each of two that are sent at one index', async () => {
    const rig = new StoreRig(SHORT_LOG);
    const hanging: SnapshotChannel = {
      begin: () => new Promise(() => undefined),
      chunk: () => Promise.resolve(),
      end: () => Promise.resolve({ type: 'received' }),
      close: () => undefined,
    };
    await rig.open(5);
    const [first = 0, second = 0] = rig.stores.filter((one) => one !== rig.leader).map(({ id }) => id);
    rig.openChannel = (_, to) =>
      to === first
        ? hanging
        : { ...hanging, begin: () => Promise.resolve({ type: 'refused', reason: 'busy' }) };
    rig.cut.add(rig.at(first).id).add(rig.at(second).id);
    await fill(rig, 20, 10_000);
    rig.cut.clear();
    await rig.scheduler.runFor(3_000);
    const replica = rig.leader.store.replica(RIG_RANGE);
    expect(replica?.snapshotHolds.size).toBe(1);
    const index = [...(replica?.snapshotHolds ?? [])][0]?.index ?? 0;
    await fill(rig, 20, 10_000);
    expect(replica?.log.firstIndex()).toBeLessThanOrEqual(index + 1);
  });
});
