import { describe, expect, it } from '@jest/globals';
import { storeId } from '@cairn/base';
import { noopLogger, noopMetrics } from '@cairn/ports';
import { acceptSession, createRpcServer, THIS_BUILD, type Hello } from '@cairn/wire';

import { FakeRaft } from '../test/fake-raft.js';
import { FakeShard } from '../test/fake-shard.js';
import { FakeTransport } from '../test/fake-transport.js';
import { START_UNIX_MS } from '../test/metadata-cluster.js';
import { seededRng, VirtualClock } from '../test/virtual-clock.js';
import { MetadataClient } from './metadata-client.js';
import { metadataConnector } from './metadata-connector.js';
import { createMetadataNode } from './metadata-node.js';

const ADDRESS = 'meta-1:7100';

function hello(kind: Hello['kind'], name: string, clusterId: string): Hello {
  return { ...THIS_BUILD, purpose: 'rpc', clusterId, kind, name, storeId: storeId(0) };
}

/** A single member behind real sessions. */
async function listen() {
  const clock = new VirtualClock(START_UNIX_MS);
  const transport = new FakeTransport(clock);
  const raft = new FakeRaft(1);
  await raft.open();
  const [member] = raft.members as [FakeRaft['members'][number]];
  const server = createRpcServer({ clock, logger: noopLogger });
  const node = createMetadataNode({
    machine: member.machine,
    group: member,
    server,
    name: 'meta-1',
    members: [{ name: 'meta-1', storeId: storeId(1), address: ADDRESS }],
    expectedStores: 1,
    clock,
    rng: seededRng(1),
    logger: noopLogger,
    metrics: noopMetrics,
    wallTime: () => ({ unixMs: clock.unixMs(), isAgreed: true }),
    agreedUnixMs: () => Promise.resolve(clock.unixMs()),
    build: THIS_BUILD,
    memberAwayMs: () => 0,
    memberBuild: () => undefined,
    isProcessConnected: () => false,
  });
  await transport.listen(ADDRESS, (connection) => {
    acceptSession(connection, {
      hello: () => hello('metadata', 'meta-1', node.clusterId),
      clock,
      logger: noopLogger,
      onSession: (session) => server.attach(session),
    });
  });
  const client = (clusterId = '', addresses = [ADDRESS]): MetadataClient =>
    new MetadataClient({
      addresses,
      connect: metadataConnector({
        transport,
        hello: () => hello('shard', 'shard-1', clusterId),
        clock,
        logger: noopLogger,
      }),
      clock,
      rng: seededRng(2),
      logger: noopLogger,
      metrics: noopMetrics,
    });
  return { clock, raft, transport, client };
}

describe('metadataConnector', () => {
  it('carries joins, heartbeats, timestamps and refusals over sessions', async () => {
    const { clock, raft, client: connect } = await listen();
    await raft.elect(0);
    const client = connect();
    const shard = new FakeShard(client, 'shard-1', 1);
    await clock.until(shard.join());
    await clock.until(shard.heartbeat());
    await clock.until(shard.heartbeat());
    expect(shard.created.map((descriptor) => descriptor.rangeId)).toEqual([1]);
    const first = await clock.until(client.timestamp());
    expect(await clock.until(client.timestamp())).toBeGreaterThan(first);
    await expect(
      clock.until(client.putSettings([{ name: 'replication.factor', value: '0' }])),
    ).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'replication.factor' },
    });
  });

  it('waits for a member that does not lead yet', async () => {
    const { clock, raft, client: connect } = await listen();
    const waiting = connect().status({ timeoutMs: 5_000 });
    await clock.advance(700);
    await raft.elect(0);
    expect((await clock.until(waiting)).nodes).toHaveLength(1);
  });

  it('passes on that a node belongs to another cluster', async () => {
    const { clock, raft, client: connect } = await listen();
    await raft.elect(0);
    await clock.advance(10);
    await expect(clock.until(connect('other').status())).rejects.toMatchObject({ code: 'CLUSTER_MISMATCH' });
  });

  it('asks the others when a node that is no member answers at one of the addresses', async () => {
    const { clock, raft, transport, client } = await listen();
    const server = createRpcServer({ clock, logger: noopLogger });
    await transport.listen('elsewhere:1', (connection) => {
      acceptSession(connection, {
        hello: hello('shard', 'shard-7', ''),
        clock,
        logger: noopLogger,
        onSession: (session) => server.attach(session),
      });
    });
    const lost = client('', ['elsewhere:1']).status({ timeoutMs: 2_000 });
    await expect(clock.until(lost)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining(
        'shard-7 at elsewhere:1 is a shard, no member of the metadata service',
      ),
    });
    await raft.elect(0);
    for (const addresses of [
      ['elsewhere:1', ADDRESS],
      [ADDRESS, 'elsewhere:1'],
    ]) {
      expect((await clock.until(client('', addresses).status())).nodes).toHaveLength(1);
    }
  });

  it('turns to another member after one that belongs to another cluster', async () => {
    const { clock, raft, transport, client } = await listen();
    await raft.elect(0);
    await transport.listen('elsewhere:1', (connection) => {
      acceptSession(connection, {
        hello: hello('metadata', 'meta-1', 'other'),
        clock,
        logger: noopLogger,
        onSession: () => ({ onFrame: () => undefined, onClose: () => undefined }),
      });
    });
    // Whichever of the two it begins at, both are asked, and only one of them has something to say.
    for (const addresses of [
      ['elsewhere:1', 'nowhere:1'],
      ['nowhere:1', 'elsewhere:1'],
    ]) {
      const asking = client('mine', addresses);
      await expect(clock.until(asking.status())).rejects.toMatchObject({ code: 'CLUSTER_MISMATCH' });
      await expect(clock.until(asking.status({ timeoutMs: 5 }))).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
    }
  });

  it('gives up an address where nothing listens', async () => {
    const { clock } = await listen();
    const client = new MetadataClient({
      addresses: ['nowhere:1'],
      connect: metadataConnector({
        transport: new FakeTransport(clock),
        hello: () => hello('shard', 'shard-1', ''),
        clock,
        logger: noopLogger,
      }),
      clock,
      rng: seededRng(2),
      logger: noopLogger,
      metrics: noopMetrics,
    });
    await expect(clock.until(client.status({ timeoutMs: 2_000 }))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
  });
});
