import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { bucketOf, LABEL_SETS_MAX } from './metric-cells.js';
import { createMetrics } from './metrics.js';

const plain = { processMetrics: false } as const;

describe('metrics', () => {
  it('exposes counters, gauges and histograms in the text format', async () => {
    const metrics = createMetrics({ ...plain, labels: { node: 's1' } });
    metrics.counter('cairn_reads_total', 'Reads.', ['kind']).add(2, { kind: 'a"b\\c\nd' });
    metrics.gauge('cairn_ranges', 'Ranges.').set(7);
    const seconds = metrics.histogram('cairn_sync_seconds', 'Syncs.', [0.1, 1]);
    for (const value of [0.1, 0.2, 5]) seconds.observe(value);
    expect(await metrics.render()).toBe(
      [
        '# HELP cairn_reads_total Reads.',
        '# TYPE cairn_reads_total counter',
        'cairn_reads_total{node="s1",kind="a\\"b\\\\c\\nd"} 2',
        '# HELP cairn_ranges Ranges.',
        '# TYPE cairn_ranges gauge',
        'cairn_ranges{node="s1"} 7',
        '# HELP cairn_sync_seconds Syncs.',
        '# TYPE cairn_sync_seconds histogram',
        'cairn_sync_seconds_bucket{node="s1",le="0.1"} 1',
        'cairn_sync_seconds_bucket{node="s1",le="1"} 2',
        'cairn_sync_seconds_bucket{node="s1",le="+Inf"} 3',
        'cairn_sync_seconds_sum{node="s1"} 5.3',
        'cairn_sync_seconds_count{node="s1"} 3',
        '',
      ].join('\n'),
    );
  });

  it('starts series without labels at zero', async () => {
    const metrics = createMetrics(plain);
    metrics.counter('cairn_elections_total', 'Elections.');
    expect(await metrics.render()).toMatch(/^cairn_elections_total 0$/m);
  });

  it('runs collect callbacks before each scrape', async () => {
    const metrics = createMetrics(plain);
    const gauge = metrics.gauge('cairn_queue_bytes', 'Queue.');
    let live = 0;
    metrics.onCollect(() => gauge.set((live += 1)));
    expect(await metrics.render()).toMatch(/^cairn_queue_bytes 1$/m);
    expect(await metrics.render()).toMatch(/^cairn_queue_bytes 2$/m);
  });

  it('adds up the same labels given as one object and as many', async () => {
    const metrics = createMetrics(plain);
    const counter = metrics.counter('cairn_calls_total', 'Calls.', ['code']);
    const kept = { code: 'OK' };
    counter.add(1, kept);
    counter.add(1, kept);
    counter.add(1, { code: 'OK' });
    expect(await metrics.render()).toMatch(/^cairn_calls_total{code="OK"} 3$/m);
  });

  it('gives the same instrument for the same declaration and refuses a different one', () => {
    const metrics = createMetrics(plain);
    const first = metrics.counter('cairn_a_total', 'A.', ['x']);
    expect(metrics.counter('cairn_a_total', 'A.', ['x'])).toBe(first);
    expect(() => metrics.counter('cairn_a_total', 'A.', ['y'])).toThrow(/declared twice/);
  });

  it('refuses bad names, labels that were not declared, counters that fall', () => {
    const metrics = createMetrics({ ...plain, labels: { node: 's1' } });
    expect(() => metrics.counter('cairn_a', 'A.')).toThrow(/_total/);
    expect(() => metrics.gauge('Cairn-b', 'B.')).toThrow(/metric names/);
    expect(() => metrics.gauge('cairn_c', 'C.', ['node'])).toThrow(/label names/);
    expect(() => metrics.histogram('cairn_d_seconds', 'D.', [2, 1])).toThrow(/ascend/);
    const counter = metrics.counter('cairn_e_total', 'E.', ['key']);
    expect(() => counter.add(1)).toThrow(/other labels than declared/);
    expect(() => counter.add(1, { key: 'a', more: 'b' })).toThrow(/other labels than declared/);
    expect(() => counter.add(-1, { key: 'a' })).toThrow(/only goes up/);
  });

  it('counts what has more labels than a metric holds under the label other', async () => {
    const metrics = createMetrics(plain);
    const counter = metrics.counter('cairn_f_total', 'F.', ['store', 'code']);
    for (let store = 0; store < LABEL_SETS_MAX + 5; store += 1) {
      const labels = { store: `${store}`, code: 'OK' };
      counter.add(1, labels);
      counter.add(1, labels);
    }
    const lines = (await metrics.render()).split('\n').filter((line) => line.startsWith('cairn_f_total'));
    expect(lines).toHaveLength(LABEL_SETS_MAX);
    expect(lines.at(-1)).toBe('cairn_f_total{store="other",code="other"} 12');
    expect(lines[1]).toBe('cairn_f_total{store="1",code="OK"} 2');
  });

  it('brings the metrics of the process when asked', async () => {
    const text = await createMetrics({ processMetrics: true, labels: { node: 'r1' } }).render();
    expect(text).toMatch(/^nodejs_eventloop_lag_seconds{node="r1"} /m);
    expect(text).toMatch(/^process_resident_memory_bytes{node="r1"} \d+/m);
  });
});

it('only counters end in _total, as promtool wants it', async () => {
  const text = await createMetrics({ processMetrics: true }).render();
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type]) => ({ name, type }));
  expect(types.length).toBeGreaterThan(20);
  expect(types.filter(({ name, type }) => name.endsWith('_total') !== (type === 'counter'))).toEqual([]);
});

describe('bucketOf', () => {
  it('finds the first bound that is not below the value', () => {
    const bounds = fc
      .uniqueArray(fc.integer({ min: 0, max: 100 }), { minLength: 1 })
      .map((all) => all.sort((a, b) => a - b));
    fc.assert(
      fc.property(bounds, fc.integer({ min: -5, max: 105 }), (sorted, value) => {
        const naive = sorted.findIndex((bound) => bound >= value);
        expect(bucketOf(sorted, value)).toBe(naive < 0 ? sorted.length : naive);
      }),
    );
  });
});
