import { expect, it } from '@jest/globals';
import {
  CairnError,
  rangeId,
  replicaId,
  storeId,
  type RangeDescriptor,
  type ReplicaDescriptor,
} from '@cairn/base';
import { noopLogger } from '@cairn/ports';
import { SimScheduler } from '@cairn/runtime-sim';
import type { ReplicaChange } from '@cairn/store';
import type { StoreInfo } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import { LostReplicas, type LedRange } from './lost-replicas.js';

type Member = readonly [store: number, role: ReplicaDescriptor['role']];

const led = (id: number, members: readonly Member[]): LedRange => {
  const descriptor: RangeDescriptor = {
    rangeId: rangeId(id),
    startKey: Buffer.alloc(0),
    endKey: Buffer.alloc(0),
    epoch: { version: 1, confVersion: 1 },
    replicas: members.map(([on, role]) => ({
      ...{ replicaId: replicaId(id * 100 + on), storeId: storeId(on), role },
    })),
  };
  return { replica: { rangeId: rangeId(id), isReadyLeader: true, isFrozen: false, descriptor } };
};

const change = (addStoreId: number | undefined, removeStoreId: number): unknown => ({
  ...{ addStoreId, removeStoreId },
});

/** Stores 1 to 6; what changes of the members are asked for, and what becomes of each. */
class Rig {
  readonly scheduler = new SimScheduler();
  readonly lost = new Set<number>([1]);
  readonly silent = new Set<number>();
  readonly asked: (readonly [number, ReplicaChange])[] = [];
  fails: (range: number, change: ReplicaChange) => boolean = () => false;
  readonly #mender = new LostReplicas({
    clock: this.scheduler.clockFor('node'),
    logger: noopLogger,
    stores: () =>
      [1, 2, 3, 4, 5, 6].map(
        (id) => ({ storeId: id, live: !this.silent.has(id), lost: this.lost.has(id) }) as StoreInfo,
      ),
    change: (range, _confVersion, what) => {
      this.asked.push([range, what]);
      return this.fails(range, what)
        ? Promise.reject(new CairnError('UNAVAILABLE', 'it did not catch up'))
        : Promise.resolve();
    },
  });

  async poll(ranges: readonly LedRange[], times = 1): Promise<void> {
    for (let at = 0; at < times; at += 1) {
      this.#mender.poll(ranges);
      await this.scheduler.runFor(6_000);
    }
  }

  get changes(): readonly ReplicaChange[] {
    return this.asked.map(([, what]) => what);
  }
}

it('LostReplicas mends the other ranges though one cannot be mended', async () => {
  const rig = new Rig();
  rig.fails = (range) => range === 1;
  const members: Member[] = [
    [1, 'voter'],
    [2, 'voter'],
    [3, 'voter'],
  ];
  await rig.poll([led(1, members), led(2, members)], 2);
  expect(rig.asked.map(([range]) => range)).toEqual([1, 2]);
});

it('LostReplicas takes a learner away that was lost in turn, before the voter that it was to replace', async () => {
  const rig = new Rig();
  rig.lost.add(4);
  const members: Member[] = [
    [1, 'voter'],
    [2, 'voter'],
    [3, 'voter'],
    [4, 'learner'],
  ];
  await rig.poll([led(1, members)]);
  expect(rig.changes).toEqual([change(undefined, 4)]);
});

it('LostReplicas goes on with the store that a change added before it was broken off', async () => {
  const rig = new Rig();
  const members: Member[] = [
    [1, 'voter'],
    [2, 'voter'],
    [3, 'voter'],
    [5, 'learner'],
  ];
  await rig.poll([led(1, members)]);
  expect(rig.changes).toEqual([change(5, 1)]);
});

it('LostReplicas takes another store when the one that was added is silent', async () => {
  const rig = new Rig();
  rig.silent.add(5);
  const members: Member[] = [
    [1, 'voter'],
    [2, 'voter'],
    [3, 'voter'],
    [5, 'learner'],
  ];
  await rig.poll([led(1, members)]);
  expect(rig.changes).toEqual([change(undefined, 5)]);
});

it('LostReplicas takes another store after several tries that did not bring one to catch up', async () => {
  const rig = new Rig();
  const voters: Member[] = [
    [1, 'voter'],
    [2, 'voter'],
    [3, 'voter'],
  ];
  const first = 5;
  rig.fails = (_range, { addStoreId }) => addStoreId === storeId(first);
  await rig.poll([led(1, voters)]);
  expect(rig.changes).toEqual([change(first, 1)]);
  await rig.poll([led(1, [...voters, [first, 'learner']])], 5);
  expect(rig.changes.slice(1)).toEqual([
    ...Array.from({ length: 4 }, () => change(first, 1)),
    change(undefined, first),
  ]);
  await rig.poll([led(1, voters)]);
  expect(rig.changes.at(-1)).toEqual(change(6, 1));
});
