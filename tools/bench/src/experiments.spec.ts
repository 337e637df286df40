import { describe, expect, test } from '@jest/globals';
import { checkGrowth, growthSchema, pairOf, partsOf } from './growth-config.js';
import { batchesOf, isQuiet, splitPoints } from './growth-plan.js';
import { pairLine, showGrowth, summarizeSize } from './growth-results.js';
import { makesBenchmarks } from './micro.js';
import { timeBenchmark } from './micro-timing.js';
import type { OpenLoopResult } from './open-loop.js';
import {
  changedLeaders,
  combineClients,
  overloadReport,
  showOverload,
  type OverloadSample,
} from './overload-results.js';
import type { Sample } from './system.js';

describe('the plan of growth', () => {
  test('splits a data set evenly', () => {
    expect(splitPoints(10, 1)).toEqual([]);
    expect(splitPoints(10, 4)).toEqual([2, 5, 7]);
    const points = splitPoints(100_000, 10_000);
    expect([points.length, new Set(points).size, points.at(-1)]).toEqual([9_999, 9_999, 99_990]);
    expect(() => splitPoints(3, 4)).toThrow('at least one key');
  });

  test('goes through a list in batches', () => {
    expect(batchesOf([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
    expect(batchesOf([], 2)).toEqual([]);
  });

  test('takes a cluster for quiet when its use of CPU stays the same', () => {
    expect([isQuiet([]), isQuiet([0.1]), isQuiet([0.5, 0.3]), isQuiet([0.3, 0.29])]).toEqual([
      false,
      false,
      false,
      true,
    ]);
    expect([isQuiet([0.001, 0.01]), isQuiet([0.1, 0.4])]).toEqual([true, false]);
  });

  test('says what is wrong with its numbers', () => {
    const config = growthSchema.parse({});
    expect(checkGrowth(config)).toEqual([]);
    expect([partsOf(config), pairOf('1000, 1')]).toEqual([
      ['ranges', 'idle', 'keys'],
      [1, 1_000],
    ]);
    expect(partsOf({ ...config, parts: 'idle' })).toEqual(['idle']);
    const wrong = checkGrowth({ ...config, parts: 'sky', ranges: '5', keys: '7,7', rangeKeys: 9 });
    expect(wrong).toHaveLength(4);
    expect(wrong.join(' ')).toMatch(/"sky".*"5".*"7,7".*rangeKeys is 9/);
  });
});

describe('the results of growth', () => {
  const sample = (opsPerSecond: number, totalUs: number): Sample => ({
    ...{ opsPerSecond, p50Ms: 1, p99Ms: 4, p999Ms: 5, errors: 1, firstError: 'x', misses: 0 },
    ...{ cpuUsPerOp: { total: totalUs, client: 1 }, otherCores: undefined },
  });

  test('are medians, and ratios of the large to the small size', () => {
    const small = summarizeSize(1, [sample(100, 10), sample(300, 30), sample(200, 20)], {
      'shard-1': 2 ** 20,
    });
    const large = summarizeSize(1_000, [sample(150, 25), sample(170, 35)], { 'shard-1': 3 * 2 ** 20 });
    expect(small).toMatchObject({
      opsPerSecond: 200,
      spread: [100, 300],
      errors: 3,
      cpuUsPerOp: { total: 20 },
    });
    const line = pairLine({ part: 'ranges', work: 'put', outstanding: 256 }, small, large, 3);
    expect(line).toMatchObject({ throughputRatio: 0.8, cpuRatio: 1.5 });
    const text = showGrowth([
      line,
      {
        ...{ part: 'idle', ranges: 10_000, seconds: 20, wasQuiet: false },
        processes: { 'shard-1': { cores: 0.042, rssBytes: 300 * 2 ** 20 } },
      },
    ]);
    expect(text).toMatch(/put, 1,000 ranges +160 +150\.\.170/);
    expect(text).toContain('ratio: throughput 0.80, CPU per operation 1.50');
    expect(text).toMatch(/shard-1 +4\.2 +300/);
    expect(text).toContain('not quiet yet');
  });

  test('are without a ratio of CPU where processes cannot be seen', () => {
    const blind = { ...sample(100, 0), cpuUsPerOp: {} };
    const size = summarizeSize(1, [blind], {});
    const line = pairLine({ part: 'keys', work: 'get', outstanding: 64 }, size, size, 1);
    expect(line).not.toHaveProperty('cpuRatio');
  });
});

describe('the results of overload', () => {
  const client = (more: Partial<OpenLoopResult>): OpenLoopResult => ({
    ...{ elapsedMs: 2_000, offered: 1_000, unsent: 100, succeeded: 400, errorsByCode: {}, firstError: '' },
    ...{ p50Ms: 1, p99Ms: 2, loopDelayP99Ms: 3 },
    ...more,
  });

  test('add the client processes up', () => {
    const combined = combineClients([
      client({ errorsByCode: { RESOURCE_EXHAUSTED: 100 } }),
      client({ errorsByCode: { RESOURCE_EXHAUSTED: 50, UNAVAILABLE: 50 }, firstError: 'gone', p99Ms: 9 }),
    ]);
    expect(combined).toEqual({
      ...{ offeredPerSecond: 1_000, unsentShare: 0.1, goodputPerSecond: 400, firstError: 'gone' },
      ...{ errorShares: { RESOURCE_EXHAUSTED: 0.15, UNAVAILABLE: 0.05 }, p50Ms: 1, p99Ms: 9 },
      loopDelayP99Ms: { 'client-1': 3, 'client-2': 3 },
    });
  });

  test('see a change of leader only between two that are known', () => {
    const before = new Map([
      [1, 1],
      [2, 1],
      [3, 0],
    ]);
    const after = new Map([
      [1, 2],
      [2, 0],
      [3, 3],
      [4, 1],
    ]);
    expect(changedLeaders(before, after)).toBe(1);
    expect(changedLeaders(after, after)).toBe(0);
  });

  test('compare each run with the best throughput just before it', () => {
    const run = (bestPerSecond: number, goodputPerSecond: number, changes: number): OverloadSample => ({
      ...combineClients([client({ errorsByCode: { RESOURCE_EXHAUSTED: 600 } })]),
      ...{ bestPerSecond, goodputPerSecond, leaderChanges: changes },
      loopDelayP99Ms: { 'shard-1': goodputPerSecond / 10 },
    });
    const report = overloadReport(4, [run(1_000, 900, 0), run(500, 350, 1), run(1_000, 800, 0)]);
    expect(report).toMatchObject({
      ...{ goodputRatio: 0.8, goodputRatioSpread: [0.7, 0.9], leaderChanges: 1, runs: 3 },
      loopDelayP99Ms: { 'shard-1': 90 },
      errorShares: { RESOURCE_EXHAUSTED: 0.6 },
    });
    const text = showOverload(report);
    expect(text).toMatch(/divided by the best +0\.80 \(0\.70\.\.0\.90\)/);
    expect(text).toMatch(/answers that were errors +RESOURCE_EXHAUSTED 60\.0 %/);
  });
});

describe('a micro benchmark', () => {
  test('is a file that makes a list, not a program of its own', () => {
    expect(makesBenchmarks('export function benchmarks(): MicroBenchmark[] {')).toBe(true);
    expect(makesBenchmarks('// …\nexport async function benchmarks() {')).toBe(true);
    expect(makesBenchmarks('const work = workOf(process.argv);\n// export function benchmarks(')).toBe(false);
  });

  test('counts nanoseconds per operation, promises included, after a round that does not count', async () => {
    let nowMs = 0;
    let calls = 0;
    const run = (): unknown => {
      calls += 1;
      nowMs += 0.5;
      return calls % 2 === 0 ? Promise.resolve() : undefined;
    };
    const result = await timeBenchmark(
      { name: 'a', operations: 10, run },
      { rounds: 3, roundMs: 20 },
      () => nowMs,
    );
    expect(result).toEqual({ name: 'a', nsPerOperation: 50_000, spread: [50_000, 50_000], rounds: 3 });
    // Four rounds of 40 calls, or a little more where a round ends late.
    expect(calls).toBeGreaterThanOrEqual(4 * 40);
    expect(calls).toBeLessThan(4 * 64);
  });
});
