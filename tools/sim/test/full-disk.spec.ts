import { expect, it } from '@jest/globals';

import { SimCluster } from '../src/cluster.js';
import type { SimShardNode } from '../src/shard-node.js';

it('a node whose disk is full when it has started has room for its first replica in what it made then, and stays in touch', async () => {
  const cluster = new SimCluster({ seed: 'no room', engine: 'lsm' });
  const { scheduler } = cluster;
  const [first, second, third] = cluster.shards as [SimShardNode, SimShardNode, SimShardNode];
  for (const node of [...cluster.metadata, third]) node.start();
  await scheduler.runUntilTrue(() => third.store !== undefined, 10_000);
  const giveRoom = third.fill(0);
  for (const node of [first, second, ...cluster.routers]) node.start();
  await scheduler.runUntilTrue(() => cluster.routers.every(({ isReady }) => isReady), 10_000);
  await scheduler.runFor(60_000);
  expect([...third.replicas()].map(({ isInitialised }) => isInitialised)).toEqual([true]);
  expect(third.readiness()).toEqual([]);
  giveRoom();
  await scheduler.runUntilTrue(() => cluster.isHealthy, 10_000);
  expect(cluster.observer.violations).toEqual([]);
});
