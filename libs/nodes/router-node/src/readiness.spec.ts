import { describe, expect, it } from '@jest/globals';

import { readinessOf } from './readiness.js';

const state = { hasJoined: true, hasRanges: true, isClosed: false, reach: { ranges: 10, reachable: 10 } };

describe('readiness of a router', () => {
  it('is there while more than half of the known ranges can be served', () => {
    expect(readinessOf(state)).toEqual({ ready: true, reasons: [] });
    expect(readinessOf({ ...state, reach: { ranges: 10, reachable: 6 } }).ready).toBe(true);
    expect(readinessOf({ ...state, reach: { ranges: 10, reachable: 5 } })).toEqual({
      ready: false,
      reasons: ['of 10 known ranges 5 have a majority of their replicas in reach'],
    });
  });

  it('wants the cluster joined and a range known, and ends with the router', () => {
    const none = { ranges: 0, reachable: 0 };
    expect(readinessOf({ ...state, hasJoined: false, reach: none }).reasons).toEqual(['not joined yet']);
    const joined = { ...state, hasRanges: false };
    expect(readinessOf({ ...joined, reach: none }).reasons).toEqual(['no range is known yet']);
    expect(readinessOf(joined).reasons).toEqual(['not all ranges are known yet']);
    expect(readinessOf({ ...state, reach: none }).reasons).toEqual(['no range is known yet']);
    expect(readinessOf({ ...state, isClosed: true }).reasons).toEqual(['the router is stopping']);
  });
});
