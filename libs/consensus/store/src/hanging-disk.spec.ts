import { describe, expect, it } from '@jest/globals';

import { StoresRig } from './stores.testing.js';

describe('a store whose disk hangs', () => {
  it('lets another one lead within seconds, says so, and follows when the disk answers again', async () => {
    const rig = await StoresRig.running(3);
    const hung = rig.leader;
    hung.disk.stallUntil(rig.scheduler.nowMs + 30_000);
    expect(rig.propose(100)).toBe(true);
    await rig.run(2_000);
    expect([rig.leader.id, hung.store.disk.hangsMs]).toEqual([hung.id, 0]);
    await rig.run(3_000);
    expect(rig.leader.id).not.toBe(hung.id);
    expect(hung.store.disk.hangsMs).toBeGreaterThan(3_000);
    expect(hung.metrics.valueOf('cairn_raft_log_write_under_way_seconds')).toBeGreaterThan(3);
    expect(hung.warnings).toContain('the disk does not answer, others are asked to lead');
    // Two of three disks are enough.
    const before = rig.appliedAt(rig.leader.id);
    await rig.fill(5, 100);
    expect(rig.appliedAt(rig.leader.id)).toBeGreaterThanOrEqual(before + 5);
    await rig.run(30_000);
    expect(hung.store.disk.hangsMs).toBe(0);
    await rig.fill(1, 100);
    await rig.scheduler.runUntilTrue(() => rig.isCaughtUp(hung.id), 20_000);
    expect(rig.stores.flatMap(({ fatal }) => fatal)).toEqual([]);
  });
});
