import { describe, expect, it } from '@jest/globals';
import { CLUSTER_VERSIONS, logIndex, rangeId, replicaId, storeId, term, timestamp } from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';
import { EntryKind, type Entry } from '@cairn/raft';
import fc from 'fast-check';

import { decodeCommand, encodeCommand } from './command.js';
import { MetadataStateMachine } from './metadata-state-machine.js';
import { decodeRow, encodeChange, METADATA_SPAN, type Change } from './records.js';

const names = fc.constantFrom('a', 'b', 'shard-1');
const descriptor = fc
  .record({ id: fc.integer({ min: 1, max: 9 }), start: fc.uint8Array({ maxLength: 3 }), stores: fc.nat(3) })
  .map(({ id, start, stores }) => ({
    rangeId: rangeId(id),
    startKey: Buffer.from(start),
    endKey: Buffer.alloc(0),
    epoch: { version: 1, confVersion: 2 },
    replicas: Array.from({ length: stores }, (_, index) => ({
      replicaId: replicaId(100 + index),
      storeId: storeId(index + 1),
      role: (['voter', 'learner', 'incoming', 'outgoing'] as const)[index] ?? ('voter' as const),
    })),
  }));
const node = fc.record({
  storeId: fc.integer({ min: 1, max: 2 ** 32 - 1 }).map(storeId),
  incarnation: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
  address: fc.string(),
  publicAddress: fc.string(),
  joinedUnixMs: fc.maxSafeNat(),
  start: fc.string({ maxLength: 16 }),
  process: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
  build: fc.string({ maxLength: 8 }),
  clusterVersions: fc.record({ min: fc.nat(), max: fc.nat() }),
  isEstablished: fc.boolean(),
  isLost: fc.boolean(),
});
const change: fc.Arbitrary<Change> = fc.oneof(
  fc
    .record({ clusterId: fc.string(), createdUnixMs: fc.maxSafeNat() })
    .map((value) => ({ type: 'cluster' as const, value })),
  fc.maxSafeNat().map((value) => ({ type: 'next-id' as const, value })),
  fc.maxSafeNat().map((value) => ({ type: 'timestamp-bound' as const, value: timestamp(value) })),
  fc.tuple(names, node).map(([name, value]) => ({ type: 'node' as const, name, value })),
  fc
    .tuple(names, fc.option(fc.string(), { nil: undefined }))
    .map(([name, value]) => ({ type: 'setting' as const, name, value })),
  fc
    .record({
      ranges: fc.array(descriptor, { maxLength: 3 }),
      createdReplicaIds: fc.array(fc.nat().map(replicaId)),
    })
    .map((value) => ({ type: 'bootstrap' as const, value })),
  fc.constant({ type: 'cluster-version' as const, value: CLUSTER_VERSIONS.max }),
  fc
    .tuple(
      names,
      fc.option(
        fc.record({
          heldAt: fc.maxSafeNat().map(timestamp),
          expiresUnixMs: fc.maxSafeNat(),
          reason: fc.string({ maxLength: 9 }),
        }),
        { nil: undefined },
      ),
    )
    .map(([name, value]) => ({ type: 'hold' as const, name, value })),
  fc.constant({ type: 'gc-safe-point' as const, value: timestamp(258) }),
);

function entry(index: number, changes: readonly Change[], inTerm = 3, commandTerm = inTerm): Entry {
  const payload = encodeCommand({ term: term(commandTerm), rows: changes.map(encodeChange) });
  return { index: logIndex(index), term: term(inTerm), kind: EntryKind.command, payload };
}

async function apply(
  machine: MetadataStateMachine,
  engine: MemoryEngine,
  entries: readonly Entry[],
): Promise<unknown[]> {
  const results: unknown[] = [];
  for (const each of entries) {
    const batch = engine.newBatch();
    results.push(machine.apply(each, batch));
    await engine.write(batch);
    machine.published(each.index);
  }
  return results;
}

async function rowsOf(engine: MemoryEngine): Promise<string[]> {
  const iterator = engine.iterate(METADATA_SPAN);
  const rows: string[] = [];
  for (let page = await iterator.next(100); page.length > 0; page = await iterator.next(100)) {
    for (const [key, value] of page) rows.push(`${key.toString('hex')}=${value.toString('hex')}`);
  }
  await iterator.close();
  return rows;
}

function facts(machine: MetadataStateMachine): unknown {
  const { cluster, nextId, timestampBound, nodes, settings, bootstrap, clusterVersion } = machine.state;
  const { holds, gcSafePoint } = machine.state;
  return {
    cluster,
    nextId,
    timestampBound,
    nodes: [...nodes].sort(),
    settings: [...settings].sort(),
    bootstrap,
    clusterVersion,
    holds: [...holds].sort(),
    gcSafePoint,
    gate: machine.gates.clusterVersion,
  };
}

describe('rows and commands', () => {
  it('come back as they were written', () => {
    fc.assert(
      fc.property(fc.array(change), fc.nat(), (changes, inTerm) => {
        const command = decodeCommand(encodeCommand({ term: term(inTerm), rows: changes.map(encodeChange) }));
        expect(command.term).toBe(inTerm);
        expect(command.rows.map(decodeRow)).toEqual(changes);
      }),
    );
  });

  it('halt on what a newer build wrote', () => {
    const later = (what: string): unknown =>
      expect.objectContaining({
        code: 'FORMAT_TOO_NEW',
        message: `a metadata ${what}: a later release of Cairn wrote it`,
      });
    expect(() => decodeCommand(Buffer.of(2, 0, 0))).toThrow(later('command of format 2'));
    expect(() => decodeRow({ tag: 99, name: '', value: Buffer.of(5) })).toThrow(later('row of kind 99'));
    expect(() => decodeRow({ tag: 2, name: '', value: Buffer.of(9, 0) })).toThrow(later('row of format 9'));
    expect(() => decodeRow({ tag: 2, name: '', value: undefined })).toThrow('cannot be removed');
  });
});

describe('MetadataStateMachine', () => {
  it('shows changes when they are published, not before', async () => {
    const engine = new MemoryEngine();
    const machine = new MetadataStateMachine(engine, CLUSTER_VERSIONS);
    await machine.open();
    machine.apply(entry(1, [{ type: 'next-id', value: 50 }]), engine.newBatch());
    expect(machine.state.nextId).toBe(2);
    machine.published(logIndex(1));
    expect(machine.state.nextId).toBe(50);
  });

  it('ignores a command that slipped into another term', async () => {
    const engine = new MemoryEngine();
    const machine = new MetadataStateMachine(engine, CLUSTER_VERSIONS);
    const results = await apply(machine, engine, [entry(1, [{ type: 'next-id', value: 50 }], 4, 3)]);
    expect(results).toEqual(['void-term']);
    expect(machine.state.nextId).toBe(2);
    expect(await rowsOf(engine)).toEqual([]);
  });

  it('opens its gates with the cluster version, and closes none', async () => {
    const engine = new MemoryEngine();
    const machine = new MetadataStateMachine(engine, CLUSTER_VERSIONS);
    const { gates } = machine;
    await machine.open();
    expect([gates.clusterVersion, gates.isOpen('storeNoop')]).toEqual([0, false]);
    machine.apply(entry(1, [{ type: 'cluster-version', value: 2 }]), engine.newBatch());
    expect(gates.isOpen('storeNoop')).toBe(false);
    machine.published(logIndex(1));
    expect(gates.isOpen('storeNoop')).toBe(true);
    // An older entry that is applied again after a crash.
    machine.apply(entry(2, [{ type: 'cluster-version', value: 1 }]), engine.newBatch());
    machine.published(logIndex(2));
    expect([machine.state.clusterVersion, gates.isOpen('storeNoop')]).toEqual([2, true]);
  });

  it('never takes the safe point back, whatever is applied again', async () => {
    const engine = new MemoryEngine();
    const machine = new MetadataStateMachine(engine, CLUSTER_VERSIONS);
    const moved = [10, 20].map((at, index) =>
      entry(index + 1, [{ type: 'gc-safe-point', value: timestamp(at) }]),
    );
    await apply(machine, engine, moved);
    await apply(machine, engine, moved.slice(0, 1));
    expect(machine.state.gcSafePoint).toBe(20);
    await apply(machine, engine, moved.slice(1));
    await machine.restored(machine.volatileState());
    expect(machine.state.gcSafePoint).toBe(20);
  });

  it('of a build that does not run with the cluster version halts, and does not load it either', async () => {
    const engine = new MemoryEngine();
    await apply(new MetadataStateMachine(engine, CLUSTER_VERSIONS), engine, [
      entry(1, [{ type: 'cluster-version', value: 2 }]),
    ]);
    const tooNew = expect.objectContaining({
      code: 'FORMAT_TOO_NEW',
      message:
        'metadata of cluster version 2, where this release runs with 1: a later release of Cairn wrote it',
    });
    const older = new MetadataStateMachine(engine, { min: 1, max: 1 });
    await expect(older.open()).rejects.toEqual(tooNew);
    const batch = engine.newBatch();
    expect(() => older.apply(entry(2, [{ type: 'cluster-version', value: 2 }]), batch)).toThrow(tooNew);
    expect(batch.length).toBe(0);
  });

  it('tells a listener of a leadership that began before it came', () => {
    const machine = new MetadataStateMachine(new MemoryEngine(), CLUSTER_VERSIONS);
    const events: string[] = [];
    machine.leadershipGained(term(5));
    machine.setLeadershipListener({
      leadershipGained: (inTerm) => events.push(`gained ${inTerm}`),
      leadershipLost: () => events.push('lost'),
    });
    machine.leadershipLost();
    expect(events).toEqual(['gained 5', 'lost']);
    expect(machine.leadingTerm).toBeUndefined();
  });

  it('ends in the same state when entries are applied again, and when rows are loaded', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(change, { maxLength: 3 }), { maxLength: 8 }),
        fc.nat(8),
        async (list, from) => {
          const entries = list.map((changes, index) => entry(index + 1, changes));
          const engine = new MemoryEngine();
          const machine = new MetadataStateMachine(engine, CLUSTER_VERSIONS);
          await machine.open();
          await apply(machine, engine, entries);
          const rows = await rowsOf(engine);

          // The same engine, opened again: its log goes on from an older index.
          const again = new MetadataStateMachine(engine, CLUSTER_VERSIONS);
          await again.open();
          expect(facts(again)).toEqual(facts(machine));
          await apply(again, engine, entries.slice(from));
          expect(await rowsOf(engine)).toEqual(rows);
          expect(facts(again)).toEqual(facts(machine));

          await again.restored(again.volatileState());
          expect(facts(again)).toEqual(facts(machine));
        },
      ),
      { numRuns: 60 },
    );
  });
});
