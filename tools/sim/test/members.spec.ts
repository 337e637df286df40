import { expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import type { RangeInfo } from '@cairn/client';
import type { Replica } from '@cairn/store';
import { ShardRpc, type RpcPool } from '@cairn/wire';

import { SimCluster } from '../src/cluster.js';
import type { SimShardNode } from '../src/shard-node.js';
import { shardCallsOf } from '../src/shard-calls.js';
import { startClient, type SimClient } from '../src/sim-client.js';

const KEYS = Array.from({ length: 40 }, (_, at) => `key-${at}`);
const RANGE = 1;

/** A cluster of five stores whose one range has three members, and a client. */
class Rig {
  readonly cluster: SimCluster;
  readonly #client: SimClient;
  readonly #shards: RpcPool;

  private constructor(seed: string) {
    this.cluster = new SimCluster({ seed, shardNodes: 5 });
    this.#client = startClient(this.cluster, 'client', 10_000);
    this.#shards = shardCallsOf(this.cluster, this.#client);
  }

  static async boot(seed: string): Promise<Rig> {
    const rig = new Rig(seed);
    await rig.cluster.boot();
    await rig.write('first');
    return rig;
  }

  async write(value: string): Promise<void> {
    const { client } = this.#client;
    for (const key of KEYS)
      await this.cluster.scheduler.settle(client.put(key, `${value} ${'x'.repeat(300)}`));
  }

  /** Changes a setting; the nodes hear of it within a heartbeat. */
  async set(name: string, value: string): Promise<void> {
    await this.cluster.scheduler.settle(this.#client.client.putSetting(name, value));
    await this.cluster.scheduler.runFor(2_000);
  }

  async expectValues(value: string): Promise<void> {
    for (const key of KEYS) {
      const read = await this.cluster.scheduler.settle(this.#client.client.get(key));
      expect(read?.text()).toMatch(new RegExp(`^${value} `));
    }
  }

  /** Asks again and again, as a driver of changes would. */
  async change(add: number, remove: number, timeoutMs = 30_000): Promise<void> {
    const { scheduler } = this.cluster;
    const untilMs = scheduler.nowMs + timeoutMs;
    for (;;) {
      try {
        await scheduler.settle(this.changeOnce(add, remove));
        return;
      } catch (error) {
        if (!CairnError.is(error) || scheduler.nowMs > untilMs) throw error;
        await scheduler.runFor(100);
      }
    }
  }

  async changeOnce(add: number, remove: number): Promise<void> {
    await this.changeAsOf(await this.range(), add, remove);
  }

  /** The range as the cluster tells it. */
  async range(): Promise<RangeInfo> {
    const [range] = await this.#client.client.ranges({ limit: 1 });
    if (range === undefined) throw new CairnError('UNAVAILABLE', 'no range is known');
    return range;
  }

  async changeAsOf(range: RangeInfo, addStoreId: number, removeStoreId: number): Promise<void> {
    const { rangeId, confVersion, leaderStoreId } = range;
    const leader = this.cluster.shards.find((one) => one.storeId === leaderStoreId);
    if (leader === undefined) throw new CairnError('UNAVAILABLE', 'the leader is not known');
    const request = { rangeId, confVersion, addStoreId, removeStoreId };
    await this.#shards.client(leader.address).call(ShardRpc.changeReplicas, request, { timeoutMs: 5_000 });
  }

  node(store: number): SimShardNode {
    const node = this.cluster.shards.find((one) => one.storeId === store);
    if (node === undefined) throw new Error(`no store ${store}`);
    return node;
  }

  replica(store: number): Replica | undefined {
    return [...this.node(store).replicas()].find((replica) => replica.rangeId === RANGE);
  }

  get leader(): Replica {
    for (const node of this.cluster.shards) {
      for (const replica of node.replicas()) if (replica.isReadyLeader) return replica;
    }
    throw new Error('nobody leads');
  }

  async untilLed(): Promise<void> {
    await this.cluster.scheduler.runUntilTrue(() => {
      try {
        return this.leader.isReadyLeader;
      } catch {
        return false;
      }
    }, 20_000);
  }

  get voters(): number[] {
    const { replicas } = this.leader.descriptor;
    return replicas.filter(({ role }) => role === 'voter').map((member) => member.storeId);
  }

  get members(): number[] {
    return this.leader.descriptor.replicas.map((member) => member.storeId);
  }

  /** Stores that run and hold no replica of the range, lowest first. */
  get spares(): number[] {
    const running = this.cluster.shards.map((node) => node.storeId).filter((store) => store > 0);
    return running.filter((store) => !this.members.includes(store));
  }

  /** A voter that does not lead. */
  get follower(): number {
    const { leaderStoreId } = this.leader;
    return this.voters.find((store) => store !== leaderStoreId) as number;
  }

  /** The stores that hold a replica are exactly the members, and all have applied the same. */
  async expectSettled(): Promise<void> {
    const { scheduler, shards, observer } = this.cluster;
    await scheduler.runUntilTrue(() => {
      const held = shards.filter((node) => this.replica(node.storeId) !== undefined);
      const indexes = new Set(held.map((node) => this.replica(node.storeId)?.appliedIndex));
      return held.length === this.members.length && indexes.size === 1;
    }, 20_000);
    // Rows and log go a moment after the replica.
    await scheduler.runFor(200);
    for (const store of this.members) expect(this.replica(store)).toBeDefined();
    expect(observer.violations).toEqual([]);
  }

  async rowsOf(store: number): Promise<number> {
    const iterator = this.node(store).engine.iterate({ start: Buffer.from([0]), end: Buffer.from([0xff]) });
    let count = 0;
    for (;;) {
      const rows = await iterator.next(100);
      if (rows.length === 0) break;
      count += rows.filter(([key]) => key.includes('key-')).length;
    }
    await iterator.close();
    return count;
  }
}

it('adds a voter, which gets a snapshot and then serves', async () => {
  const rig = await Rig.boot('add');
  const before = rig.leader.descriptor.epoch.confVersion;
  const [spare = 0] = rig.spares;
  await rig.change(spare, 0);
  expect(rig.voters).toHaveLength(4);
  // A learner, a joint configuration entered, and left.
  expect(rig.leader.descriptor.epoch.confVersion).toBe(before + 3);
  await rig.write('second');
  await rig.expectSettled();
  expect(await rig.rowsOf(spare)).toBe(await rig.rowsOf(rig.leader.leaderStoreId));
});

it('removes a voter and everything it held, once the cluster wants fewer', async () => {
  const rig = await Rig.boot('remove');
  const gone = rig.follower;
  await expect(rig.cluster.scheduler.settle(rig.changeOnce(0, gone))).rejects.toMatchObject({
    code: 'FAILED_PRECONDITION',
    message: expect.stringContaining('would be left with 2 voters'),
  });
  await rig.set('replication.factor', '2');
  await rig.change(0, gone);
  expect(rig.members).toHaveLength(2);
  await rig.expectSettled();
  expect(await rig.rowsOf(gone)).toBe(0);
  await rig.expectValues('first');
});

it('is done at once when asked for what is already so', async () => {
  const rig = await Rig.boot('again');
  const [spare = 0] = rig.spares;
  const gone = rig.follower;
  await rig.change(spare, gone);
  const { epoch } = rig.leader.descriptor;
  await rig.change(spare, gone);
  expect(rig.leader.descriptor.epoch).toEqual(epoch);
});

it('moves every replica away from where it was, the leader too', async () => {
  const rig = await Rig.boot('everywhere');
  const first = rig.members;
  for (const [at, store] of first.slice(0, 2).entries()) {
    await rig.change(rig.spares[0] as number, store);
    await rig.untilLed();
    await rig.write(`round ${at}`);
    await rig.expectValues(`round ${at}`);
  }
  await rig.expectSettled();
  const { leaderStoreId } = rig.leader;
  await rig.change(rig.spares[0] as number, leaderStoreId);
  expect(rig.members).not.toContain(leaderStoreId);
  await rig.expectValues('round 1');
  await rig.expectSettled();
  expect(await rig.rowsOf(leaderStoreId)).toBe(0);
});

it('replaces a dead store, which hears of it when it comes back', async () => {
  const rig = await Rig.boot('dead');
  const dead = rig.follower;
  rig.node(dead).die('power');
  const address = `store ${dead}`;
  await rig.cluster.scheduler.runFor(1_000);
  await rig.change(rig.spares[0] as number, dead);
  expect({ address, voters: rig.voters.length }).toEqual({ address, voters: 3 });
  await rig.write('without it');
  const node = rig.cluster.shards.find((one) => !one.isAlive) as SimShardNode;
  node.start();
  await rig.cluster.scheduler.runUntilTrue(() => node.store !== undefined, 20_000);
  await rig.expectSettled();
  await rig.expectValues('without it');
});

it('refuses what too few live voters would be left for', async () => {
  const rig = await Rig.boot('few');
  const dead = rig.follower;
  rig.node(dead).die('power');
  await rig.cluster.scheduler.runFor(1_000);
  const alive = rig.voters.find((store) => store !== dead && store !== rig.leader.leaderStoreId) as number;
  const asked = rig.cluster.scheduler.settle(rig.changeOnce(0, alive));
  await expect(asked).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  expect(rig.voters).toHaveLength(3);
});

it('refuses a wish about members that have changed', async () => {
  const rig = await Rig.boot('stale');
  const { scheduler } = rig.cluster;
  const route = await scheduler.settle(rig.range());
  const [one = 0, other = 0] = rig.spares;
  await rig.change(one, 0);
  const asked = scheduler.settle(rig.changeAsOf(route, other, 0));
  await expect(asked).rejects.toMatchObject({ code: 'EPOCH_MISMATCH' });
});

it('brings a new replica to a store that a replica was removed from', async () => {
  const rig = await Rig.boot('return');
  const store = rig.follower;
  const before = rig.replica(store)?.replicaId ?? 0;
  await rig.change(rig.spares[0] as number, store);
  await rig.expectSettled();
  const tombstoned = rig.node(store);
  tombstoned.die('power');
  tombstoned.start();
  await rig.cluster.scheduler.runUntilTrue(() => tombstoned.store !== undefined, 20_000);
  await rig.cluster.scheduler.runFor(2_000);
  expect(rig.replica(store)).toBeUndefined();
  await rig.change(store, rig.follower);
  await rig.expectSettled();
  expect(rig.replica(store)?.replicaId).toBeGreaterThan(before);
  await rig.expectValues('first');
});

it('restarts with changes of the members behind the checkpoint and still in the log', async () => {
  const rig = await Rig.boot('remember');
  await rig.change(rig.spares[0] as number, rig.follower);
  await rig.write('second');
  await rig.cluster.scheduler.runFor(3_000);
  for (const node of rig.cluster.shards) node.die('power');
  for (const node of rig.cluster.shards) node.start();
  await rig.cluster.scheduler.runUntilTrue(() => rig.cluster.isHealthy, 20_000);
  await rig.expectSettled();
  await rig.expectValues('second');
});

it('ends the same wherever the leader loses power', async () => {
  for (let afterMs = 5; afterMs <= 400; afterMs += 36) {
    const rig = await Rig.boot(`crash-${afterMs}`);
    const [spare = 0] = rig.spares;
    const gone = rig.follower;
    const leading = rig.node(rig.leader.leaderStoreId);
    const asked = rig.changeOnce(spare, gone).catch(() => undefined);
    await rig.cluster.scheduler.runFor(afterMs);
    leading.die('power');
    leading.start();
    await rig.cluster.scheduler.runUntilTrue(() => leading.store !== undefined, 20_000);
    await rig.cluster.scheduler.settle(asked);
    await rig.untilLed();
    await rig.change(spare, gone);
    expect(rig.members).toContain(spare);
    expect(rig.members).not.toContain(gone);
    expect(rig.voters).toHaveLength(3);
    await rig.expectSettled();
    await rig.expectValues('first');
  }
}, 60_000);

it('finishes a removal that a crash interrupted', async () => {
  for (let afterMs = 0; afterMs < 12; afterMs += 1) {
    const rig = await Rig.boot(`interrupted-${afterMs}`);
    const gone = rig.follower;
    const node = rig.node(gone);
    await rig.change(rig.spares[0] as number, gone);
    await rig.cluster.scheduler.runUntilTrue(() => rig.replica(gone) === undefined, 20_000);
    await rig.cluster.scheduler.runFor(afterMs);
    node.die('power');
    node.start();
    await rig.cluster.scheduler.runUntilTrue(() => node.store !== undefined, 20_000);
    await rig.expectSettled();
    expect(await rig.rowsOf(gone)).toBe(0);
  }
}, 60_000);

it('ends the same wherever all stores lose power', async () => {
  for (let afterMs = 5; afterMs <= 400; afterMs += 36) {
    const rig = await Rig.boot(`blackout-${afterMs}`);
    const [spare = 0] = rig.spares;
    const gone = rig.follower;
    const asked = rig.changeOnce(spare, gone).catch(() => undefined);
    await rig.cluster.scheduler.runFor(afterMs);
    for (const node of rig.cluster.shards) node.die('power');
    for (const node of rig.cluster.shards) node.start();
    await rig.cluster.scheduler.runUntilTrue(() => rig.cluster.isHealthy, 20_000);
    await rig.cluster.scheduler.settle(asked);
    await rig.change(spare, gone);
    await rig.expectSettled();
    await rig.expectValues('first');
  }
}, 60_000);

it('takes no store that nobody knows, or that is not heard from', async () => {
  const rig = await Rig.boot('stranger');
  const refused = { code: 'FAILED_PRECONDITION', message: expect.stringContaining('cannot become a member') };
  await expect(rig.cluster.scheduler.settle(rig.changeOnce(99, 0))).rejects.toMatchObject(refused);
  const [spare = 0] = rig.spares;
  rig.cluster.shards.find((node) => node.storeId === spare)?.die('process');
  await rig.cluster.scheduler.runFor(8_000);
  await expect(rig.cluster.scheduler.settle(rig.changeOnce(spare, 0))).rejects.toMatchObject(refused);
});
