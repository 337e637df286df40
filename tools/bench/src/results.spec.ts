import { describe, expect, test } from '@jest/globals';
import { resultLine, type CellResults, type SystemFacts } from './results.js';
import type { Sample } from './system.js';
import { showResults } from './tables.js';

function sample(opsPerSecond: number, p99Ms: number, more: Partial<Sample> = {}): Sample {
  return {
    opsPerSecond,
    p50Ms: p99Ms / 2,
    p99Ms,
    p999Ms: p99Ms * 2,
    errors: 0,
    firstError: '',
    misses: 0,
    cpuUsPerOp: {},
    otherCores: undefined,
    ...more,
  };
}

const OURS: SystemFacts = {
  system: 'cairn',
  version: '1',
  driver: 'Node SDK',
  rssBytes: { 'shard-1': 2 ** 20 },
};
const PEER: SystemFacts = { system: 'etcd', version: '3.5.16', driver: 'native generator', rssBytes: {} };

function cell(more: Partial<CellResults> = {}): CellResults {
  return {
    cell: { work: 'put', outstanding: 256 },
    ours: [sample(400, 10), sample(1_000, 30), sample(600, 20)],
    oursFacts: OURS,
    peers: [sample(100, 40), sample(200, 30), sample(300, 80)],
    peerFacts: PEER,
    ...more,
  };
}

describe('a JSON line', () => {
  test('begins with the promised fields, in the promised order', () => {
    const line = JSON.parse(JSON.stringify(resultLine(cell()))) as Record<string, Record<string, unknown>>;
    expect(Object.keys(line).slice(0, 6)).toEqual([
      ...['work', 'outstanding', 'ours', 'peer', 'throughputRatio', 'p99Ratio'],
    ]);
    expect(line).toMatchObject({
      work: 'put',
      outstanding: 256,
      ours: { opsPerSecond: 600, p50Ms: 10, p99Ms: 20, p999Ms: 40 },
      peer: { opsPerSecond: 200, p50Ms: 20, p99Ms: 40, p999Ms: 80 },
      throughputRatio: 3,
      p99Ratio: 0.5,
    });
    expect(Object.keys(line['ours'] ?? {}).slice(0, 3)).toEqual(['opsPerSecond', 'p50Ms', 'p99Ms']);
  });

  test('says how far the runs and the pairs of runs lie apart', () => {
    const line = resultLine(cell());
    expect(line.ours.spread.opsPerSecond).toEqual([400, 1_000]);
    expect(line.peer?.spread.p99Ms).toEqual([30, 80]);
    expect(line.ratioSpread).toEqual({ throughput: [2, 5], p99: [0.25, 1] });
  });

  test('has no peer parts without a peer, and none before its first run', () => {
    for (const more of [{ peers: [], peerFacts: undefined }, { peers: [] }]) {
      const line = resultLine(cell(more));
      expect(Object.keys(line)).toEqual(['work', 'outstanding', 'ours', 'unit']);
    }
  });

  test('gives no ratio to a peer that did nothing', () => {
    const line = resultLine(cell({ peers: [sample(0, 0)] }));
    expect(line.peer?.opsPerSecond).toBe(0);
    expect(line).not.toHaveProperty('throughputRatio');
    expect(line).not.toHaveProperty('p99Ratio');
  });

  test('adds errors up and keeps the first message', () => {
    const ours = [sample(1, 1), sample(1, 1, { errors: 2, firstError: 'gone', misses: 1 })];
    const line = resultLine(cell({ ours }));
    expect(line.ours).toMatchObject({ errors: 2, misses: 1, firstError: 'gone', runs: 2 });
    expect(resultLine(cell()).ours).not.toHaveProperty('firstError');
  });

  test('takes the median of the CPU time by role, and the worst of what others used', () => {
    const ours = [1, 3, 2].map((us) => sample(1, 1, { cpuUsPerOp: { leader: us }, otherCores: us / 10 }));
    expect(resultLine(cell({ ours })).ours).toMatchObject({ cpuUsPerOp: { leader: 2 }, otherCores: 0.3 });
  });

  test('counts rows where the work does', () => {
    expect(resultLine(cell({ cell: { work: 'scan', outstanding: 1 } })).unit).toBe('rows');
  });
});

describe('the table', () => {
  test('shows both systems, the ratios, who was driven by what, and trouble', () => {
    const ours = [
      sample(12_340, 10, { errors: 3, firstError: 'too much', cpuUsPerOp: { client: 2, total: 40 } }),
    ];
    const text = showResults([resultLine(cell({ ours }))]);
    expect(text).toContain('12,340');
    expect(text).toContain('etcd 3.5.16 under the native generator (put)');
    expect(text).toContain('! put 256, cairn: 3 errors, 0 reads without a row. First error: too much');
    expect(text).toMatch(/put 256 cairn +2\.00 +40\.0/);
    expect(text).toMatch(/shard-1 +1\n/);
  });

  test('leaves the columns of the peer out where there is none', () => {
    const text = showResults([resultLine(cell({ peers: [], peerFacts: undefined }))]);
    expect(text).not.toMatch(/\bratio\b/);
    expect(text).not.toContain('etcd');
  });
});
