import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import fc from 'fast-check';

import { DeadlockDetector, type LockWait } from './deadlock-detector.js';
import { LOCK_OWNERS_MAX, LOCK_WAITS_MAX } from './wire-binding.js';

const wait = (waiter: number, ...holders: number[]): LockWait => ({
  waiter: timestamp(waiter),
  holders: holders.map((each) => timestamp(each)),
});

/** Whether anybody waits in a circle: owners who wait for nobody are taken away until none is left. */
function hasCircle(waits: readonly LockWait[]): boolean {
  let left = waits;
  for (;;) {
    const waiters = new Set(left.map(({ waiter }) => waiter));
    const held = left.filter(({ holders, waiter }) =>
      holders.some((holder) => holder !== waiter && waiters.has(holder)),
    );
    if (held.length === left.length) return left.length > 0;
    left = held;
  }
}

describe('deadlocks', () => {
  it('are found over two routers: the youngest gives up, and the circle is named', () => {
    const detector = new DeadlockDetector();
    expect(detector.report('one', [wait(10, 20)], 0)).toEqual([]);
    expect(detector.report('two', [wait(20, 10)], 50)).toEqual([{ owner: 20, cycle: [20, 10] }]);
    // The other one has no victim of its own.
    expect(detector.report('one', [wait(10, 20)], 100)).toEqual([]);
  });

  it('are told to the router of the victim, whoever closed the circle', () => {
    const detector = new DeadlockDetector();
    detector.report('two', [wait(20, 30)], 0);
    detector.report('three', [wait(30, 10)], 0);
    expect(detector.report('one', [wait(10, 20)], 10)).toEqual([]);
    expect(detector.report('two', [wait(20, 30)], 20)).toEqual([]);
    expect(detector.report('three', [wait(30, 10)], 30)).toEqual([{ owner: 30, cycle: [30, 10, 20] }]);
  });

  it('are none where a report has been replaced, or is older than a second', () => {
    const detector = new DeadlockDetector();
    detector.report('one', [wait(10, 20)], 0);
    detector.report('one', [], 10);
    expect(detector.report('two', [wait(20, 10)], 20)).toEqual([]);
    detector.report('one', [wait(10, 20)], 30);
    expect(detector.report('two', [wait(20, 10)], 1_029)).toHaveLength(1);
    expect(detector.report('two', [wait(20, 10)], 1_030)).toEqual([]);
    expect(detector.edges).toBe(1);
  });

  it('are none of an owner with itself', () => {
    expect(new DeadlockDetector().report('one', [wait(10, 10)], 0)).toEqual([]);
  });

  it('are looked for without recursion', () => {
    const detector = new DeadlockDetector();
    const chain = Array.from({ length: LOCK_WAITS_MAX }, (_, at) =>
      wait(at + 1, ((at + 1) % LOCK_WAITS_MAX) + 1),
    );
    const [victim] = detector.report('one', chain, 0);
    expect(victim?.owner).toBe(LOCK_WAITS_MAX);
    expect(victim?.cycle).toHaveLength(64);
  });

  it('refuses more than it keeps', () => {
    const detector = new DeadlockDetector();
    const many = Array.from({ length: LOCK_WAITS_MAX + 1 }, (_, at) => wait(at + 1, 1));
    expect(() => detector.report('one', many, 0)).toThrow('at most 4096 waits');
    const wide = wait(1, ...Array.from({ length: LOCK_OWNERS_MAX + 1 }, (_, at) => at + 2));
    expect(() => detector.report('one', [wide], 0)).toThrow('at most 64 owners');
    const full = Array.from({ length: 1_000 }, (_, at) =>
      wait(at + 100, ...Array.from({ length: 60 }, (_each, holder) => holder + 1)),
    );
    detector.report('one', full, 0);
    expect(() => detector.report('two', full, 0)).toThrow('more waits for locks');
    expect(detector.report('two', full, 1_000)).toEqual([]);
  });

  it('leave nobody in a circle when the victims have gone, and each victim is the youngest of a circle that is there', () => {
    const owner = fc.integer({ min: 1, max: 12 });
    const waits = fc.array(fc.tuple(owner, fc.array(owner, { maxLength: 4 })), { maxLength: 14 });
    fc.assert(
      fc.property(fc.array(waits, { minLength: 1, maxLength: 3 }), (reports) => {
        const detector = new DeadlockDetector();
        const told = reports.map((each) => each.map(([waiter, holders]) => wait(waiter, ...holders)));
        for (const [router, each] of told.entries()) detector.report(String(router), each, 0);
        const all = told.flat();
        const victims = told.flatMap((each, router) => detector.report(String(router), each, 1));
        for (const { owner: victim, cycle } of victims) {
          expect(cycle[0]).toBe(victim);
          expect(Math.max(...cycle)).toBe(victim);
          for (const [at, waiter] of cycle.entries()) {
            const next = cycle[(at + 1) % cycle.length];
            const isThere = all.some(
              (edge) => edge.waiter === waiter && edge.holders.some((holder) => holder === next),
            );
            expect(isThere).toBe(true);
          }
        }
        const gone = new Set(victims.map((victim) => victim.owner));
        expect(hasCircle(all.filter(({ waiter }) => !gone.has(waiter)))).toBe(false);
        expect(victims.length > 0).toBe(hasCircle(mergedOf(all)));
      }),
      { numRuns: 500 },
    );
  });
});

/** The same waits with one entry for each waiter. */
function mergedOf(waits: readonly LockWait[]): LockWait[] {
  const byWaiter = new Map<number, Set<number>>();
  for (const { waiter, holders } of waits) {
    const known = byWaiter.get(waiter) ?? new Set();
    for (const holder of holders) known.add(holder);
    byWaiter.set(waiter, known);
  }
  return [...byWaiter].map(([waiter, holders]) => wait(waiter, ...holders));
}
