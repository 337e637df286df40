import { describe, expect, it } from '@jest/globals';

import { runCheck } from './command.js';

type Row = readonly [process: number | string, type: string, f: string, value?: unknown, key?: unknown];

function lines(...rows: Row[]): string {
  return rows
    .map(([process, type, f, value, key]) => JSON.stringify({ process, type, f, value, key, time: 5 }))
    .join('\n');
}

function run(
  text: string,
  args = ['linearizability', 'history.jsonl'],
): { code: number; out: string; error: string } {
  let [out, error] = ['', ''];
  const code = runCheck(args, {
    read: (file) => {
      if (file === 'missing') throw new Error('no such file');
      return [text];
    },
    out: (more) => {
      out += more;
    },
    error: (more) => {
      error += more;
    },
  });
  return { code, out, error };
}

const done = (process: number, f: string, value: unknown, key?: unknown): Row[] => [
  [process, 'invoke', f, f === 'read' ? null : value, key],
  [process, 'ok', f, value, key],
];

describe('check linearizability', () => {
  it('accepts what a register may answer', () => {
    expect(run('').code).toBe(0);
    expect(run(lines(...done(0, 'read', null), ...done(0, 'write', 1), ...done(1, 'read', 1))).code).toBe(0);
    expect(run(lines(...done(0, 'write', 1), ...done(0, 'cas', [1, 2]), ...done(1, 'read', 2))).code).toBe(0);
    const keys = lines(
      ...done(0, 'write', 1, 'a'),
      ...done(0, 'read', null, 'b'),
      ...done(0, 'read', 1, 'a'),
    );
    expect(run(keys)).toMatchObject({ code: 0, out: 'linearizable: 3 operations on 2 keys\n' });
  });

  it('shows the smallest part that nothing explains', () => {
    const stale = [
      ...done(0, 'write', 1),
      ...done(0, 'write', 2),
      ...done(1, 'read', 2),
      ...done(1, 'read', 1),
    ];
    const { code, out } = run(lines(...stale));
    expect(code).toBe(1);
    expect(out).toBe(
      [
        'not linearizable',
        'The key holds nil. Then no order explains these:',
        '  lines 1 to 2             process 0      write 1',
        '  lines 3 to 4             process 0      write 2',
        '  lines 7 to 8             process 1      read 1',
        '',
      ].join('\n'),
    );
  });

  it('takes a failed operation as one that did not happen, and an unknown one as either', () => {
    const failed: Row[] = [
      [0, 'invoke', 'write', 1],
      [0, 'fail', 'write', 1],
    ];
    expect(run(lines(...failed, ...done(1, 'read', null))).code).toBe(0);
    expect(run(lines(...failed, ...done(1, 'read', 1))).code).toBe(1);
    const failedCas: Row[] = [
      [0, 'invoke', 'cas', [1, 2]],
      [0, 'fail', 'cas', [1, 2]],
    ];
    expect(run(lines(...done(1, 'write', 1), ...failedCas, ...done(1, 'read', 1))).code).toBe(0);
    const unknown: Row[] = [
      [0, 'invoke', 'write', 1],
      [0, 'info', 'write', 1],
    ];
    expect(run(lines(...unknown, ...done(1, 'read', null), ...done(1, 'read', 1))).code).toBe(0);
    expect(run(lines(...unknown, ...done(1, 'read', 1), ...done(1, 'read', null))).code).toBe(1);
    const open: Row = [0, 'invoke', 'write', 1];
    expect(run(lines(open, ...done(1, 'read', null), ...done(1, 'read', 1))).code).toBe(0);
    expect(run(lines([0, 'invoke', 'read'], ...done(1, 'read', null))).code).toBe(0);
  });

  it('compares values by structure, and tells numbers from text', () => {
    const write =
      '{"process":0,"type":"invoke","f":"write","value":{"a":1,"b":[2]}}\n' +
      '{"process":0,"type":"ok","f":"write"}\n';
    const read = (value: string): string =>
      `{"process":1,"type":"invoke","f":"read"}\n{"process":1,"type":"ok","f":"read","value":${value}}`;
    expect(run(write + read('{"b":[2],"a":1}')).code).toBe(0);
    expect(run(write + read('{"b":["2"],"a":1}')).code).toBe(1);
  });

  it.each<[string, string, number]>([
    ['not JSON', '{"process":0', 1],
    ['no object', '[1]', 1],
    ['no process', lines([0, 'invoke', 'write', 1]).replace('"process":0,', ''), 1],
    ['an unknown type', lines([0, 'invoked', 'write', 1]), 1],
    ['an unknown function', lines([0, 'invoke', 'append', 1]), 1],
    ['a completion without invocation', lines(...done(0, 'write', 1), [0, 'ok', 'write', 1]), 3],
    ['a process with two open operations', lines([0, 'invoke', 'read'], [0, 'invoke', 'read']), 2],
    ['a cas without two values', lines([0, 'invoke', 'cas', 1]), 1],
    ['a cas with three', lines([0, 'invoke', 'cas', [1, 2, 3]]), 1],
    ['a completion of another operation', lines([0, 'invoke', 'read'], [0, 'ok', 'write', 1]), 2],
    ['a completion about another key', lines([0, 'invoke', 'read', null, 'a'], [0, 'ok', 'read', 1, 'b']), 2],
    ['a completion with another value', lines([0, 'invoke', 'write', 1], [0, 'ok', 'write', 2]), 2],
    ['a key that is no name', lines([0, 'invoke', 'read', null, { a: 1 }]), 1],
  ])('refuses %s and says where', (_what, text, line) => {
    const { code, out, error } = run(text);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(error).toContain(`line ${line}: `);
  });

  it('refuses what it cannot read, and shows how it is used', () => {
    expect(run('', ['linearizability', 'missing'])).toMatchObject({
      code: 2,
      error: 'missing: no such file\n',
    });
    for (const args of [[], ['linearizability'], ['linearizability', 'a', 'b'], ['serializability', 'a']]) {
      const { code, error } = run('', args);
      expect(code).toBe(2);
      expect(error).toContain('usage: ');
    }
  });
});
