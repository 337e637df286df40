import { CairnError, messageOf } from '@cairn/base';
import { ShardRpc, PROTOCOL_VERSION, RpcPool } from '@cairn/wire';
import { storeId } from '@cairn/base';
import { sleep } from '@cairn/ports';
import type { SimRng } from '@cairn/runtime-sim';

import type { SimCluster } from './cluster.js';
import type { SimClient } from './sim-client.js';

export interface OperatorOptions {
  readonly keys: readonly string[];
  isOn(): boolean;
  /** A range was just cut. */
  onCut(): void;
  /** Called now and then between the changes. */
  look(): Promise<unknown>;
}

/** Cuts ranges and moves leaders now and then, under load. What it asks for may well be refused. */
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
    const { name, clock, transport } = client;
    const hello = {
      protocolVersion: PROTOCOL_VERSION,
      purpose: 'rpc',
      clusterId: '',
      kind: 'tool',
      name,
      storeId: storeId(0),
    } as const;
    this.#shards = new RpcPool({
      transport,
      hello: () => hello,
      clock,
      logger: cluster.observer.loggerFor(name),
    });
  }

  async run(): Promise<void> {
    await this.#changeSettings();
    for (;;) {
      await sleep(this.#client.clock, this.#rng.between(200, 3_000));
      if (!this.#options.isOn()) return;
      const key = this.#rng.pick(this.#options.keys);
      await this.#try(() => (this.#rng.chance(0.5) ? this.#cut(key) : this.#moveLeader(key)));
      if (this.#rng.chance(0.3)) await this.#options.look();
    }
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

  async #moveLeader(key: string): Promise<void> {
    const [range] = await this.#client.client.ranges({ start: key, limit: 1 });
    const leader = this.#cluster.shards.find((node) => node.storeId === range?.leaderStoreId);
    const target = this.#rng.pick(this.#cluster.shards).storeId;
    if (range === undefined || leader === undefined || target === 0) return;
    const request = { rangeId: range.rangeId, toStoreId: target };
    await this.#shards.client(leader.address).call(ShardRpc.transferLeader, request, { timeoutMs: 3_000 });
  }
}
