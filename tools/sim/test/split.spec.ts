import { expect, it } from '@jest/globals';
import { KvOp, newKvRequest, type KvRequest } from '@cairn/wire';

import { SimCluster } from '../src/cluster.js';
import { KvClient } from '../src/kv-client.js';

function requestFor(op: KvOp, key: string): KvRequest {
  const request = newKvRequest();
  request.op = op;
  request.key = Buffer.from(key);
  if (op === KvOp.put) request.value = Buffer.from('value');
  return request;
}

function clientOf(cluster: SimCluster): KvClient {
  const process = cluster.scheduler.startProcess('client');
  return new KvClient({
    name: 'client',
    clientId: 1,
    clock: process.clock,
    rng: cluster.rng.fork('client'),
    transport: cluster.network.attach(process),
    logger: cluster.observer.loggerFor('client'),
    storeAddresses: () => new Map(cluster.shards.map((node) => [node.storeId, node.address])),
    metadataAddresses: cluster.metadataAddresses,
  });
}

it('gives the right part of a split range a leader within a heartbeat and a little', async () => {
  const cluster = new SimCluster({ seed: 'splits' });
  const { scheduler } = cluster;
  await cluster.boot();
  const client = clientOf(cluster);
  for (const key of ['p', 'h', 't', 'd', 'l']) {
    const written = await scheduler.settle(client.perform(requestFor(KvOp.put, key), 2_000));
    expect(written.type).toBe('ok');
    await scheduler.settle(client.split(Buffer.from(key)));
    const beganMs = scheduler.nowMs;
    const read = await scheduler.settle(client.perform(requestFor(KvOp.get, key), 2_000));
    expect(read.type === 'ok' && read.response.found).toBe(true);
    expect(scheduler.nowMs - beganMs).toBeLessThan(250);
  }
  expect(cluster.observer.violations).toEqual([]);
  expect([...(cluster.shards[0]?.store?.replicas() ?? [])]).toHaveLength(6);
});
