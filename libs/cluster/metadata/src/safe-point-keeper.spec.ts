/**
 * Goal: one safe point for the whole cluster, kept by whoever leads: it goes on over failovers and never
 * back, waits for those who need old versions, and for none who is gone; nodes are told. Method: members,
 * shard nodes and a router around one fake group, on virtual time.
 */
import { describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS, timestampToUnixMs, type Timestamp } from '@cairn/base';
import { THIS_BUILD } from '@cairn/wire';

import { FakeShard, reportOf } from '../test/fake-shard.js';
import { MetadataCluster } from '../test/metadata-cluster.js';
import type { MetadataClient } from './metadata-client.js';
import { buildToMessage, NodeKind, type BuildVersions, type HeartbeatRequest } from './wire-binding.js';

const SECOND = 1_000 * TIMESTAMP_LOGICAL_STEPS;
const LIFE_SECONDS = 10;

class Rig {
  readonly cluster: MetadataCluster;
  readonly client: MetadataClient;
  readonly shards: [FakeShard, FakeShard, FakeShard];
  /** The oldest transaction that the router runs; undefined = there is no router. */
  oldest: Timestamp | undefined = timestamp(0);
  #sequence = 0;
  /** Stores with old locks that the router was told of last. */
  oldLocks: readonly number[] = [];
  /** Safe points that the first store was told, in their order. */
  readonly told: number[] = [];

  private constructor(cluster: MetadataCluster) {
    this.cluster = cluster;
    this.client = cluster.client();
    const shardOf = (id: number): FakeShard => new FakeShard(this.client, `shard-${id}`, id);
    this.shards = [shardOf(1), shardOf(2), shardOf(3)];
  }

  static async start(build: BuildVersions = THIS_BUILD): Promise<Rig> {
    const rig = new Rig(await MetadataCluster.start(3, 3, build));
    for (const shard of rig.shards) shard.build = build;
    await rig.cluster.raft.elect(0);
    for (const shard of rig.shards) await rig.until(shard.join());
    await rig.until(rig.client.putSettings([{ name: 'gc.life_seconds', value: String(LIFE_SECONDS) }]));
    await rig.beat(8);
    return rig;
  }

  until<Value>(work: Promise<Value>): Promise<Value> {
    return this.cluster.clock.until(work);
  }

  /** So many seconds, in which all stores and the router speak. */
  async beat(seconds: number, silent: readonly FakeShard[] = []): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      for (const shard of this.shards) {
        if (silent.includes(shard)) continue;
        const ranges = shard === this.shards[0] ? this.#led() : {};
        const response = await this.until(shard.heartbeat(ranges));
        if (shard === this.shards[0]) this.told.push(response.gcSafePoint);
      }
      if (this.oldest !== undefined) {
        const heard = await this.until(this.client.heartbeat(this.#routerBeat(this.oldest)));
        this.oldLocks = heard.oldLockStoreIds;
      }
      await this.cluster.clock.advance(1_000);
    }
  }

  /** The first store leads the first range. */
  #led(): Partial<HeartbeatRequest> {
    const descriptor = this.shards[0].ranges.get(1)?.descriptor;
    return descriptor === undefined ? {} : { ranges: [reportOf(descriptor, 2)] };
  }

  #routerBeat(oldestTransaction: Timestamp): HeartbeatRequest {
    this.#sequence += 1;
    return {
      ...{ name: 'router-1', kind: NodeKind.ROUTER, incarnation: Buffer.alloc(16, 1), address: '' },
      ...{ publicAddress: 'router-1:7301', process: Buffer.alloc(0), sequence: this.#sequence },
      ...{ storeId: 0, full: false, ranges: [], removedRangeIds: [], replicas: 0, leaders: 0, dataBytes: 0 },
      ...{ diskFreeBytes: 0, readsPerSecond: 0, writesPerSecond: 0, startedUnixMs: 1, storesVersion: 0 },
      ...{ settingsVersion: 0, waitingReplicas: [], diskFull: false, diskLow: false, diskHangs: false },
      ...{ replicasCatchingUp: 0, build: buildToMessage(THIS_BUILD) },
      ...{ oldestTransaction, oldestLock: 0, heardGcSafePoint: 0 },
    };
  }

  get leader(): number {
    return this.cluster.raft.members.findIndex((member) => member === this.cluster.raft.leader);
  }

  get safePoint(): Timestamp {
    return this.cluster.raft.members[this.leader]?.machine.state.gcSafePoint ?? timestamp(0);
  }

  /** How far the safe point lies behind the newest timestamp. */
  get lagSeconds(): number {
    return (this.client.latest - this.safePoint) / SECOND;
  }

  metric(name: string, ...labels: string[]): number {
    return this.cluster.metrics[this.leader]?.valueOf(name, ...labels) ?? 0;
  }

  hold(name: string, at = 0, ttlMs = 60_000): Promise<{ readonly timestamp: number }> {
    return this.until(this.client.putHold({ name, timestamp: at, ttlMs, reason: 'a test' }));
  }
}

describe('the safe point', () => {
  it('follows the life of old versions, and every node is told', async () => {
    const rig = await Rig.start();
    await rig.beat(12);
    expect(rig.safePoint).toBeGreaterThan(0);
    expect(rig.lagSeconds).toBeGreaterThanOrEqual(LIFE_SECONDS - 1);
    expect(rig.lagSeconds).toBeLessThan(LIFE_SECONDS + 4);
    expect(rig.told).toEqual([...rig.told].sort((a, b) => a - b));
    expect(rig.told.at(-1)).toBeGreaterThan(0);
    const [first] = rig.shards;
    // Whoever joins anew knows it before its store is open.
    first.acceptedStart = first.offeredStart;
    first.offeredStart = 'f'.repeat(16);
    first.process = Buffer.alloc(8, 99);
    await rig.cluster.clock.advance(6_000);
    expect((await rig.until(first.join())).gcSafePoint).toBe(rig.safePoint);
    expect(rig.metric('cairn_gc_safe_point_lag_seconds')).toBeGreaterThan(LIFE_SECONDS - 1);
    expect([rig.metric('cairn_gc_pinned'), rig.metric('cairn_gc_holds')]).toEqual([0, 0]);
  });

  it('stays at a hold until that is removed, and says so', async () => {
    const rig = await Rig.start();
    await rig.beat(5);
    const { timestamp: at } = await rig.hold('nightly');
    await rig.beat(40);
    expect(rig.safePoint).toBeLessThanOrEqual(at);
    expect(rig.safePoint).toBeGreaterThan(at - 2 * SECOND);
    const listed = await rig.until(rig.client.holds());
    expect(listed).toMatchObject({
      holds: [{ name: 'nightly', timestamp: at, reason: 'a test', capped: false }],
    });
    expect(listed.pinnedBy).toMatch(/^hold "nightly" \(a test\), 4\d s back$/);
    expect(listed.safePoint).toBe(rig.safePoint);
    const status = await rig.until(rig.client.status());
    expect(status).toMatchObject({ gcSafePoint: listed.safePoint, problems: [] });
    expect(status.gcPinnedBy).toMatch(/^hold "nightly"/);
    expect([rig.metric('cairn_gc_pinned'), rig.metric('cairn_gc_holds')]).toEqual([1, 1]);
    expect(rig.metric('cairn_gc_hold_age_seconds')).toBeGreaterThan(39);

    expect(await rig.until(rig.client.deleteHold({ name: 'nightly' }))).toEqual({ deleted: true });
    expect(await rig.until(rig.client.deleteHold({ name: 'nightly' }))).toEqual({ deleted: false });
    await rig.beat(3);
    expect(rig.lagSeconds).toBeLessThan(LIFE_SECONDS + 4);
  });

  it('is held by nobody who does not renew', async () => {
    const rig = await Rig.start();
    await rig.hold('dead', 0, 20_000);
    await rig.beat(40);
    expect(await rig.until(rig.client.holds())).toMatchObject({ holds: [], pinnedBy: '' });
    expect(rig.lagSeconds).toBeLessThan(LIFE_SECONDS + 4);
    expect(rig.metric('cairn_gc_pins_ended_total', 'hold_expired')).toBe(1);
    expect(rig.cluster.logged('info')).toContainEqual(
      expect.objectContaining({
        event: 'old versions are no longer kept',
        fields: { cause: 'hold_expired', name: 'dead' },
      }),
    );
  });

  it('is held by no hold that lies further back than the setting allows, which is counted once', async () => {
    const rig = await Rig.start();
    await rig.until(rig.client.putSettings([{ name: 'gc.hold_max_seconds', value: '60' }]));
    await rig.hold('slow', 0, 60_000);
    await rig.beat(30);
    // Renewed, but where it was.
    await rig.hold('slow', 0, 60_000);
    await rig.beat(40);
    const { holds, pinnedBy } = await rig.until(rig.client.holds());
    expect([holds.map(({ capped }) => capped), pinnedBy]).toEqual([[true], '']);
    expect(rig.metric('cairn_gc_pins_ended_total', 'hold_capped')).toBe(1);
    expect(rig.metric('cairn_gc_hold_age_seconds')).toBe(0);
    expect(rig.lagSeconds).toBeLessThan(LIFE_SECONDS + 4);
  });

  it('stays below the transactions that routers run, as long as these live', async () => {
    const rig = await Rig.start();
    await rig.beat(5);
    const oldest = await rig.until(rig.client.timestamp());
    rig.oldest = oldest;
    await rig.beat(30);
    expect(rig.safePoint).toBeLessThanOrEqual(oldest);
    expect((await rig.until(rig.client.holds())).pinnedBy).toMatch(
      /^transactions of router router-1, (29|30) s back$/,
    );
    rig.oldest = undefined;
    await rig.beat(12);
    expect(rig.safePoint).toBeGreaterThan(oldest);
    expect(rig.metric('cairn_gc_pins_ended_total', 'router_gone')).toBe(1);
  });

  it('does not stay below a transaction that runs for too long', async () => {
    const rig = await Rig.start();
    await rig.until(rig.client.putSettings([{ name: 'transaction.max_seconds', value: '20' }]));
    const oldest = await rig.until(rig.client.timestamp());
    rig.oldest = oldest;
    await rig.beat(15);
    expect(rig.safePoint).toBeLessThanOrEqual(oldest);
    await rig.beat(20);
    expect(rig.safePoint).toBeGreaterThan(oldest);
    expect(rig.metric('cairn_gc_pins_ended_total', 'transaction_capped')).toBe(1);
  });

  it('never goes back over failovers, and a new leader first hears which transactions run', async () => {
    const rig = await Rig.start();
    const oldest = await rig.until(rig.client.timestamp());
    rig.oldest = oldest;
    await rig.hold('kept', 0, 600_000);
    await rig.beat(20);
    const before = rig.safePoint;
    expect(before).toBeGreaterThan(0);
    await rig.cluster.raft.elect(1);
    expect(rig.safePoint).toBe(before);
    // The router is slow to find the new leader.
    rig.oldest = undefined;
    await rig.beat(3);
    rig.oldest = oldest;
    await rig.beat(20);
    expect(rig.safePoint).toBeLessThanOrEqual(oldest);
    expect(await rig.until(rig.client.holds())).toMatchObject({ holds: [{ name: 'kept' }] });
    await rig.until(rig.client.deleteHold({ name: 'kept' }));
    rig.oldest = timestamp(0);
    await rig.beat(10);
    await rig.cluster.raft.elect(2);
    await rig.beat(10);
    expect(rig.safePoint).toBeGreaterThan(oldest);
    expect(rig.told).toEqual([...rig.told].sort((a, b) => a - b));
    expect(new Set(rig.cluster.raft.members.map(({ machine }) => machine.state.gcSafePoint)).size).toBe(1);
  });

  it('is not there, and nothing can be held, while a node could not read it', async () => {
    const rig = await Rig.start({ ...THIS_BUILD, clusterVersions: { min: 1, max: 2 } });
    await rig.beat(20);
    expect([rig.safePoint, new Set(rig.told)]).toEqual([0, new Set([0])]);
    await expect(rig.hold('early')).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('before the cluster version is 3; it is 2'),
    });
  });
});

describe('a hold', () => {
  it('is refused with what is allowed', async () => {
    const rig = await Rig.start();
    await rig.beat(20);
    const newest = await rig.until(rig.client.timestamp());
    await expect(rig.hold('old', 5)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { field: 'timestamp' },
    });
    await expect(rig.hold('future', newest + 60 * SECOND)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(rig.hold('endless', 0, 86_400_001)).rejects.toMatchObject({ details: { field: 'ttl_ms' } });
    await expect(rig.until(rig.client.deleteHold({ name: '' }))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    const held = await rig.until(
      rig.client.putHold({ name: 'h', timestamp: newest, ttlMs: 5_000, reason: '' }),
    );
    expect(held.expiresUnixMs).toBeGreaterThanOrEqual(timestampToUnixMs(newest) + 5_000);
  });
});

describe('what is free of locks', () => {
  it('is known once all stores have said so of all ranges, and only rises', async () => {
    const rig = await Rig.start();
    await rig.beat(2);
    expect(rig.shards[0].last?.lockFreeBelow).toBe(0);
    await rig.beat(30);
    const free = rig.shards[0].last?.lockFreeBelow ?? 0;
    expect(free).toBeGreaterThan(0);
    expect(free).toBeLessThanOrEqual(rig.safePoint);

    // It may take no lock below what it was told.
    const lock = rig.safePoint + SECOND;
    rig.shards[1].oldestLock = lock;
    await rig.beat(40);
    expect(rig.shards[0].last?.lockFreeBelow).toBe(lock);
    rig.shards[1].oldestLock = 0;
    await rig.beat(30);
    expect(rig.shards[0].last?.lockFreeBelow).toBeGreaterThan(lock);
  });

  it('is told to routers only: stores whose locks nobody may come back for', async () => {
    const rig = await Rig.start();
    await rig.beat(10);
    const [, second] = rig.shards;
    second.oldestLock = await rig.until(rig.client.timestamp());
    await rig.beat(5);
    expect(rig.oldLocks).toEqual([]);
    await rig.beat(6);
    expect(rig.oldLocks).toEqual([second.storeId]);
    expect(rig.shards[0].last?.oldLockStoreIds).toEqual([]);
    // Who is silent is not asked.
    await rig.beat(20, [second]);
    expect(rig.oldLocks).toEqual([]);
    second.oldestLock = 0;
    await rig.beat(3);
    expect(rig.oldLocks).toEqual([]);
  });

  it('stands still while a store with ranges is silent, and is forgotten with leadership', async () => {
    const rig = await Rig.start();
    await rig.beat(30);
    await rig.beat(12, [rig.shards[2]]);
    const before = rig.shards[0].last?.lockFreeBelow ?? 0;
    await rig.beat(30, [rig.shards[2]]);
    expect(rig.shards[0].last?.lockFreeBelow).toBe(before);
    await rig.cluster.raft.elect(1);
    await rig.beat(2);
    expect(rig.shards[0].last?.lockFreeBelow).toBe(0);
    await rig.beat(30);
    expect(rig.shards[0].last?.lockFreeBelow).toBeGreaterThan(before);
  });

  it('is what a store says of locks, not more than it was told itself', async () => {
    const rig = await Rig.start();
    await rig.beat(30);
    const free = rig.shards[0].last?.lockFreeBelow ?? 0;
    for (let second = 0; second < 30; second += 1) {
      await rig.beat(1, [rig.shards[1]]);
      // Its answers are lost: it goes by an old safe point.
      await rig.until(rig.client.heartbeat(rig.shards[1].request({ heardGcSafePoint: 5 })));
    }
    const stale = rig.shards[0].last?.lockFreeBelow ?? 0;
    expect(stale).toBeLessThan(rig.safePoint - 10 * SECOND);
    expect(stale).toBeGreaterThanOrEqual(free);
  });
});
