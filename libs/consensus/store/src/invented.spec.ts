import { logIndex, replicaId, storeId, term, type RangeId } from '@cairn/base';
import { noopLogger, noopMetrics } from '@cairn/ports';
import type { Message } from '@cairn/raft';
import { SimScheduler } from '@cairn/runtime-sim';
import { describe, expect, it } from '@jest/globals';

import { Delivery, EMPTY_REPLICAS_MAX, FORGOTTEN_REPLICAS_MAX } from './delivery.js';
import type { Replica } from './replica.js';
import { StoreMetrics } from './store-metrics.js';
import { StoresRig } from './stores.testing.js';

const FIRST = 1_000;
const HINT = { startKey: Buffer.from('zz'), confVersion: 1 };
const HEARTBEAT: Message = {
  type: 'heartbeat',
  from: replicaId(1),
  to: replicaId(2),
  term: term(1),
  commit: logIndex(0),
  readContext: 0,
  sentAtMs: 1,
};

/** Messages of another store about ranges that do not exist: one for each of [from, to). */
async function invent(rig: StoresRig, from: number, to: number): Promise<void> {
  for (let range = from; range < to; range += 1)
    rig.send(2, 1, HEARTBEAT, { hint: HINT, range: range as RangeId });
  await rig.run(100);
}

const idsAt = (rig: StoresRig): RangeId[] => [...rig.at(1).store.replicas()].map(({ rangeId }) => rangeId);

/** A range that ends before those that are made up. */
async function withOneRange(): Promise<StoresRig> {
  const rig = await StoresRig.open(1);
  await rig.create(1, { endKey: 'z' });
  return rig;
}

describe('replicas that messages made up', () => {
  it('leave nothing behind, in memory and in the log, when the metadata service says what they are', async () => {
    const rig = await withOneRange();
    await invent(rig, FIRST, FIRST + 20);
    expect(idsAt(rig)).toHaveLength(21);
    const { store } = rig.at(1);
    const { nowMs } = rig.scheduler;
    for (let at = 0; at < 19; at += 1) store.forgetInvented((FIRST + at) as RangeId, replicaId(2), nowMs);
    // Another replica of the range than the one that is meant, and a range that has a state.
    store.forgetInvented((FIRST + 19) as RangeId, replicaId(3), nowMs);
    store.forgetInvented(1 as RangeId, replicaId(11), nowMs);
    // One that was heard of after the question: it may have been named since.
    store.forgetInvented((FIRST + 19) as RangeId, replicaId(2), nowMs - 1_000);
    expect(idsAt(rig)).toEqual([1, FIRST + 19]);
    rig.propose(10);
    await rig.run(100);
    await rig.restart(1);
    expect(idsAt(rig)).toEqual([1, FIRST + 19]);
    expect(rig.at(1).fatal).toEqual([]);
  });

  it('make room for others only so many times: what they promised stays in the log', () => {
    const scheduler = new SimScheduler();
    const clock = scheduler.clockFor('store');
    const here = new Map<RangeId, Replica>();
    let nowMs = 0;
    const delivery = new Delivery({
      clock: { ...clock, nowMs: () => nowMs, unixMs: () => nowMs },
      logger: noopLogger,
      metrics: new StoreMetrics(noopMetrics),
      replicas: {
        get: (range) => here.get(range),
        get emptyCount() {
          return here.size;
        },
        [Symbol.iterator]: () => here.values(),
      },
      occupancy: { isGone: () => false, isCovered: () => false },
      maker: {
        forgetEmpty: ({ rangeId }) => void here.delete(rangeId),
        createEmpty: (rangeId, id) => {
          const made = { rangeId, replicaId: id, isReplaceable: true, isInitialised: false, heardMs: nowMs };
          const replica = { ...made, memberStore: () => 2 } as unknown as Replica;
          here.set(rangeId, replica);
          return replica;
        },
      },
      steps: { step: () => undefined },
    });
    const invented = (range: number): boolean => {
      delivery.deliver(storeId(2), range as RangeId, HEARTBEAT, HINT);
      return here.has(range as RangeId);
    };
    let made = FIRST;
    while (made < FIRST + FORGOTTEN_REPLICAS_MAX + EMPTY_REPLICAS_MAX) {
      for (let at = 0; at < EMPTY_REPLICAS_MAX; at += 1, made += 1) expect(invented(made)).toBe(true);
      expect(invented(made)).toBe(false);
      nowMs += 70_000;
    }
    expect(invented(made)).toBe(false);
    expect(here.size).toBe(EMPTY_REPLICAS_MAX);
  });
});
