import { beforeEach, describe, expect, it } from '@jest/globals';

import { Holder, Holders } from './holders.js';

class Held extends Holder {
  readonly caller: unknown;
  isCut = false;

  constructor(caller: unknown, bytes: number, sinceMs: number) {
    super();
    this.caller = caller;
    this.heldBytes = bytes;
    this.heldSinceMs = sinceMs;
  }

  cutOff(): void {
    this.isCut = true;
  }
}

describe('holders', () => {
  let nowMs: number;
  let holders: Holders;
  const hold = (caller: unknown, bytes: number, sinceMs: number): Held => {
    const held = new Held(caller, bytes, sinceMs);
    holders.add(held);
    return held;
  };

  beforeEach(() => {
    nowMs = 20_000;
    holders = new Holders(() => nowMs);
  });

  it('ends all that lags of the caller that has held most for longest', () => {
    const [small, first, second] = [hold('a', 10, 1_000), hold('b', 60, 2_000), hold('b', 60, 3_000)];
    const young = hold('b', 1_000, 19_500);
    expect(holders.endLaggard(true, undefined)).toBe(true);
    expect([small, first, second, young].map(({ isCut }) => isCut)).toEqual([false, true, true, false]);
    expect(holders.ended).toBe(2);
  });

  it('ends who holds much for seconds before who holds a little for days', () => {
    nowMs = 1e9;
    const idle = hold('idle', 10, 0);
    const greedy = hold('greedy', 1_000, nowMs - 1_500);
    expect(holders.endLaggard(true, undefined)).toBe(true);
    expect([idle.isCut, greedy.isCut]).toEqual([false, true]);
  });

  it('finds room for somebody below the floor, however often others ask for more in vain', () => {
    const laggard = hold('stranger', 100, 15_000);
    for (let asked = 0; asked < 10; asked += 1) expect(holders.endLaggard(false, undefined)).toBe(false);
    expect(holders.endLaggard(true, undefined)).toBe(true);
    expect(laggard.isCut).toBe(true);
  });

  it('ends a laggard for others, however often it asks itself', () => {
    const laggard = hold('stranger', 100, 15_000);
    const other = hold('other', 1, 20_000);
    for (let asked = 0; asked < 10; asked += 1) expect(holders.endLaggard(true, laggard)).toBe(false);
    expect(holders.endLaggard(true, other)).toBe(true);
    expect([laggard.isCut, other.isCut]).toEqual([true, false]);
  });

  it('never ends who asks, but the one that is next, or other calls of the same caller', () => {
    const asking = hold('worst', 1_000, 1_000);
    const next = hold('next', 10, 1_000);
    expect(holders.endLaggard(true, asking)).toBe(true);
    expect([asking.isCut, next.isCut]).toEqual([false, true]);
  });

  it('looks through them once in a while only when nobody lags', () => {
    let looks = 0;
    const held = hold('a', 1, 19_900);
    Object.defineProperty(held, 'heldSinceMs', {
      get: () => {
        looks += 1;
        return 19_900;
      },
    });
    for (let asked = 0; asked < 100; asked += 1) holders.endLaggard(true, undefined);
    expect(looks).toBe(1);
    nowMs += 50;
    holders.endLaggard(true, undefined);
    expect(looks).toBe(2);
  });
});
