import { describe, expect, it } from '@jest/globals';

import { FakeShard } from '../test/fake-shard.js';
import { MetadataCluster } from '../test/metadata-cluster.js';
import { settle } from '../test/virtual-clock.js';

async function ledCluster(): Promise<MetadataCluster> {
  const cluster = await MetadataCluster.start();
  await cluster.raft.elect(0);
  await settle();
  return cluster;
}

const timestampRequests = (cluster: MetadataCluster): string[] =>
  cluster.requests.filter((request) => request.endsWith('GetTimestamps'));

describe('MetadataClient', () => {
  it('finds the leader from any member, and stays with it on one connection', async () => {
    const cluster = await ledCluster();
    for (const seed of [1, 2, 3, 4, 5]) {
      const client = cluster.client(seed);
      cluster.connections = 0;
      for (let i = 0; i < 5; i += 1) await cluster.clock.until(client.status());
      expect(cluster.connections).toBeLessThanOrEqual(2);
    }
  });

  it('waits for a leader as long as a call may take, then says what was last', async () => {
    const cluster = await MetadataCluster.start();
    const client = cluster.client();
    const startMs = cluster.clock.nowMs();
    await expect(cluster.clock.until(client.status({ timeoutMs: 3_000 }))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('no leader is known'),
    });
    const tookMs = cluster.clock.nowMs() - startMs;
    expect(tookMs).toBeLessThanOrEqual(3_000);
    expect(tookMs).toBeGreaterThan(2_000);
    // Pauses grow to half a second: a handful of tries, not hundreds.
    expect(cluster.requests.length).toBeLessThan(20);

    const patient = client.status({ timeoutMs: 5_000 });
    await cluster.clock.advance(1_000);
    await cluster.raft.elect(2);
    expect((await cluster.clock.until(patient)).clusterId).not.toBe('');
  });

  it('goes round when members cannot be reached', async () => {
    const cluster = await ledCluster();
    const client = cluster.client();
    await cluster.clock.until(client.status());
    cluster.unreachable.add('meta-1:7100');
    await cluster.raft.elect(2);
    const status = await cluster.clock.until(client.status());
    expect(status.nodes.find((node) => node.leader)?.name).toBe('meta-3');
  });

  it('gives up a member that does not answer', async () => {
    const cluster = await ledCluster();
    const client = cluster.client();
    await cluster.clock.until(new FakeShard(client, 'shard-1', 1).join());
    cluster.raft.isHeld = true;
    const allocating = client.allocateIds(1);
    await cluster.clock.advance(1_500);
    await cluster.raft.elect(1, { keep: 0 });
    const first = await cluster.clock.until(allocating);
    expect(first).toBeGreaterThan(0);
  });

  it('passes on what is final', async () => {
    const cluster = await ledCluster();
    const client = cluster.client();
    const refused = client.putSettings([{ name: 'nonsense', value: '1' }]);
    await expect(cluster.clock.until(refused)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(cluster.requests.filter((request) => request.endsWith('PutSetting')).length).toBeLessThanOrEqual(
      2,
    );
  });

  it('lets a turn of callers share a request, two requests at most under way', async () => {
    const cluster = await ledCluster();
    const client = cluster.client();
    await cluster.clock.until(client.timestamp());
    cluster.requests.length = 0;
    cluster.latencyMs = 10;
    const first = Array.from({ length: 500 }, () => client.timestamp());
    await cluster.clock.advance(1);
    const second = Array.from({ length: 500 }, () => client.timestamps(3));
    await cluster.clock.advance(1);
    const third = Array.from({ length: 500 }, () => client.timestamp());
    await cluster.clock.advance(8);
    // The third turn waits for the first answer.
    expect(timestampRequests(cluster)).toHaveLength(1);
    const all = await cluster.clock.until(Promise.all([...first, ...second, ...third]));
    expect(timestampRequests(cluster)).toHaveLength(3);

    const given = new Set<number>();
    all.forEach((from, index) => {
      const count = index >= 500 && index < 1_000 ? 3 : 1;
      for (let i = 0; i < count; i += 1) given.add(from + i);
    });
    expect(given.size).toBe(2_500);
    expect(client.latest).toBe(Math.max(...given));
    expect(Math.min(...all.slice(1_000))).toBeGreaterThan(Math.max(...all.slice(0, 500)));
  });

  it('splits what is more than one request may ask for', async () => {
    const cluster = await ledCluster();
    const client = cluster.client();
    const wishes = Array.from({ length: 5 }, () => client.timestamps(30_000));
    const given = await cluster.clock.until(Promise.all(wishes));
    expect(timestampRequests(cluster).length).toBeGreaterThanOrEqual(3);
    const sorted = given.toSorted((a, b) => a - b);
    for (let i = 1; i < sorted.length; i += 1) {
      expect(sorted[i]).toBeGreaterThanOrEqual((sorted[i - 1] as number) + 30_000);
    }
  });

  it('goes on over a failover without giving back a smaller timestamp', async () => {
    const cluster = await ledCluster();
    const client = cluster.client();
    let last = 0;
    for (let round = 0; round < 12; round += 1) {
      if (round % 3 === 2) await cluster.raft.elect(round % 2, { isNoticed: round % 4 !== 0 });
      const next = await cluster.clock.until(client.timestamp());
      expect(next).toBeGreaterThan(last);
      last = next;
    }
  });

  it('ends its calls when it is closed or a signal says so', async () => {
    const cluster = await MetadataCluster.start();
    const client = cluster.client();
    const controller = new AbortController();
    const aborted = client.status({ signal: controller.signal });
    const closed = client.timestamp();
    await cluster.clock.advance(50);
    controller.abort(new Error('enough'));
    await expect(cluster.clock.until(aborted)).rejects.toThrow('enough');
    client.close();
    await expect(cluster.clock.until(closed)).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
