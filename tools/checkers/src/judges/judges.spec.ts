import { describe, expect, it } from '@jest/globals';

import { runCheck } from '../command.js';

type Row = Readonly<Record<string, unknown>>;

function run(
  args: readonly string[],
  rows: readonly Row[] | string,
): { code: number; out: string; error: string } {
  const text = typeof rows === 'string' ? rows : rows.map((row) => JSON.stringify(row)).join('\n');
  let [out, error] = ['', ''];
  const code = runCheck([...args.slice(0, 1), 'history.jsonl', ...args.slice(1)], {
    // In small pieces, which end anywhere.
    read: () => text.match(/[\s\S]{1,7}/g) ?? [],
    out: (more) => {
      out += more;
    },
    error: (more) => {
      error += more;
    },
  });
  return { code, out, error };
}

const row = (process: number, type: string, txn?: unknown): Row => ({ process, type, txn });
const done = (process: number, txn: unknown): Row[] => [row(process, 'invoke', txn), row(process, 'ok', txn)];
const SKEW = [
  row(0, 'invoke', [
    ['r', 'x', null],
    ['append', 'y', 1],
  ]),
  row(1, 'invoke', [
    ['r', 'y'],
    ['append', 'x', 1],
  ]),
  row(0, 'ok', [
    ['r', 'x', null],
    ['append', 'y', 1],
  ]),
  row(1, 'ok', [
    ['r', 'y', []],
    ['append', 'x', 1],
  ]),
];

describe('check list-append', () => {
  it('accepts a history without anomalies', () => {
    const rows = [
      ...done(0, [['append', 'x', 1]]),
      ...done(1, [
        ['r', 'x', [1]],
        ['append', 'x', '1'],
      ]),
      ...done(0, [['r', 'x', [1, '1']]]),
    ];
    expect(run(['list-append'], rows)).toEqual({
      code: 0,
      out: 'no anomalies at strict-serializable: 3 transactions on 1 key\n',
      error: '',
    });
  });

  it('tells anomalies by name, with their cycles', () => {
    const { code, out } = run(['list-append'], SKEW);
    expect(code).toBe(1);
    expect(out.split('\n')).toEqual([
      'G2 (write-skew)',
      '  T1 = process 0, lines 1 to 3: r x [], append y 1',
      '  T2 = process 1, lines 2 to 4: r y [], append x 1',
      '  T1 < T2  rw: T1 read x without 1, which T2 appended',
      '  T2 < T1  rw: T2 read y without 1, which T1 appended',
      '',
      'not strict-serializable: write-skew 1, G2 1 in 2 transactions on 2 keys',
      '',
    ]);
  });

  it('judges by level', () => {
    const codes = ['strict-serializable', 'serializable', 'snapshot-isolation', 'read-committed'].map(
      (level) => run(['list-append', '--level', level], SKEW).code,
    );
    expect(codes).toEqual([1, 1, 0, 0]);
    expect(run(['list-append', '--level=snapshot-isolation'], SKEW).out.split('\n')).toEqual([
      'permitted at snapshot-isolation: write-skew 1, G2 1',
      'no anomalies at snapshot-isolation: 2 transactions on 2 keys',
      '',
    ]);
  });

  it('takes failed transactions as not done, and those nobody completed as unknown', () => {
    const append = [['append', 'x', 1]];
    const read = (list: unknown): Row[] => done(1, [['r', 'x', list]]);
    expect(run(['list-append'], [row(0, 'invoke', append), row(0, 'fail'), ...read([])]).code).toBe(0);
    expect(run(['list-append'], [row(0, 'invoke', append), row(0, 'fail'), ...read([1])]).out).toContain(
      'G1a\n',
    );
    for (const rows of [[row(0, 'invoke', append)], [row(0, 'invoke', append), row(0, 'info', append)]]) {
      expect(run(['list-append'], [...rows, ...read([]), ...read([1])]).code).toBe(0);
      expect(run(['list-append'], [...rows, ...read([1]), ...read([])]).code).toBe(1);
    }
  });

  const append1 = [['append', 'x', 1]];
  it.each<[what: string, rows: readonly Row[] | string, line: number, why: string]>([
    ['an empty file', '', 1, 'there are no transactions'],
    ['a file of blank lines', '\n\n', 1, 'there are no transactions'],
    ['what is no JSON', '{"process":0,"type":"invoke","txn":[]}\n{"process"', 2, 'not JSON: {"process"'],
    ['what is no object', '[]', 1, 'not a JSON object'],
    ['no process', [{ type: 'invoke', txn: [] }], 1, 'process must be a string or a number, not missing'],
    ['an unknown type', [row(0, 'done', [])], 1, 'type must be one of invoke, ok, fail, info, not "done"'],
    ['no steps', [row(0, 'invoke')], 1, 'txn must be a list, not missing'],
    ['a step that is no list', [row(0, 'invoke', ['r'])], 1, 'step 1 must be a list, not "r"'],
    [
      'an unknown operation',
      [
        row(0, 'invoke', [
          ['r', 'x'],
          ['w', 'x', 1],
        ]),
      ],
      1,
      'step 2: unknown operation "w", must be append or r',
    ],
    [
      'a step too long',
      [row(0, 'invoke', [['r', 'x', null, 1]])],
      1,
      'step 1: must be [operation, key, value]',
    ],
    ['no key', [row(0, 'invoke', [['r']])], 1, 'step 1: the key must be a string or a number, not missing'],
    [
      'no element',
      [row(0, 'invoke', [['append', 'x']])],
      1,
      'step 1: the element must be a string or a number, not missing',
    ],
    ['a number too large', [row(0, 'invoke', [['append', 'x', 2 ** 53]])], 1, 'write it as text'],
    [
      'a read that is no list',
      [row(0, 'invoke', [['r', 'x']]), row(0, 'ok', [['r', 'x', 1]])],
      2,
      'step 1: what is read must be a list, not 1',
    ],
    [
      'an end without a beginning',
      [...done(0, append1), row(0, 'ok', append1)],
      3,
      'process 0 completes what it did not begin',
    ],
    [
      'an end of another process',
      [row(0, 'invoke', append1), row(1, 'ok', append1)],
      2,
      'process 1 completes what it did not begin',
    ],
    [
      'two beginnings',
      [row(0, 'invoke', append1), row(0, 'invoke', [])],
      2,
      'process 0 begins an operation while that of line 1 is open',
    ],
    [
      'an end without its steps',
      [row(0, 'invoke', append1), row(0, 'ok')],
      2,
      'txn must be a list, not missing',
    ],
    [
      'an end of other steps',
      [row(0, 'invoke', append1), row(0, 'ok', [['append', 'x', 2]])],
      2,
      'completes another transaction than line 1 began: step 1 is another one',
    ],
    ['an end with more steps', [row(0, 'invoke', []), row(0, 'ok', append1)], 2, 'has more steps'],
    [
      'an element that is appended twice',
      [...done(0, append1), ...done(1, append1)],
      3,
      'appends 1 to x, as another append does',
    ],
  ])('refuses %s, and says where', (_what, rows, line, why) => {
    const { code, out, error } = run(['list-append'], rows);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(error).toContain(`history.jsonl: line ${line}: `);
    expect(error).toContain(why);
  });

  it.each([
    ['list-append', '--level'],
    ['list-append', '--level', 'snapshot'],
    ['list-append', '--total', '5'],
    ['bank', '--total', 'much'],
    ['bank', '--allow-negative=yes'],
    ['set', '--level', 'serializable'],
    ['register'],
  ])('shows its usage for %s %s %s', (...args) => {
    expect(
      run(
        args.filter((each) => each !== undefined),
        SKEW,
      ),
    ).toMatchObject({ code: 2, out: '' });
  });
});

/** Operations of one process, each acknowledged at once. */
function ops(...all: readonly (readonly [f: string, value: unknown, more?: Row])[]): Row[] {
  return all.flatMap(([f, value, more]) => [
    { process: 0, type: 'invoke', f, value, ...more },
    { process: 0, type: 'ok', f, value, ...more },
  ]);
}

describe('check of workloads', () => {
  it('judges a bank', () => {
    const rows = ops(
      ['read', { a: 10, b: 0 }],
      ['transfer', { from: 'a', to: 'b' }],
      ['read', { a: 11, b: -1 }],
    );
    expect(run(['bank'], rows).out).toBe(
      'negative-balance: lines 5 to 6: account b is below zero: a 11, b -1\n' +
        '2 reads of 2 accounts, total 10: negative-balance 1\n',
    );
    expect(run(['bank', '--allow-negative'], rows)).toMatchObject({
      code: 0,
      out: 'no violations: 2 reads of 2 accounts, total 10\n',
    });
    expect(run(['bank', '--allow-negative', '--total', '9'], rows).code).toBe(1);
    expect(run(['bank'], ops(['transfer', 1]))).toMatchObject({ code: 2 });
    expect(run(['bank'], ops(['read', 1]))).toMatchObject({ code: 2 });
  });

  it('judges a set by the read that began last', () => {
    const late = [
      { process: 1, type: 'invoke', f: 'add', value: 7 },
      ...ops(['add', 1], ['add', 2], ['read', [1]], ['read', [2, 1]]),
      { process: 1, type: 'ok', f: 'add', value: 7 },
    ];
    expect(run(['set'], late)).toMatchObject({
      code: 0,
      out: 'no violations: 3 adds, 2 elements in the final read\n',
    });
    expect(run(['set'], ops(['add', 1], ['add', 2], ['read', [1]])).out).toBe(
      'lost: 2 was acknowledged (lines 3 to 4) and is not there\n2 adds, 1 element in the final read: lost 1\n',
    );
    expect(run(['set'], ops(['add', 1])).code).toBe(2);
    expect(run(['set'], '').code).toBe(2);
  });

  it('judges a long fork', () => {
    const writes = ops(['write', 1, { key: 'x' }], ['write', 1, { key: 'y' }]);
    const fork = ops(['read', { x: 1, y: null }], ['read', { x: null, y: 1 }]);
    expect(run(['long-fork'], [...writes, ...fork]).out).toBe(
      'long-fork: lines 5 to 6 shows x and not y, lines 7 to 8 shows y and not x\n2 writes, 2 reads: long-fork 1\n',
    );
    expect(run(['long-fork'], [...writes, ...fork.slice(0, 2)]).code).toBe(0);
    expect(run(['long-fork'], [...writes, ...writes])).toMatchObject({ code: 2 });
  });

  it('judges a counter', () => {
    const rows = ops(['inc', 1, { ts: 5 }], ['inc', 2, { ts: 6 }], ['read', 1, { ts: 7 }]);
    expect(run(['monotonic'], rows).out).toContain(
      'went-back: counter: a read of 1 at 7 (lines 5 to 6), after ',
    );
    expect(run(['monotonic'], rows.slice(0, 4)).code).toBe(0);
    expect(run(['monotonic'], ops(['inc', 1])).code).toBe(2);
    const mixed = [
      { process: 0, type: 'invoke', f: 'inc' },
      { process: 0, type: 'ok', f: 'read', value: 1, ts: 2 },
    ];
    expect(run(['monotonic'], mixed).code).toBe(2);
  });

  it('judges watchers, each for its prefix', () => {
    const write = (key: string, ts: number): Row => ({ type: 'write', key, ts, value: { of: key } });
    const event = (key: string, ts: number): Row => ({
      type: 'event',
      watcher: 0,
      key,
      ts,
      value: { of: key },
    });
    const rows = [
      write('ab', 1),
      write('b', 2),
      write('ac', 3),
      { type: 'start', watcher: 0, ts: 0, prefix: 'a' },
    ];
    const mark = { type: 'progress', watcher: 0, ts: 3 };
    expect(run(['watch'], [...rows, event('ab', 1), event('ac', 3), mark])).toMatchObject({
      code: 0,
      out: 'no violations: 1 watcher, 4 records\n',
    });
    const { code, out } = run(['watch'], [...rows, event('ab', 1), mark]);
    expect(code).toBe(1);
    expect(out).toBe(
      'gap: watcher 0: ac = {"of":"ac"} at 3 (line 3) was not told, and progress reached 3 (line 6)\n' +
        '1 watcher, 3 records: gap 1\n',
    );
    expect(run(['watch'], [mark]).code).toBe(2);
    expect(run(['watch'], [...rows, ...rows]).code).toBe(2);
    expect(run(['watch'], [{ type: 'write', key: 'a', value: 1 }]).code).toBe(2);
    expect(run(['watch'], rows.slice(0, 3)).code).toBe(2);
  });
});
