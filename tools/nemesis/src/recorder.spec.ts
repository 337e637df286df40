import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import type { Operation } from '@cairn/checkers';
import { ladderFaults } from './ladder.js';
import { historyLines, Recorder } from './recorder.js';
import { differences } from './replicas.js';
import { judgeCounters, judgeKeys } from './verdict.js';

function operation(action: Operation['action'], invokedMs: number, returnedMs: number): Operation {
  return { process: '1', key: 'k', action, invokedMs, returnedMs };
}

describe('the recorder', () => {
  const write = { f: 'write', value: 'a' } as const;
  const failWith = (error: Error) => () => Promise.reject(error);

  it('remembers what succeeded and what is unknown, and leaves out what did not happen', async () => {
    const recorder = new Recorder();
    const caller = recorder.newCaller();
    expect(await recorder.run(caller, 'k', write, () => Promise.resolve(write))).toBe('ok');
    const refused = failWith(new CairnError('UNAVAILABLE', 'no leader'));
    expect(await recorder.run(caller, 'k', write, refused)).toBe('failed');
    const lost = failWith(new CairnError('OUTCOME_UNKNOWN', 'connection lost'));
    const before = caller.process;
    expect(await recorder.run(caller, 'k', write, lost)).toBe('unknown');
    expect(caller.process).not.toBe(before);
    expect(recorder.history.operations.map(({ returnedMs }) => Number.isFinite(returnedMs))).toEqual([
      true,
      false,
    ]);
    expect(recorder.stats).toEqual({ succeeded: 1, failed: 1, unknown: 1 });
    expect(recorder.errors.size).toBe(0);
  });

  it('keeps errors that no fault explains, and takes their writes for unknown', async () => {
    const recorder = new Recorder();
    const broken = failWith(new CairnError('INTERNAL', 'broken'));
    expect(await recorder.run(recorder.newCaller(), 'k', write, broken)).toBe('unknown');
    expect([...recorder.errors.keys()]).toEqual(['INTERNAL: broken']);
  });
});

describe('the lines of a history', () => {
  it('are in the order of events, with unknown outcomes and without counters', () => {
    const lines = historyLines([
      operation({ f: 'write', value: 'a' }, 1, 4),
      operation({ f: 'read', value: undefined }, 2, 3),
      operation({ f: 'cas', expected: undefined, value: 'b', succeeded: false, found: 'a' }, 5, 6),
      operation({ f: 'write', value: 'c' }, 7, Number.POSITIVE_INFINITY),
      operation({ f: 'add', delta: 1, result: '1' }, 8, 9),
    ]);
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      { process: 1, type: 'invoke', f: 'write', key: 'k', value: 'a' },
      { process: 1, type: 'invoke', f: 'read', key: 'k', value: null },
      { process: 1, type: 'ok', f: 'read', key: 'k', value: null },
      { process: 1, type: 'ok', f: 'write', key: 'k', value: 'a' },
      { process: 1, type: 'invoke', f: 'cas', key: 'k', value: [null, 'b'] },
      { process: 1, type: 'fail', f: 'cas', key: 'k', value: [null, 'b'] },
      { process: 1, type: 'invoke', f: 'write', key: 'k', value: 'c' },
      { process: 1, type: 'info', f: 'write', key: 'k', value: 'c' },
    ]);
  });
});

describe('the verdicts', () => {
  it('name a stale read with the operations that rule it out', () => {
    const verdict = judgeKeys(
      new Map([
        [
          'k',
          [
            operation({ f: 'write', value: 'a' }, 1, 2),
            operation({ f: 'write', value: 'b' }, 3, 4),
            operation({ f: 'read', value: 'a' }, 5, 6),
          ],
        ],
      ]),
    );
    expect(verdict.holds).toBe(false);
    expect(verdict.findings[0]).toContain('5.0 to 6.0: client 1 k: read a');
  });

  it('name a counter that lost an increment', () => {
    const all = [operation({ f: 'add', delta: 1, result: '1' }, 1, 2)];
    expect(judgeCounters(new Map([['k', all]]), new Map([['k', 1]])).holds).toBe(true);
    expect(judgeCounters(new Map([['k', all]]), new Map([['k', 0]])).holds).toBe(false);
  });

  it('name what differs between replicas', () => {
    const left = new Map([
      ['10', 'x'],
      ['11', 'y'],
    ]);
    const right = new Map([
      ['10', 'z'],
      ['12', 'y'],
    ]);
    expect(differences(['a', left], ['b', left])).toEqual([]);
    expect(differences(['a', left], ['b', right])).toHaveLength(3);
  });
});

describe('a ladder', () => {
  it('may be seen at any moment of a climb', () => {
    expect(ladderFaults('l', [2, 2, 1, 1, 1], [2, 1, 1, 1, 1])).toEqual([]);
    expect(ladderFaults('l', [0, 0, 0, 0, 0], [])).toEqual([]);
  });

  it('shows a snapshot that saw the later of two writes and not the earlier', () => {
    expect(ladderFaults('l', [1, 1, 2, 1, 1], [])).not.toEqual([]);
  });

  it('shows a snapshot that misses an acknowledged write', () => {
    expect(ladderFaults('l', [3, 3, 1, 3, 3], [])).not.toEqual([]);
    expect(ladderFaults('l', [2, 1, 1, 1, 1], [2, 2, 1, 1, 1])).not.toEqual([]);
  });
});
