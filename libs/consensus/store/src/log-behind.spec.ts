import { describe, expect, it } from '@jest/globals';

import { RIG_RANGE, StoresRig } from './stores.testing.js';

const MIB = 1024 * 1024;
const STAGED_MAX = MIB;
const COMMAND_BYTES = 16 * 1024;

describe('a store whose log is behind', () => {
  it('refuses appends before its core takes them while the disk of its log stands, and catches up', async () => {
    const rig = await StoresRig.running(3, { store: { logStagedBytesMax: STAGED_MAX } });
    const slow = rig.follower;
    slow.disk.stallUntil(rig.scheduler.nowMs + 1_500);
    let accepted = 0;
    let peak = 0;
    for (let step = 0; step < 1_000; step += 1) {
      if (rig.propose(COMMAND_BYTES)) accepted += 1;
      await rig.run(1);
      peak = Math.max(peak, slow.metrics.valueOf('cairn_raft_log_staged_bytes'));
    }
    expect(accepted * COMMAND_BYTES).toBeGreaterThan(8 * STAGED_MAX);
    // What one turn took in before it knew may come on top.
    expect(peak).toBeLessThan(STAGED_MAX + MIB);
    await rig.run(4_000);
    expect(rig.stores.flatMap(({ fatal }) => fatal)).toEqual([]);
    const applied = rig.stores.map(({ store }) => store.replica(RIG_RANGE)?.appliedIndex);
    expect(applied[1]).toBe(applied[0]);
    expect(applied[2]).toBe(applied[0]);
  });

  it('refuses proposals at the leader while the disk of its log stands', async () => {
    const rig = await StoresRig.running(3, { store: { logStagedBytesMax: STAGED_MAX } });
    const { leader } = rig;
    leader.disk.stallUntil(rig.scheduler.nowMs + 300);
    let refused = 0;
    for (let step = 0; step < 1_000; step += 1) if (!rig.propose(COMMAND_BYTES)) refused += 1;
    expect(refused).toBeGreaterThan(900);
    await rig.run(3_000);
    expect(leader.fatal).toEqual([]);
    expect(rig.propose(10)).toBe(true);
  });
});
