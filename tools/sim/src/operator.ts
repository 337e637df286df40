import { CairnError, messageOf } from '@cairn/base';
import { ShardRpc, type RpcPool } from '@cairn/wire';
import { sleep } from '@cairn/ports';
import type { SimRng } from '@cairn/runtime-sim';

import type { SimCluster } from './cluster.js';
import { shardCallsOf } from './shard-calls.js';
import type { SimClient } from './sim-client.js';

export interface OperatorOptions {
  readonly keys: readonly string[];
  /** Least and most virtual time between two changes. */
  readonly everyMs: readonly [number, number];
  isOn(): boolean;
  /** A range was just cut. */
  onCut(): void;
  /** Replicas of a range were moved as asked. */
  onMove(): void;
  /** Called now and then between the changes. */
  look(): Promise<unknown>;
}

/**
 * Cuts ranges, moves leaders, and where there are more stores than a range has members also replicas, now and
 * then, under load. What it asks for may well be refused, or be given up half way.
 */
export class Operator {
  readonly #cluster: SimCluster;
  readonly #client: SimClient;
  readonly #rng: SimRng;
  readonly #options: OperatorOptions;
  readonly #shards: RpcPool;

  constructor(cluster: SimCluster, client: SimClient, options: OperatorOptions) {
    this.#cluster = cluster;
    this.#client = client;
    this.#options = options;
    this.#rng = cluster.rng.fork('admin/work');
    this.#shards = shardCallsOf(cluster, client);
  }

  async run(): Promise<void> {
    await this.#changeSettings();
    for (;;) {
      await sleep(this.#client.clock, this.#rng.between(...this.#options.everyMs));
      if (!this.#options.isOn()) return;
      const key = this.#rng.pick(this.#options.keys);
      await this.#try(() => this.#change(key));
      if (this.#rng.chance(0.3)) await this.#options.look();
    }
  }

  #change(key: string): Promise<void> {
    if (this.#cluster.shards.length > this.#cluster.replicationFactor && this.#rng.chance(0.5))
      return this.#moveReplica(key);
    return this.#rng.chance(0.5) ? this.#cut(key) : this.#moveLeader(key);
  }

  /** Old versions are collected and large ranges cut while the run lasts. */
  async #changeSettings(): Promise<void> {
    const { client } = this.#client;
    if (this.#rng.chance(0.5)) await this.#try(() => client.putSetting('gc.life_seconds', '10'));
    if (!this.#rng.chance(0.3)) return;
    await this.#try(() => client.putSetting('range.target_bytes', '32768'));
    await this.#try(() => client.putSetting('range.split_bytes', '65536'));
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!CairnError.is(error)) throw error;
      this.#cluster.observer.note('admin', `refused: ${messageOf(error)}`);
    }
  }

  async #cut(key: string): Promise<void> {
    await this.#client.client.splitRanges([key]);
    this.#options.onCut();
  }

  /** One store for another, or one more, which a later move takes away again. */
  async #moveReplica(key: string): Promise<void> {
    const [range] = await this.#client.client.ranges({ start: key, limit: 1 });
    const leader = this.#cluster.shards.find((node) => node.storeId === range?.leaderStoreId);
    // A range that nobody tells of has no members.
    if (range === undefined || leader === undefined || range.replicas.length === 0) return;
    const held = range.replicas.map((member) => member.storeId);
    // What an interrupted move left behind is finished, or taken away, before anything else.
    const learner = range.replicas.find((member) => member.role === 'learner')?.storeId;
    const stores = this.#cluster.shards.map((node) => node.storeId);
    const spare = stores.filter((store) => store !== 0 && !held.includes(store));
    // Moves begin with as many members as new ranges have, and come back to that.
    const wanted = this.#cluster.replicationFactor;
    const isCrowded = held.length > wanted;
    const addStoreId = isCrowded || spare.length === 0 ? 0 : this.#rng.pick(spare);
    const removeStoreId = learner ?? (!isCrowded && this.#rng.chance(0.2) ? 0 : this.#rng.pick(held));
    if (addStoreId === 0 && held.length <= wanted) return;
    const { rangeId, confVersion } = range;
    const request = { rangeId, confVersion, addStoreId, removeStoreId };
    await this.#shards.client(leader.address).call(ShardRpc.changeReplicas, request, { timeoutMs: 5_000 });
    this.#options.onMove();
  }

  async #moveLeader(key: string): Promise<void> {
    const [range] = await this.#client.client.ranges({ start: key, limit: 1 });
    const leader = this.#cluster.shards.find((node) => node.storeId === range?.leaderStoreId);
    const target = this.#rng.pick(this.#cluster.shards).storeId;
    if (range === undefined || leader === undefined || target === 0) return;
    const request = { rangeId: range.rangeId, toStoreId: target };
    await this.#shards.client(leader.address).call(ShardRpc.transferLeader, request, { timeoutMs: 3_000 });
  }
}
