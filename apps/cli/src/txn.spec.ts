/** Goal: scripts are transactions, and a mistake is told by its line before anything is sent. */
import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { CliHarness } from '../test/harness.js';

let cli: CliHarness;

beforeEach(async () => {
  cli = await CliHarness.start();
});

afterEach(async () => {
  await cli.stop();
});

const txn = (script: string, ...flags: string[]): ReturnType<CliHarness['run']> =>
  cli.run(['txn', ...flags], script);

const linesOf = (stdout: string): unknown[] =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);

describe('a script', () => {
  test('is one transaction, whose results are shown in a table', async () => {
    await cli.run(['put', 'c/1', 'one']);
    const done = await txn(
      [
        '# first',
        'get none',
        'put a "two words"   # and more',
        "put 'b b' 'it\"s'",
        'increment n 5',
        'increment n',
        'scan c/',
        'delete c/1',
        'scan c/',
      ].join('\n'),
    );
    expect(done.code).toBe(0);
    expect(done.stdout.replace(/\d{7,}/, 'T')).toMatchInlineSnapshot(`
     " line | operation | key  | result
     ------+-----------+------+--------
         2 | get       | none | (none)
         3 | put       | a    | OK
         4 | put       | b b  | OK
         5 | increment | n    | 5
         6 | increment | n    | 6
         7 | scan      | c/1  | one
         8 | delete    | c/1  | OK
         9 | scan      | c/   | (none)
     (8 rows)
     at timestamp T
     "
    `);
    expect((await cli.run(['get', 'a'])).stdout).toBe('two words\n');
    expect((await cli.run(['get', 'b b'])).stdout).toBe('it"s\n');
    expect(cli.router.operations.filter(({ operation }) => operation?.$case === 'commit')).toHaveLength(1);
  });

  test('comes from a file, and answers objects with --json', async () => {
    await cli.run(['put', 'k', 'v', '--ttl', '1h']);
    await writeFile(cli.path('script'), 'get k\nget none\nscan k\nincrement n -3\nput x y\n');
    const done = await cli.run(['txn', 'script', '--json', '--isolation', 'snapshot']);
    const version = expect.any(String) as unknown;
    expect(linesOf(done.stdout)).toEqual([
      { line: 1, operation: 'get', key: 'k', found: true, value: 'v', version, expires: version },
      { line: 2, operation: 'get', key: 'none', found: false },
      { line: 3, operation: 'scan', key: 'k', value: 'v', version, expires: version },
      { line: 4, operation: 'increment', key: 'n', value: '-3' },
      { line: 5, operation: 'put', key: 'x' },
      { timestamp: expect.any(Number) as unknown },
    ]);
    expect((await cli.run(['txn', 'nowhere'])).code).toBe(2);
  });

  test('takes bytes as the other commands do', async () => {
    expect((await txn('put 00ff 0a\n', '--hex')).code).toBe(0);
    expect((await cli.run(['get', '--hex', '00ff'])).stdout).toBe('0a\n');
    expect((await txn('get 00f\n', '--hex')).stderr).toBe(
      'cairn: line 1: key "00f" is not hexadecimal (--hex)\n',
    );
    expect((await txn('put a "x\\ty\\x41\\\\"\n')).code).toBe(0);
    expect((await cli.run(['get', 'a', '--raw'])).stdout).toBe('x\tyA\\');
  });

  test('with conditions is one step, and exits with 1 when one does not hold', async () => {
    const script =
      'if lock absent\nthen:\nput lock me\nincrement n\nelse:\nget lock\ndelete n\ndelete none\n';
    const first = await txn(script);
    expect(first.code).toBe(0);
    expect(first.stdout).toContain('all conditions hold');
    const second = await txn(script, '--json');
    expect(second.code).toBe(1);
    expect(linesOf(second.stdout)).toEqual([
      {
        line: 6,
        operation: 'get',
        key: 'lock',
        found: true,
        value: 'me',
        version: expect.any(String) as unknown,
      },
      { line: 7, operation: 'delete', key: 'n', existed: true },
      { line: 8, operation: 'delete', key: 'none', existed: false },
      { succeeded: false, timestamp: expect.any(Number) as unknown },
    ]);
    const { version } = linesOf((await cli.run(['get', 'lock', '--json'])).stdout)[0] as { version: string };
    const all = `if lock exists\nif lock = me\nif lock version ${version}\nput lock you\n`;
    expect((await txn(all)).stdout).toContain('all conditions hold');
    expect(await txn(all)).toMatchObject({ code: 1, stdout: expect.stringContaining('does not hold') });
  });

  test('names the line of what the client or the cluster refuses', async () => {
    await cli.run(['put', 'text', 'x']);
    const long = 'k'.repeat(70_000);
    const refused = [
      [`get a\nput ${long} 1\n`, 2, 2, 'key has 70000 bytes'],
      [`if a absent\nthen:\nput b 1\nelse:\nput ${long} 1\n`, 2, 5, 'key has 70000 bytes'],
      [`if ${long} absent\nthen:\nput b 1\n`, 2, 1, 'key has 70000 bytes'],
      ['get a\n# more\nincrement text 1\n', 3, 3, ''],
    ] as const;
    for (const [script, code, line, what] of refused) {
      const done = await txn(script);
      expect(done).toMatchObject({ code, stderr: expect.stringContaining(`line ${line}: `) as unknown });
      expect(done.stderr).toContain(what);
    }
  });

  test('reads the past with --at, and so do get and scan', async () => {
    const { timestamp } = linesOf((await cli.run(['put', 'a', '1', '--json'])).stdout)[0] as {
      timestamp: number;
    };
    await cli.run(['put', 'a', '2']);
    const then = String(timestamp);
    expect((await txn('get a\nscan a\n', '--at', then)).stdout.match(/\| 1\n/g)).toHaveLength(2);
    expect((await cli.run(['get', 'a', '--at', then])).stdout).toBe('1\n');
    expect((await cli.run(['scan', 'a', '--at', then])).stdout).toContain('| 1\n');
    expect((await cli.run(['get', 'a', '--at', '-1ms'])).code).toBe(1);
    expect((await txn('get a\nput a 1\n', '--at', '-10s')).stderr).toBe(
      'cairn: line 2: with --at there are only get and scan\n',
    );
    for (const at of ['2999-01-01T00:00:00Z', String(2 ** 52)])
      for (const done of [await txn('get a\n', '--at', at), await cli.run(['get', 'a', '--at', at])])
        expect(done).toMatchObject({
          code: 2,
          stderr: expect.stringMatching(/^cairn: --at lies in the future: it is timestamp \d+/) as unknown,
        });
    for (const at of ['soon', '-0s', '0', '-x', '2030-99-99'])
      expect(await cli.run(['get', 'a', '--at', at])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('is no moment'),
      });
    expect((await cli.run(['scan', '--at', '-1s', '--stale'])).code).toBe(2);
  });
});

describe('a mistake', () => {
  test.each([
    [
      'get a\n\nfrob b\n',
      'line 3: "frob" is no operation: there are get, get-for-update, put, delete, increment, scan and if',
    ],
    ['put a\n', 'line 1: write put KEY VALUE (a value with spaces in quotes)'],
    ['get a b\n', 'line 1: write get KEY'],
    ['if a exists\nget-for-update a\n', 'line 2: get-for-update cannot be in a script with conditions'],
    ['get-for-update a share share\n', 'line 1: write get-for-update KEY, with share or key-share'],
    ['put a b c\n', 'line 1: write put KEY VALUE (a value with spaces in quotes)'],
    ['get ""\n', 'line 1: a key must not be empty'],
    ['put a "b\n', 'line 1: a quote is not closed, or something stands right behind it'],
    ['put a "b"c\n', 'line 1: a quote is not closed, or something stands right behind it'],
    ['put a "\\q"\n', 'line 1: \\q is not known: there are \\n \\r \\t \\\\ \\" and \\x41'],
    ['put a "\\xff"\n', 'line 1: \\xff is no text: give bytes with --hex or --base64'],
    ['increment a 1.5\n', 'line 1: "1.5" is not a whole number'],
    ['increment a 9223372036854775808\n', 'line 1: 9223372036854775808 does not fit 64 bits'],
    ['then:\nget a\n', 'line 1: then: needs a condition before it: if KEY exists'],
    ['if a exists\nthen: get a\n', 'line 2: then: stands alone'],
    ['if a exists\nthen:\nget a\nthen:\n', 'line 4: then: comes once, before else:'],
    ['if a exists\nelse:\nelse:\n', 'line 3: else: comes once'],
    ['get a\nif a exists\n', 'line 2: conditions come before all operations'],
    ['if a exists\nscan b\n', 'line 2: scan cannot be in a script with conditions'],
    ['if a\n', 'line 1: write if KEY exists, if KEY absent, if KEY = VALUE or if KEY version TOKEN'],
    [
      'if a is\n',
      'line 1: "is" is no condition: write if KEY exists, if KEY absent, if KEY = VALUE or if KEY',
    ],
    ['if a exists now\n', 'line 1: exists takes nothing behind it'],
    ['if a =\n', 'line 1: which value? Write: if KEY = VALUE'],
    ['if a version abc\n', 'line 1: a version is what --json shows of a key: 24 hexadecimal digits'],
    ['# nothing\n', 'the script does nothing'],
  ])('%j is told before anything is sent', async (script, sentence) => {
    const refused = await txn(script);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain(`cairn: ${sentence}`);
    expect(cli.router.operations).toEqual([]);
  });

  test('in the options is told, too', async () => {
    for (const flags of [
      ['--isolation', 'dirty'],
      ['--at', '-1s', '--isolation', 'snapshot'],
      ['--at', 'then'],
    ])
      expect((await txn('get a\n', ...flags)).code).toBe(2);
    expect((await txn('if a exists\nget a\n', '--isolation', 'snapshot')).code).toBe(2);
    expect((await cli.run(['txn'], Buffer.from([0xff, 0x0a]))).code).toBe(2);
    expect((await cli.run(['txn'], Buffer.alloc(17 * 1024 * 1024, 'x'))).stderr).toContain(
      'more than 16.0 MiB',
    );
  });

  test('of others is told with what to do', async () => {
    cli.router.verdict = ({ operation }) =>
      operation?.$case === 'commit' ? new CairnError('TRANSACTION_ABORTED', 'others were first') : 'answer';
    const refused = await txn('put a 1\n', '--timeout', '2s');
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain('Others write the same keys. Nothing of it happened');
  });
});
