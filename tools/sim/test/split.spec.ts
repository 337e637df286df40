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
