import { describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';

import { prewriteOf, TxnRig } from '../kv/txn/txn-rig.testing.js';
import { overdueLocksOf, type LockedRange } from './overdue-locks.js';

/* Goal: a store tells of locks that nobody came back for, and of no others. */

const later = (at: Timestamp, ms: number): Timestamp => timestamp(at + ms * TIMESTAMP_LOGICAL_STEPS);

async function lockedRig(count: number): Promise<{ rig: TxnRig; starts: Timestamp[] }> {
  const rig = await TxnRig.leading();
  const starts = Array.from({ length: count }, () => rig.issue());
  for (const [at, start] of starts.entries()) rig.write(prewriteOf(start, { [`k${at}`]: '1' }));
  await rig.kv.run();
  return { rig, starts };
}

describe('overdue locks of a store', () => {
  it('are those whose time was over a while ago, in ranges that it leads', async () => {
    const { rig, starts } = await lockedRig(2);
    const { machine, max } = rig.kv;
    const startsAt = (now: Timestamp, ignored: readonly number[] = []): number[] =>
      overdueLocksOf([machine], now, ignored).map(({ start }) => start);
    // Their time is a second.
    expect(startsAt(later(max, 1_500))).toEqual([]);
    expect(startsAt(later(max, 4_500))).toEqual(starts);
    expect(startsAt(later(max, 4_500), [...starts].reverse().slice(0, 1))).toEqual(starts.slice(0, 1));
    expect(startsAt(later(max, 4_500), [...starts].reverse())).toEqual([]);
    rig.kv.replica.stepDown();
    expect(startsAt(later(max, 4_500))).toEqual([]);
    expect(overdueLocksOf([(await TxnRig.leading()).kv.machine], later(max, 4_500), [])).toEqual([]);
  });

  it('are as many as are told at a time', async () => {
    const { rig } = await lockedRig(50);
    const range: LockedRange = rig.kv.machine;
    expect(overdueLocksOf([range, range, range], later(rig.kv.max, 9_000), [])).toHaveLength(64);
  });
});
