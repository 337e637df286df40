import { describe, expect, it } from '@jest/globals';

import { FairShare } from './fair-share.js';

const LIMIT = 128 * 1024;

/**
 * Holders come one after the other, and each takes what it can get, in large items and then in small ones.
 */
function fill(share: FairShare, holders: number): number[] {
  const held: number[] = [];
  let used = 0;
  for (let at = 0; at < holders; at += 1) {
    let own = 0;
    for (let item = 4_096; item >= 1; item = Math.floor(item / 4)) {
      while (share.allows(own, item, used)) {
        own += item;
        used += item;
      }
    }
    held.push(own);
  }
  expect(used).toBeLessThanOrEqual(share.limit);
  return held;
}

describe('a fair share', () => {
  it('is half of all for one alone, and never less than the floor for as many as the reserve has floors', () => {
    const share = new FairShare(LIMIT);
    expect(share.floor).toBe(1_024);
    const held = fill(share, 24);
    expect(held[0]).toBe(LIMIT / 2);
    expect(held[1]).toBe(LIMIT / 4);
    // A first item is given whatever its size.
    for (const own of held.slice(2, 10)) expect(own).toBeGreaterThanOrEqual(share.floor);
  });

  it('keeps the reserve for floors, in items that are no larger', () => {
    const share = new FairShare(LIMIT);
    let used = share.openMax;
    for (let holder = 0; holder < 32; holder += 1) {
      let own = 0;
      while (share.allows(own, 64, used)) {
        own += 64;
        used += 64;
      }
      expect(own).toBe(share.floor);
    }
    expect(used).toBe(LIMIT);
    expect(share.allows(0, 1, used)).toBe(false);
  });

  it('of a few places is one at least', () => {
    const share = new FairShare(4);
    expect(share.floor).toBe(1);
    expect([share.allows(0, 1, 3), share.allows(1, 1, 3), share.allows(0, 1, 4)]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('without a bound allows everything', () => {
    expect(new FairShare(Infinity).allows(1e9, 1e9, 1e9)).toBe(true);
  });
});
