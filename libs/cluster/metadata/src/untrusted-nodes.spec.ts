import { describe, expect, it } from '@jest/globals';
import { messageOf } from '@cairn/base';
import { THIS_BUILD } from '@cairn/wire';

import { FakeShard, reportOf, tokenOf } from '../test/fake-shard.js';
import { MetadataCluster } from '../test/metadata-cluster.js';
import type { MetadataClient } from './metadata-client.js';
import { buildToMessage, NodeKind, type RangeDescriptorMessage } from './wire-binding.js';

interface Rig {
  readonly cluster: MetadataCluster;
  readonly client: MetadataClient;
  readonly shards: readonly FakeShard[];
  readonly whole: RangeDescriptorMessage;
}

/** Three shard nodes with the first range on them, led by the first. */
async function running(): Promise<Rig> {
  const cluster = await MetadataCluster.start();
  await cluster.raft.elect(0);
  const client = cluster.client();
  const shards = [1, 2, 3].map((n) => new FakeShard(client, `shard-${n}`, n));
  for (const shard of shards) await cluster.clock.until(shard.join());
  for (let round = 0; round < 3; round += 1) {
    for (const shard of shards) await cluster.clock.until(shard.heartbeat());
    await cluster.clock.advance(500);
  }
  const whole = shards[0]?.ranges.get(1)?.descriptor as RangeDescriptorMessage;
  await cluster.clock.until((shards[0] as FakeShard).heartbeat({ ranges: [reportOf(whole, 2)] }));
  return { cluster, client, shards, whole };
}

const removalsOf = (shard: FakeShard): number =>
  shard.last?.commands.filter(({ command }) => command?.$case === 'removeReplica').length ?? 0;

describe('a store that was never given a replica', () => {
  it('hijacks no route and removes no replica, whatever it reports', async () => {
    const { cluster, client, shards, whole } = await running();
    const stranger = new FakeShard(client, 'stranger', 66);
    await cluster.clock.until(stranger.join());
    const mine = [{ replicaId: 2, storeId: stranger.storeId, role: 1 }];
    const invented = { ...whole, version: 1_000, confVersion: 1_000, replicas: mine };
    await cluster.clock.until(client.allocateIds(10));
    const other = { ...invented, rangeId: 8 };
    for (const full of [true, false]) {
      const ranges = [reportOf(invented, 99), reportOf(other, 99)];
      await cluster.clock.until(stranger.heartbeat({ full, ranges }));
    }
    for (const shard of shards) {
      await cluster.clock.until(shard.heartbeat());
      expect(removalsOf(shard)).toBe(0);
    }
    const { routes } = await cluster.clock.until(client.routes({ keys: [Buffer.from('k')], limit: 0 }));
    expect(routes[0]).toMatchObject({ descriptor: { rangeId: 1, version: 1 }, leaderStoreId: 1 });
  });

  it('is believed once a member of the cluster names it', async () => {
    const { cluster, client, shards, whole } = await running();
    const fourth = new FakeShard(client, 'shard-4', 4);
    await cluster.clock.until(fourth.join());
    await cluster.clock.until(client.allocateIds(10));
    const learner = { replicaId: 9, storeId: fourth.storeId, role: 2 };
    const grown = { ...whole, confVersion: 2, replicas: [...whole.replicas, learner] };
    await cluster.clock.until((shards[0] as FakeShard).heartbeat({ ranges: [reportOf(grown, 2)] }));
    await cluster.clock.advance(100);
    const response = await cluster.clock.until(fourth.heartbeat({ full: true, ranges: [reportOf(grown)] }));
    expect(response.wantFull).toBe(false);
  });
});

describe('a replica that missed its own removal', () => {
  it('hears of it when most voters have applied that, not when one says so', async () => {
    const { cluster, client, shards, whole } = await running();
    const [a, b, c] = shards as [FakeShard, FakeShard, FakeShard];
    const two = {
      ...whole,
      confVersion: 3,
      replicas: whole.replicas.filter(({ storeId }) => storeId !== c.storeId),
    };
    await cluster.clock.until(a.heartbeat({ ranges: [reportOf(two, 2)] }));
    await cluster.clock.until(c.heartbeat());
    expect(removalsOf(c)).toBe(0);
    await cluster.clock.until(b.heartbeat({ ranges: [reportOf(two)] }));
    await cluster.clock.until(c.heartbeat());
    expect(removalsOf(c)).toBe(1);
    expect(await cluster.clock.until(client.status())).toMatchObject({ ranges: 1 });
  });
});

describe('a replica that a message invented', () => {
  it('is removed from the store that has another one, whatever membership it was created with', async () => {
    const { cluster, shards, whole } = await running();
    const [a, b] = shards as [FakeShard, FakeShard];
    await cluster.clock.until(b.heartbeat({ ranges: [reportOf(whole)] }));
    const waiting = (replicaId: number): object => ({
      waitingReplicas: [{ rangeId: whole.rangeId, replicaId, confVersion: 2 ** 53 - 1 }],
    });
    const own = whole.replicas.find(({ storeId }) => storeId === a.storeId)?.replicaId ?? 0;
    await cluster.clock.until(a.heartbeat(waiting(own)));
    expect(removalsOf(a)).toBe(0);
    await cluster.clock.until(a.heartbeat(waiting(2 ** 40)));
    expect(removalsOf(a)).toBe(1);
  });
});

describe('a replica of a range or with an id that was never given out', () => {
  it('is made up, and its store is told; others are left alone', async () => {
    const { cluster, client, shards, whole } = await running();
    const [a] = shards as [FakeShard];
    const next = await cluster.clock.until(client.allocateIds(10));
    const waitingReplicas = [
      { rangeId: next + 10, replicaId: 2, confVersion: 1 },
      { rangeId: next + 9, replicaId: 3, confVersion: 1 },
      { rangeId: next, replicaId: 2 ** 40, confVersion: 1 },
    ];
    await cluster.clock.until(a.heartbeat({ waitingReplicas }));
    expect(a.last?.commands).toEqual([
      { command: { $case: 'forgetReplica', value: { rangeId: next + 10, replicaId: 2 } } },
      { command: { $case: 'forgetReplica', value: { rangeId: next, replicaId: 2 ** 40 } } },
    ]);
    expect(whole.rangeId).toBeLessThan(next);
  });
});

describe('reports that cannot be true', () => {
  it.each([
    ['a range that was not given out', { rangeId: 5_000 }, 'an id that was not given out'],
    [
      'a replica that was not given out',
      { replicas: [{ replicaId: 5_000, storeId: 1, role: 1 }] },
      'replica 5000',
    ],
    ['a store that nobody knows', { replicas: [{ replicaId: 2, storeId: 77, role: 1 }] }, 'store 77'],
    ['no members', { replicas: [] }, '0 members'],
    ['an epoch beyond all counting', { version: 2 ** 50 }, 'epoch'],
    ['a boundary longer than any key', { endKey: Buffer.alloc(40_000, 1) }, 'a boundary of 40000 bytes'],
  ])('refuse the heartbeat: %s', async (_, change, sentence) => {
    const { cluster, shards, whole } = await running();
    const [shard] = shards as [FakeShard];
    const beat = shard.heartbeat({ ranges: [reportOf({ ...whole, version: 2, ...change }, 3)] });
    await expect(cluster.clock.until(beat)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(sentence),
    });
  });
});

describe('a node that comes back', () => {
  /** The next start of a directory that knows of the start `after`. */
  const startAgain = (shard: FakeShard, seed: number, after: number): void => {
    shard.process = Buffer.alloc(8, seed);
    shard.acceptedStart = tokenOf(after);
    shard.offeredStart = tokenOf(seed);
    shard.sequence = 0;
  };

  it('is refused from an older copy of its directory, and its earlier process is heard no more', async () => {
    const { cluster, client, shards, whole } = await running();
    const [shard] = shards as [FakeShard];
    const late = shard.request({ full: true, ranges: [] });
    startAgain(shard, 40, 1);
    await cluster.clock.until(shard.join());
    await cluster.clock.until(shard.heartbeat({ full: true, ranges: [reportOf(whole, 2)] }));
    // A heartbeat of the process before arrives late: its list must not replace the newer one.
    await expect(cluster.clock.until(client.heartbeat(late))).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    const { nodes } = await cluster.clock.until(client.status());
    expect(nodes.filter(({ kind }) => kind === 'shard')).toHaveLength(3);

    // However often it tries: nothing that counts up makes it the newest.
    for (let seed = 41; seed < 50; seed += 1) {
      startAgain(shard, seed, 1);
      await expect(cluster.clock.until(shard.join())).rejects.toMatchObject({
        code: 'FAILED_PRECONDITION',
        message: expect.stringContaining('older copy of its data directory'),
      });
    }
  });

  it('waits while its last process still speaks: it may be a copy', async () => {
    const { cluster, shards } = await running();
    const [shard] = shards as [FakeShard];
    cluster.connected.add(shard.process.toString('hex'));
    startAgain(shard, 50, 1);
    await expect(cluster.clock.until(shard.join())).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('runs already, as another process'),
    });
    cluster.connected.clear();
    expect((await cluster.clock.until(shard.join())).storeId).toBe(1);
  });

  it('is refused for good when its last process goes on', async () => {
    const { cluster, shards } = await running();
    const [shard] = shards as [FakeShard];
    cluster.connected.add(shard.process.toString('hex'));
    startAgain(shard, 50, 1);
    await expect(cluster.clock.until(shard.join())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await cluster.clock.advance(31_000);
    await expect(cluster.clock.until(shard.join())).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('runs already, as another process'),
    });
  });

  it('waits for a new leader to hear its last process, which may still run', async () => {
    const { cluster, client, shards } = await running();
    const [shard] = shards as [FakeShard];
    const copy = new FakeShard(client, shard.name, 1);
    Object.assign(copy, { incarnation: shard.incarnation, clusterId: shard.clusterId });
    startAgain(copy, 50, 1);
    await cluster.raft.elect(1);
    const answered = copy.join().then(() => 'joined', messageOf);
    // It finds the new leader late, and its session is another one each time.
    await cluster.clock.advance(3_000);
    for (let beat = 0; beat < 7; beat += 1) {
      await cluster.clock.until(shard.heartbeat());
      await cluster.clock.advance(1_000);
    }
    expect(await cluster.clock.until(answered)).toContain(
      'the last process of shard-1, at shard-1:7200, may still run',
    );
  });

  it('is accepted a few seconds after its last process was heard, and five after a leader began', async () => {
    const { cluster, shards } = await running();
    const [shard] = shards as [FakeShard];
    const waitedMs = async (seed: number, knows: number): Promise<number> => {
      const sinceMs = cluster.clock.nowMs();
      startAgain(shard, seed, knows);
      await cluster.clock.until(shard.join());
      return cluster.clock.nowMs() - sinceMs;
    };
    expect(await waitedMs(50, 1)).toBeLessThan(4_000);
    await cluster.clock.until(shard.heartbeat());
    await cluster.raft.elect(1);
    const young = await waitedMs(51, 50);
    expect(young).toBeGreaterThan(3_000);
    expect(young).toBeLessThan(7_000);
    await cluster.raft.elect(2);
    await cluster.clock.advance(6_000);
    expect(await waitedMs(52, 51)).toBeLessThan(1_000);
  });

  it('is accepted when it does not know whether its last start was', async () => {
    const { cluster, shards } = await running();
    const [shard] = shards as [FakeShard];
    startAgain(shard, 60, 1);
    await cluster.clock.until(shard.join());
    // The process ended before the answer came: the same offer, by another one.
    shard.process = Buffer.alloc(8, 61);
    expect((await cluster.clock.until(shard.join())).storeId).toBe(1);
    await cluster.clock.until(shard.heartbeat());
    startAgain(shard, 62, 60);
    expect((await cluster.clock.until(shard.join())).storeId).toBe(1);
  });

  it('is refused nothing by a leader that was replaced and does not know', async () => {
    const { cluster, shards } = await running();
    const [shard] = shards as [FakeShard];
    const [old] = cluster.raft.members;
    expect(old).toBeDefined();
    Object.assign(old ?? {}, { isCutOff: true });
    await cluster.raft.elect(1, { isNoticed: false });
    cluster.unreachable.add('meta-1:7100');
    startAgain(shard, 40, 1);
    await cluster.clock.until(shard.join());
    // Now the process meets the one that knows neither it nor its directory's newest start.
    cluster.unreachable.clear();
    for (const address of ['meta-2:7100', 'meta-3:7100']) cluster.unreachable.add(address);
    const passing = { code: expect.stringMatching(/UNAVAILABLE|NOT_LEADER|DEADLINE_EXCEEDED/) as unknown };
    await expect(cluster.clock.until(shard.heartbeat())).rejects.toMatchObject(passing);
    startAgain(shard, 41, 40);
    await expect(cluster.clock.until(shard.join())).rejects.toMatchObject(passing);
    cluster.unreachable.clear();
    expect((await cluster.clock.until(shard.join())).storeId).toBe(1);
  });

  it('becomes a new store under its name when its directory is declared lost', async () => {
    const { cluster, client, shards } = await running();
    const empty = new FakeShard(client, 'shard-2', 22);
    await expect(cluster.clock.until(empty.join())).rejects.toMatchObject({
      code: 'NAME_TAKEN',
      message: expect.stringContaining('--replace-lost-store 2'),
    });
    empty.replacesStoreId = 2;
    const joined = await cluster.clock.until(empty.join());
    expect(joined.storeId).toBe(4);
    expect(joined.stores.find(({ storeId }) => storeId === 2)).toMatchObject({ lost: true, live: false });
    await cluster.clock.until(empty.heartbeat());
    const status = await cluster.clock.until(client.status());
    expect(status.problems).toContain('1 range with a member on a store that was declared lost');
    // The directory was found again: too late.
    await expect(cluster.clock.until((shards[1] as FakeShard).heartbeat())).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    await expect(cluster.clock.until((shards[1] as FakeShard).join())).rejects.toMatchObject({
      message: expect.stringContaining('which was declared lost'),
    });
  });

  it.each([
    ['shard-2', 3, 'store 3 is shard-3, and shard-2 is store 2, which has another data directory'],
    ['shard-2', 77, 'there is no store 77, and shard-2 is store 2'],
    ['shard-9', 2, 'store 2 is shard-2, and no store has joined under the name shard-9'],
  ])('gives up no store but the one that is named: %s for %d', async (name, store, sentence) => {
    const { cluster, client } = await running();
    const empty = new FakeShard(client, name, 22);
    empty.replacesStoreId = store;
    await expect(cluster.clock.until(empty.join())).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining(sentence),
    });
    const { nodes } = await cluster.clock.until(client.status());
    expect(nodes.filter(({ kind }) => kind === 'shard').map((node) => node.storeId)).toEqual([1, 2, 3]);
  });

  it('is not given up by a flag that was left behind when its disk is not mounted', async () => {
    const { cluster, client } = await running();
    const second = new FakeShard(client, 'shard-2', 22);
    second.replacesStoreId = 2;
    await cluster.clock.until(second.join());
    const unmounted = new FakeShard(client, 'shard-2', 23);
    unmounted.replacesStoreId = 2;
    await expect(cluster.clock.until(unmounted.join())).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining(
        'store 2 is lost already, and shard-2 is store 4, which has another data directory: start it with that ' +
          'directory; if that is lost for good, with --replace-lost-store 4',
      ),
    });
  });
});

describe('ids and names', () => {
  it('are given to a node only so fast', async () => {
    const { cluster, client } = await running();
    let code = '';
    for (let count = 0; count < 20 && code === ''; count += 1) {
      const taking = client.allocateIds(10_000, { timeoutMs: 100 });
      await cluster.clock.until(taking).catch((error: unknown) => (code = (error as { code: string }).code));
    }
    expect(code).toBe('UNAVAILABLE');
    expect(cluster.raft.members[0]?.machine.state.nextId).toBeLessThan(120_000);
  });

  it('that are new come from one host only so fast, and hold no other host up', async () => {
    const { cluster, client } = await running();
    const join = async (name: string): Promise<string> => {
      const request = {
        ...{
          name,
          kind: NodeKind.ROUTER,
          incarnation: Buffer.alloc(16, 1),
          clusterId: '',
          replacesStoreId: 0,
        },
        ...{ address: '', publicAddress: '', acceptedStart: '', offeredStarts: [], process: Buffer.alloc(0) },
        build: buildToMessage(THIS_BUILD),
      };
      try {
        await cluster.clock.until(client.join(request, { timeoutMs: 50 }));
        return 'OK';
      } catch (error) {
        return (error as Error).message;
      }
    };
    let answer = 'OK';
    for (let count = 0; count < 1_000 && answer === 'OK'; count += 1)
      answer = await join(`invented-${count}`);
    expect(answer).toContain('nodes under new names join faster than 5 in a second');
    cluster.host = '10.0.0.2';
    expect(await join('router-of-the-owner')).toBe('OK');
  });

  it('of a router that is there are not taken by a shard node, also when the leader is new', async () => {
    const { cluster, client } = await running();
    const router = {
      ...{ name: 'router-1', kind: NodeKind.ROUTER, incarnation: Buffer.alloc(16, 1), clusterId: '' },
      ...{ address: '', publicAddress: '', acceptedStart: '', offeredStarts: [], process: Buffer.alloc(0) },
      replacesStoreId: 0,
      build: buildToMessage(THIS_BUILD),
    };
    const stranger = new FakeShard(client, 'router-1', 66);
    await cluster.clock.until(client.join(router));
    await expect(cluster.clock.until(stranger.join())).rejects.toMatchObject({
      code: 'NAME_TAKEN',
      message: expect.stringContaining('A router has the name router-1'),
    });
    await cluster.raft.elect(1);
    const join = stranger.join();
    const joined = join.then(
      () => 'joined',
      (error: unknown) => messageOf(error),
    );
    // It waits for what the new leader will hear.
    await cluster.clock.advance(1_500);
    await cluster.clock.until(client.join(router));
    expect(await cluster.clock.until(joined)).toContain('A router has the name router-1');
  });

  it('of members of the metadata group are taken by no other node', async () => {
    const { cluster, client } = await running();
    const { clock } = cluster;
    const refused = {
      code: 'NAME_TAKEN',
      message: expect.stringContaining('A metadata member has the name meta-2'),
    };
    const stranger = new FakeShard(client, 'meta-2', 66);
    await expect(clock.until(stranger.join())).rejects.toMatchObject(refused);
    expect(cluster.raft.members[0]?.machine.state.nodes.has('meta-2')).toBe(false);
    const router = {
      ...{ name: 'meta-2', kind: NodeKind.ROUTER, incarnation: Buffer.alloc(16, 1), clusterId: '' },
      ...{ address: '', publicAddress: '', acceptedStart: '', offeredStarts: [], process: Buffer.alloc(0) },
      replacesStoreId: 0,
      build: buildToMessage(THIS_BUILD),
    };
    await expect(clock.until(client.join(router))).rejects.toMatchObject(refused);
    const status = await clock.until(client.status());
    expect(status.nodes.filter(({ name }) => name === 'meta-2')).toHaveLength(1);
  });

  it('are not spoken for by others', async () => {
    const { client, cluster, shards } = await running();
    const [shard] = shards as [FakeShard];
    cluster.speaker = 'router-9';
    await expect(cluster.clock.until(shard.heartbeat())).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('router-9 cannot speak for shard-1'),
    });
    await expect(cluster.clock.until(client.allocateIds(1))).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
    });
  });

  it('and what else a node says of itself are checked in heartbeats as in joins', async () => {
    const { cluster, shards } = await running();
    const [shard] = shards as [FakeShard];
    for (const wrong of [
      { publicAddress: 'x'.repeat(301) },
      { address: 'x'.repeat(301) },
      { incarnation: Buffer.alloc(17) },
      { name: 'x'.repeat(64) },
      { publicAddress: '\u001b[2J\u001b[31mowned:1' },
      { address: 'two\nlines:1' },
      { address: 'no-port' },
      { readsPerSecond: NaN },
      { writesPerSecond: Infinity },
      { readsPerSecond: -1 },
    ]) {
      await expect(cluster.clock.until(shard.heartbeat(wrong))).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    }
  });
});
