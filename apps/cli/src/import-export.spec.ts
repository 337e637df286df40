/**
 * Goal: files go in and come out byte for byte, whatever is in them and whatever happens on the way. Method:
 * whole command lines against a fake router that refuses, dies or is slow at chosen rows.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { lstat, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import fc from 'fast-check';
import { CliHarness } from '../test/harness.js';

let cli: CliHarness;

beforeEach(async () => {
  cli = await CliHarness.start();
});

afterEach(async () => {
  await cli.stop();
});

/** What the store holds, as text. */
function stored(): Record<string, string> {
  return Object.fromEntries(
    cli.router.store.scan({}).map(({ key, value }) => [key.toString(), value.toString()]),
  );
}

function manyRows(count: number): string {
  return Array.from(
    { length: count },
    (_, index) => `{"key":"k${String(index).padStart(5, '0')}","value":"v${index}"}\n`,
  ).join('');
}

describe('ndjson', () => {
  test('key and value fields; blank lines and a missing last newline do not matter', async () => {
    const result = await cli.run(['import', '-'], '{"key":"a","value":"1"}\n\n{"key":"b","value":{"x":[1]}}');
    expect(result.code).toBe(0);
    expect(result.stdout).toMatch(/^2 rows imported in /);
    expect(stored()).toEqual({ a: '1', b: '{"x":[1]}' });
  });

  test('a key template, and the line itself as the value', async () => {
    await writeFile(cli.path('cities.ndjson'), '{"country":"it", "name":"Rome","id":7}\n');
    const result = await cli.run([
      'import',
      'cities.ndjson',
      '--key',
      'city/{country}/{name}/{id}{{x}}',
      '--json',
    ]);
    expect(JSON.parse(result.stdout)).toMatchObject({ imported: 1, rejected: 0 });
    expect(stored()).toEqual({ 'city/it/Rome/7{x}': '{"country":"it", "name":"Rome","id":7}' });
  });

  test('bad lines are reported by number and reason, and do not stop', async () => {
    const lines = [
      '{"key":"a","value":"1"}',
      'rubbish',
      '[1]',
      '{"value":"1"}',
      '{"key":"","value":"1"}',
      `{"key":"${'k'.repeat(5000)}","value":"1"}`,
      '{"key":"b","value":"2"}',
    ];
    await writeFile(cli.path('in.ndjson'), lines.join('\n'));
    const result = await cli.run(['import', 'in.ndjson', '--rejects', 'bad.ndjson', '--show-rejects', '4']);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(/^2 rows imported in .*; 5 rejected \(1 not shown; see bad.ndjson\)\n$/);
    const shown = result.stderr.split('\n').filter((line) => line.startsWith('line '));
    expect(shown.map((line) => line.split(':')[0]).sort()).toEqual(['line 2', 'line 3', 'line 4', 'line 5']);
    expect(result.stderr).toContain('line 4: no field "key"\n');
    expect(result.stderr).toContain('line 5: key must not be empty\n');
    const rejects = (await readFile(cli.path('bad.ndjson'), 'utf8')).trimEnd().split('\n');
    expect(rejects.map((line) => (JSON.parse(line) as { line: number }).line).sort()).toEqual([
      2, 3, 4, 5, 6,
    ]);
    expect(stored()).toEqual({ a: '1', b: '2' });
    expect(existsSync(cli.path('in.ndjson.cairn-import'))).toBe(false);
  });

  test('numbers keep their text, in values and in keys', async () => {
    const line = '{"id":9007199254740993,"value":{"big":1e400,"money":1.10}}';
    expect((await cli.run(['import', '-', '--key', 'n/{id}', '--value-field', 'value'], line)).code).toBe(0);
    expect(stored()).toEqual({ 'n/9007199254740993': '{"big":1e400,"money":1.10}' });
  });

  test('a line that is no text is rejected, and read with the right encoding', async () => {
    const line = Buffer.from('{"key":"caf\u00e9","value":"1"}\n', 'latin1');
    await writeFile(cli.path('in.ndjson'), line);
    const refused = await cli.run(['import', 'in.ndjson', '--rejects', 'bad.ndjson']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('line 1: cannot be decoded; see --encoding\n');
    const reject = JSON.parse(await readFile(cli.path('bad.ndjson'), 'utf8')) as { text: unknown };
    expect(reject.text).toEqual({ base64: line.subarray(0, -1).toString('base64') });
    expect((await cli.run(['import', 'in.ndjson', '--encoding', 'latin1'])).code).toBe(0);
    expect(stored()).toEqual({ café: '1' });
    expect((await cli.run(['import', 'in.ndjson', '--encoding', 'utf-16le'])).code).toBe(2);
  });

  test('half of a surrogate pair is no text: rejected in keys and values, never replaced', async () => {
    const lines = [
      '{"key":"s","value":"\\ud800"}',
      '{"key":"\\udfff","value":"1"}',
      '{"key":"a","value":{"x":"\\ud800"}}',
    ];
    const result = await cli.run(['import', '-'], lines.join('\n'));
    expect(result.code).toBe(1);
    expect(result.stderr).toBe(
      ['value', 'key']
        .map(
          (field, index) =>
            `line ${index + 1}: field "${field}" is not text: it has half of a surrogate pair\n`,
        )
        .join(''),
    );
    expect(stored()).toEqual({ a: '{"x":"\\ud800"}' });
    const key = await cli.run(['import', '-', '--key', 'n/{id}'], '{"id":"\\ud800"}');
    expect(key.stderr).toBe('line 1: the key is not text: it has half of a surrogate pair\n');
  });

  test('base64 that is none is rejected, not read as something shorter', async () => {
    const result = await cli.run(['import', '-'], '{"key":"a","value":{"base64":"AA=x!"}}');
    expect(result).toMatchObject({ code: 1 });
    expect(result.stderr).toContain('line 1: field "value" is not base64\n');
  });

  test('of two rows with one key the later wins, even when both could be on their way', async () => {
    const lines = Array.from({ length: 300 }, (_, index) => `{"key":"same","value":"${index}"}`);
    let held = 0;
    cli.router.verdict = () => {
      held += 1;
      return held % 7 === 0 ? new CairnError('UNAVAILABLE', 'in a moment') : 'answer';
    };
    expect((await cli.run(['import', '-'], lines.join('\n'))).code).toBe(0);
    expect(stored()).toEqual({ same: '299' });
  });

  test('no more rows than the window are on their way', async () => {
    cli.router.holdAnswers();
    const pending = cli.run(['import', '-', '--window', '10'], manyRows(50));
    while (cli.router.operations.length < 10) await new Promise((resolve) => setImmediate(resolve));
    for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(cli.router.operations.length).toBe(10);
    cli.router.releaseAnswers();
    expect((await pending).code).toBe(0);
    expect(cli.router.store.size).toBe(50);
  });

  test('progress shows rows, rate, part and time left', async () => {
    cli.stderrIsTty = true;
    await writeFile(cli.path('in.ndjson'), manyRows(100));
    const result = await cli.run(['import', 'in.ndjson', '--window', '1']);
    const shown = result.stderr.split('\r\u001b[K').filter((line) => line !== '');
    expect(shown.length).toBeGreaterThan(0);
    expect(shown.at(-1)).toMatch(/^imported \d+ rows, [\d.]+ rows\/s, \d+%, \d+ (s|ms|min \d+ s) left$/);
    expect(result.stderr.endsWith('\r\u001b[K')).toBe(true);
  });
});

describe('interruption', () => {
  /** Imports until the router has seen `rows` rows, then makes every further one fail. */
  async function stopAfter(rows: number, argv: readonly string[]): Promise<void> {
    let seen = 0;
    cli.router.verdict = () => {
      seen += 1;
      return seen > rows
        ? new CairnError('DISK_FULL', 'store 2 is full', { retryAfterMs: 3_600_000 })
        : 'answer';
    };
    const result = await cli.run(argv);
    expect(result.code).toBe(3);
    expect(result.stderr).toContain('run the same command with --resume to go on');
    cli.router.verdict = () => 'answer';
  }

  test.each(['ndjson', 'csv'])(
    '%s: --resume sends what was not acknowledged, and nothing twice that was',
    async (format) => {
      const rows = Array.from({ length: 3000 }, (_, index) => [
        `k${String(index).padStart(5, '0')}`,
        `v${index}`,
      ]);
      const text =
        format === 'csv'
          ? `key,value\n${rows.map((row) => row.join(',')).join('\n')}\n`
          : rows.map(([key, value]) => `${JSON.stringify({ key, value })}\n`).join('');
      const file = `in.${format}`;
      await writeFile(cli.path(file), text);
      await stopAfter(1000, ['import', file]);
      const before = cli.router.operations.length;
      expect(await cli.run(['import', file])).toMatchObject({ code: 2 });
      expect((await cli.run(['import', file, '--resume', '--key', '{key}'])).stderr).toContain(
        'other key, value or format',
      );
      const resumed = await cli.run(['import', file, '--resume', '--json']);
      expect(resumed.code).toBe(0);
      expect(JSON.parse(resumed.stdout)).toMatchObject({ rejected: 0 });
      expect(cli.router.store.size).toBe(3000);
      expect(stored()['k02999']).toBe('v2999');
      expect(cli.router.operations.length - before).toBeLessThanOrEqual(2000 + 512);
      expect(cli.router.operations.length - before).toBeGreaterThanOrEqual(2000);
      expect(existsSync(cli.path(`${file}.cairn-import`))).toBe(false);
    },
  );

  test('every row is counted once, also one that was sent again', async () => {
    const lines = manyRows(400)
      .split('\n')
      .filter((line) => line !== '');
    lines.splice(200, 0, 'rubbish');
    lines.splice(100, 0, 'rubbish');
    await writeFile(cli.path('in.ndjson'), lines.join('\n'));
    // The rows behind the failed one are written; they are sent again, and were counted twice.
    cli.router.verdict = ({ operation }) =>
      operation?.$case === 'put' && operation.value.key.toString() === 'k00150'
        ? new CairnError('DISK_FULL', 'store 2 is full', { retryAfterMs: 3_600_000 })
        : 'answer';
    const stopped = await cli.run(['import', 'in.ndjson', '--rejects', 'bad.ndjson']);
    expect(stopped.code).toBe(3);
    expect(stopped.stderr).toContain('stopped after 150 rows (line 151)');
    cli.router.verdict = () => 'answer';
    const resumed = await cli.run(['import', 'in.ndjson', '--resume', '--json', '--rejects', 'bad.ndjson']);
    expect(JSON.parse(resumed.stdout)).toMatchObject({ imported: 400, rejected: 2 });
    const rejects = (await readFile(cli.path('bad.ndjson'), 'utf8')).trimEnd().split('\n');
    expect(rejects.map((line) => (JSON.parse(line) as { line: number }).line)).toEqual([101, 202]);
  });

  test('a changed file is not resumed; --restart begins again', async () => {
    await writeFile(cli.path('in.ndjson'), manyRows(100));
    await stopAfter(10, ['import', 'in.ndjson']);
    await writeFile(cli.path('in.ndjson'), manyRows(101));
    expect((await cli.run(['import', 'in.ndjson', '--resume'])).stderr).toContain('has changed');
    expect((await cli.run(['import', 'in.ndjson', '--restart'])).code).toBe(0);
    expect(cli.router.store.size).toBe(101);
  });

  test('Ctrl-C keeps the state', async () => {
    await writeFile(cli.path('in.ndjson'), manyRows(2000));
    let seen = 0;
    cli.router.verdict = () => {
      seen += 1;
      if (seen === 500) cli.abort.abort();
      return 'answer';
    };
    const stopped = await cli.run(['import', 'in.ndjson', '--window', '100']);
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toContain('--resume');
    cli.abort = new AbortController();
    expect((await cli.run(['import', 'in.ndjson', '--resume'])).code).toBe(0);
    expect(cli.router.store.size).toBe(2000);
  });

  test('a router that dies for a moment does not stop an import', async () => {
    await writeFile(cli.path('in.ndjson'), manyRows(2000));
    let seen = 0;
    cli.router.verdict = () => {
      seen += 1;
      if (seen === 700) {
        setImmediate(() => {
          cli.router.kill();
          void cli.router.start();
        });
      }
      return 'answer';
    };
    expect((await cli.run(['import', 'in.ndjson'])).code).toBe(0);
    expect(cli.router.store.size).toBe(2000);
  });

  test('an import that stops before its first row leaves nothing behind', async () => {
    await writeFile(cli.path('utf16.csv'), Buffer.from('\ufeffkey,value\na,1\n', 'utf16le'));
    expect((await cli.run(['import', 'utf16.csv'])).code).toBe(2);
    expect(existsSync(cli.path('utf16.csv.cairn-import'))).toBe(false);
  });

  test('resuming needs a file', async () => {
    expect((await cli.run(['import', '-', '--resume'])).code).toBe(2);
    expect((await cli.run(['import', 'nowhere.ndjson'])).stderr).toContain('nowhere.ndjson');
  });
});

describe('csv', () => {
  test('a column that every row needs is missed once, with the columns that there are', async () => {
    await writeFile(cli.path('semi.csv'), 'id;name\n1;Rome\n2;Oslo\n');
    const result = await cli.run(['import', 'semi.csv', '--key-field', 'id']);
    expect([result.code, result.stdout]).toEqual([2, '']);
    expect(result.stderr).toBe(
      'cairn: no column is called "id"; the first line names "id;name"; see --key, --key-field, --delimiter\n',
    );
    for (const [option, missing] of [
      [['--key', 'c/{contry}'], 'contry'],
      [['--key-field', 'country', '--value-field', 'x'], 'x'],
      [[], 'key'],
    ] as const) {
      const other = await cli.run(['import', '-', '--format', 'csv', ...option], 'country,value\nit,1\n');
      expect(other.stderr).toContain(
        `no column is called "${missing}"; the first line names "country", "value"`,
      );
    }
  });

  test('columns of a .tsv file are separated by tabs', async () => {
    await writeFile(cli.path('rows.tsv'), 'id\tname\n1\tRome, Italy\n');
    const flags = ['--key-field', 'id', '--value-field', 'name'];
    expect((await cli.run(['import', 'rows.tsv', ...flags])).code).toBe(0);
    expect(stored()).toEqual({ 1: 'Rome, Italy' });
    expect((await cli.run(['import', 'rows.tsv', '--delimiter', ',', ...flags])).code).toBe(2);
  });

  test('rows become JSON under a template; quoted cells may hold anything', async () => {
    await writeFile(cli.path('c.csv'), '\ufeffcountry,name,note\nit,Rome,"a ""b"", c\nd"\nfr,Paris,\n');
    expect((await cli.run(['import', 'c.csv', '--key', '{country}/{name}'])).code).toBe(0);
    expect(stored()).toEqual({
      'it/Rome': '{"country":"it","name":"Rome","note":"a \\"b\\", c\\nd"}',
      'fr/Paris': '{"country":"fr","name":"Paris","note":""}',
    });
  });

  test('malformed rows are rejected one by one', async () => {
    await writeFile(cli.path('c.csv'), 'key,value\na,1\nb,2,3\nc,3\n');
    const result = await cli.run(['import', 'c.csv']);
    expect(result.code).toBe(1);
    expect(result.stderr).toBe('line 3: 3 cells, but the first line names 2 columns\n');
    expect(stored()).toEqual({ a: '1', c: '3' });
  });

  test('cells that cannot be decoded and overlong records are rejected by line', async () => {
    const long = Buffer.alloc(17 * 1024 * 1024, 'x');
    const parts = ['key,value\na,1\n', Buffer.from('b,\u00e9\n', 'latin1'), 'c,', long, '\nd,4\n'];
    const file = Buffer.concat(parts.map((part) => Buffer.from(part)));
    await writeFile(cli.path('c.csv'), file);
    const result = await cli.run(['import', 'c.csv']);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('line 3: column "value" cannot be decoded; see --encoding\n');
    expect(result.stderr).toContain('line 4: longer than 16777216 bytes\n');
    expect(stored()).toEqual({ a: '1', d: '4' });
  });

  /** Imports a CSV text and tells what is stored, what was reported, and what was kept as rejected. */
  async function importCsv(text: string): Promise<{ rows: unknown; told: string[]; rejects: unknown[] }> {
    await writeFile(cli.path('c.csv'), text);
    const result = await cli.run(['import', 'c.csv', '--rejects', 'bad.ndjson']);
    const told = result.stderr.split('\n').filter((line) => line.startsWith('line'));
    const rejects = (await readFile(cli.path('bad.ndjson'), 'utf8')).trimEnd().split('\n');
    return {
      rows: stored(),
      told,
      rejects: rejects.filter((line) => line !== '').map((line) => JSON.parse(line) as unknown),
    };
  }

  test('a record with a broken quote is one rejected record, from the line where it begins', async () => {
    const broken = 'q2,"broken\nq3,after\nq4,"say ""hi"""';
    const { rows, told, rejects } = await importCsv(
      `key,value\nq1,fine\n${broken}\nq5,x"y"z\nq6,"say ""hi"""\n`,
    );
    expect(rows).toEqual({ q1: 'fine', q6: 'say "hi"' });
    const early =
      'the quote at the beginning of cell 2, line 3, is closed before the cell ends; ' +
      'a quote inside a quoted cell is doubled';
    const inside =
      'cell 2 has a quote and does not begin with one; ' +
      'write such a cell in quotes, with each quote in it doubled';
    expect(told).toEqual([`lines 3 to 5: ${early}`, `line 6: ${inside}`]);
    expect(rejects).toEqual([
      { line: 3, reason: early, text: broken },
      { line: 6, reason: inside, text: 'q5,x"y"z' },
    ]);
  });

  test('a quote that is never closed is named by the line where it begins', async () => {
    const { rows, told, rejects } = await importCsv('key,value\na,1\nb,"open\nc,3\nd,4\n');
    expect(rows).toEqual({ a: '1' });
    const reason = 'the quote at the beginning of cell 2, line 3, is not closed before the end of the file';
    expect(told).toEqual([`lines 3 to 5: ${reason}`]);
    expect(rejects).toEqual([{ line: 3, reason, text: 'b,"open\nc,3\nd,4\n' }]);

    const far = await importCsv(`key,value\na,1\nb,"open\n${'c,34567\n'.repeat(17 * 131_072)}`);
    const guess = 'perhaps the quote at the beginning of cell 2, line 3, is not closed';
    expect(far.told).toEqual([`lines 3 to 2228227: longer than 16777216 bytes; ${guess}`]);
    expect(far.rejects).toMatchObject([{ line: 3, text: '' }]);
  });

  test('lines may end in either way, also behind a record that is left out', async () => {
    const long = `x,"\n${'y'.repeat(17 * 1024 * 1024)}"`;
    const { rows, told } = await importCsv(`key,value\r\na,1\r\n${long}\r\nb,2\r\n\nc,3\nd,"4"\r\ne,5`);
    expect(rows).toEqual({ a: '1', b: '2', c: '3', d: '4', e: '5' });
    expect(told).toMatchObject([expect.stringMatching(/^lines 3 to 4: longer than 16777216 bytes/)]);
    expect((await importCsv('key,value\rf,6\rg,"7\r8"\r')).rows).toMatchObject({ f: '6', g: '7\r8' });
  });

  test('a first line that cannot name columns is refused', async () => {
    await writeFile(cli.path('c.csv'), Buffer.alloc(17 * 1024 * 1024, 'x'));
    expect(await cli.run(['import', 'c.csv'])).toMatchObject({ code: 2 });
    await writeFile(cli.path('c.csv'), 'key,"value\na,1\n');
    expect((await cli.run(['import', 'c.csv'])).stderr).toContain('cell 2, line 1, is not closed');
    expect((await cli.run(['import', 'c.csv', '--delimiter', '::'])).stderr).toContain('single character');
  });

  test('other delimiters and a value column', async () => {
    const result = await cli.run(
      ['import', '-', '--format', 'csv', '--delimiter', ';', '--key-field', 'id', '--value-field', 'name'],
      'id;name\n1;one\n',
    );
    expect(result.code).toBe(0);
    expect(stored()).toEqual({ 1: 'one' });
  });
});

test.each(['ndjson', 'csv'])('whatever is stored comes back through %s', async (format) => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 20 }).map((array) => Buffer.from(array)),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }).map((text) => Buffer.from(text)),
    fc
      .constantFrom('"', ',', '\r\n', ' ', '{"base64":"AA=="}', '\ufeffx', '{', '=1', ' x ')
      .map((text) => Buffer.from(text)),
  );
  const keys = bytes.filter((key) => key[0] !== 0xff);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(keys, bytes), { maxLength: 12 }), async (rows) => {
      const put = (key: Buffer, value: Buffer): unknown =>
        cli.router.store.apply({
          $case: 'put',
          value: { key, value, ttlMs: 0, ordering: 0, requestId: undefined },
        });
      const clear = (): unknown => {
        const nothing = Buffer.alloc(0);
        return cli.router.store.apply({
          $case: 'deleteRange',
          value: { start: nothing, end: nothing, prefix: nothing, all: true },
        });
      };
      const content = (): string[] =>
        cli.router.store.scan({}).map(({ key, value }) => `${key.toString('hex')} ${value.toString('hex')}`);
      clear();
      for (const [key, value] of rows) put(key, value);
      const before = content();
      expect((await cli.run(['export', `out.${format}`])).code).toBe(0);
      clear();
      expect((await cli.run(['import', `out.${format}`])).code).toBe(0);
      expect(content()).toEqual(before);
    }),
    { numRuns: 40 },
  );
});

test.each(['ndjson', 'csv'])(
  'keys that disappear by themselves keep their time through %s',
  async (format) => {
    const expiryOf = async (key: string): Promise<number> =>
      Date.parse((JSON.parse((await cli.run(['get', key, '--json'])).stdout) as { expires: string }).expires);
    await cli.run(['put', 'session', 'x', '--ttl', '1h']);
    await cli.run(['put', 'stays', 'y']);
    const before = await expiryOf('session');
    expect((await cli.run(['export', `out.${format}`])).code).toBe(0);
    await cli.run(['del', 'session', 'stays']);
    expect((await cli.run(['import', `out.${format}`])).code).toBe(0);
    expect(Math.abs((await expiryOf('session')) - before)).toBeLessThan(5_000);
    expect((await cli.run(['get', 'stays', '--json'])).stdout).not.toContain('expires');
    await cli.run(['import', `out.${format}`, '--ttl', '2h']);
    expect((await expiryOf('session')) - before).toBeGreaterThan(3_500_000);
  },
);

test('a row whose time to disappear is no date is rejected', async () => {
  const line = '{"key":"k","value":"v","expires":"soon"}\n';
  const result = await cli.run(['import', '-'], line);
  expect(result.code).not.toBe(0);
  expect(result.stderr).toContain('field "expires" is not a date');
});

test('an export ends at a key that holds no bytes, rather than leave it out', async () => {
  await cli.run(['put', 'cart', 'x']);
  cli.router.store.kinds.set('cart', 3);
  const result = await cli.run(['export', 'all.ndjson']);
  expect(result.code).toBe(3);
  expect(result.stderr).toContain('cart holds a list, and only bytes can be exported');
  expect(await readdir(cli.path('.'))).toEqual([]);
});

test('text that would grow too much as text is exported as base64', async () => {
  const value = Buffer.alloc(1000, 1);
  cli.router.store.apply({
    $case: 'put',
    value: { key: Buffer.from('a'), value, ttlMs: 0, ordering: 0, requestId: undefined },
  });
  const encoded = value.toString('base64');
  expect((await cli.run(['export'])).stdout).toBe(`{"key":"a","value":{"base64":"${encoded}"}}\n`);
});

describe('what is no plain file', () => {
  const line = '{"key":"a","value":"1"}\n';

  beforeEach(async () => {
    await cli.run(['put', 'a', '1']);
  });

  test('export writes to a pipe in place of replacing it, and import reads from one', async () => {
    const pipe = cli.path('pipe');
    execFileSync('mkfifo', [pipe]);
    const [reading, result] = await Promise.all([readFile(pipe, 'utf8'), cli.run(['export', 'pipe'])]);
    expect(reading).toBe(line);
    expect(result.stdout).toMatch(/^1 row exported in /);
    expect((await lstat(pipe)).isFIFO()).toBe(true);

    await cli.run(['del', 'a']);
    const [, imported] = await Promise.all([writeFile(pipe, line), cli.run(['import', 'pipe'])]);
    expect(imported.stdout).toMatch(/^1 row imported in /);
    expect(stored()).toEqual({ a: '1' });
    expect(await readdir(cli.path('.'))).toEqual(['pipe']);
    const again = await cli.run(['import', 'pipe', '--resume']);
    expect([again.code, again.stderr]).toEqual([2, `cairn: ${pipe} cannot be resumed; import from a file\n`]);
  });

  test('export keeps a link, and the rights of what it replaces', async () => {
    await writeFile(cli.path('real.ndjson'), 'old', { mode: 0o600 });
    await symlink('real.ndjson', cli.path('link'));
    expect((await cli.run(['export', 'link'])).code).toBe(0);
    expect((await lstat(cli.path('link'))).isSymbolicLink()).toBe(true);
    expect(await readFile(cli.path('real.ndjson'), 'utf8')).toBe(line);
    expect((await stat(cli.path('real.ndjson'))).mode & 0o777).toBe(0o600);
    expect((await readdir(cli.path('.'))).sort()).toEqual(['link', 'real.ndjson']);
  });

  test('/dev/stdout and /dev/stdin are the standard output and input', async () => {
    expect((await cli.run(['export', '/dev/stdout'])).stdout).toBe(line);
    await cli.run(['del', 'a']);
    expect((await cli.run(['import', '/dev/stdin'], line)).stdout).toMatch(/^1 row imported in /);
  });
});

test('export takes a span, writes to standard output, and leaves no half file', async () => {
  for (const key of ['a1', 'a2', 'b1']) await cli.run(['put', key, `v-${key}`]);
  expect((await cli.run(['export', '--prefix', 'a'])).stdout).toBe(
    '{"key":"a1","value":"v-a1"}\n{"key":"a2","value":"v-a2"}\n',
  );
  expect((await cli.run(['export', '--start', 'a2', '-n', '1', '--format', 'csv'])).stdout).toBe(
    'key,value,encoding,expires\na2,v-a2,,\n',
  );
  cli.router.kill();
  expect((await cli.run(['export', 'out.ndjson'])).code).toBe(4);
  expect(existsSync(cli.path('out.ndjson'))).toBe(false);
  expect(existsSync(cli.path('out.ndjson.partial'))).toBe(false);
});
