import { describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { VirtualTime } from '../test/virtual-time.js';
import type { LoadTarget } from './closed-loop.js';
import { keyAt, makeKeys } from './data-set.js';
import { runFailover, type FailoverResult } from './failover.js';
import { loopDelayMs, loopDelayP99Of } from './loop-delay.js';
import { ArrivalSchedule, LATENESS_MAX_MS, runOpenLoop, type OpenLoopResult } from './open-loop.js';

const KEYS = 10;
const DATA = { keys: makeKeys(KEYS), end: keyAt(KEYS), valueBytes: 16, inserted: { count: 0 } };

/** Puts are what the test says; nothing else is asked for. */
class PutTarget implements LoadTarget {
  readonly time = new VirtualTime();
  readonly #put: (slot: number, timeoutMs: number) => Promise<unknown>;

  constructor(put: (slot: number, timeoutMs: number) => Promise<unknown>) {
    this.#put = put;
  }

  put(slot: number, _key: Buffer, _value: Buffer, timeoutMs = 0): Promise<unknown> {
    return this.#put(slot, timeoutMs);
  }

  get(): Promise<unknown> {
    throw new Error('not asked for');
  }

  scan(): Promise<number> {
    throw new Error('not asked for');
  }

  close(): void {
    // Nothing is open.
  }
}

describe('the schedule of an open loop', () => {
  test('owes exactly rate × time, however late somebody comes for it', () => {
    const schedule = new ArrivalSchedule(1_000, 50);
    expect(schedule.take(50)).toEqual({ firstDueMs: 50, count: 1 });
    expect(schedule.take(50.5).count).toBe(0);
    expect(schedule.take(53)).toEqual({ firstDueMs: 51, count: 3 });
    let taken = 4;
    for (let nowMs = 53; nowMs <= 1_050; nowMs += 7.3) taken += schedule.take(nowMs).count;
    taken += schedule.take(1_049.5).count;
    expect([taken, schedule.due, schedule.skipped]).toEqual([1_000, 1_000, 0]);
  });

  test('leaves out what is too late, and says how much', () => {
    const schedule = new ArrivalSchedule(1_000, 0);
    schedule.take(0);
    const { firstDueMs, count } = schedule.take(1_000);
    expect(firstDueMs).toBe(1_000 - LATENESS_MAX_MS);
    expect([count, schedule.skipped, schedule.due]).toEqual([LATENESS_MAX_MS + 1, 899, 1_001]);
  });
});

describe('an open loop', () => {
  const REQUEST = { kind: 'open', opsPerSecond: 1_000, warmupMs: 100, durationMs: 1_000, seed: 1 } as const;

  function drive(target: PutTarget, openMax: number): Promise<OpenLoopResult> {
    const loopDelay = { reset: () => undefined, p99Ms: () => 3 };
    const parts = { target, data: DATA, time: target.time, loopDelay };
    return target.time.during(runOpenLoop(parts, { ...REQUEST, openMax }));
  }

  test('offers its rate although every answer takes long, and counts from when it was due', async () => {
    const target: PutTarget = new PutTarget(() => target.time.sleep(40));
    const result = await drive(target, 1_000);
    expect(result.offered).toBeGreaterThanOrEqual(999);
    expect(result.offered).toBeLessThanOrEqual(1_001);
    expect(result).toMatchObject({ unsent: 0, errorsByCode: {}, firstError: '', loopDelayP99Ms: 3 });
    expect(result.succeeded).toBeGreaterThanOrEqual(998);
    expect(result.p50Ms).toBeGreaterThan(39);
    expect(result.p99Ms).toBeLessThan(43);
  });

  test('sends nothing beyond its bound, and counts it', async () => {
    let open = 0;
    let openMax = 0;
    const target: PutTarget = new PutTarget(async () => {
      open += 1;
      openMax = Math.max(openMax, open);
      await target.time.sleep(100);
      open -= 1;
    });
    const result = await drive(target, 10);
    expect([openMax, open]).toEqual([10, 0]);
    // Ten every hundred milliseconds, or a little less.
    expect(result.succeeded).toBeLessThanOrEqual(110);
    expect(result.unsent / result.offered).toBeGreaterThan(0.88);
  });

  test('tells refusals from other failures', async () => {
    let calls = 0;
    const target = new PutTarget(async () => {
      calls += 1;
      if (calls % 4 === 0) throw new CairnError('UNAVAILABLE', 'gone');
      if (calls % 2 === 0) throw new CairnError('RESOURCE_EXHAUSTED', 'full');
    });
    const result = await drive(target, 100);
    expect(result.firstError).toBe('gone');
    expect(Object.keys(result.errorsByCode).sort()).toEqual(['RESOURCE_EXHAUSTED', 'UNAVAILABLE']);
    for (const count of Object.values(result.errorsByCode)) expect(Math.abs(count - 250)).toBeLessThan(3);
    expect(Math.abs(result.succeeded - 500)).toBeLessThan(3);
  });
});

describe('a failover', () => {
  const REQUEST = { processId: 42, writers: 2, timeoutMs: 100, warmupMs: 50, limitMs: 5_000 };

  /** Down from the kill for so long; what comes then ends in time-outs, or is refused at once. */
  function run(downMs: number, refusesAtOnce = false): Promise<FailoverResult> {
    let killedAtMs = Number.POSITIVE_INFINITY;
    const target: PutTarget = new PutTarget(async (_slot, timeoutMs) => {
      const nowMs = target.time.nowMs();
      if (nowMs < killedAtMs || nowMs >= killedAtMs + downMs) return target.time.sleep(2);
      if (!refusesAtOnce) await target.time.sleep(timeoutMs);
      throw new Error('nobody there');
    });
    const kill = (processId: number): void => {
      expect(processId).toBe(42);
      killedAtMs = target.time.nowMs();
    };
    const parts = { target, data: DATA, time: target.time };
    return target.time.during(runFailover(parts, REQUEST, kill));
  }

  test('lasts until the first put that began after the kill succeeds', async () => {
    const result = await run(730);
    // The put that met the new leader began after at most one more time-out.
    expect(result.gapMs).toBeGreaterThanOrEqual(730);
    expect(result.gapMs).toBeLessThanOrEqual(730 + 100 + 2);
    expect(result.failures).toBeGreaterThan(0);
    expect(result.firstFailure).toBe('nobody there');
  });

  test('rests between refusals that come at once', async () => {
    const result = await run(200, true);
    expect(result.gapMs).toBeLessThanOrEqual(204);
    expect(result.failures).toBeLessThanOrEqual(2 * 201);
  });

  test('fails when nobody can write again in time', async () => {
    await expect(run(60_000)).rejects.toThrow('no put succeeded within 5000 ms');
  });
});

describe('event-loop delay', () => {
  test('is what Node measures without the interval of its timer', () => {
    expect([loopDelayMs(10.1), loopDelayMs(9.9), loopDelayMs(60)]).toEqual([expect.closeTo(0.1), 0, 50]);
  });

  test('is read from a page of metrics', () => {
    const page = 'nodejs_eventloop_lag_p90_seconds 1\nnodejs_eventloop_lag_p99_seconds{node="a"} 0.025\n';
    expect(loopDelayP99Of(page)).toBeCloseTo(15);
    expect(loopDelayP99Of('nodejs_eventloop_lag_p99_seconds NaN\n')).toBeUndefined();
    expect(loopDelayP99Of('')).toBeUndefined();
  });
});
