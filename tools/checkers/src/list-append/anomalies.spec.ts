import { describe, expect, it } from '@jest/globals';

import { failed, namesIn, txn, unknown } from '../testing.js';
import type { Transaction } from '../transactions.js';
import { forbiddenAt, isForbidden, LEVELS } from './anomalies.js';
import { checkListAppend } from './check.js';
import { AmbiguousHistory } from './key-histories.js';

/** All at once: real time says nothing. */
const at = (ops: string): Transaction => txn(0, 100, ops, ops);

/** Histories by what is wrong with them. */
const WRONG: readonly (readonly [what: string, names: readonly string[], history: readonly Transaction[]])[] =
  [
    [
      'two writers in opposite orders on two keys',
      ['G0'],
      [at('a x 1, a y 1'), at('a x 2, a y 2'), at('r x 1 2'), at('r y 2 1')],
    ],
    ['what a failed transaction wrote', ['G1a'], [failed(at('a x 1')), at('r x 1')]],
    [
      'an update on top of what a failed transaction wrote',
      ['G1a', 'dirty-update'],
      [failed(at('a x 1')), at('a x 2'), at('r x 1 2')],
    ],
    ['a part of what a transaction wrote', ['G1b'], [at('a x 1, a x 2'), at('r x 1'), at('r x 1 2')]],
    ['a part of what a transaction wrote, the rest never seen', ['G1b'], [at('a x 1, a x 2'), at('r x 1')]],
    ['two transactions that saw each other', ['G1c'], [at('a x 1, r y 1'), at('a y 1, r x 1')]],
    [
      'one write of another transaction seen, the other missed',
      ['G-single'],
      [at('a x 1, a y 1'), at('r x 1, r y'), at('r y 1')],
    ],
    [
      'a half of a transaction whose outcome is unknown',
      ['G-single'],
      [unknown(at('a x 1, a y 1')), at('r x 1, r y')],
    ],
    ['two reads of one key in a transaction that differ', ['G-single'], [at('a x 1'), at('r x, r x 1')]],
    ['a read that goes back in a transaction', ['G-single'], [at('a x 1'), at('r x 1, r x')]],
    [
      'two that read a version and appended to it',
      ['G-single', 'lost-update'],
      [at('r x, a x 1'), at('r x, a x 2'), at('r x 1 2')],
    ],
    [
      'two that read a version and appended to it, never read',
      ['G2+G-single', 'lost-update'],
      [at('r x, a x 1'), at('r x, a x 2')],
    ],
    [
      'two that saw only what they appended themselves',
      ['G2+G-single', 'lost-update'],
      [at('a x 1, r x 1'), at('a x 2, r x 2')],
    ],
    [
      'two that each read what the other wrote',
      ['G2+write-skew'],
      [at('r x, a y 1'), at('r y, a x 1'), at('r x 1, r y 1')],
    ],
    [
      'two that each read what the other wrote, never read',
      ['G2+write-skew'],
      [at('r x, a y 1'), at('r y, a x 1')],
    ],
    [
      'three that each read what the next wrote',
      ['G2'],
      [at('r x, a y 1'), at('r y, a z 1'), at('r z, a x 1')],
    ],
    [
      'two readers that saw two writers in opposite orders',
      ['G2+G-nonadjacent+long-fork'],
      [at('a x 1'), at('a y 1'), at('r x 1, r y'), at('r y 1, r x')],
    ],
    [
      'two updaters that saw two writers in opposite orders',
      ['G2+G-nonadjacent'],
      [at('a x 1'), at('a y 1'), at('r x 1, r y, a z 1'), at('r y 1, r x, a u 1'), at('r z 1, r u 1')],
    ],
    [
      'writes in the opposite order of real time',
      ['G0-realtime'],
      [txn(0, 1, 'a x 1'), txn(2, 3, 'a x 2'), txn(0, 9, 'r x 2 1')],
    ],
    ['a read of what is written later', ['G1c-realtime'], [txn(0, 1, 'r x 1'), txn(2, 3, 'a x 1')]],
    ['a stale read', ['G-single-realtime'], [txn(0, 1, 'a x 1'), txn(2, 3, 'r x'), txn(4, 5, 'r x 1')]],
    ['an acknowledged append that is lost', ['G-single-realtime'], [txn(0, 1, 'a x 1'), txn(2, 3, 'r x')]],
    [
      'an acknowledged append that is lost behind others',
      ['G-single-realtime'],
      [txn(0, 1, 'a x 1'), txn(2, 3, 'a x 2'), txn(4, 5, 'r x 1')],
    ],
    [
      'a read of one process that goes back',
      ['G-single-realtime'],
      [txn(0, 9, 'a x 1'), txn(1, 2, 'r x 1', 7), txn(2, 3, 'r x', 7)],
    ],
    [
      'a read that misses what comes before what was written before it',
      ['G2-realtime'],
      [txn(0, 1, 'a x 1'), txn(2, 3, 'r y'), txn(0, 9, 'r x, a y 1'), txn(10, 11, 'r x 1, r y 1')],
    ],
    ['one element twice', ['duplicate-elements'], [at('a x 1'), at('a x 2'), at('r x 1 1'), at('r x 1 1 2')]],
    ['two orders', ['incompatible-order'], [at('a x 1'), at('a x 2'), at('r x 1 2'), at('r x 2')]],
    ['half of a transaction lost', ['incompatible-order'], [at('a x 1, a x 2'), at('r x 2')]],
    [
      'appends of one transaction turned round',
      ['G1b', 'incompatible-order'],
      [at('a x 1, a x 2'), at('r x 2 1')],
    ],
    ['what nobody appended', ['garbage-read'], [at('a x 1'), at('r x 1 7')]],
    ['not its own append', ['internal'], [at('a x 1, r x'), at('r x 1')]],
    [
      'its own append not as the last',
      ['incompatible-order', 'internal'],
      [at('a x 1, a x 2, r x 2 1'), at('r x')],
    ],
    ['its own append before it was made', ['internal'], [at('r x 1, a x 1')]],
  ];

/** What looks wrong at first, and is not. */
const RIGHT: readonly (readonly [what: string, history: readonly Transaction[]])[] = [
  ['nothing', []],
  [
    'writers in one order on two keys',
    [at('a x 1, a y 1'), at('a x 2, a y 2'), at('r x 1 2'), at('r y 1 2')],
  ],
  ['a failed transaction that nobody saw', [failed(at('a x 1')), at('r x'), at('a x 2, r x 2')]],
  ['what a transaction of unknown outcome wrote', [unknown(at('a x 1')), at('r x 1')]],
  ['that such a transaction never happened', [unknown(txn(0, 1, 'a x 1')), txn(2, 3, 'r x')]],
  ['that it happened late', [unknown(txn(0, 1, 'a x 1')), txn(2, 3, 'r x'), txn(4, 5, 'r x 1')]],
  [
    'that one process goes on, and its unknown transaction happens after that',
    [unknown(txn(0, 1, 'a x 1', 7)), txn(2, 3, 'a x 2', 7), txn(4, 5, 'r x 2'), txn(6, 7, 'r x 2 1')],
  ],
  ['all of what a transaction wrote', [at('a x 1, a x 2'), at('r x'), at('r x 1 2')]],
  ['own appends, read as they come', [at('r x, a x 1, r x 1, a x 2, r x 1 2'), at('r x 1 2 3'), at('a x 3')]],
  ['one transaction that saw another', [at('a x 1, r y'), at('a y 1, r x 1')]],
  ['updates one after another', [at('r x, a x 1'), at('r x 1, a x 2'), at('r x 1 2')]],
  ['updates of two keys from one version', [at('r x, r y, a x 1'), at('r y, a y 1'), at('r x 1, r y 1')]],
  ['one who read what the other wrote', [at('r x, a y 1'), at('r y 1, a x 1')]],
  [
    'two readers that saw two writers in one order',
    [at('a x 1'), at('a y 1'), at('r x 1, r y'), at('r x 1, r y 1')],
  ],
  ['writes at one time, in any order', [txn(0, 9, 'a x 1'), txn(2, 3, 'a x 2'), txn(10, 11, 'r x 2 1')]],
  ['an old read while the write is under way', [txn(0, 5, 'a x 1'), txn(2, 3, 'r x'), txn(4, 7, 'r x 1')]],
  ['what touches in time', [txn(0, 2, 'a x 1'), txn(2, 3, 'r x')]],
  ['appends that nobody reads', [txn(0, 1, 'a x 1'), txn(2, 3, 'a x 2'), txn(4, 5, 'a y 1, a x 3')]],
  [
    'appends that are never read behind what is',
    [txn(0, 1, 'a x 1'), txn(0, 9, 'a x 2'), txn(3, 4, 'r x 1')],
  ],
  [
    'appends that nobody reads, by readers of other keys',
    [at('r y, a x 1'), at('r y, a x 2'), at('r y, a x 3'), at('a y 1')],
  ],
];

/** The strongest level at which a history with the name is not wrong; undefined where there is none. */
const PERMITTED: Readonly<Record<string, (typeof LEVELS)[number] | undefined>> = {
  'G0-realtime': 'serializable',
  'G1c-realtime': 'serializable',
  'G-single-realtime': 'serializable',
  'G2-realtime': 'serializable',
  G2: 'snapshot-isolation',
  'G2+write-skew': 'snapshot-isolation',
  'G2+G-single': 'read-committed',
  'G2+G-nonadjacent': 'read-committed',
  'G2+G-nonadjacent+long-fork': 'read-committed',
  'G-single': 'read-committed',
  'lost-update': 'read-committed',
};

describe('list-append', () => {
  it.each(WRONG)('finds %s', (_what, names, history) => {
    expect(namesIn(history)).toEqual(names);
  });

  it.each(RIGHT)('accepts %s', (_what, history) => {
    expect(namesIn(history)).toEqual([]);
  });

  it.each(WRONG)('says at which level it is wrong: %s', (_what, _names, history) => {
    for (const anomaly of checkListAppend(history).anomalies) {
      const permitted = PERMITTED[[anomaly.name, ...anomaly.also].join('+')];
      const isWrong = LEVELS.map((level) => isForbidden(anomaly, level));
      const first = permitted === undefined ? LEVELS.length : LEVELS.indexOf(permitted);
      expect(isWrong).toEqual(LEVELS.map((_, at) => at < first));
    }
  });

  it('forbids less at each level than at the one above it', () => {
    for (const [at, level] of LEVELS.slice(1).entries()) {
      const above = forbiddenAt(LEVELS[at] as (typeof LEVELS)[number]);
      const below = forbiddenAt(level);
      expect(below.size).toBeLessThan(above.size);
      expect([...below].filter((name) => !above.has(name))).toEqual([]);
    }
  });

  it('tells of a cycle who takes part, and why each comes before the next', () => {
    const [anomaly] = checkListAppend([txn(0, 1, 'r x, a y 1', 8), txn(0, 2, 'r y, a x 1', 9)]).anomalies;
    expect(anomaly?.explanation.split('\n')).toEqual([
      'T1 = process 8, 0 to 1 ms: r x [], append y 1',
      'T2 = process 9, 0 to 2 ms: r y [], append x 1',
      'T1 < T2  rw: T1 read x without 1, which T2 appended',
      'T2 < T1  rw: T2 read y without 1, which T1 appended',
    ]);
  });

  it('tells causes apart, each once', () => {
    const pairs = [0, 1, 2].flatMap((pair) => [
      at(`r x${pair}, a y${pair} 1`),
      at(`r y${pair}, a x${pair} 1`),
      txn(200, 201, `r x${pair} 1`, pair),
    ]);
    const { anomalies, counts } = checkListAppend([...pairs, txn(300, 301, 'a z 1'), txn(302, 303, 'r z')]);
    expect(anomalies.map(({ name }) => name)).toEqual(['G2', 'G2', 'G2', 'G-single-realtime']);
    expect(counts.get('write-skew')).toBe(3);
  });

  it('refuses what it cannot tell apart', () => {
    expect(() => checkListAppend([at('a x 1'), at('a y 1'), failed(at('a x 1'))])).toThrow(AmbiguousHistory);
    expect(() => checkListAppend([txn(2, 1, 'a x 1')])).toThrow(AmbiguousHistory);
  });
});
