import { describe, expect, it } from '@jest/globals';

import { rangeId, replicaId, type RangeId } from '@cairn/base';

import { RangeLoad } from '../kv/range-load.js';
import { RangeRounds, type VisitedMachine, type VisitedReplica } from './range-rounds.js';

class Rig {
  readonly replicas = new Map<RangeId, VisitedReplica>();
  readonly machines = new Map<RangeId, VisitedMachine>();
  readonly rounds = new RangeRounds(
    () => this.replicas.values(),
    (id) => this.machines.get(id),
  );

  constructor(count: number) {
    for (let at = 1; at <= count; at += 1) this.add(at, 10);
  }

  add(at: number, bytes: number): void {
    const load = new RangeLoad();
    load.bytes = bytes;
    this.replicas.set(rangeId(at), {
      rangeId: rangeId(at),
      replicaId: replicaId(at),
      isReadyLeader: at % 2 === 0,
      isInitialised: true,
      installation: undefined,
      confVersionSeen: 0,
    });
    this.machines.set(rangeId(at), { load });
  }

  visits(count: number): number[] {
    return Array.from({ length: count }, (_, at) => this.rounds.visit(at * 1_000).machines.length);
  }
}

describe('rounds over the ranges of a store', () => {
  it('look at all of a small store with each beat', () => {
    const rig = new Rig(1_000);
    expect(rig.visits(3)).toEqual([1_000, 1_000, 1_000]);
    expect(rig.rounds.totals).toEqual({
      replicas: 1_000,
      leaders: 500,
      catchingUp: 0,
      dataBytes: 10_000,
      readsPerSecond: 0,
      writesPerSecond: 0,
    });
  });

  it('look at all of a large store once, and then at a part with each beat', () => {
    const rig = new Rig(30_000);
    expect(rig.visits(11)).toEqual([30_000, ...Array.from({ length: 10 }, () => 3_000)]);
    expect(rig.rounds.totals.replicas).toBe(30_000);
  });

  it('tell what all come to only of whole rounds', () => {
    const rig = new Rig(3_000);
    rig.visits(2);
    for (const { load } of rig.machines.values()) load.bytes = 20;
    expect(rig.rounds.totals.dataBytes).toBe(30_000);
    // 1,024 were looked at before the change.
    rig.visits(2);
    expect(rig.rounds.totals.dataBytes).toBe(1_024 * 10 + 1_976 * 20);
  });

  it('bear with replicas that come and go', () => {
    const rig = new Rig(2_000);
    rig.visits(2);
    for (let at = 1_500; at <= 2_000; at += 1) rig.replicas.delete(rangeId(at));
    rig.add(5_000, 10);
    expect(rig.visits(2)).toEqual([1_499 - 1_024 + 1, 1_024]);
    expect(rig.rounds.totals.replicas).toBe(1_500);
  });

  it('find replicas that wait for a state', () => {
    const rig = new Rig(3);
    rig.machines.delete(rangeId(2));
    rig.replicas.set(rangeId(2), {
      rangeId: rangeId(2),
      replicaId: replicaId(9),
      isReadyLeader: false,
      isInitialised: false,
      installation: undefined,
      confVersionSeen: 4,
    });
    const { machines, waiting } = rig.rounds.visit(0);
    expect(machines).toHaveLength(2);
    expect(waiting).toEqual([{ rangeId: 2, replicaId: 9, confVersion: 4 }]);
  });
});

describe('the load of a range', () => {
  it('is told at once, then when it changed, and of an idle range once a minute', () => {
    const load = new RangeLoad();
    load.bytes = 1_000;
    const toldAtSeconds = (from: number, to: number): number[] => {
      const told: number[] = [];
      for (let second = from; second < to; second += 1) {
        load.sample(second * 1_000);
        if (!load.isWorthTelling(second * 1_000)) continue;
        load.told(second * 1_000);
        told.push(second);
      }
      return told;
    };
    expect(toldAtSeconds(0, 130)).toEqual([0, 60, 120]);
    load.countApplied(500);
    expect(toldAtSeconds(130, 190)).toEqual([130]);
    for (let reads = 0; reads < 1_000; reads += 1) load.countRead();
    // The rate fades away, and each time it is told that it has.
    const fading = toldAtSeconds(190, 400);
    expect(fading.slice(0, 3)).toEqual([190, 195, 200]);
    expect(load.readsPerSecond).toBe(0);
    expect(toldAtSeconds(400, 461)).toHaveLength(1);
  });
});
