import { describe, expect, test } from '@jest/globals';
import { resultLine } from './results.js';
import type { Sample } from './system.js';
import { showResults } from './tables.js';
import { versusLine } from './versus.js';

function sample(opsPerSecond: number, p99Ms: number, total?: number): Sample {
  const cpuUsPerOp: Record<string, number> = total === undefined ? {} : { total };
  const rest = { p50Ms: 1, p999Ms: 9, errors: 0, firstError: '', misses: 0, otherCores: undefined };
  return { opsPerSecond, p99Ms, cpuUsPerOp, ...rest };
}

describe('a work beside another one', () => {
  test('has the median of the ratios of repetitions', () => {
    const ours = [sample(50, 4, 30), sample(30, 6, 40), sample(10, 8, 90)];
    const others = [sample(100, 2, 10), sample(100, 2, 10), sample(100, 2, 10)];
    expect(versusLine('put', ours, others)).toEqual([
      { work: 'put', throughputRatio: 0.3, throughputSpread: [0.1, 0.5], p99Ratio: 3, cpuRatio: 4 },
    ]);
  });

  test('takes only repetitions that both have, and says nothing of CPU that nobody saw', () => {
    const ours = [sample(50, 4), sample(30, 6)];
    expect(versusLine('get', ours, [sample(100, 2)])).toEqual([
      { work: 'get', throughputRatio: 0.5, throughputSpread: [0.5, 0.5], p99Ratio: 2 },
    ]);
  });

  test('has no yardstick in a work that did nothing', () => {
    expect(versusLine('get', [sample(50, 4)], [sample(0, 0)])).toEqual([]);
    expect(versusLine('get', [sample(50, 4)], [])).toEqual([]);
  });

  test('is shown, with what contention costs', () => {
    const facts = { system: 'cairn', version: '1', driver: 'Node SDK', rssBytes: {} };
    const contended = { ...sample(50, 4, 30), restartsPerOp: 1.25, starvationMs: 812 };
    const line = resultLine({
      cell: { work: 'txn-zipf', outstanding: 64 },
      ours: [contended],
      oursFacts: facts,
      peers: [],
      peerFacts: undefined,
    });
    expect(line.ours).toMatchObject({ restartsPerOp: 1.25, starvationMs: 812 });
    const versus = versusLine('put', [contended], [sample(100, 2, 10)]);
    const text = showResults([{ ...line, versus }]);
    expect(text).toMatch(/txn-zipf 64 \/ put +0\.50 +0\.50\.\.0\.50 +2\.00 +3\.00/);
    expect(text).toMatch(/txn-zipf 64 +1\.25 +812/);
  });
});
