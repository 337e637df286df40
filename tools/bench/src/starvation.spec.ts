import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { StarvationMeter } from './starvation.js';

describe('the longest time without a success', () => {
  test('is that of the one who waited longest', () => {
    const meter = new StarvationMeter(2, 0);
    meter.open(0);
    for (const nowMs of [10, 20, 30, 40]) meter.succeeded(0, nowMs);
    meter.succeeded(1, 35);
    expect(meter.close(42)).toBe(35);
  });

  test('counts who is still waiting at the end', () => {
    const meter = new StarvationMeter(2, 0);
    meter.open(0);
    for (const nowMs of [30, 60, 90]) meter.succeeded(0, nowMs);
    expect(meter.close(100)).toBe(100);
  });

  test('counts the whole of waits that began before the window, and none that ended before', () => {
    const meter = new StarvationMeter(1, 0);
    meter.succeeded(0, 500);
    meter.open(600);
    meter.succeeded(0, 700);
    expect(meter.close(750)).toBe(200);
  });

  test('ignores what comes after the end', () => {
    const meter = new StarvationMeter(1, 0);
    meter.open(0);
    expect(meter.close(10)).toBe(10);
    expect(() => meter.succeeded(0, 1_000)).not.toThrow();
  });

  test('is the largest gap of any client', () => {
    const events = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.integer({ min: 1, max: 20 })), { maxLength: 60 });
    fc.assert(
      fc.property(events, (steps) => {
        const meter = new StarvationMeter(4, 0);
        meter.open(0);
        const times: number[][] = [[0], [0], [0], [0]];
        let nowMs = 0;
        for (const [client, afterMs] of steps) {
          nowMs += afterMs;
          meter.succeeded(client, nowMs);
          times[client]?.push(nowMs);
        }
        const gaps = times.flatMap((all) =>
          [...all, nowMs].map((time, at) => (at === 0 ? 0 : time - (all[at - 1] ?? 0))),
        );
        expect(meter.close(nowMs)).toBe(Math.max(...gaps));
      }),
    );
  });
});
