import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { sleep } from '@cairn/ports';

import type { SnapshotChannel } from './snapshot-send.js';
import { RIG_RANGE, StoresRig } from './stores.testing.js';
import type { StoreOptions } from './store-options.js';

const MIB = 1024 * 1024;
/** The log of a range is cut soon, so that whoever was away needs a snapshot. */
const SHORT_LOG = {
  checkpointBytes: 64 * 1024,
  checkpointIntervalMs: 200,
  logRetentionBytes: 1024,
  logForceTruncateBytes: 64 * 1024,
};

describe('snapshots between stores', () => {
  it.each([
    [200, 10],
    [5, 3 * MIB],
    [4, 8 * MIB],
  ])('bring %s values of %s bytes, and a restart keeps them', async (count, bytes) => {
    const rig = await StoresRig.running(3, { config: SHORT_LOG });
    const { id } = rig.follower;
    rig.cut.add(rig.at(id).id);
    await rig.fill(count, bytes);
    rig.cut.clear();
    await rig.scheduler.runUntilTrue(() => rig.isCaughtUp(id), 60_000);
    expect(rig.at(id).metrics.valueOf('cairn_store_snapshots_total', 'installed')).toBe(1);
    const rows = await rig.leader.machines.get(RIG_RANGE)?.rows();
    expect(rows?.filter((row) => row.endsWith(`=${bytes}`))).toHaveLength(count);
    expect(await rig.at(id).machines.get(RIG_RANGE)?.rows()).toEqual(rows);
    expect(
      rig
        .at(id)
        .disk.paths()
        .filter((path) => path.endsWith('.spool')),
    ).toEqual([]);
    await rig.restart(id);
    await rig.scheduler.runUntilTrue(() => rig.isCaughtUp(id), 60_000);
    expect(await rig.at(id).machines.get(RIG_RANGE)?.rows()).toEqual(rows);
    expect(rig.stores.flatMap(({ fatal }) => fatal)).toEqual([]);
  });

  it('are given up without harm when there is no way to the store', async () => {
    const rig = await StoresRig.running(3, { config: SHORT_LOG });
    let asked = 0;
    rig.openChannel = () => {
      asked += 1;
      throw new Error('no address is known');
    };
    const { id } = rig.follower;
    rig.cut.add(rig.at(id).id);
    await rig.fill(20, 10_000);
    rig.cut.clear();
    await rig.run(3_000);
    expect(asked).toBeGreaterThan(1);
    expect(rig.leader.fatal).toEqual([]);
    expect(rig.propose(10)).toBe(true);
  });

  it('are given up when the receiver takes them by drops, and hold the log no longer', async () => {
    const rig = await StoresRig.running(3, { config: SHORT_LOG });
    let ended = 0;
    rig.openChannel = ({ process }) => ({
      begin: () => Promise.resolve({ type: 'accepted' }),
      chunk: () => sleep(process.clock, 20_000),
      end: () => Promise.resolve({ type: 'received' }),
      close: () => {
        ended += 1;
      },
    });
    rig.cut.add(rig.at(rig.follower.id).id);
    await rig.fill(20, 200_000);
    rig.cut.clear();
    const replica = rig.leader.store.replica(RIG_RANGE);
    await rig.scheduler.runUntilTrue(() => replica?.snapshotHolds.size === 1, 10_000);
    await rig.run(45_000);
    expect(ended).toBeGreaterThan(0);
    expect(rig.leader.metrics.valueOf('cairn_store_snapshots_total', 'send-failed')).toBeGreaterThan(0);
  });

  it('are offered about once a second to a store that refuses them', async () => {
    const rig = await StoresRig.running(3, { config: SHORT_LOG });
    let offered = 0;
    rig.openChannel = () => ({
      begin: () => {
        offered += 1;
        return Promise.resolve({ type: 'refused', reason: 'no room' });
      },
      chunk: () => Promise.resolve(),
      end: () => Promise.resolve({ type: 'received' }),
      close: () => undefined,
    });
    rig.cut.add(rig.follower.id);
    await rig.fill(20, 10_000);
    rig.cut.clear();
    await rig.run(10_000);
    expect(offered).toBeGreaterThan(5);
    expect(offered).toBeLessThan(12);
  });

  it('hold the log for each of two that are sent at one index', async () => {
    const rig = await StoresRig.running(5, { config: SHORT_LOG });
    const hanging: SnapshotChannel = {
      begin: () => new Promise(() => undefined),
      chunk: () => Promise.resolve(),
      end: () => Promise.resolve({ type: 'received' }),
      close: () => undefined,
    };
    const [first = 0, second = 0] = rig.stores.filter((one) => one !== rig.leader).map(({ id }) => id);
    rig.openChannel = (_, to) =>
      to === first
        ? hanging
        : { ...hanging, begin: () => Promise.resolve({ type: 'refused', reason: 'busy' }) };
    rig.cut.add(rig.at(first).id).add(rig.at(second).id);
    await rig.fill(20, 10_000);
    rig.cut.clear();
    await rig.run(3_000);
    const replica = rig.leader.store.replica(RIG_RANGE);
    expect(replica?.snapshotHolds.size).toBe(1);
    const index = [...(replica?.snapshotHolds ?? [])][0]?.index ?? 0;
    await rig.fill(20, 10_000);
    expect(replica?.log.firstIndex()).toBeLessThanOrEqual(index + 1);
  });

  const tooNew: readonly (readonly [string, Partial<StoreOptions>])[] = [
    [
      'with rows of a namespace',
      { spansOf: () => [{ start: Buffer.from('another'), end: Buffer.from('anothes') }] },
    ],
    [
      'with a state',
      {
        checkVolatileState: () => {
          throw new CairnError('FORMAT_TOO_NEW', 'a section that this release does not know');
        },
      },
    ],
  ];

  it.each(tooNew)(
    '%s that the receiver does not know are refused while it has all it had',
    async (_what, store) => {
      const rig = await StoresRig.running(3, { config: SHORT_LOG, store });
      await rig.fill(1, 10);
      const { id } = rig.follower;
      const before = await rig.at(id).machines.get(RIG_RANGE)?.rows();
      rig.cut.add(rig.at(id).id);
      await rig.fill(20, 10_000);
      rig.cut.clear();
      await rig.run(3_000);
      expect(rig.at(id).metrics.valueOf('cairn_store_snapshots_total', 'refused')).toBeGreaterThan(0);
      expect(rig.at(id).metrics.valueOf('cairn_store_snapshots_total', 'installed')).toBe(0);
      expect(await rig.at(id).machines.get(RIG_RANGE)?.rows()).toEqual(before);
      expect(rig.stores.flatMap(({ fatal }) => fatal)).toEqual([]);
    },
  );
});
