import { expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import type { RangeInfo } from '@cairn/client';
import {
  checkRow,
  keyPrefixIn,
  Namespace,
  NO_EXPIRY,
  recordLength,
  ROW_NAMESPACES,
  rowSpansOf,
  WriteBatchBuilder,
  writeRecordOf,
  type RowNamespace,
} from '@cairn/mvcc';
import type { Replica } from '@cairn/store';
import { ShardRpc, type RpcPool } from '@cairn/wire';

import { SimCluster } from '../src/cluster.js';
import { shardCallsOf } from '../src/shard-calls.js';
import { startClient, type SimClient } from '../src/sim-client.js';

/*
 * Goal: no part of a range is left behind or forgotten, whichever namespace it is in. Method: one range gets
 * rows in all four, as transactions and collections will write them; then it is cut, moved to a store that
 * had none of it, taken away from another, and everything loses power.
 */

const KEYS = ['a', 'd', 'k', 'm', 'p', 'z', 'key\0with zeros'];
const OTHER_NAMESPACES = ROW_NAMESPACES.filter((namespace) => namespace !== Namespace.versions);

class Rig {
  readonly cluster = new SimCluster({ seed: 'namespaces', shardNodes: 4, engine: 'lsm' });
  readonly #client: SimClient;
  readonly #shards: RpcPool;

  constructor() {
    this.#client = startClient(this.cluster, 'client', 10_000);
    this.#shards = shardCallsOf(this.cluster, this.#client);
  }

  async boot(): Promise<void> {
    const { scheduler } = this.cluster;
    await this.cluster.boot();
    for (const key of KEYS) await scheduler.settle(this.#client.client.put(key, 'value'));
    const builder = new WriteBatchBuilder();
    for (const namespace of OTHER_NAMESPACES) {
      for (const key of KEYS) {
        for (const row of [rowIn(namespace, key, 'one'), rowIn(namespace, key, 'two')])
          builder.addPut(...row);
        builder.addPut(...rowIn(namespace, key, 'gone'));
        builder.addRemove(rowIn(namespace, key, 'gone')[0], 0);
      }
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
        const isBelowEnd = endKey.length === 0 || Buffer.from(key) < Buffer.from(endKey);
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

  /** By namespace, the user keys of a span that a store has rows of, each as often as it has. */
  async rowsOf(store: number, start: string, end: string): Promise<Record<number, string[]>> {
    const node = this.cluster.shards.find((one) => one.storeId === store);
    const found: Record<number, string[]> = {};
    for (const span of rowSpansOf(Buffer.from(start), Buffer.from(end))) {
      const walk = node?.engine.iterate(span);
      for (;;) {
        const rows = (await walk?.next(100)) ?? [];
        if (rows.length === 0) break;
        for (const [key, record] of rows) {
          checkRow(key, record);
          const name = KEYS.find((each) =>
            key.includes(keyPrefixIn(Namespace.versions, Buffer.from(each)).subarray(1)),
          );
          (found[key[0] ?? 0] ??= []).push(name ?? key.toString('hex'));
        }
      }
      await walk?.close();
    }
    return found;
  }
}

/** A row of a namespace, as one could be: the user key first, then something that tells rows of it apart. */
function rowIn(namespace: RowNamespace, userKey: string, rest: string): [Buffer, Buffer] {
  const key = Buffer.concat([keyPrefixIn(namespace, Buffer.from(userKey)), Buffer.from(rest)]);
  const version = {
    timestamp: timestamp(1),
    sequence: 0,
    expiry: NO_EXPIRY,
    tombstone: false,
    kind: 0,
    value: Buffer.from(`${rest} of ${userKey}`),
  };
  const both = Buffer.alloc(key.length + recordLength(version));
  key.copy(both);
  writeRecordOf(both, { keyAt: 0, recordAt: key.length }, version);
  return [key, both.subarray(key.length)];
}

/** What a store has of a span when it has all. */
function allIn(start: string, end: string): Record<number, string[]> {
  const inside = KEYS.filter((key) => key >= start && (end === '' || key < end)).sort();
  const twice = inside.flatMap((key) => [key, key]);
  return Object.fromEntries(
    ROW_NAMESPACES.map((namespace) => [namespace, namespace === Namespace.versions ? inside : twice]),
  );
}

it('a range with rows in every namespace is cut, moved, removed and restarted whole', async () => {
  const rig = new Rig();
  const { scheduler, shards, observer } = rig.cluster;
  await rig.boot();
  for (const store of rig.storesOf('a')) expect(await rig.rowsOf(store, '', '')).toEqual(allIn('', ''));

  await rig.cutAt('m');
  const members = rig.storesOf('z');
  expect(rig.leaderOf('a').rangeId).not.toBe(rig.leaderOf('z').rangeId);
  for (const store of members) expect(await rig.rowsOf(store, '', '')).toEqual(allIn('', ''));

  const spare = shards.map((node) => node.storeId).find((store) => !members.includes(store)) as number;
  const { leaderStoreId } = rig.leaderOf('z');
  const removed = members.find((store) => store !== leaderStoreId) as number;
  await rig.move('z', spare, removed);
  expect(await rig.rowsOf(spare, '', '')).toEqual(allIn('m', ''));
  expect(await rig.rowsOf(removed, 'm', '')).toEqual({});
  expect(await rig.rowsOf(removed, '', '')).toEqual(allIn('', 'm'));

  for (const node of shards) node.die('power');
  for (const node of shards) node.start();
  await scheduler.runUntilTrue(() => rig.cluster.isHealthy, 20_000);
  await scheduler.runFor(2_000);
  for (const store of rig.storesOf('a')) expect(await rig.rowsOf(store, '', 'm')).toEqual(allIn('', 'm'));
  for (const store of rig.storesOf('z')) expect(await rig.rowsOf(store, 'm', '')).toEqual(allIn('m', ''));
  expect(observer.violations).toEqual([]);
}, 60_000);
