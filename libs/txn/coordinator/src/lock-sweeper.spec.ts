import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { KvOp, type LockInfo } from '@cairn/wire';

import { key, type FakeShards } from './fake-shards.testing.js';
import { clusterOf, codeOf, CoordinatorRig } from './rig.testing.js';

/* Goal: locks that a router left end without anybody meeting them, and those of the living stay. */

function locksOf({ rows }: FakeShards): LockInfo[] {
  return [...rows.locks].map(([name, { primary, start, deadline }]) => ({
    ...{ key: key(name), primary, start: timestamp(start), deadline: timestamp(deadline) },
    owner: timestamp(0),
  }));
}

async function leftAt(step: 'prewrite' | 'commit'): Promise<CoordinatorRig> {
  const rig = await clusterOf(['m']);
  const other = await new CoordinatorRig(rig.shards, 'other').ready();
  const start = await rig.begin();
  rig.shards.answer = ({ router, command }, response) =>
    router === 'router' && command?.type === step ? undefined : response;
  const commit = codeOf(rig.commit(start, { a: '1', z: '2' }));
  await rig.run(6);
  rig.die();
  await rig.run(10);
  void commit;
  return other;
}

describe('locks that a router left', () => {
  it.each([
    ['before its decision are rolled back', 'prewrite', [undefined, undefined]],
    ['behind its decision are committed', 'commit', ['1', '2']],
  ] as const)('%s', async (_, step, values) => {
    const rig = await leftAt(step);
    const locks = locksOf(rig.shards);
    expect(locks.length).toBeGreaterThan(0);
    await rig.run(4_000);
    expect(await rig.settle(rig.coordinator.sweep(locks))).toEqual([]);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(await rig.read(['a', 'z'])).toEqual(values);
    // Told of them once more, by a store that was slow, it undoes nothing.
    expect(await rig.settle(rig.coordinator.sweep(locks))).toEqual([]);
    expect(await rig.read(['a', 'z'])).toEqual(values);
  });
});

describe('locks that stay', () => {
  it('are those of transactions that live, here or elsewhere', async () => {
    const rig = await clusterOf(['m']);
    const other = await new CoordinatorRig(rig.shards, 'other').ready();
    const start = await rig.begin();
    rig.shards.timestampDelayMs = 6_000;
    const commit = rig.commit(start, { a: '1', z: '2' }, { timeoutMs: 30_000 });
    await rig.run(4_500);
    const locks = locksOf(rig.shards);
    expect(locks).toHaveLength(2);
    for (const each of [rig, other]) expect(await rig.settle(each.coordinator.sweep(locks))).toEqual([start]);
    expect(await rig.settle(commit)).toBeGreaterThan(start);
  });

  it('are those of which nothing can be learned now', async () => {
    const rig = await leftAt('prewrite');
    await rig.run(4_000);
    const [lock] = locksOf(rig.shards);
    rig.shards.answer = ({ request }, response) => (request.op === KvOp.txnWrite ? undefined : response);
    const start = lock?.start ?? timestamp(0);
    expect(await rig.settle(rig.coordinator.sweep(lock === undefined ? [] : [lock]))).toEqual([start]);
    expect(await rig.settle(rig.coordinator.sweep([]))).toEqual([]);
  });
});
