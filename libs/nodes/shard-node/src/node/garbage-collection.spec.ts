import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { noopLogger, noopMetrics, type Metrics } from '@cairn/ports';
import { describe, expect, it } from '@jest/globals';
import { Namespace } from '@cairn/mvcc';
import { KvOp, ReadConsistency } from '@cairn/wire';
import fc from 'fast-check';

import { bytes, codeOf, descriptorOf, KvRig, settle } from '../kv/kv-rig.testing.js';
import { TxnRig } from '../kv/txn/txn-rig.testing.js';
import { DEFAULT_GARBAGE_LIMITS, GarbageCollection, type GarbageLimits } from './garbage-collection.js';

const LIFE_MS = 10_000;
const LIFE_STEPS = LIFE_MS * TIMESTAMP_LOGICAL_STEPS;

class GarbageRig {
  readonly #counts: Map<string, number>;
  readonly rig: KvRig;
  readonly collection: GarbageCollection;
  lifeMs = LIFE_MS;
  /** Something holds the safe point here; Infinity = nothing does. */
  heldAt = Infinity;
  /** Some range of the cluster has a lock that old. */
  lockFreeBelow = Infinity;

  constructor(rig: KvRig, limits: Partial<GarbageLimits>) {
    this.rig = rig;
    const counts = new Map<string, number>();
    this.#counts = counts;
    const counter: Metrics['counter'] = (name) => ({
      add: (value) => counts.set(name, (counts.get(name) ?? 0) + value),
    });
    this.collection = new GarbageCollection({
      engine: rig.engine,
      clock: rig.clock,
      logger: noopLogger,
      damaged: (error) => rig.environment.damaged(error),
      metrics: { ...noopMetrics, counter },
      limits: { ...DEFAULT_GARBAGE_LIMITS, ...limits },
      machines: rig.environment.machines,
      newestTimestamp: () => rig.max,
      safePoint: () =>
        timestamp(Math.max(0, Math.min(this.heldAt, rig.max - this.lifeMs * TIMESTAMP_LOGICAL_STEPS))),
      lockFreeBelow: () => timestamp(Math.min(this.lockFreeBelow, rig.max)),
      lifeMs: () => this.lifeMs,
    });
  }

  static async open(limits: Partial<GarbageLimits> = {}): Promise<GarbageRig> {
    return new GarbageRig(await KvRig.leading(), limits);
  }

  counted(metric: string): number {
    return this.#counts.get(metric) ?? 0;
  }

  /** Oracle time passes. */
  age(byMs: number): void {
    this.rig.environment.timestamps.observe(timestamp(this.rig.max + byMs * TIMESTAMP_LOGICAL_STEPS));
  }

  /** Polls as oracle time goes on, until a range that shows any sign of garbage must have had its pass. */
  async sweep(): Promise<void> {
    for (let step = 0; step < 8; step += 1) {
      this.age(this.lifeMs);
      await this.poll();
    }
  }

  async poll(): Promise<void> {
    this.collection.poll([this.rig.machine]);
    await this.work();
  }

  /** Lets a pass run to its end, committing what it logs. */
  async work(): Promise<void> {
    for (let step = 0; step < 400 && this.collection.collecting !== undefined; step += 1) {
      await settle();
      await this.rig.replica.commit();
      await this.rig.clock.advance(5);
    }
    await settle();
    expect(this.collection.collecting).toBeUndefined();
  }

  async rows(): Promise<number> {
    const [span] = this.rig.machine.spans();
    if (span === undefined) throw new Error('a machine has a span');
    const iterator = this.rig.engine.iterate(span);
    let count = 0;
    for (;;) {
      const page = await iterator.next(1000);
      if (page.length === 0) break;
      count += page.length;
    }
    await iterator.close();
    return count;
  }

  async readAt(key: string, at: Timestamp): Promise<string | undefined> {
    const response = await this.rig.ask({
      op: KvOp.get,
      key: bytes(key),
      consistency: ReadConsistency.timestamp,
      readTimestamp: at,
    });
    if (response.error !== undefined) return response.error.code;
    return response.found ? Buffer.from(response.value ?? []).toString('latin1') : undefined;
  }

  /** A put with oracle time on either side, so that every version stays apart. */
  async put(key: string, value: string, ttlMs = 0): Promise<Timestamp> {
    this.age(10);
    const response = await this.rig.ask({ op: KvOp.put, key: bytes(key), value: bytes(value), ttlMs });
    this.age(10);
    return response.timestamp;
  }
}

describe('garbage collection', () => {
  it('removes what no read above the safe point can see, and nothing else', async () => {
    const gc = await GarbageRig.open();
    for (const value of ['1', '2', '3']) await gc.put('k', value);
    await gc.put('gone', 'x');
    await gc.rig.ask({ op: KvOp.delete, key: bytes('gone') });
    await gc.put('short', 'x', 1_000);
    expect(await gc.rows()).toBe(6);
    await gc.sweep();
    expect(await gc.rows()).toBe(1);
    expect(await gc.rig.get('k')).toBe('3');
    expect(await gc.rig.get('gone')).toBeUndefined();
    expect(await gc.rig.get('short')).toBeUndefined();
    gc.rig.environment.rowCache.clear();
    expect(await gc.rig.get('k')).toBe('3');
  });

  it('keeps old versions for their life', async () => {
    const gc = await GarbageRig.open();
    await gc.put('k', '1');
    const between = gc.rig.max;
    await gc.put('k', '2');
    gc.age(LIFE_MS / 2);
    await gc.poll();
    expect(await gc.readAt('k', between)).toBe('1');
    expect(gc.rig.machine.debugView().readableSince).toBe(0);
  });

  it('refuses snapshots below the safe point and says which is the oldest', async () => {
    const gc = await GarbageRig.open();
    await gc.put('k', '1');
    const between = gc.rig.max;
    await gc.put('k', '2');
    const old = gc.rig.call({ op: KvOp.scan, key: bytes(''), consistency: 2, readTimestamp: between });
    await gc.sweep();
    const { readableSince } = gc.rig.machine.debugView();
    expect(readableSince).toBeGreaterThan(between);
    expect(await gc.readAt('k', between)).toBe('FAILED_PRECONDITION');
    expect(await gc.readAt('k', timestamp(readableSince - 1))).toBe('FAILED_PRECONDITION');
    expect(await gc.readAt('k', readableSince)).toBe('2');
    gc.rig.machine.submit(old.call);
    await gc.rig.turn();
    expect(codeOf(old)).toBe('FAILED_PRECONDITION');
    expect(old.answers[0]?.error?.message).toMatch(
      /oldest time that can still be read at is 2026-01-\d\dT.*Z \(timestamp \d+\)/,
    );
  });

  it('collects nothing before it was told what may go', async () => {
    const gc = await GarbageRig.open();
    gc.heldAt = 0;
    await gc.put('k', '1');
    await gc.put('k', '2');
    await gc.sweep();
    expect([await gc.rows(), gc.rig.machine.debugView().readableSince]).toEqual([2, 0]);
  });

  it('keeps all that a held snapshot sees, looks once, and collects it when nothing holds it', async () => {
    const gc = await GarbageRig.open();
    await gc.put('k', '1');
    await gc.put('k', '2');
    gc.heldAt = gc.rig.max;
    for (const value of ['3', '4']) await gc.put('k', value);
    await gc.rig.ask({ op: KvOp.delete, key: bytes('other') });
    const examined = gc.counted('cairn_shard_gc_passes_total');
    for (let round = 0; round < 6; round += 1) await gc.sweep();
    expect([await gc.readAt('k', timestamp(gc.heldAt)), await gc.rows()]).toEqual(['2', 4]);
    expect(gc.counted('cairn_shard_gc_passes_total') - examined).toBeLessThanOrEqual(1);
    gc.heldAt = Infinity;
    await gc.sweep();
    expect([await gc.rows(), await gc.rig.get('k')]).toEqual([1, '4']);
  });

  it('forgets nothing that was written just before the end of a hold', async () => {
    const gc = await GarbageRig.open();
    gc.age(LIFE_MS);
    gc.heldAt = gc.rig.max;
    gc.age(LIFE_MS * 20);
    await gc.poll();
    gc.age(LIFE_MS * 3);
    await gc.poll();
    await gc.put('late', 'x'.repeat(2 * 1024 * 1024));
    await gc.rig.ask({ op: KvOp.delete, key: bytes('late') });
    gc.heldAt = Infinity;
    // All that was written meanwhile seems to be ripe now; this is not.
    gc.age(1_000);
    await gc.poll();
    expect(await gc.rows()).toBe(2);
    for (let step = 0; step < 3; step += 1) {
      gc.age(LIFE_MS);
      await gc.poll();
    }
    expect(await gc.rows()).toBe(0);
  });

  it('goes through a long chain and many keys in small commands', async () => {
    const gc = await GarbageRig.open({ keysPerCommandMax: 3 });
    for (let round = 0; round < 8; round += 1) await gc.put('hot', String(round));
    for (let key = 0; key < 8; key += 1) {
      await gc.put(`k${key}`, 'old');
      await gc.put(`k${key}`, 'new');
    }
    const before = gc.rig.replica.history.length;
    await gc.sweep();
    expect(await gc.rows()).toBe(9);
    const commands = gc.rig.replica.history.slice(before);
    expect(commands).toHaveLength(5);
    expect(await gc.rig.get('hot')).toBe('7');
  });

  it('cuts a command at its bytes', async () => {
    const gc = await GarbageRig.open({ commandBytesMax: 200 });
    for (let key = 0; key < 6; key += 1) {
      await gc.put(`${'x'.repeat(80)}${key}`, 'old');
      await gc.put(`${'x'.repeat(80)}${key}`, 'new');
    }
    const before = gc.rig.replica.history.length;
    await gc.sweep();
    expect(await gc.rows()).toBe(6);
    expect(gc.rig.replica.history.length - before).toBe(3);
    expect(gc.rig.replica.history.slice(before).every(({ payload }) => payload.length < 300)).toBe(true);
  });

  it('waits while the range has no room, and stops with the leadership', async () => {
    const gc = await GarbageRig.open();
    await gc.put('k', '1');
    await gc.put('k', '2');
    gc.rig.replica.refusal = 'too-many-uncommitted';
    for (let step = 0; step < 8 && gc.collection.collecting === undefined; step += 1) {
      gc.age(LIFE_MS);
      gc.collection.poll([gc.rig.machine]);
    }
    await settle();
    await gc.rig.clock.advance(250);
    expect(gc.collection.collecting).toBeDefined();
    expect(await gc.rows()).toBe(2);
    gc.rig.replica.refusal = undefined;
    await gc.rig.clock.advance(100);
    expect(gc.rig.replica.log).toHaveLength(1);
    gc.rig.replica.stepDown();
    await settle();
    expect(gc.collection.collecting).toBeUndefined();
    // Another leader committed it all the same.
    await gc.rig.replica.commit();
    expect(await gc.rows()).toBe(1);
  });

  it('proposes nothing while the range is being cut', async () => {
    const gc = await GarbageRig.open();
    await gc.put('k', '1');
    await gc.put('k', '2');
    for (let step = 0; step < 8 && gc.collection.collecting === undefined; step += 1) {
      gc.age(LIFE_MS);
      gc.collection.poll([gc.rig.machine]);
    }
    gc.rig.replica.isFrozen = true;
    await settle();
    await gc.rig.clock.advance(200);
    expect(gc.rig.replica.log).toHaveLength(0);
    gc.rig.machine.split(descriptorOf('', 'j', 2), [descriptorOf('j', '', 2, 8)]);
    gc.rig.machine.descriptorChanged(descriptorOf('', 'j', 2));
    gc.rig.replica.isFrozen = false;
    await gc.rig.clock.advance(200);
    expect(gc.rig.replica.log).toHaveLength(0);
    expect(gc.collection.collecting).toBeUndefined();
  });

  it('leaves a range alone that only grows', async () => {
    const gc = await GarbageRig.open();
    for (let key = 0; key < 20; key += 1) await gc.put(`k${key}`, 'v');
    await gc.sweep();
    const { history } = gc.rig.replica;
    const before = history.length;
    const sought = gc.rig.machine.garbage.urgency(gc.rig.max, LIFE_STEPS, 1_000);
    for (let step = 0; step < 20; step += 1) {
      gc.age(LIFE_MS);
      await gc.poll();
    }
    expect(sought).toBeUndefined();
    expect(history).toHaveLength(before);
  });

  it('lets go of the outcomes of an idle range', async () => {
    const gc = await GarbageRig.open();
    await gc.rig.ask({ op: KvOp.put, key: bytes('k'), value: bytes('v'), requestId: gc.rig.identity(1) });
    expect(gc.rig.machine.window?.length).toBe(1);
    gc.age(60_000);
    await gc.poll();
    expect(gc.rig.machine.window?.length).toBe(0);
    const retry = {
      op: KvOp.put,
      key: bytes('k'),
      value: bytes('w'),
      requestId: gc.rig.identity(2, { isRetry: true }),
    };
    expect((await gc.rig.ask(retry)).error).toBeUndefined();
  });
});

describe('the safe point', () => {
  const collected = async (): Promise<GarbageRig> => {
    const gc = await GarbageRig.open();
    await gc.put('k', '1');
    await gc.put('k', '2');
    await gc.sweep();
    expect(gc.rig.machine.debugView().readableSince).toBeGreaterThan(0);
    return gc;
  };

  it('is known to followers, who do not refuse stale reads for it', async () => {
    const gc = await collected();
    const follower = new KvRig();
    follower.replica.isLeader = false;
    follower.replica.isReadyLeader = false;
    await follower.replica.follow(gc.rig.replica.history);
    expect(follower.machine.debugView().readableSince).toBe(gc.rig.machine.debugView().readableSince);
    const stale = follower.send({ op: KvOp.get, key: bytes('k'), consistency: ReadConsistency.stale });
    await follower.turn();
    expect(Buffer.from(stale.answers[0]?.value ?? []).toString()).toBe('2');
  });

  it('goes to the children of a split, and with a snapshot', async () => {
    const { rig } = await collected();
    const [child] = rig.machine.split(descriptorOf('', 'm', 2), [descriptorOf('m', '', 2, 8)]);
    const other = new KvRig({ isInitial: false });
    await other.machine.restored(child?.volatileState() ?? new Uint8Array(0));
    expect(other.machine.debugView().readableSince).toBe(rig.machine.debugView().readableSince);
  });

  it('is found again after a restart, even when the log has forgotten it', async () => {
    const { rig } = await collected();
    const before = rig.machine.debugView().readableSince;
    const { StoreSafePoint } = await import('../kv/store-safe-point.js');
    expect(new StoreSafePoint(rig.engine).max).toBe(before);
    await rig.restart([]);
    expect(rig.machine.debugView().readableSince).toBe(before);
  });

  it('that came with a snapshot is found again after a restart', async () => {
    const { rig } = await collected();
    const other = new KvRig({ isInitial: false });
    const batch = other.engine.newBatch();
    other.machine.restoring(rig.machine.volatileState(), batch);
    await other.engine.write(batch);
    await other.machine.restored(rig.machine.volatileState());
    await other.restart([]);
    const { StoreSafePoint } = await import('../kv/store-safe-point.js');
    expect(new StoreSafePoint(other.engine).max).toBe(rig.machine.debugView().readableSince);
    expect(other.machine.debugView().readableSince).toBe(rig.machine.debugView().readableSince);
  });

  it('does not make a restarted range believe that it remembers everything', async () => {
    const gc = await collected();
    const [purge] = gc.rig.replica.history.slice(-1);
    await gc.rig.restart(purge === undefined ? [] : [purge]);
    await gc.rig.replica.lead();
    const stamp = timestamp(gc.rig.machine.debugView().leaderSince - TIMESTAMP_LOGICAL_STEPS);
    const retry = {
      op: KvOp.put,
      key: bytes('k'),
      value: bytes('w'),
      requestId: gc.rig.identity(1, { isRetry: true, stamp }),
    };
    expect((await gc.rig.ask(retry)).error?.code).toBe('OUTCOME_UNKNOWN');
  });
});

describe('garbage collection against a model', () => {
  it('never changes what can be read', async () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ type: fc.constant('put' as const), key, ttlMs: fc.constantFrom(0, 0, 4_000) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ type: fc.constant('delete' as const), key, ttlMs: fc.constant(0) }),
      },
      { weight: 2, arbitrary: fc.record({ type: fc.constant('age' as const), key, ttlMs: fc.constant(0) }) },
      {
        weight: 2,
        arbitrary: fc.record({ type: fc.constant('restart' as const), key, ttlMs: fc.constant(0) }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const gc = await GarbageRig.open({ keysPerCommandMax: 2 });
        const noted: { key: string; at: Timestamp; value: string | undefined }[] = [];
        for (const [at, { type, key: name, ttlMs }] of steps.entries()) {
          if (type === 'put') await gc.put(name, String(at), ttlMs);
          if (type === 'delete') await gc.rig.ask({ op: KvOp.delete, key: bytes(name) });
          if (type === 'age') {
            gc.age(LIFE_MS * 7);
            await gc.poll();
          }
          if (type === 'restart') {
            await gc.rig.restart(gc.rig.replica.history.slice(-2));
            await gc.rig.replica.lead();
          }
          gc.age(10);
          noted.push({ key: name, at: gc.rig.max, value: await gc.readAt(name, gc.rig.max) });
        }
        await gc.poll();
        for (const { key: name, at, value } of noted) {
          const isReadable = at >= gc.rig.machine.debugView().readableSince;
          expect(await gc.readAt(name, at)).toBe(isReadable ? value : 'FAILED_PRECONDITION');
        }
      }),
      { seed: 7, numRuns: 40 },
    );
  });
});

describe('records and marks of transactions (T9)', () => {
  const records = async (gc: GarbageRig, rig = gc.rig): Promise<number> => {
    const span = rig.machine.spans().find(({ start }) => start[0] === Namespace.transactions);
    if (span === undefined) throw new Error('a machine has a span of records');
    const rows = await rig.engine.iterate(span).next(1_000);
    return rows.length;
  };
  /** One transaction that committed, and one that was rolled back at two keys. */
  const ended = async (gc: GarbageRig): Promise<void> => {
    const txn = new TxnRig(gc.rig);
    const start = txn.issue();
    await txn.prewrite(start, { a: '1' });
    expect(await txn.commit(start, 'a')).toMatchObject({ type: 'committed' });
    await txn.resolve(txn.issue(), 0, 'b', 'c');
    gc.age(10);
  };

  it('go when their time is over, in small commands, and their space with them', async () => {
    const gc = await GarbageRig.open({ keysPerCommandMax: 2 });
    await ended(gc);
    expect(await records(gc)).toBe(3);
    const bytesBefore = gc.rig.machine.load.bytes;
    gc.age(LIFE_MS / 2);
    await gc.poll();
    expect(await records(gc)).toBe(3);
    const before = gc.rig.replica.history.length;
    await gc.sweep();
    expect([await records(gc), await gc.rig.get('a')]).toEqual([0, '1']);
    expect(gc.rig.replica.history.length - before).toBe(2);
    expect(gc.counted('cairn_shard_gc_purged_records_total')).toBe(3);
    expect(gc.counted('cairn_shard_gc_purged_versions_total')).toBe(0);
    expect(gc.rig.machine.load.bytes).toBeLessThan(bytesBefore - 90);
    expect(gc.rig.machine.garbage.ripeBytes).toBeLessThan(200);
  });

  it('stay while some range of the cluster has a lock that old, and go when it has gone', async () => {
    const gc = await GarbageRig.open();
    gc.lockFreeBelow = gc.rig.max;
    await ended(gc);
    await gc.sweep();
    expect(await records(gc)).toBe(3);
    // Nothing is written meanwhile, and yet they are not forgotten.
    gc.lockFreeBelow = Infinity;
    await gc.sweep();
    expect(await records(gc)).toBe(0);
  });

  it('stay while nobody knows of locks', async () => {
    const gc = await GarbageRig.open();
    gc.lockFreeBelow = 0;
    await ended(gc);
    await gc.sweep();
    expect(await records(gc)).toBe(3);
  });

  it('go on every replica, with the safe point below which a late command is refused', async () => {
    const gc = await GarbageRig.open();
    await ended(gc);
    const start = timestamp(gc.rig.oracle.next);
    await gc.sweep();
    const follower = new KvRig();
    follower.replica.isLeader = false;
    follower.replica.isReadyLeader = false;
    await follower.replica.follow(gc.rig.replica.history);
    expect(await records(gc, follower)).toBe(0);
    expect(follower.machine.debugView().readableSince).toBeGreaterThan(start);
    follower.oracle.next = gc.rig.oracle.next + 100 * LIFE_STEPS;
    await follower.replica.lead();
    expect(await new TxnRig(follower).prewrite(start, { b: '1' })).toMatchObject({ type: 'tooOld' });
  });
});
