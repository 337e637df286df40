import { describe, expect, it } from '@jest/globals';
import { THIS_BUILD } from '@cairn/wire';

import { FakeShard, reportOf } from '../test/fake-shard.js';
import { MetadataCluster } from '../test/metadata-cluster.js';
import type { MetadataClient } from './metadata-client.js';
import {
  buildToMessage,
  NodeKind,
  NodeState,
  type GetStatusResponse,
  type HeartbeatRequest,
  type RangeDescriptorMessage,
} from './wire-binding.js';

/** Three shard nodes with the first range on them, led by the first. */
class Rig {
  readonly cluster: MetadataCluster;
  readonly client: MetadataClient;
  readonly shards: [FakeShard, FakeShard, FakeShard];

  private constructor(cluster: MetadataCluster) {
    this.cluster = cluster;
    this.client = cluster.client();
    const shardOf = (id: number): FakeShard => new FakeShard(this.client, `shard-${id}`, id);
    this.shards = [shardOf(1), shardOf(2), shardOf(3)];
  }

  static async start(): Promise<Rig> {
    const rig = new Rig(await MetadataCluster.start());
    await rig.cluster.raft.elect(0);
    for (const shard of rig.shards) await rig.until(shard.join());
    return rig;
  }

  /** Until the range is there and led. */
  static async running(): Promise<Rig> {
    const rig = await Rig.start();
    for (let round = 0; round < 3; round += 1) await rig.beat();
    await rig.until(rig.shards[0].heartbeat({ ranges: [reportOf(rig.whole, 2)] }));
    return rig;
  }

  until<Value>(work: Promise<Value>): Promise<Value> {
    return this.cluster.clock.until(work);
  }

  get whole(): RangeDescriptorMessage {
    return this.shards[0].ranges.get(1)?.descriptor as RangeDescriptorMessage;
  }

  /** All of them report, and a second passes. */
  async beat(shards: readonly FakeShard[] = this.shards): Promise<void> {
    for (const shard of shards) await this.until(shard.heartbeat());
    await this.cluster.clock.advance(1_000);
  }

  /** A full list of the range as it is, led by the first. */
  async report(shard: FakeShard): Promise<void> {
    const ranges = [reportOf(this.whole, shard === this.shards[0] ? 2 : 0)];
    await this.until(shard.heartbeat({ full: true, ranges }));
  }

  status(): Promise<GetStatusResponse> {
    return this.until(this.client.status());
  }

  async stateOf(name: string): Promise<NodeState | undefined> {
    return (await this.status()).nodes.find((node) => node.name === name)?.state;
  }
}

const routerBeat = (incarnation: number): HeartbeatRequest =>
  ({
    name: 'router-1',
    kind: NodeKind.ROUTER,
    incarnation: Buffer.alloc(16, incarnation),
    publicAddress: 'router-1:7301',
    sequence: 1,
    startedUnixMs: incarnation,
    ...{ storeId: 0, full: false, ranges: [], removedRangeIds: [], replicas: 0, leaders: 0, dataBytes: 0 },
    ...{ diskFreeBytes: 0, readsPerSecond: 0, writesPerSecond: 0, address: '', storesVersion: 0 },
    ...{ settingsVersion: 0, waitingReplicas: [], process: Buffer.alloc(0), diskFull: false, diskLow: false },
    diskHangs: false,
    replicasCatchingUp: 0,
    oldestTransaction: 0,
    oldestLock: 0,
    heardGcSafePoint: 0,
    build: buildToMessage(THIS_BUILD),
  }) satisfies HeartbeatRequest;

describe('the status', () => {
  it('names what is wrong, the worst first, and nothing when nothing is', async () => {
    const rig = await Rig.running();
    expect(await rig.status()).toMatchObject({ problems: [], unsettled: [] });
    const [a, b] = rig.shards;
    const half = { ...rig.whole, version: 2, endKey: Buffer.from('m') };
    const ranges = [{ ...reportOf(half, 2), laggingReplicaIds: [half.replicas[2]?.replicaId ?? 0] }];
    await rig.until(a.heartbeat({ ranges, diskFull: true, diskLow: true }));
    await rig.until(b.heartbeat({ replicasCatchingUp: 3, diskHangs: true }));
    // The other half of a split may be about to be reported.
    expect(await rig.status()).toMatchObject({
      unsettled: ['a part of the key space is in no range that was reported: one may be splitting'],
    });
    await rig.cluster.clock.advance(2_000);
    expect(await rig.status()).toMatchObject({
      problems: [
        '1 part of the key space in no range, the first from key 0x6d on',
        'disk does not answer: shard-2',
        'disk full, writes refused: shard-1',
        '1 range with replicas that have not caught up',
        'shard nodes that are catching up: shard-2',
      ],
      unsettled: [],
    });
    await rig.cluster.clock.advance(5_000);
    const { problems } = await rig.status();
    expect(problems).toContain('1 range without a live leader');
    expect(problems).toContain('shard nodes not heard from: shard-1, shard-2, shard-3');
  });

  it('of a cluster that starts is unsettled, not ill', async () => {
    const cluster = await MetadataCluster.start();
    await cluster.raft.elect(0);
    const client = cluster.client();
    await cluster.clock.advance(3_000);
    expect(await cluster.clock.until(client.status())).toMatchObject({
      problems: [],
      unsettled: ['the cluster has no range yet: 3 stores are needed and 0 have joined'],
    });
    const rig = await Rig.start();
    for (let round = 0; round < 3; round += 1) {
      const { problems, unsettled } = await rig.status();
      expect({ problems, unsettled: unsettled.length }).toEqual({ problems: [], unsettled: 1 });
      await rig.beat();
    }
    expect(await rig.status()).toMatchObject({ problems: [], unsettled: ['the first range is being made'] });
    await rig.until(rig.shards[0].heartbeat({ ranges: [reportOf(rig.whole, 2)] }));
    expect(await rig.status()).toMatchObject({ problems: [], unsettled: [], ranges: 1 });
  });

  it('says that a first range without a leader is wrong when it stays so', async () => {
    const rig = await Rig.start();
    for (let round = 0; round < 12; round += 1) await rig.beat();
    expect(await rig.status()).toMatchObject({ problems: ['1 range without a live leader'], unsettled: [] });
  });
});

describe('a new metadata leader', () => {
  it('says what it does not know yet, and calls nothing lost that it has not heard of', async () => {
    const rig = await Rig.running();
    const [a, b, c] = rig.shards;
    await rig.cluster.raft.elect(1);
    const silent = 'shard nodes that have not told the metadata leader their ranges yet: ';
    expect(await rig.status()).toMatchObject({
      problems: [],
      unsettled: [`${silent}shard-1, shard-2, shard-3`],
    });
    expect(await rig.stateOf('shard-1')).toBe(NodeState.NOT_HEARD_YET);
    const early = await rig.until(rig.client.routes({ keys: [], fromKey: Buffer.alloc(0), limit: 9 }));
    expect(early.incomplete).toBe(true);
    await rig.report(b);
    await rig.report(c);
    // The range is known, and not that it has a leader.
    expect(await rig.status()).toMatchObject({ problems: [], unsettled: [`${silent}shard-1`] });
    await rig.report(a);
    await rig.cluster.clock.advance(1_500);
    expect(await rig.status()).toMatchObject({ problems: [], unsettled: [], ranges: 1 });
    expect(await rig.stateOf('shard-1')).toBe(NodeState.LIVE);
    const late = await rig.until(rig.client.routes({ keys: [], fromKey: Buffer.alloc(0), limit: 9 }));
    expect(late.incomplete).toBe(false);
  });

  it('calls a node gone after five seconds of silence, and says what is missing without it', async () => {
    const rig = await Rig.running();
    await rig.cluster.raft.elect(1);
    await rig.cluster.clock.advance(6_100);
    const { problems, unsettled } = await rig.status();
    expect(unsettled).toEqual([
      'a part of the key space is in no range that was reported: one may be splitting',
    ]);
    expect(problems).toEqual(['shard nodes not heard from: shard-1, shard-2, shard-3']);
    await rig.cluster.clock.advance(2_000);
    expect((await rig.status()).problems[0]).toBe(
      '1 part of the key space in no range, the first from the first key on',
    );
    expect(await rig.stateOf('shard-1')).toBe(NodeState.GONE);
  });

  it('tells for how long another member has been away', async () => {
    const rig = await Rig.running();
    rig.cluster.away.set('meta-3', 4_321.5);
    const { nodes, problems } = await rig.status();
    expect(nodes.find(({ name }) => name === 'meta-3')).toMatchObject({
      ...{ live: false, state: NodeState.GONE, lastSeenMs: 4_321 },
    });
    expect(problems).toEqual(['metadata members not reached: meta-3']);
  });
});

describe('a node that is gone', () => {
  it('leads and serves nothing, whatever it said last', async () => {
    const rig = await Rig.running();
    await rig.until(rig.shards[1].heartbeat({ leaders: 3, writesPerSecond: 190, readsPerSecond: 20 }));
    for (let second = 0; second < 7; second += 1) await rig.beat([rig.shards[0], rig.shards[2]]);
    expect((await rig.status()).nodes.find(({ name }) => name === 'shard-2')).toMatchObject({
      ...{ live: false, state: NodeState.GONE, leaders: 0, writesPerSecond: 0, readsPerSecond: 0 },
    });
  });
});

describe('a store that was declared lost', () => {
  it('is named as such while a range names it, and then no more', async () => {
    const rig = await Rig.running();
    const { whole } = rig;
    const empty = new FakeShard(rig.client, 'shard-2', 22);
    empty.replacesStoreId = 2;
    await rig.until(empty.join());
    await rig.beat([rig.shards[0], empty, rig.shards[2]]);
    expect((await rig.status()).problems).toContain(
      '1 range with a member on a store that was declared lost',
    );
    expect(await rig.stateOf('shard-2#2')).toBe(NodeState.LOST);
    const replicas = whole.replicas.filter(({ storeId }) => storeId !== 2);
    const mended = {
      ...whole,
      confVersion: 2,
      replicas: [...replicas, { replicaId: 9, storeId: 4, role: 1 }],
    };
    await rig.until(rig.client.allocateIds(10));
    await rig.until(rig.shards[0].heartbeat({ ranges: [reportOf(mended, 2)] }));
    expect(await rig.stateOf('shard-2#2')).toBe(undefined);
    expect((await rig.status()).nodes.filter(({ kind }) => kind === 'shard')).toHaveLength(3);
  });
});

describe('a router', () => {
  it('that stops in order is not missed, and a newer process of its name stays', async () => {
    const rig = await Rig.running();
    await rig.until(rig.client.heartbeat(routerBeat(1)));
    expect(await rig.stateOf('router-1')).toBe(NodeState.LIVE);
    await rig.until(rig.client.leave({ name: 'router-1', incarnation: Buffer.alloc(16, 2) }));
    expect(await rig.stateOf('router-1')).toBe(NodeState.LIVE);
    await rig.until(rig.client.leave({ name: 'router-1', incarnation: Buffer.alloc(16, 1) }));
    expect(await rig.stateOf('router-1')).toBe(undefined);
    expect((await rig.status()).problems).toEqual([]);
  });

  it('that died is named for two minutes', async () => {
    const rig = await Rig.running();
    await rig.until(rig.client.heartbeat(routerBeat(1)));
    const beatFor = async (seconds: number): Promise<void> => {
      for (let second = 0; second < seconds; second += 1) await rig.beat();
    };
    await beatFor(10);
    expect((await rig.status()).problems).toEqual([
      'routers not heard from, each forgotten after 120 s of silence: router-1',
    ]);
    await beatFor(115);
    expect((await rig.status()).problems).toEqual([]);
    expect(await rig.stateOf('router-1')).toBe(undefined);
  });

  it('is not spoken for by another one', async () => {
    const rig = await Rig.running();
    rig.cluster.speaker = 'router-9';
    const leaving = rig.client.leave({ name: 'router-1', incarnation: Buffer.alloc(16, 1) });
    await expect(rig.until(leaving)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('settings', () => {
  it('that are changed together are changed in one command, or not at all', async () => {
    const rig = await Rig.running();
    const commands = (): number =>
      rig.cluster.raft.log.filter(({ payload }) => Buffer.from(payload).includes('range.')).length;
    const changes = [
      { name: 'range.split_bytes', value: '64MiB' },
      { name: 'range.target_bytes', value: '32MiB' },
    ];
    const refused = rig.client.putSettings([...changes, { name: 'value.max_bytes', value: '1' }]);
    await expect(rig.until(refused)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'value.max_bytes' },
    });
    const isDefault = async (): Promise<boolean[]> =>
      (await rig.until(rig.client.settings()))
        .filter(({ name }) => name.startsWith('range.'))
        .map((setting) => setting.isDefault);
    expect(await isDefault()).toEqual([true, true]);
    expect(commands()).toBe(0);
    await rig.until(rig.client.putSettings(changes));
    expect(await isDefault()).toEqual([false, false]);
    expect(commands()).toBe(1);
  });
});
