import { assert } from './assert.js';

/** What only holders below their floor may fill. */
const RESERVE = 1 / 4;
/** So many floors fit into the reserve. */
const RESERVE_FLOORS = 32;

/**
 * How one bound is shared by those who hold something of it, bytes or places. A holder may have as much as is
 * left for others, so half of all while it is alone; but the last quarter is kept for those who have little:
 * up to the floor, or with its first item, a holder gets whatever is free. So nobody who holds much takes the
 * floor from those that come later, however many hold much. Only as many holders of floors as fill the
 * reserve do; whoever shares out something that a holder can keep for as long as it likes ends holders then.
 *
 * A rule and no account: the numbers are those of its owner.
 */
export class FairShare {
  readonly limit: number;
  /** What a holder may have whenever it is free. */
  readonly floor: number;
  /** What all together may have before only floors are given. */
  readonly openMax: number;

  constructor(limit: number) {
    assert(limit >= 0, 'a bound is not negative');
    this.limit = limit;
    this.floor = Math.max(1, Math.floor((limit * RESERVE) / RESERVE_FLOORS));
    this.openMax = limit - Math.floor(limit * RESERVE);
  }

  /** Whether who holds `own` may have `more`, while all together hold `used`, its own included. */
  allows(own: number, more: number, used: number): boolean {
    const after = used + more;
    if (after > this.limit) return false;
    if (this.isBelowFloor(own, more)) return true;
    return after <= this.openMax && own + more <= this.limit - used;
  }

  /** Whether that is within what everybody is to have. */
  isBelowFloor(own: number, more: number): boolean {
    return own === 0 || own + more <= this.floor;
  }
}
