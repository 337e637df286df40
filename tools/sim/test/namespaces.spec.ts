import { expect, it } from '@jest/globals';
import type { RangeInfo } from '@cairn/client';
import { checkRow, rowSpansOf, WriteBatchBuilder, type VersionRow } from '@cairn/mvcc';
import { rowCounts, rowsInEveryNamespace, wholeCounts } from '@cairn/mvcc/testing';
import type { Replica } from '@cairn/store';
import { ShardRpc, type RpcPool } from '@cairn/wire';

import { SimCluster } from '../src/cluster.js';
import type { SimEngineKind } from '../src/node-engine.js';
import { shardCallsOf } from '../src/shard-calls.js';
import { startClient, type SimClient } from '../src/sim-client.js';

/*
 * Goal: no part of a range is left behind or forgotten, whichever namespace it is in. Method: one range gets
 * rows in all four, as transactions and collections will write them; then it is cut, moved to a store that
 * had none of it, taken away from another, and everything loses power. The same with real processes' ports
 * and the other engines: `libs/nodes/shard-node/test/namespaces.e2e.spec.ts`.
 */

const KEYS = ['a', 'd', 'k', 'key\0with zeros', 'm', 'p', 'z'];

class Rig {
  readonly cluster: SimCluster;
  readonly #client: SimClient;
  readonly #shards: RpcPool;

  constructor(engine: SimEngineKind) {
    this.cluster = new SimCluster({ seed: 'namespaces', shardNodes: 4, engine });
    this.#client = startClient(this.cluster, 'client', 10_000);
    this.#shards = shardCallsOf(this.cluster, this.#client);
  }

  async boot(): Promise<void> {
    const { scheduler } = this.cluster;
    await this.cluster.boot();
    const builder = new WriteBatchBuilder();
    for (const key of KEYS) for (const row of rowsInEveryNamespace(key)) builder.addPut(...row);
    for (const row of rowsInEveryNamespace('gone')) {
      builder.addPut(...row);
      builder.addRemove(row[0], row[1].length);
    }
    expect(this.leaderOf('a').propose(builder.finish()).type).toBe('accepted');
    await scheduler.runFor(1_000);
  }

  async cutAt(key: string): Promise<void> {
    await this.cluster.scheduler.settle(this.#client.client.splitRanges([key]));
    await this.cluster.scheduler.runFor(1_000);
  }

  leaderOf(key: string): Replica {
    for (const node of this.cluster.shards) {
      for (const replica of node.replicas()) {
        const { startKey, endKey } = replica.descriptor;
        const isBelowEnd = endKey.length === 0 || Buffer.compare(Buffer.from(key), endKey) < 0;
        const isInside = Buffer.compare(startKey, Buffer.from(key)) <= 0 && isBelowEnd;
        if (isInside && replica.isReadyLeader) return replica;
      }
    }
    throw new Error(`nobody leads the range of ${key}`);
  }

  /** Replaces one store of the range by another. */
  async move(key: string, addStoreId: number, removeStoreId: number): Promise<void> {
    const { scheduler } = this.cluster;
    const [range] = (await scheduler.settle(this.#client.client.ranges({ start: key, limit: 1 }))) as [
      RangeInfo,
    ];
    const leader = this.cluster.shards.find((one) => one.storeId === range.leaderStoreId);
    const { rangeId, confVersion } = range;
    const request = { rangeId, confVersion, addStoreId, removeStoreId };
    const client = this.#shards.client(leader?.address ?? '');
    await scheduler.settle(client.call(ShardRpc.changeReplicas, request, { timeoutMs: 5_000 }));
    await scheduler.runFor(3_000);
  }

  storesOf(key: string): number[] {
    return this.leaderOf(key).descriptor.replicas.map((member) => member.storeId);
  }

  /** What a store has of a span, by user key and namespace. */
  async countsOf(store: number, start: string, end: string): Promise<ReturnType<typeof rowCounts>> {
    const node = this.cluster.shards.find((one) => one.storeId === store);
    const found: VersionRow[] = [];
    for (const span of rowSpansOf(Buffer.from(start), Buffer.from(end))) {
      const walk = node?.engine.iterate(span);
      for (;;) {
        const rows = (await walk?.next(100)) ?? [];
        if (rows.length === 0) break;
        for (const [key, record] of rows) checkRow(key, record);
        found.push(...rows);
      }
      await walk?.close();
    }
    return rowCounts(found);
  }
}

const [BELOW, ABOVE] = [KEYS.filter((key) => key < 'm'), KEYS.filter((key) => key >= 'm')];

it.each(['memory', 'lsm'] as const)(
  'a range with rows in every namespace is cut, moved, removed and restarted whole, with the engine %s',
  async (engine) => {
    const rig = new Rig(engine);
    const { scheduler, shards, observer } = rig.cluster;
    await rig.boot();
    for (const store of rig.storesOf('a'))
      expect(await rig.countsOf(store, '', '')).toEqual(wholeCounts(KEYS));

    await rig.cutAt('m');
    const members = rig.storesOf('z');
    expect(rig.leaderOf('a').rangeId).not.toBe(rig.leaderOf('z').rangeId);
    for (const store of members) expect(await rig.countsOf(store, '', '')).toEqual(wholeCounts(KEYS));

    const spare = shards.map((node) => node.storeId).find((store) => !members.includes(store)) as number;
    const { leaderStoreId } = rig.leaderOf('z');
    const removed = members.find((store) => store !== leaderStoreId) as number;
    await rig.move('z', spare, removed);
    expect(await rig.countsOf(spare, '', '')).toEqual(wholeCounts(ABOVE));
    expect(await rig.countsOf(removed, '', '')).toEqual(wholeCounts(BELOW));

    for (const node of shards) node.die('power');
    for (const node of shards) node.start();
    await scheduler.runUntilTrue(() => rig.cluster.isHealthy, 20_000);
    await scheduler.runFor(2_000);
    for (const store of rig.storesOf('a'))
      expect(await rig.countsOf(store, '', 'm')).toEqual(wholeCounts(BELOW));
    for (const store of rig.storesOf('z'))
      expect(await rig.countsOf(store, 'm', '')).toEqual(wholeCounts(ABOVE));
    expect(observer.violations).toEqual([]);
  },
  60_000,
);
