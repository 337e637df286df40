import { beforeEach, describe, expect, it } from '@jest/globals';
import type { CairnClient } from '@cairn/client';

import { SimCluster } from '../src/cluster.js';
import { startClient } from '../src/sim-client.js';
import type { SimShardNode } from '../src/shard-node.js';

describe('idle ranges', () => {
  let cluster: SimCluster;
  let client: CairnClient;

  /** Virtual milliseconds that it took. */
  async function timed(operation: Promise<unknown>): Promise<number> {
    const beganMs = cluster.scheduler.nowMs;
    await cluster.scheduler.settle(operation);
    return cluster.scheduler.nowMs - beganMs;
  }

  function quiescentCount(node: SimShardNode): number {
    return [...node.replicas()].filter((replica) => replica.raft.isQuiescent).length;
  }

  function leaderOf(rangeId: number): SimShardNode {
    const leader = cluster.shards.find((node) =>
      [...node.replicas()].some((replica) => replica.rangeId === rangeId && replica.isLeader),
    );
    if (leader === undefined) throw new Error(`range ${rangeId} has no leader`);
    return leader;
  }

  const isAllQuiescent = (): boolean => cluster.shards.every((node) => quiescentCount(node) === 4);

  beforeEach(async () => {
    cluster = new SimCluster({ seed: 'quiet' });
    await cluster.boot();
    ({ client } = startClient(cluster, 'client', 5_000));
    for (const key of ['d', 'h', 'p']) {
      await timed(client.put(key, 'value'));
      await timed(client.splitRanges([key]));
    }
    await cluster.scheduler.runUntilTrue(isAllQuiescent, 5_000);
  });

  it('go quiescent on all stores, keep their lease and are read without waking', async () => {
    await cluster.scheduler.runFor(10_000);
    expect(isAllQuiescent()).toBe(true);
    expect(await timed(client.get('h'))).toBeLessThan(10);
    expect(isAllQuiescent()).toBe(true);
    expect(cluster.observer.violations).toEqual([]);
  });

  it('wake for a write at their leader alone, and go quiescent again', async () => {
    await cluster.scheduler.runFor(10_000);
    expect(await timed(client.put('h', 'again'))).toBeLessThan(20);
    // No member wakes, and the leader rests as soon as both have acknowledged.
    expect(cluster.shards.map(quiescentCount).sort().slice(1)).toEqual([4, 4]);
    await cluster.scheduler.runUntilTrue(isAllQuiescent, 100);
    // What was committed is told without a tick of the range.
    await cluster.scheduler.runFor(200);
    const indexes = cluster.shards.map((node) =>
      [...node.replicas()].map(({ appliedIndex }) => appliedIndex),
    );
    expect(indexes[1]).toEqual(indexes[0]);
    expect(indexes[2]).toEqual(indexes[0]);
  });

  it('rest on while a process stands still for less than an election timeout', async () => {
    for (const node of cluster.shards) {
      await cluster.scheduler.runFor(2_000);
      node.pause();
      await cluster.scheduler.runFor(350);
      node.resume();
      for (let count = 0; count < 50; count += 1) {
        await cluster.scheduler.runFor(20);
        expect(isAllQuiescent()).toBe(true);
      }
    }
    expect(await timed(client.get('h'))).toBeLessThan(10);
    expect(cluster.observer.violations).toEqual([]);
  });

  it('spread over the stores that are left when theirs dies', async () => {
    // Enough of them that they cannot all fall to one by chance.
    for (const key of ['b', 'c', 'f', 'g', 'k', 'm', 's', 'v']) await timed(client.splitRanges([key]));
    await cluster.scheduler.runFor(5_000);
    const [replica] = leaderOf([...(cluster.shards[0]?.replicas() ?? [])][0]?.rangeId ?? 0).replicas();
    const leader = leaderOf(replica?.rangeId ?? 0);
    leader.die('power');
    const others = cluster.shards.filter((node) => node !== leader);
    const led = (node: SimShardNode): number => [...node.replicas()].filter((one) => one.isLeader).length;
    await cluster.scheduler.runUntilTrue(() => others.every((node) => led(node) > 0), 5_000);
    await cluster.scheduler.runFor(2_000);
    expect(others.map(led).reduce((sum, count) => sum + count, 0)).toBe(12);
  });

  it.each(['power', 'process'] as const)('get another leader when theirs dies (%s)', async (death) => {
    await cluster.scheduler.runFor(10_000);
    const [replica] = leaderOf([...(cluster.shards[0]?.replicas() ?? [])][0]?.rangeId ?? 0).replicas();
    const leader = leaderOf(replica?.rangeId ?? 0);
    leader.die(death);
    for (const key of ['a', 'd', 'h', 'p']) expect(await timed(client.put(key, 'again'))).toBeLessThan(1_500);
    await cluster.scheduler.runFor(5_000);
    // The two that are left agree without the third …
    const others = cluster.shards.filter((node) => node !== leader);
    await cluster.scheduler.runUntilTrue(() => others.every((node) => quiescentCount(node) === 4), 10_000);
    // … and wake for it when it is back.
    leader.start();
    await cluster.scheduler.runUntilTrue(isAllQuiescent, 10_000);
    const indexes = new Set(
      cluster.shards.flatMap((node) =>
        [...node.replicas()].map((one) => `${one.rangeId}@${one.appliedIndex}`),
      ),
    );
    expect(indexes.size).toBe(4);
    expect(cluster.observer.violations).toEqual([]);
  });

  it('get another leader when theirs is cut off without a sign', async () => {
    await cluster.scheduler.runFor(5_000);
    const [first] = cluster.shards[0]?.replicas() ?? [];
    const leader = leaderOf(first?.rangeId ?? 0);
    const rest = [...cluster.nodes.filter((node) => node !== leader).map((node) => node.name), 'client'];
    const heal = cluster.network.partition([leader.name], rest);
    for (const key of ['a', 'd', 'h', 'p']) expect(await timed(client.put(key, 'again'))).toBeLessThan(3_500);
    heal();
    await cluster.scheduler.runUntilTrue(isAllQuiescent, 15_000);
    expect(cluster.observer.violations).toEqual([]);
  });

  it('get another leader when the process of theirs stands still', async () => {
    await cluster.scheduler.runFor(5_000);
    const [first] = cluster.shards[0]?.replicas() ?? [];
    const leader = leaderOf(first?.rangeId ?? 0);
    leader.pause();
    for (const key of ['a', 'd', 'h', 'p']) expect(await timed(client.put(key, 'again'))).toBeLessThan(4_000);
    leader.resume();
    expect(await timed(client.get('d'))).toBeLessThan(1_000);
    await cluster.scheduler.runUntilTrue(isAllQuiescent, 15_000);
    expect(cluster.observer.violations).toEqual([]);
  });

  it('wake for a member whose machine vanished, although the stream to it looked open when it came back', async () => {
    await cluster.scheduler.runFor(5_000);
    const [first] = cluster.shards[0]?.replicas() ?? [];
    const leader = leaderOf(first?.rangeId ?? 0);
    const member = cluster.shards.find((node) => node !== leader) as SimShardNode;
    cluster.network.hideNextDeath(member.name, 9_000);
    member.die('power');
    for (const key of ['a', 'd', 'h', 'p']) await timed(client.put(key, 'missed'));
    await cluster.scheduler.runFor(1_500);
    member.start();
    const isCaughtUp = (): boolean =>
      new Set(
        cluster.shards.flatMap((node) =>
          [...node.replicas()].map((one) => `${one.rangeId}@${one.appliedIndex}`),
        ),
      ).size === 4;
    await cluster.scheduler.runUntilTrue(() => isAllQuiescent() && isCaughtUp(), 20_000);
    expect(cluster.observer.violations).toEqual([]);
  });
});
