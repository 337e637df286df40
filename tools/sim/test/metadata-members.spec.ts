import { beforeEach, describe, expect, it } from '@jest/globals';
import { NodeKind, type CairnClient, type StatusResponse } from '@cairn/client';
import { storeId, timestamp, timestampToUnixMs } from '@cairn/base';
import { noopLogger, writeFileDurably } from '@cairn/ports';
import { openSession, THIS_BUILD, type Session } from '@cairn/wire';

import { SimCluster } from '../src/cluster.js';
import type { SimMetadataNode } from '../src/metadata-node.js';
import type { SimRouterNode } from '../src/router-node.js';
import type { SimShardNode } from '../src/shard-node.js';
import { startClient } from '../src/sim-client.js';

describe('members of the metadata group', () => {
  let cluster: SimCluster;
  let client: CairnClient;

  const member = (at: number): SimMetadataNode => cluster.metadata[at] as SimMetadataNode;
  const violations = (): string[] => cluster.observer.violations.map((each) => JSON.stringify(each));

  async function restart(at: number): Promise<void> {
    member(at).die('process');
    member(at).start();
    await cluster.scheduler.runFor(3_000);
  }

  beforeEach(async () => {
    cluster = new SimCluster({ seed: 'metadata members' });
    await cluster.boot();
    ({ client } = startClient(cluster, 'client', 5_000));
    await cluster.scheduler.settle(client.put('a', 'before'));
  });

  it('keep their replicas when --peers names them in another order', async () => {
    for (const at of [0, 1, 2]) {
      member(at).peers = member(at).peers.toReversed();
      await restart(at);
    }
    expect(violations()).toEqual([]);
    for (const node of cluster.metadata) expect([...node.replicas()]).toHaveLength(1);
    // Each of them is needed: with any other one gone there is still a majority of two.
    for (const at of [0, 1, 2]) {
      member(at).die('process');
      await cluster.scheduler.runUntilTrue(() => cluster.metadata.some((node) => node.isServing), 5_000);
      member(at).start();
      await cluster.scheduler.runFor(3_000);
    }
    await cluster.scheduler.settle(client.put('a', 'after'));
    expect(violations()).toEqual([]);
  });

  it('end with a sentence when --peers names others than formed the group', async () => {
    member(2).peers = [
      ...member(2).peers.filter(({ name }) => name !== 'meta-1'),
      { name: 'meta-9', address: 'meta-9:7000' },
    ];
    await restart(2);
    expect(violations().join()).toMatch(/--peers of member meta-3 names .*meta-9.*its group was formed by/);
  });

  it('end with a sentence when their directory was lost', async () => {
    member(2).die('process');
    member(2).loseDirectory();
    member(2).start();
    await cluster.scheduler.runFor(5_000);
    expect(violations().join()).toMatch(/meta-3 formed this group with another data directory/);
    await cluster.scheduler.settle(client.put('a', 'after'));
  });

  it('come back with a new directory when all the others were told of it', async () => {
    member(2).die('process');
    member(2).loseDirectory();
    for (const at of [0, 1]) {
      member(at).acceptNewDirectoryOf = 'meta-3';
      await restart(at);
    }
    member(2).start();
    await cluster.scheduler.runUntilTrue(() => member(2).store !== undefined, 10_000);
    await cluster.scheduler.runFor(5_000);
    // It holds the group up again, with either of the others gone.
    for (const at of [0, 1]) {
      member(at).acceptNewDirectoryOf = '';
      member(at).die('process');
      await cluster.scheduler.runUntilTrue(() => cluster.metadata.some((node) => node.isServing), 10_000);
      await cluster.scheduler.settle(client.putSetting('gc.life_seconds', String(100 + at)));
      member(at).start();
      await cluster.scheduler.runFor(5_000);
    }
    expect(violations()).toEqual([]);
    // Once: the next one that is lost needs the operator again.
    member(2).die('process');
    member(2).loseDirectory();
    member(2).start();
    await cluster.scheduler.runFor(5_000);
    expect(violations().join()).toMatch(/formed this group with another data directory/);
  });

  it('end with a sentence when they come back with an older copy of their directory', async () => {
    const older = Buffer.from(member(2).disk.peek('/data/node.json') ?? []);
    await restart(2);
    member(2).die('process');
    await writeFileDurably(member(2).disk.attach(), '/data', 'node.json', older);
    member(2).start();
    await cluster.scheduler.runFor(5_000);
    // However often somebody starts it, and what is newest is taken all the same.
    for (let again = 0; again < 8; again += 1) await restart(2);
    const refusals = violations().filter((each) => each.includes('was started from an older copy'));
    expect(refusals).toHaveLength(9);
  });

  it('show no start to strangers, nor to each other what only a third one may see', async () => {
    const { network, scheduler } = cluster;
    const process = scheduler.startProcess('listener');
    const answerTo = async (name: string, id: number): Promise<Session> => {
      const session = openSession({
        transport: network.attach(process),
        address: 'meta-1:7000',
        clock: process.clock,
        logger: noopLogger,
        hello: {
          ...THIS_BUILD,
          ...{ purpose: 'rpc', kind: 'metadata', clusterId: '' },
          ...{ name, storeId: storeId(id) },
          life: {
            group: 'meta-1=1,meta-2=2,meta-3=3',
            ...{ incarnation: 'x', process: 'y', start: undefined, unixMs: 1 },
          },
        },
        handlers: { onFrame: () => undefined, onClose: () => undefined },
      });
      await scheduler.runFor(500);
      return session;
    };
    for (const [name, id] of [
      ['evil', 9],
      ['evil', 2],
      ['meta-2', 2],
      ['meta-2', 3],
    ] as const) {
      const { isReady, remote } = await answerTo(name, id);
      expect([isReady, remote?.life]).toEqual([false, undefined]);
    }
  });

  it('believe no stranger who says what their clocks show', async () => {
    const { network, scheduler } = cluster;
    const process = scheduler.startProcess('stranger', { offsetMs: 0, driftPpm: 0 });
    const yearMs = 366 * 24 * 3_600_000;
    for (const name of ['meta-1', 'meta-2', 'meta-3']) {
      for (const { name: to } of cluster.metadata) {
        openSession({
          transport: network.attach(process),
          address: `${to}:7000`,
          clock: process.clock,
          logger: noopLogger,
          hello: {
            ...THIS_BUILD,
            ...{ purpose: 'rpc', kind: 'shard', clusterId: '' },
            ...{ name, storeId: storeId(0) },
            life: {
              ...{ group: '', incarnation: '', process: '', start: undefined },
              unixMs: process.clock.unixMs() + yearMs,
            },
          },
          handlers: { onFrame: () => undefined, onClose: () => undefined },
        });
      }
    }
    await scheduler.runFor(3_000);
    const now = await scheduler.settle(client.timestamp());
    expect(Math.abs(timestampToUnixMs(timestamp(now)) - process.clock.unixMs())).toBeLessThan(yearMs / 100);
    expect(violations()).toEqual([]);
  });

  it('are accepted again wherever a start was broken off', async () => {
    for (let run = 0; run < 12; run += 1) {
      member(2).die('process');
      member(2).start();
      await cluster.scheduler.runFor(run * 3);
      member(run % 2).die('process');
      member(run % 2).start();
      await cluster.scheduler.runFor(run % 4 === 3 ? 3_000 : run * 2);
    }
    await cluster.scheduler.runFor(3_000);
    await cluster.scheduler.settle(client.put('a', 'after'));
    expect(violations()).toEqual([]);
  });
});

describe('a metadata group that is being formed', () => {
  it('gives every member the same id, in whatever order --peers names them', async () => {
    const cluster = new SimCluster({ seed: 'forming' });
    cluster.metadata.forEach((node, at) => {
      node.peers = [...node.peers.slice(at), ...node.peers.slice(0, at)];
    });
    await cluster.boot();
    expect(cluster.metadata.map((node) => node.store?.storeId)).toEqual([1, 2, 3]);
    expect(cluster.observer.violations).toEqual([]);
  });

  it('waits for the last member and for equal --peers, and says so', async () => {
    const cluster = new SimCluster({ seed: 'waiting' });
    const [first, second, third] = cluster.metadata as [SimMetadataNode, SimMetadataNode, SimMetadataNode];
    second.peers = [...second.peers.slice(0, 2), { name: 'meta-9', address: 'meta-9:7000' }];
    first.start();
    second.start();
    await cluster.scheduler.runFor(12_000);
    expect(cluster.metadata.map((node) => node.store)).toEqual([undefined, undefined, undefined]);
    second.die('process');
    second.peers = first.peers;
    second.start();
    await cluster.scheduler.runFor(12_000);
    expect(first.store).toBeUndefined();
    third.start();
    await cluster.scheduler.runUntilTrue(() => cluster.metadata.some((node) => node.isServing), 10_000);
    const lines = cluster.observer.tail(10_000).join('\n');
    expect(lines).toMatch(/give all members the same --peers/);
    expect(lines).toMatch(/waiting for a member to form the group/);
  });
});

describe('shard nodes and their directories', () => {
  let cluster: SimCluster;
  let client: CairnClient;

  const shard = (at: number): SimShardNode => cluster.shards[at] as SimShardNode;
  const violations = (): string => cluster.observer.violations.map((each) => each.message).join('\n');

  beforeEach(async () => {
    // The engine of the product: with the directory the rows are gone, too.
    cluster = new SimCluster({ seed: 'shard directories', engine: 'lsm' });
    await cluster.boot();
    ({ client } = startClient(cluster, 'client', 5_000));
    await cluster.scheduler.settle(client.put('a', 'before'));
  });

  it('have the store ids that their names say', () => {
    expect(cluster.shards.map((node) => node.storeId)).toEqual([1, 2, 3]);
  });

  it('end with a sentence when the directory was lost, and come back as a new store when told to', async () => {
    shard(2).die('process');
    shard(2).loseDirectory();
    shard(2).start();
    await cluster.scheduler.runFor(3_000);
    expect(violations()).toMatch(/The name shard-3 belongs to store 3 .*--replace-lost-store 3/);
    shard(2).replacesStoreId = 3;
    shard(2).start();
    await cluster.scheduler.runUntilTrue(() => shard(2).storeId === 4, 10_000);
    // The leader puts the new store in the place of the lost one.
    const membersOf = (at: number): number[] =>
      [...shard(at).replicas()]
        .flatMap(({ descriptor }) => descriptor.replicas.map(({ storeId }) => storeId))
        .sort();
    await cluster.scheduler.runUntilTrue(() => membersOf(0).join() === '1,2,4', 30_000);
    await cluster.scheduler.runFor(8_000);
    const status = await cluster.scheduler.settle(client.status());
    expect(status.problems).toEqual([]);
    shard(0).die('process');
    await cluster.scheduler.settle(client.put('a', 'after'));
  });

  it('end with a sentence when the directory is an older copy', async () => {
    const older = Buffer.from(shard(2).disk.peek('/data/node.json') ?? []);
    for (const each of [0, 1]) {
      shard(2).die('process');
      if (each === 1) await writeFileDurably(shard(2).disk.attach(), '/data', 'node.json', older);
      shard(2).start();
      await cluster.scheduler.runFor(5_000);
    }
    expect(violations()).toMatch(/shard-3 was started from an older copy of its data directory/);
    const refused = cluster.observer.violations.length;
    for (let again = 0; again < 5; again += 1) {
      shard(2).start();
      await cluster.scheduler.runFor(2_000);
    }
    expect(cluster.observer.violations).toHaveLength(refused + 5);
  });

  it('are accepted again wherever a start was broken off', async () => {
    for (let run = 0; run < 15; run += 1) {
      shard(2).die('process');
      shard(2).start();
      await cluster.scheduler.runFor(run * 2);
    }
    await cluster.scheduler.runUntilTrue(() => shard(2).store !== undefined, 20_000);
    expect(violations()).toEqual('');
  });

  it('are ready only when their replicas have what their leaders have', async () => {
    shard(2).die('process');
    for (let count = 0; count < 200; count += 1) {
      await cluster.scheduler.settle(client.put(`k${count}`, 'x'.repeat(500)));
    }
    shard(2).start();
    await cluster.scheduler.runUntilTrue(() => shard(2).store !== undefined, 10_000);
    expect(shard(2).readiness().join()).toMatch(/1 replicas have not caught up/);
    await cluster.scheduler.runUntilTrue(() => shard(2).readiness().length === 0, 10_000);
    const applied = cluster.shards.map((node) => [...node.replicas()][0]?.appliedIndex ?? 0);
    expect(applied[2]).toBeGreaterThanOrEqual(Math.max(...applied) - 1);
  });
});

describe('what the status says', () => {
  let cluster: SimCluster;
  let client: CairnClient;

  const statusOf = (): Promise<StatusResponse> => cluster.scheduler.settle(client.status());

  beforeEach(async () => {
    cluster = new SimCluster({ seed: 'status', routers: 2 });
    await cluster.boot();
    ({ client } = startClient(cluster, 'client', 5_000));
    await cluster.scheduler.runFor(5_000);
  });

  const routerNames = (status: StatusResponse): string[] =>
    status.nodes.filter(({ kind }) => kind === NodeKind.ROUTER).map(({ name }) => name);

  it('of a router that stops in order is nothing, and of one that died that it is gone', async () => {
    const [first, second] = cluster.routers as [SimRouterNode, SimRouterNode];
    let hasStopped = false;
    second.stop(() => (hasStopped = true));
    await cluster.scheduler.runUntilTrue(() => hasStopped, 5_000);
    await cluster.scheduler.runFor(8_000);
    const status = await statusOf();
    expect([routerNames(status), status.problems]).toEqual([[first.name], []]);
    second.start();
    await cluster.scheduler.runUntilTrue(() => second.isReady, 5_000);
    second.die('process');
    await cluster.scheduler.runFor(8_000);
    const later = await statusOf();
    expect(routerNames(later)).toEqual([first.name, second.name]);
    expect(later.problems.join()).toMatch(/routers not heard from.*: router-2$/);
  });

  it('of a router that waits for the first range is not that it is gone', async () => {
    const waiting = new SimCluster({ seed: 'no shard nodes' });
    for (const node of [...waiting.metadata, ...waiting.routers]) node.start();
    const { client: asking } = startClient(waiting, 'client', 5_000);
    await waiting.scheduler.runFor(5_000);
    for (let look = 0; look < 15; look += 1) {
      const { problems, unsettled } = await waiting.scheduler.settle(asking.status());
      expect([problems, unsettled.length]).toEqual([[], 1]);
      await waiting.scheduler.runFor(1_000);
    }
  });

  it('after the loss of the metadata leader is never that ranges or nodes are gone', async () => {
    for (let loss = 0; loss < 3; loss += 1) {
      const leader = cluster.metadata.find((node) => node.isServing);
      leader?.die('process');
      await cluster.scheduler.runUntilTrue(() => cluster.metadata.some((node) => node.isServing), 10_000);
      const seen = new Set<string>();
      for (let look = 0; look < 40; look += 1) {
        const { problems, unsettled } = await statusOf();
        // The clocks of nodes here run at speeds so different that they disagree soon.
        for (const sentence of problems) if (!sentence.includes('clock')) seen.add(sentence);
        if (look === 39) expect(unsettled).toEqual([]);
        await cluster.scheduler.runFor(100);
      }
      expect([...seen]).toEqual([`metadata members not reached: ${leader?.name ?? ''}`]);
      leader?.start();
      await cluster.scheduler.runFor(5_000);
    }
  });
});
