import { rangeId, replicaId, storeId, term, type StoreId } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';

import { Failover, type ElectingReplica } from './failover.js';

/** Replica 11 is on store 1, 12 on store 2, 13 on store 3. */
function replicaOn(store: number, range: number): ElectingReplica {
  return {
    rangeId: rangeId(range),
    replicaId: replicaId(10 + store),
    isClosed: false,
    storeOf: (id: number) => storeId(id - 10),
    raft: {
      ...{ term: term(5), leaderId: replicaId(13) },
      configState: { voters: [11, 12, 13].map(replicaId), outgoing: [], learners: [], learnersNext: [] },
    },
  };
}

const isGone = (store: StoreId): boolean => store === 3;

/** What begins at once, with its delay. */
function started(failover: Failover<ElectingReplica>, nowMs = 0): [number, number][] {
  const all: [number, number][] = [];
  failover.advance(nowMs, (replica, delayMs) => {
    all.push([replica.rangeId, delayMs]);
    return true;
  });
  return all;
}

describe('the ranges of a lost store', () => {
  it('are shared out between the stores that are left, whatever their ids have in common', () => {
    const ranges = Array.from({ length: 200 }, (_, at) => 7 + 4 * at);
    const [one, other] = [1, 2].map((store) => {
      const failover = new Failover<ElectingReplica>();
      failover.begin(
        ranges.map((range) => replicaOn(store, range)),
        isGone,
      );
      const first = started(failover).filter(([, delayMs]) => delayMs === 0);
      return first.map(([range]) => range);
    }) as [number[], number[]];
    expect([...one, ...other].sort((a, b) => a - b)).toEqual(ranges);
    expect(Math.min(one.length, other.length)).toBeGreaterThan(60);
  });

  it('begin with those that this store is to lead; the others follow later', () => {
    const failover = new Failover<ElectingReplica>();
    failover.begin(
      Array.from({ length: 100 }, (_, at) => replicaOn(1, at + 1)),
      isGone,
    );
    const delays = started(failover).map(([, delayMs]) => delayMs);
    expect(new Set(delays)).toEqual(new Set([0, 150]));
    expect(delays).toEqual([...delays].sort((a, b) => a - b));
  });

  it('elect some at a time: as many begin as have ended, or have taken too long', () => {
    const failover = new Failover<ElectingReplica>();
    const replicas = Array.from({ length: 1_000 }, (_, at) => replicaOn(1, at + 1));
    failover.begin(replicas, isGone);
    const first = started(failover);
    expect(first).toHaveLength(256);
    expect(started(failover, 50)).toEqual([]);
    for (const [range] of first.slice(0, 10)) {
      const replica = replicas[range - 1] as unknown as { raft: { term: number; leaderId: number } };
      replica.raft = { ...replica.raft, term: 6, leaderId: 12 };
    }
    expect(started(failover, 100)).toHaveLength(10);
    expect(started(failover, 2_000)).toHaveLength(246);
  });

  it('pass over those that found a leader meanwhile, and end when the store is back', () => {
    const failover = new Failover<ElectingReplica>();
    failover.begin(
      Array.from({ length: 600 }, (_, at) => replicaOn(1, at + 1)),
      isGone,
    );
    let asked = 0;
    failover.advance(0, () => {
      asked += 1;
      return asked > 100;
    });
    expect(asked).toBe(356);
    expect(failover.isUnderWay).toBe(true);
    failover.stop();
    expect(failover.isUnderWay).toBe(false);
    expect(started(failover, 5_000)).toEqual([]);
  });

  it('come last to a member that does not vote', () => {
    const failover = new Failover<ElectingReplica>();
    const learner = { ...replicaOn(1, 1), replicaId: replicaId(99) } as ElectingReplica;
    failover.begin([learner], isGone);
    expect(started(failover)).toEqual([[1, 300]]);
  });
});
