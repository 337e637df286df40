import { expect, it } from '@jest/globals';

import { SimCluster } from '../src/cluster.js';
import { startClient } from '../src/sim-client.js';

it('gives the right part of a split range a leader within a heartbeat and a little', async () => {
  const cluster = new SimCluster({ seed: 'splits' });
  const { scheduler } = cluster;
  await cluster.boot();
  const { client } = startClient(cluster, 'client', 2_000);
  for (const key of ['p', 'h', 't', 'd', 'l']) {
    await scheduler.settle(client.put(key, 'value'));
    expect(await scheduler.settle(client.splitRanges([key]))).toBe(1);
    const beganMs = scheduler.nowMs;
    const read = await scheduler.settle(client.get(key));
    expect(read?.text()).toBe('value');
    expect(scheduler.nowMs - beganMs).toBeLessThan(250);
  }
  expect(cluster.observer.violations).toEqual([]);
  expect([...(cluster.shards[0]?.store?.replicas() ?? [])]).toHaveLength(6);
});

/** So long that the records of one split take more than one block of the log. */
const LONG_KEY = 'k'.repeat(3_000);
const KEYS = ['a', 'z'];

/** Cuts the only range, and lets nodes lose power a while after that was asked for. */
async function cutAndLosePower(seed: string, afterMs: number, who: 'leader' | 'all'): Promise<void> {
  const cluster = new SimCluster({ seed });
  const { scheduler, shards } = cluster;
  await cluster.boot();
  const { client } = startClient(cluster, 'client', 10_000);
  for (const key of KEYS) await scheduler.settle(client.put(key, 'value'));
  // Each block of the log takes a while: a loss of power falls between two of them, too.
  for (const { disk } of shards) disk.setExtraMs([4, 8]);
  const asked = client.splitRanges([LONG_KEY]).catch(() => 0);
  await scheduler.runFor(afterMs);
  const leads = (node: (typeof shards)[number]): boolean =>
    [...node.replicas()].some(({ isReadyLeader }) => isReadyLeader);
  for (const { disk } of shards) disk.setExtraMs(undefined);
  const struck = who === 'all' ? [...shards] : shards.filter(leads).slice(0, 1);
  for (const node of struck) node.die('power');
  for (const node of struck) node.start();
  await scheduler.runUntilTrue(() => cluster.isHealthy, 20_000);
  await scheduler.settle(asked);
  await scheduler.settle(client.splitRanges([LONG_KEY]));
  const hasBoth = (node: (typeof shards)[number]): boolean => {
    const spans = [...node.replicas()].map(({ descriptorOrUndefined }) => descriptorOrUndefined);
    const ends = spans.map(
      (span) => span && [Buffer.from(span.startKey), Buffer.from(span.endKey)].join(' '),
    );
    return ends.sort().join() === [` ${LONG_KEY}`, `${LONG_KEY} `].sort().join();
  };
  await scheduler.runUntilTrue(() => shards.every(hasBoth) && cluster.isHealthy, 20_000);
  for (const key of KEYS) expect((await scheduler.settle(client.get(key)))?.text()).toBe('value');
  expect(cluster.observer.violations).toEqual([]);
}

it.each(['leader', 'all'] as const)(
  'ends the same wherever it loses power: %s',
  async (who) => {
    for (let afterMs = 0; afterMs <= 200; afterMs += 5) {
      await cutAndLosePower(`split-${who}-${afterMs}`, afterMs, who);
    }
  },
  120_000,
);
