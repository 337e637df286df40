import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { counterFaults, coverageFaults, overlapFaults, type HeldSpan, type Operation } from '@cairn/checkers';
import { MemoryEngine } from '@cairn/engine';
import { CommandOutcome, RequestWindow } from '@cairn/mvcc';

import { SimCluster } from '../cluster.js';
import { watchRemovals } from './members.js';
import { readRows, replicaFaults } from './replicas.js';
import { strictOrderFaults } from './strict.js';
import { windowFaults, type HeldWindow } from './windows.js';

function span(rangeId: number, from: string, to: string): HeldSpan {
  return { rangeId, startKey: Buffer.from(from), endKey: Buffer.from(to) };
}

describe('coverage', () => {
  it('accepts spans that meet, in any order', () => {
    expect(coverageFaults([span(1, '', '')])).toEqual([]);
    expect(coverageFaults([span(3, 'm', ''), span(1, '', 'c'), span(2, 'c', 'm')])).toEqual([]);
  });

  it('finds gaps at the start, inside and at the end', () => {
    expect(coverageFaults([span(1, 'a', '')])).toHaveLength(1);
    expect(coverageFaults([span(1, '', 'c'), span(2, 'd', '')])).toHaveLength(1);
    expect(coverageFaults([span(1, '', 'c')])).toHaveLength(1);
    expect(coverageFaults([])).toHaveLength(1);
  });

  it('finds overlap, also of a span behind the last one', () => {
    expect(overlapFaults([span(1, '', 'd'), span(2, 'c', '')])).toHaveLength(1);
    expect(overlapFaults([span(1, '', ''), span(2, 'c', 'd')])).toHaveLength(1);
    expect(overlapFaults([span(1, '', 'b'), span(2, 'c', '')])).toEqual([]);
  });
});

describe('replicas', () => {
  const rows = (...pairs: [string, string][]): Map<string, string> => new Map(pairs);

  it('must agree only where they are equally far', () => {
    const one = { node: 'a', rangeId: 1, appliedIndex: 7, rows: rows(['k', 'v']), machine: 'as it is' };
    expect(replicaFaults([one, { ...one, node: 'b' }])).toEqual([]);
    expect(replicaFaults([one, { ...one, node: 'b', appliedIndex: 8, rows: rows() }])).toEqual([]);
    expect(replicaFaults([one, { ...one, node: 'b', rows: rows() }])).toHaveLength(1);
    expect(replicaFaults([one, { ...one, node: 'b', rows: rows(['k', 'w']) }])).toHaveLength(1);
    expect(replicaFaults([one, { ...one, node: 'b', rows: rows(['k', 'v'], ['l', 'v']) }])).toHaveLength(1);
  });

  it('that differ are shown with their machines', () => {
    const one = { node: 'a', rangeId: 1, appliedIndex: 7, rows: rows(['k', 'v']), machine: 'first' };
    const [fault] = replicaFaults([one, { ...one, node: 'b', rows: rows(), machine: 'second' }]);
    expect(fault).toContain('  a: first\n  b: second');
  });

  it('are read within their spans', async () => {
    const engine = new MemoryEngine();
    const batch = engine.newBatch();
    for (const key of ['a', 'b', 'c']) batch.put(Buffer.from(key), Buffer.from('1'));
    await engine.write(batch);
    const read = await readRows(engine, [{ start: Buffer.from('a'), end: Buffer.from('c') }]);
    expect([...read.keys()]).toEqual(['61', '62']);
  });
});

describe('counters', () => {
  const add = (result: string, returnedMs = 1): Operation => ({
    process: 'p',
    key: 'c',
    action: { f: 'add', delta: 1, result },
    invokedMs: 0,
    returnedMs,
  });
  const unknown = add('', Number.POSITIVE_INFINITY);

  it('end between what was acknowledged and what may have happened', () => {
    expect(counterFaults('c', [add('1'), add('2'), unknown], 2)).toEqual([]);
    expect(counterFaults('c', [add('1'), add('2'), unknown], 3)).toEqual([]);
    expect(counterFaults('c', [add('1'), add('2'), unknown], 1)).toHaveLength(1);
    expect(counterFaults('c', [add('1'), add('2'), unknown], 4)).toHaveLength(1);
  });

  it('never answer the same twice', () => {
    expect(counterFaults('c', [add('1'), add('1')], 2)).toHaveLength(1);
  });
});

describe('request windows', () => {
  const outcomes = (...times: number[]): RequestWindow => {
    const window = new RequestWindow();
    for (const [at, time] of times.entries()) {
      const outcome = new CommandOutcome();
      outcome.client = 7;
      outcome.requestSequence = at + 1;
      outcome.timestamp = timestamp(time);
      window.append(outcome);
    }
    return window;
  };
  const held = (node: string, window: RequestWindow, completeSince?: number): HeldWindow => ({
    ...{ node, rangeId: 1, appliedIndex: 9, machine: 'as it is' },
    window: {
      completeSince: timestamp(completeSince ?? window.completeSince),
      encode: () => window.encode(),
    },
  });

  it('agree as far back as both claim to go', () => {
    const whole = held('a', outcomes(10, 20, 30));
    expect(windowFaults([whole, held('b', outcomes(10, 20, 30))])).toEqual([]);
    expect(windowFaults([whole, held('b', outcomes(10, 20))])).toHaveLength(1);
    expect(windowFaults([whole, { ...held('b', outcomes(10)), appliedIndex: 8 }])).toEqual([]);
    expect(windowFaults([whole, held('b', outcomes(), 30)])).toEqual([]);
    expect(windowFaults([whole, held('b', outcomes(), 29)])).toHaveLength(1);
  });
});

describe('removals', () => {
  it('are for good', () => {
    const cluster = new SimCluster({ seed: 'removals' });
    watchRemovals(cluster);
    const log = cluster.observer.loggerFor('shard-1');
    log.info('replica removed', { range: 1, replicaId: 5 });
    log.info('replica created, waits for a snapshot', { range: 2, replicaId: 5 });
    log.info('replica created, waits for a snapshot', { range: 1, replicaId: 6 });
    cluster.observer
      .loggerFor('shard-2')
      .info('replica created, waits for a snapshot', { range: 1, replicaId: 5 });
    expect(cluster.observer.violations).toEqual([]);
    log.info('replica created, waits for a snapshot', { range: 1, replicaId: 5 });
    expect(cluster.observer.violations).toHaveLength(1);
  });
});

describe('STRICT writes', () => {
  const write = (key: string, invokedMs: number, timestamp: number, strict = true): Operation => ({
    ...{ process: 'p', key, action: { f: 'write', value: 'v' }, invokedMs, returnedMs: invokedMs + 10 },
    ...{ timestamp, strict },
  });

  it('are ordered as they happened, over all keys', () => {
    expect(strictOrderFaults([write('a', 0, 5), write('b', 20, 5), write('c', 21, 4)])).toHaveLength(1);
    expect(strictOrderFaults([write('a', 0, 5), write('b', 9, 4)])).toEqual([]);
    expect(strictOrderFaults([write('a', 0, 5), write('b', 20, 4, false)])).toEqual([]);
    expect(strictOrderFaults([write('a', 0, 5, false), write('b', 20, 4)])).toEqual([]);
  });
});
