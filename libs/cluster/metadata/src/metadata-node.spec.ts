import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { THIS_BUILD } from '@cairn/wire';
import fc from 'fast-check';

import { FakeShard, reportOf } from '../test/fake-shard.js';
import { MetadataCluster } from '../test/metadata-cluster.js';
import type { DeadlockVictim } from './deadlock-detector.js';
import type { MetadataClient } from './metadata-client.js';
import {
  buildToMessage,
  LOCK_WAITS_MAX,
  NodeKind,
  type HeartbeatRequest,
  type RangeDescriptorMessage,
} from './wire-binding.js';

/** Three members with a leader, and three shard nodes that have joined. */
async function joinedCluster(): Promise<{
  cluster: MetadataCluster;
  client: MetadataClient;
  shards: FakeShard[];
}> {
  const cluster = await MetadataCluster.start();
  await cluster.raft.elect(0);
  const client = cluster.client();
  const shards = [1, 2, 3].map((n) => new FakeShard(client, `shard-${n}`, n));
  for (const shard of shards) await cluster.clock.until(shard.join());
  return { cluster, client, shards };
}

async function beat(cluster: MetadataCluster, shards: readonly FakeShard[], rounds = 1): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    for (const shard of shards) await cluster.clock.until(shard.heartbeat());
    await cluster.clock.advance(1_000);
  }
}

function routerBeat(name: string, incarnation: number, sequence: number): HeartbeatRequest {
  return {
    name,
    storeId: 0,
    incarnation: Buffer.alloc(16, incarnation),
    full: false,
    ranges: [],
    removedRangeIds: [],
    replicas: 0,
    leaders: 0,
    dataBytes: 0,
    diskFreeBytes: 0,
    readsPerSecond: 3,
    writesPerSecond: 4,
    startedUnixMs: incarnation,
    kind: NodeKind.ROUTER,
    address: `${name}:7300`,
    publicAddress: `${name}:7301`,
    sequence,
    storesVersion: 0,
    settingsVersion: 0,
    waitingReplicas: [],
    process: Buffer.alloc(0),
    diskFull: false,
    diskLow: false,
    diskHangs: false,
    replicasCatchingUp: 0,
    oldestTransaction: 0,
    oldestLock: 0,
    heardGcSafePoint: 0,
    build: buildToMessage(THIS_BUILD),
  };
}

const routerJoin = (name: string, incarnation: number) => ({
  name,
  kind: NodeKind.ROUTER,
  incarnation: Buffer.alloc(16, incarnation),
  clusterId: '',
  address: `${name}:7300`,
  publicAddress: `${name}:7301`,
  acceptedStart: '',
  offeredStarts: [],
  process: Buffer.alloc(0),
  replacesStoreId: 0,
  build: buildToMessage(THIS_BUILD),
});

describe('joining', () => {
  it('gives each node an id of its own, once, and one cluster id to all', async () => {
    const { cluster, shards } = await joinedCluster();
    expect(shards.map((shard) => shard.storeId)).toEqual([1, 2, 3]);
    expect(new Set(shards.map((shard) => shard.clusterId)).size).toBe(1);
    expect(shards[0]?.clusterId).toMatch(/^[0-9a-f]{32}$/);
    expect(cluster.nodes.map((node) => node.clusterId)).toEqual(Array(3).fill(shards[0]?.clusterId));
  });

  it('knows a node again, also at another address, and before it remembered its cluster', async () => {
    const { cluster, shards } = await joinedCluster();
    const shard = shards[0] as FakeShard;
    shard.address = '10.0.0.9:7200';
    const response = await cluster.clock.until(shard.join());
    expect(response.storeId).toBe(1);
    expect(response.stores[0]).toEqual({
      storeId: 1,
      name: 'shard-1',
      address: '10.0.0.9:7200',
      live: true,
      lost: false,
    });
    shard.clusterId = '';
    expect((await cluster.clock.until(shard.join())).storeId).toBe(1);
  });

  it('follows an address that changes between heartbeats', async () => {
    const { cluster, client, shards } = await joinedCluster();
    await beat(cluster, shards);
    const shard = shards[1] as FakeShard;
    shard.address = '10.0.0.7:7200';
    await cluster.clock.until(shard.heartbeat());
    const status = await cluster.clock.until(client.status());
    expect(status.nodes.find((node) => node.name === 'shard-2')?.address).toBe('10.0.0.7:7200');
    await cluster.clock.until((shards[0] as FakeShard).heartbeat());
    expect(shards[0]?.last?.stores.map((info) => info.address)).toContain('10.0.0.7:7200');
  });

  it.each([
    ['the name of another node', { seed: 9 }, 'NAME_TAKEN', 'another data directory'],
    ['another cluster', { clusterId: 'ff' }, 'CLUSTER_MISMATCH', 'belongs to cluster ff'],
    ['a data directory under a new name', { name: 'shard-9' }, 'FAILED_PRECONDITION', 'cannot be renamed'],
    ['a name that is none', { name: 'Shard_1' }, 'INVALID_ARGUMENT', 'lower-case'],
  ])('refuses %s', async (_, facts: { seed?: number; clusterId?: string; name?: string }, code, sentence) => {
    const { cluster, client } = await joinedCluster();
    const shard = new FakeShard(client, facts.name ?? 'shard-1', facts.seed ?? 1);
    shard.clusterId = facts.clusterId ?? '';
    await expect(cluster.clock.until(shard.join())).rejects.toMatchObject({
      code,
      message: expect.stringContaining(sentence),
    });
  });

  it('refuses a data directory that claims to be of this cluster and is not known', async () => {
    const { cluster, client, shards } = await joinedCluster();
    const stranger = new FakeShard(client, 'shard-8', 8);
    stranger.clusterId = shards[0]?.clusterId ?? '';
    await expect(cluster.clock.until(stranger.join())).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  });

  it('lets the newest process of a router have its name, and tells the older one', async () => {
    const { cluster, client } = await joinedCluster();
    const { clock } = cluster;
    await clock.until(client.join(routerJoin('router-1', 1)));
    await clock.until(client.heartbeat(routerBeat('router-1', 1, 1)));
    await clock.until(client.join(routerJoin('router-1', 2)));
    await clock.until(client.heartbeat(routerBeat('router-1', 2, 1)));
    const older = client.heartbeat(routerBeat('router-1', 1, 2));
    await expect(clock.until(older)).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    await expect(clock.until(client.join(routerJoin('shard-1', 3)))).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    await expect(clock.until(client.heartbeat(routerBeat('meta-1', 4, 1)))).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    const status = await clock.until(client.status());
    expect(status.nodes.find((node) => node.kind === 'router')).toMatchObject({
      name: 'router-1',
      live: true,
    });
  });
});

describe('the first range', () => {
  it('is made when enough nodes have joined, with a replica on each', async () => {
    const cluster = await MetadataCluster.start();
    await cluster.raft.elect(0);
    const client = cluster.client();
    const shards = [1, 2, 3, 4].map((n) => new FakeShard(client, `shard-${n}`, n));
    await cluster.clock.until((shards[0] as FakeShard).join());
    await cluster.clock.until((shards[1] as FakeShard).join());
    await beat(cluster, shards.slice(0, 2), 2);
    const early = client.routes({ keys: [Buffer.from('a')], limit: 0 }, { timeoutMs: 1_000 });
    await expect(cluster.clock.until(early)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(cluster.lines.some((line) => line.event === 'first range waits for stores')).toBe(true);

    await cluster.clock.until((shards[2] as FakeShard).join());
    await cluster.clock.until((shards[3] as FakeShard).join());
    const routes = await cluster.clock.until(
      client.routes({ keys: [Buffer.from('a'), Buffer.from('z')], limit: 0 }),
    );
    expect(routes.routes).toHaveLength(1);
    expect(routes.routes[0]?.descriptor).toMatchObject({ rangeId: 1, version: 1, confVersion: 1 });
    expect(routes.routes[0]?.descriptor?.replicas.map((replica) => replica.storeId)).toEqual([1, 2, 3]);
    expect(routes.stores).toHaveLength(3);

    await beat(cluster, shards, 3);
    expect(shards.map((shard) => shard.created.length)).toEqual([1, 1, 1, 0]);
    expect(cluster.logged('warn')).toEqual([]);
    expect(cluster.logged('error')).toEqual([]);
  });

  it('asks again until the store reports the replica, and never after that, over failovers', async () => {
    const { cluster, shards } = await joinedCluster();
    const deaf = shards[2] as FakeShard;
    await beat(cluster, shards.slice(0, 2), 2);
    for (let i = 0; i < 3; i += 1) {
      const response = await cluster.clock.until(deaf.heartbeat({ full: true, ranges: [] }));
      expect(response.commands).toHaveLength(1);
    }
    await beat(cluster, shards, 2);
    await cluster.clock.until(deaf.heartbeat({ full: true, ranges: [...deaf.ranges.values()] }));
    await cluster.clock.advance(100);

    // The replica is moved away later; a new leader must not bring it back.
    deaf.ranges.clear();
    await cluster.raft.elect(1);
    deaf.wantFull = true;
    await beat(cluster, shards, 2);
    expect(deaf.last?.commands).toEqual([]);
    expect(deaf.last?.wantFull).toBe(false);
  });

  it('takes part in the one id space', async () => {
    const { cluster, client } = await joinedCluster();
    await cluster.clock.advance(100);
    const first = await cluster.clock.until(client.allocateIds(5));
    expect(first).toBe(5);
    await cluster.raft.elect(2);
    expect(await cluster.clock.until(client.allocateIds(1))).toBe(10);
    await expect(cluster.clock.until(client.allocateIds(10_001))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });
});

describe('heartbeats', () => {
  it('bring timestamps, and lists only when they changed', async () => {
    const { cluster, client, shards } = await joinedCluster();
    await beat(cluster, shards, 3);
    const shard = shards[0] as FakeShard;
    const before = shard.latest;
    await cluster.clock.until(shard.heartbeat());
    expect(shard.latest).toBeGreaterThan(before);
    expect(shard.last).toMatchObject({ stores: [], settings: [], commands: [], wantFull: false });

    await cluster.clock.until(client.putSettings([{ name: 'gc.life_seconds', value: '1h' }]));
    await cluster.clock.until(shard.heartbeat());
    expect(shard.last?.settings.find((setting) => setting.name === 'gc.life_seconds')?.value).toBe('3600');
    // A response that got lost is made good: the node still says the old version.
    await cluster.clock.until(shard.heartbeat({ settingsVersion: 0 }));
    expect(shard.last?.settings).not.toEqual([]);
    await cluster.clock.until(shard.heartbeat());
    expect(shard.last?.settings).toEqual([]);
  });

  it('tell who is alive', async () => {
    const { cluster, client, shards } = await joinedCluster();
    await beat(cluster, shards, 2);
    await beat(cluster, shards.slice(0, 2), 7);
    const status = await cluster.clock.until(client.status());
    expect(status.nodes.filter((node) => node.kind === 'shard').map((node) => node.live)).toEqual([
      true,
      true,
      false,
    ]);
    expect(status.nodes.filter((node) => node.leader).map((node) => node.name)).toEqual(['meta-1']);
    expect(status).toMatchObject({ ranges: 1, rangesWithoutLeader: 1, rangesUnderReplicated: 1 });
    const infos = (shards[0] as FakeShard).last?.stores ?? [];
    await cluster.clock.until((shards[0] as FakeShard).heartbeat({ storesVersion: 0 }));
    expect(infos).toEqual([]);
    expect(shards[0]?.last?.stores.map((info) => info.live)).toEqual([true, true, false]);
  });

  it('are refused from a stranger, and ignored when overtaken', async () => {
    const { cluster, client, shards } = await joinedCluster();
    await beat(cluster, shards, 2);
    const [shard] = shards as [FakeShard];
    const stranger = new FakeShard(client, 'shard-1', 77);
    stranger.storeId = shard.storeId;
    await expect(cluster.clock.until(stranger.heartbeat())).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    await expect(cluster.clock.until(shard.heartbeat({ storeId: 99 }))).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    const before = shard.request();
    await cluster.clock.until(shard.heartbeat());
    await cluster.clock.until(client.heartbeat({ ...before, removedRangeIds: [1] }));
    const status = await cluster.clock.until(client.status());
    expect(status.ranges).toBe(1);
  });

  it('feed the routes: a split, a leader, a removal', async () => {
    const { cluster, client, shards } = await joinedCluster();
    await beat(cluster, shards, 2);
    await cluster.clock.until(client.allocateIds(20));
    const whole = shards[0]?.ranges.get(1)?.descriptor as RangeDescriptorMessage;
    const left = { ...whole, endKey: Buffer.from('m'), version: 2 };
    const right = { ...whole, rangeId: 20, startKey: Buffer.from('m'), version: 2 };
    const [a, b] = shards as [FakeShard, FakeShard];
    await cluster.clock.until(a.heartbeat({ ranges: [reportOf(left, 3), reportOf(right)] }));
    await cluster.clock.until(b.heartbeat({ ranges: [reportOf(right, 4)] }));
    const found = await cluster.clock.until(
      client.routes({ keys: [], fromKey: Buffer.from('c'), limit: 10 }),
    );
    expect(found.routes.map((route) => [route.descriptor?.rangeId, route.leaderStoreId])).toEqual([
      [1, a.storeId],
      [20, b.storeId],
    ]);
    const status = await cluster.clock.until(client.status());
    expect(status).toMatchObject({ ranges: 2, rangesWithoutLeader: 0, rangesUnderReplicated: 0 });
  });

  it('ask a process that was started again for everything', async () => {
    const { cluster, shards } = await joinedCluster();
    await beat(cluster, shards, 2);
    const [shard] = shards as [FakeShard];
    const response = await cluster.clock.until(shard.heartbeat({ startedUnixMs: 2, sequence: 1 }));
    expect(response).toMatchObject({ wantFull: true, commands: [] });
  });

  it('show a hole in the key space that stays', async () => {
    const { cluster, client, shards } = await joinedCluster();
    await beat(cluster, shards, 2);
    const whole = shards[0]?.ranges.get(1)?.descriptor as RangeDescriptorMessage;
    const left = { ...whole, endKey: Buffer.from('m'), version: 2 };
    await cluster.clock.until((shards[0] as FakeShard).heartbeat({ ranges: [reportOf(left, 3)] }));
    await beat(cluster, shards, 12);
    const warnings = cluster.logged('warn').filter((line) => line.event === 'range map has gaps');
    expect(warnings).toEqual([
      expect.objectContaining({ fields: { gaps: 1, conflicts: 0, firstGapHex: '6d' } }),
    ]);
    // The other ranges of a question are answered all the same, and at once.
    const keys = [Buffer.from('z'), Buffer.from('a')];
    const answer = await cluster.clock.until(client.routes({ keys, limit: 0 }, { timeoutMs: 100 }));
    expect(answer.routes.map(({ descriptor }) => descriptor?.rangeId)).toEqual([1]);
    const behind = client.routes({ keys: [], fromKey: Buffer.from('n'), limit: 9 }, { timeoutMs: 100 });
    expect((await cluster.clock.until(behind)).routes).toEqual([]);
  });
});

describe('failover', () => {
  it('builds the range map anew from full heartbeats, and meanwhile knows the first range', async () => {
    const { cluster, client, shards } = await joinedCluster();
    await beat(cluster, shards, 2);
    await cluster.clock.until(client.allocateIds(20));
    const whole = shards[0]?.ranges.get(1)?.descriptor as RangeDescriptorMessage;
    const left = { ...whole, endKey: Buffer.from('m'), version: 2 };
    const right = { ...whole, rangeId: 20, startKey: Buffer.from('m'), version: 2 };
    const reports = [reportOf(left, 3), reportOf(right, 3)];
    const [a] = shards as [FakeShard];
    await cluster.clock.until(a.heartbeat({ ranges: reports }));

    await cluster.raft.elect(1);
    const early = await cluster.clock.until(client.routes({ keys: [Buffer.from('z')], limit: 0 }));
    expect(early.routes[0]?.descriptor).toMatchObject({ rangeId: 1, version: 1 });
    const delta = await cluster.clock.until(a.heartbeat());
    expect(delta.wantFull).toBe(true);
    const full = await cluster.clock.until(a.heartbeat({ full: true, ranges: reports }));
    expect(full.wantFull).toBe(false);
    const late = await cluster.clock.until(client.routes({ keys: [Buffer.from('z')], limit: 0 }));
    expect(late.routes[0]).toMatchObject({
      descriptor: { rangeId: 20, version: 2 },
      leaderStoreId: a.storeId,
    });
  });

  it('keeps nodes, settings and ids, and counts no store dead before it could speak', async () => {
    const { cluster, client, shards } = await joinedCluster();
    await cluster.clock.until(client.putSettings([{ name: 'replication.factor', value: '5' }]));
    await beat(cluster, shards);
    await cluster.raft.elect(2);
    const settings = await cluster.clock.until(client.settings());
    expect(settings.find((setting) => setting.name === 'replication.factor')?.value).toBe('5');
    const status = await cluster.clock.until(client.status());
    expect(status.nodes.filter((node) => node.kind === 'shard' && node.live)).toHaveLength(3);
    expect(status.nodes.find((node) => node.leader)?.name).toBe('meta-3');
  });

  it('has the other members name the leader', async () => {
    const { cluster } = await joinedCluster();
    await cluster.clock.advance(10);
    const handler = cluster.servers[1]?.handlers.get('cairn.internal.v1.Metadata/GetStatus');
    await expect(handler?.(new Uint8Array(0))).rejects.toMatchObject({
      code: 'NOT_LEADER',
      details: { leaderName: 'meta-1', leaderAddress: 'meta-1:7100' },
    });
  });

  it('hands out no timestamp from a leader that was replaced and does not know', async () => {
    const { cluster, client } = await joinedCluster();
    const before = await cluster.clock.until(client.timestamp());
    await cluster.raft.elect(1, { isNoticed: false });
    const after = await cluster.clock.until(cluster.client(5).timestamp());
    const again = await cluster.clock.until(client.timestamp());
    expect(after).toBeGreaterThan(before);
    expect(again).toBeGreaterThan(after);
  });

  it('hears who waits for whom, tells who must give up, and forgets all of it with leadership', async () => {
    const { cluster, client } = await joinedCluster();
    const [old, young] = [timestamp(10), timestamp(20)];
    const waits = [{ waiter: old, holders: [young] }];
    const report = (router: string, told: typeof waits): Promise<readonly DeadlockVictim[]> => {
      cluster.speaker = router;
      return cluster.clock.until(client.reportWaits(told));
    };
    expect(await report('router-1', waits)).toEqual([]);
    const other = [{ waiter: young, holders: [old] }];
    expect(await report('router-2', other)).toEqual([{ owner: young, cycle: [young, old] }]);
    expect(await report('router-1', waits)).toEqual([]);
    await cluster.raft.elect(1);
    expect(await report('router-2', other)).toEqual([]);
    const many = Array.from({ length: LOCK_WAITS_MAX + 1 }, () => ({ waiter: old, holders: [young] }));
    await expect(report('router-1', many)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('stops serving when told to', async () => {
    const { cluster } = await joinedCluster();
    await cluster.clock.advance(10);
    expect(cluster.nodes[0]?.isServing).toBe(true);
    cluster.nodes[0]?.stop();
    expect(cluster.nodes[0]?.isServing).toBe(false);
    const handler = cluster.servers[0]?.handlers.get('cairn.internal.v1.Metadata/GetStatus');
    await expect(handler?.(new Uint8Array(0))).rejects.toMatchObject({ code: 'NOT_LEADER' });
  });
});

describe('ids', () => {
  it('are given once and stay with their node, over failovers that lose or keep commands', async () => {
    const action = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          type: fc.constant('allocate' as const),
          count: fc.integer({ min: 1, max: 9 }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ type: fc.constant('join' as const), shard: fc.nat(4) }) },
      { weight: 2, arbitrary: fc.record({ type: fc.constant('hold' as const) }) },
      { weight: 2, arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.nat(800) }) },
      {
        weight: 3,
        arbitrary: fc.record({
          type: fc.constant('elect' as const),
          member: fc.nat(2),
          keep: fc.nat(3),
          isNoticed: fc.boolean(),
        }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 25 }), async (actions) => {
        const cluster = await MetadataCluster.start();
        await cluster.raft.elect(0);
        const client = cluster.client();
        const shards = [1, 2, 3, 4, 5].map((n) => new FakeShard(client, `shard-${n}`, n));
        await cluster.clock.until((shards[0] as FakeShard).join());
        const given: number[] = [];
        const stores: number[] = [];
        const storeIds = new Map<string, Set<number>>(shards.map((shard) => [shard.name, new Set()]));
        const waiting: Promise<void>[] = [];
        const join = async (shard: FakeShard): Promise<void> => {
          storeIds.get(shard.name)?.add((await shard.join()).storeId);
        };
        const allocate = async (count: number): Promise<void> => {
          const first = await client.allocateIds(count, { timeoutMs: 60_000 });
          for (let i = 0; i < count; i += 1) given.push(first + i);
        };
        for (const step of actions) {
          if (step.type === 'allocate') waiting.push(allocate(step.count));
          else if (step.type === 'join') waiting.push(join(shards[step.shard] as FakeShard));
          else if (step.type === 'hold') cluster.raft.isHeld = true;
          else if (step.type === 'pass') await cluster.clock.advance(step.ms);
          else await cluster.raft.elect(step.member, step);
          await cluster.clock.advance(3);
        }
        await cluster.raft.elect(1);
        await cluster.clock.until(Promise.all(waiting));
        for (const ids of storeIds.values()) {
          expect(ids.size).toBeLessThanOrEqual(1);
          stores.push(...ids);
        }
        expect(new Set(stores).size).toBe(stores.length);
        const { bootstrap } = cluster.raft.members[1]?.machine.state ?? {};
        given.push(...(bootstrap?.ranges[0]?.replicas.map((replica) => replica.replicaId) ?? []));
        expect(new Set(given).size).toBe(given.length);
        expect(cluster.logged('error')).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });
});

describe('settings', () => {
  it('refuses a bad value with what is allowed, and puts defaults back', async () => {
    const { cluster, client } = await joinedCluster();
    const { clock } = cluster;
    await expect(
      clock.until(client.putSettings([{ name: 'replication.factor', value: '99' }])),
    ).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('from 1 to 7'),
    });
    await clock.until(client.putSettings([{ name: 'replication.factor', value: '5' }]));
    await clock.until(client.putSettings([{ name: 'replication.factor', value: '' }]));
    const settings = await clock.until(client.settings());
    expect(settings.find((setting) => setting.name === 'replication.factor')).toMatchObject({
      value: '3',
      isDefault: true,
    });
  });
});
