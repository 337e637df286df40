import { describe, expect, it } from '@jest/globals';

import type { Violation } from '../violation.js';
import { bankViolations } from './bank.js';
import { longForkViolations, type GroupRead, type SingleWrite } from './long-fork.js';
import { monotonicViolations, type CounterSight } from './monotonic.js';
import { setViolations, type SetAdd } from './sets.js';

const names = (violations: readonly Violation[]): string[] => violations.map(({ name }) => name);

describe('bank', () => {
  const judge = (balances: Record<string, number>, mayBeNegative = false): string[] =>
    names(
      bankViolations({ accounts: ['a', 'b'], total: 30, mayBeNegative }, [
        { where: 'line 1', balances: new Map(Object.entries(balances)) },
      ]),
    );

  it('accepts every distribution of the total', () => {
    expect(judge({ a: 10, b: 20 })).toEqual([]);
    expect(judge({ a: 0, b: 30 })).toEqual([]);
    expect(judge({ a: -5, b: 35 }, true)).toEqual([]);
  });

  it('finds money made or lost, and accounts that are not right', () => {
    expect(judge({ a: 10, b: 21 })).toEqual(['wrong-total']);
    expect(judge({ a: -5, b: 35 })).toEqual(['negative-balance']);
    expect(judge({ a: 30 })).toEqual(['missing-account']);
    expect(judge({ a: 10, b: 15, c: 5 })).toEqual(['unknown-account']);
    expect(judge({})).toEqual(['missing-account', 'missing-account', 'wrong-total']);
  });
});

describe('set', () => {
  const add = (element: number, outcome: SetAdd['outcome']): SetAdd => ({
    element,
    outcome,
    where: 'line 1',
  });
  const adds = [add(1, 'ok'), add(2, 'info'), add(3, 'fail')];

  it('wants what was acknowledged, and lets what is unknown be there or not', () => {
    expect(setViolations(adds, [1])).toEqual([]);
    expect(setViolations(adds, [2, 1])).toEqual([]);
    expect(setViolations([...adds, add(3, 'ok')], [1, 3])).toEqual([]);
  });

  it('finds what is lost, and what must not be there', () => {
    expect(names(setViolations(adds, [2]))).toEqual(['lost']);
    expect(names(setViolations(adds, [1, 3]))).toEqual(['failed-and-there']);
    expect(names(setViolations(adds, [1, 4]))).toEqual(['never-added']);
    expect(names(setViolations(adds, [1, 2, 1]))).toEqual(['twice']);
  });
});

describe('long fork', () => {
  const write = (key: string, outcome: SingleWrite['outcome'] = 'ok'): SingleWrite => ({
    key,
    value: 1,
    outcome,
    where: 'line 1',
  });
  const read = (values: Record<string, number | undefined>): GroupRead => ({
    where: 'line 9',
    values: new Map(Object.entries(values)),
  });
  const writes = [write('x'), write('y', 'info'), write('z', 'fail')];

  it('accepts reads that grow', () => {
    const reads = [
      read({ x: 1, y: 1 }),
      read({ x: undefined, y: undefined }),
      read({ y: 1, x: 1 }),
      read({ x: 1, y: undefined }),
    ];
    expect(longForkViolations(writes, reads)).toEqual([]);
  });

  it('accepts opposite reads of different keys, which say nothing of each other', () => {
    const reads = [read({ x: 1, y: undefined }), read({ x: undefined, y: 1, z: undefined })];
    expect(longForkViolations(writes, reads)).toEqual([]);
  });

  it('finds two that each miss what the other shows', () => {
    const reads = [read({ x: 1, y: undefined }), read({ x: 1, y: 1 }), read({ x: undefined, y: 1 })];
    expect(names(longForkViolations(writes, reads))).toEqual(['long-fork']);
  });

  it('finds values that nobody can have read', () => {
    expect(names(longForkViolations(writes, [read({ z: 1 }), read({ x: 2 }), read({ u: 1 })]))).toEqual([
      'aborted-read',
      'garbage-read',
      'garbage-read',
    ]);
    expect(() => longForkViolations([...writes, write('x')], [])).toThrow(RangeError);
  });
});

describe('monotonic', () => {
  const sight = (f: CounterSight['f'], value: number, timestamp: number, key = 'k'): CounterSight => ({
    key,
    f,
    value,
    timestamp,
    where: 'line 1',
  });
  const judge = (...sights: CounterSight[]): string[] => names(monotonicViolations(sights));

  it('accepts values that grow with their timestamps, in whatever order they were seen', () => {
    expect(judge()).toEqual([]);
    expect(judge(sight('read', 2, 9), sight('inc', 1, 3), sight('inc', 2, 5), sight('read', 0, 2))).toEqual(
      [],
    );
    expect(judge(sight('inc', 1, 3), sight('inc', 2, 3), sight('read', 2, 3), sight('read', 2, 4))).toEqual(
      [],
    );
    expect(judge(sight('inc', 5, 3), sight('read', 1, 4, 'other'))).toEqual([]);
  });

  it('finds values that do not', () => {
    expect(judge(sight('inc', 2, 3), sight('read', 1, 4))).toEqual(['went-back']);
    expect(judge(sight('read', 2, 3), sight('inc', 1, 4))).toEqual(['went-back']);
    expect(judge(sight('inc', 2, 3), sight('read', 1, 3))).toEqual(['went-back']);
    expect(judge(sight('inc', 2, 3), sight('inc', 2, 4))).toEqual(['same-increment']);
    expect(judge(sight('read', 2, 3), sight('inc', 2, 4))).toEqual(['seen-early']);
    expect(judge(sight('read', 2, 3), sight('read', 3, 3))).toEqual(['two-values-at-once']);
  });
});
