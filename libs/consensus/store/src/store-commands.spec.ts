import { describe, expect, it } from '@jest/globals';
import {
  CLUSTER_VERSIONS,
  logIndex,
  opensAt,
  rangeId,
  replicaId,
  storeId,
  type RangeDescriptor,
} from '@cairn/base';
import { ByteWriter } from '@cairn/codec';
import { writeDescriptor } from '@cairn/wire';

import {
  decodeStoreCommand,
  encodeNoopCommand,
  encodeSplitCommand,
  isStoreCommand,
  type SplitCommand,
} from './store-commands.js';
import { RIG_RANGE, StoresRig } from './stores.testing.js';

const descriptorOf = (id: number, startKey: string, endKey: string): RangeDescriptor => ({
  rangeId: rangeId(id),
  startKey: Buffer.from(startKey),
  endKey: Buffer.from(endKey),
  epoch: { version: 3, confVersion: 1 },
  replicas: [{ replicaId: replicaId(id * 10), storeId: storeId(1), role: 'voter' }],
});
const SPLIT: SplitCommand = {
  baseVersion: 2,
  left: descriptorOf(1, '', 'm'),
  children: [descriptorOf(7, 'm', '')],
};

function hexOf(descriptor: RangeDescriptor): string {
  const writer = new ByteWriter();
  writeDescriptor(writer, descriptor);
  return writer.take().toString('hex');
}

const decode = (hex: string): unknown => decodeStoreCommand(Buffer.from(hex, 'hex'), CLUSTER_VERSIONS);
const tooNew = expect.objectContaining({ code: 'FORMAT_TOO_NEW' });
const corrupt = expect.objectContaining({ code: 'CORRUPTION' });

describe('store commands', () => {
  it('have the bytes that are written down, and come back from them', () => {
    const split = 'ff' + '02' + '02' + hexOf(SPLIT.left) + '01' + hexOf(SPLIT.children[0] as RangeDescriptor);
    expect(encodeSplitCommand(SPLIT).toString('hex')).toBe(split);
    expect(decode(split)).toEqual({ type: 'split', ...SPLIT });
    expect(encodeNoopCommand({ clusterVersion: 2 }).toString('hex')).toBe('ff0302');
    expect(decode('ff0302')).toEqual({ type: 'noop', clusterVersion: 2 });
    expect([
      isStoreCommand(Buffer.of(0xff)),
      isStoreCommand(Buffer.of(1)),
      isStoreCommand(Buffer.of()),
    ]).toEqual([true, false, false]);
  });

  it('of a later release are no damage; what no release wrote is', () => {
    expect(() => decode('ff04')).toThrow(tooNew);
    expect(() => decode('ffff')).toThrow(tooNew);
    expect(() => decode('ff00')).toThrow(corrupt);
    expect(() => decode('ff01')).toThrow(corrupt);
    expect(() => decode('ff030200')).toThrow(corrupt);
    expect(() => decode('ff03')).toThrow(corrupt);
  });

  it('are unknown to a build that runs with no cluster version at which they may be written', () => {
    const before = { min: 1, max: opensAt('storeNoop') - 1 };
    expect(() => decodeStoreCommand(encodeNoopCommand({ clusterVersion: 2 }), before)).toThrow(tooNew);
    expect(decodeStoreCommand(encodeSplitCommand(SPLIT), before)).toMatchObject({ type: 'split' });
  });
});

describe('a range whose leader hears of a new cluster version', () => {
  const indexes = (rig: StoresRig): number[] => rig.stores.map(({ id }) => rig.appliedAt(id));

  it('gets nothing before the gate is open on its leader', async () => {
    const rig = await StoresRig.running(3);
    const before = indexes(rig);
    for (const { store } of rig.stores) store.markVersion(RIG_RANGE);
    await rig.run(1_000);
    expect(indexes(rig)).toEqual(before);
  });

  it('gets one command that says nothing, from whoever leads, and no second one from the next leader', async () => {
    const rig = await StoresRig.running(3);
    const [before] = indexes(rig) as [number, number, number];
    // The followers have not heard of it yet: what they read is up to their build.
    rig.gatesOf(rig.leader.id).raise(2);
    for (const { store } of rig.stores) store.markVersion(RIG_RANGE);
    for (const { store } of rig.stores) store.markVersion(RIG_RANGE);
    await rig.run(1_000);
    expect(indexes(rig)).toEqual([before + 1, before + 1, before + 1]);
    for (const { machines } of rig.stores) expect(machines.get(RIG_RANGE)?.applied).toEqual([]);

    const next = rig.follower;
    for (const { id } of rig.stores) rig.gatesOf(id).raise(2);
    const replica = rig.replicaAt(rig.leader.id);
    replica.raft.transferLeader(rig.replicaAt(next.id).replicaId);
    replica.wake();
    await rig.scheduler.runUntilTrue(() => rig.replicaAt(next.id).isReadyLeader, 5_000);
    await rig.run(1_000);
    const settled = indexes(rig);
    next.store.markVersion(RIG_RANGE);
    await rig.run(1_000);
    expect(indexes(rig)).toEqual(settled);
  });

  it('gets it also where a store was opened again, whose log holds it', async () => {
    const rig = await StoresRig.running(3);
    rig.gatesOf(rig.leader.id).raise(2);
    rig.leader.store.markVersion(RIG_RANGE);
    await rig.run(1_000);
    const applied = rig.appliedAt(1);
    const { id } = rig.follower;
    await rig.restart(id);
    await rig.run(3_000);
    expect(rig.appliedAt(id)).toBeGreaterThanOrEqual(logIndex(applied));
    expect(rig.stores.flatMap(({ fatal }) => fatal)).toEqual([]);
  });

  it('ends a store of a build that cannot read it, instead of going on without it', async () => {
    const rig = await StoresRig.running(3, {
      storeFor: (id) => (id === 3 ? { clusterVersions: { min: 1, max: 1 } } : {}),
    });
    rig.gatesOf(rig.leader.id).raise(2);
    rig.leader.store.markVersion(RIG_RANGE);
    await rig.run(1_000);
    expect(rig.at(3).fatal).toEqual([tooNew]);
    expect(rig.at(3).fatal[0]?.message).toBe('a store command of kind 3: a later release of Cairn wrote it');
    expect([...rig.at(1).fatal, ...rig.at(2).fatal]).toEqual([]);
  });
});
