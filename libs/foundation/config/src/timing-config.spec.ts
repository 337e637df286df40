import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { fieldInfoOf } from './fields.js';
import { checkTiming, DEFAULT_TIMING, timingFields, validateTiming } from './timing-config.js';

describe('timing', () => {
  it('has valid defaults, the same in the fields and in the constant', () => {
    expect(checkTiming(DEFAULT_TIMING)).toEqual([]);
    for (const [key, field] of Object.entries(timingFields)) {
      expect([key, fieldInfoOf(field)?.defaultValue]).toEqual([
        key,
        DEFAULT_TIMING[key as keyof typeof timingFields],
      ]);
    }
  });

  it.each([
    [{ tickIntervalMs: 76 }, /twice tickIntervalMs \(152\) must not be above heartbeatIntervalMs \(150\)/],
    [
      { heartbeatIntervalMs: 300 },
      /twice heartbeatIntervalMs \(600\) must be below electionTimeoutMs \(600\)/,
    ],
    [{ electionJitterMs: 40 }, /tickIntervalMs \(50\) must not be above electionJitterMs \(40\)/],
    [{ leaseDurationMs: 150 }, /heartbeatIntervalMs \(150\) must be below leaseDurationMs \(150\)/],
    [{ leaseDurationMs: 455 }, /voteHoldMs \(500\) must be at least 10 % above leaseDurationMs \(455\)/],
    [{ voteHoldMs: 601 }, /voteHoldMs \(601\) must not be above electionTimeoutMs \(600\)/],
  ])('refuses %j', (change, expected) => {
    const problems = checkTiming({ ...DEFAULT_TIMING, ...change });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
    expect(() => validateTiming({ ...DEFAULT_TIMING, ...change })).toThrow(expected);
  });

  it('accepts a vote hold that is just a tenth longer than the lease', () => {
    const timing = { leaseDurationMs: 50_000, voteHoldMs: 55_000, electionTimeoutMs: 60_000 };
    expect(checkTiming({ ...DEFAULT_TIMING, ...timing })).toEqual([]);
  });

  it('accepts only timings whose lease ends before anybody else can be elected', () => {
    const near = (value: number): fc.Arbitrary<number> => fc.integer({ min: value / 2, max: value * 2 });
    fc.assert(
      fc.property(near(400), near(500), near(600), (leaseDurationMs, voteHoldMs, electionTimeoutMs) => {
        const timing = { ...DEFAULT_TIMING, leaseDurationMs, voteHoldMs, electionTimeoutMs };
        fc.pre(checkTiming(timing).length === 0);
        expect(leaseDurationMs * 11).toBeLessThanOrEqual(electionTimeoutMs * 10);
        expect(timing.heartbeatIntervalMs).toBeLessThan(leaseDurationMs);
      }),
      { numRuns: 50 },
    );
  });
});
