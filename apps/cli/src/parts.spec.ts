/** Goal: sources, templates and renderings keep their laws. Method: properties, and tables of examples. */
import { Readable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cellsOf, csvRecords, type CsvRecord } from './import/csv-records.js';
import { numberText, parseExactJson } from './import/exact-json.js';
import { mappingOf, SOURCE_ROW_BYTES_MAX, START, type ImportItem } from './import/mapping.js';
import { readNdjson } from './import/ndjson-source.js';
import { fillTemplate, parseTemplate } from './import/template.js';
import { textDecoderOf } from './import/text-encoding.js';
import { isBase64Marker, jsonBytes, parseBytes, showBytes } from './render/bytes.js';
import { renderTable, wrap } from './render/table.js';
import { parseDurationMs, showCount, showDuration, showRate, showSize } from './render/units.js';

async function itemsOf(chunks: readonly Buffer[], start = START): Promise<ImportItem[]> {
  const items: ImportItem[] = [];
  const source = Readable.from(chunks);
  for await (const item of readNdjson(source, start, mappingOf({}), textDecoderOf('utf-8'))) items.push(item);
  return items;
}

describe('ndjson', () => {
  test('lines are the same however the bytes are cut, and every place is one to go on from', async () => {
    const rows = fc.array(fc.oneof(fc.string({ minLength: 1, unit: 'binary' }), fc.constant('')), {
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(rows, fc.array(fc.nat({ max: 30 }), { maxLength: 20 }), async (keys, cuts) => {
        const lines = keys.map((key) => (key === '' ? ' ' : JSON.stringify({ key, value: '1' })));
        const bytes = Buffer.from(lines.join('\n'));
        const chunks: Buffer[] = [];
        let from = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(from, from + cut));
          from += cut;
        }
        chunks.push(bytes.subarray(from));
        const items = await itemsOf(chunks.filter((chunk) => chunk.length > 0));
        const wanted = keys.filter((key) => key !== '');
        expect(items.map(({ row }) => row?.key.toString())).toEqual(wanted);
        for (const [index, { next }] of items.entries()) {
          const rest = bytes.subarray(next.offset);
          const again = await itemsOf(rest.length === 0 ? [] : [rest], next);
          expect(again.map(({ row }) => row?.key.toString())).toEqual(wanted.slice(index + 1));
          expect(again.map(({ line }) => line)).toEqual(items.slice(index + 1).map(({ line }) => line));
        }
      }),
    );
  });

  test('an endless line is rejected without being kept', async () => {
    const part = Buffer.alloc(1024 * 1024, 'x');
    const chunks = [...Array.from({ length: SOURCE_ROW_BYTES_MAX / part.length + 1 }, () => part)];
    const items = await itemsOf([...chunks, Buffer.from('\n{"key":"a","value":"1"}\n')]);
    expect(items.map(({ line, row }) => [line, row?.key.toString()])).toEqual([
      [1, undefined],
      [2, 'a'],
    ]);
  });
});

describe('numbers of JSON', () => {
  test.each(['9007199254740993', '1e400', '-0', '1.10', '1E5', '0.1000000000000000055511151231257827'])(
    '%s keeps its text',
    (digits) => {
      const row = parseExactJson(`{"n":${digits},"deep":[{"n":${digits}}],"text":"a1.5"}`);
      expect(JSON.stringify(row)).toBe(`{"n":${digits},"deep":[{"n":${digits}}],"text":"a1.5"}`);
      expect(numberText((row as { n: unknown }).n)).toBe(digits);
    },
  );

  test('any other JSON is what JSON.parse makes of it', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(JSON.parse(JSON.stringify(parseExactJson(text)))).toEqual(JSON.parse(text));
      }),
    );
    expect(() => parseExactJson('{"n":1.5,}')).toThrow(SyntaxError);
  });
});

describe('records of CSV', () => {
  async function recordsOf(chunks: readonly Buffer[], recordBytesMax = 1000): Promise<CsvRecord[]> {
    const records: CsvRecord[] = [];
    const options = { delimiter: 0x2c, recordBytesMax };
    for await (const several of csvRecords(Readable.from(chunks), options)) records.push(...several);
    return records;
  }

  function cutInto(bytes: Buffer, lengths: readonly number[]): Buffer[] {
    const chunks: Buffer[] = [];
    let from = 0;
    for (const length of lengths) {
      chunks.push(bytes.subarray(from, from + length));
      from += length;
    }
    chunks.push(bytes.subarray(from));
    return chunks;
  }

  const lineEnds = fc.constantFrom('\n', '\r\n', '\r');

  test('what was written as CSV is read back, however bytes are cut and lines end', async () => {
    const cell = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', ' ', 'é') }),
      fc.constantFrom('""', '\r\n'),
    );
    const row = fc.array(cell, { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(fc.array(row), lineEnds, fc.array(fc.nat({ max: 4 })), async (rows, end, cuts) => {
        const quoted = (text: string): string =>
          /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
        const bytes = Buffer.from(rows.map((cells) => `${cells.map(quoted).join(',')}${end}`).join(''));
        const records = await recordsOf(cutInto(bytes, cuts));
        const cells = records.map(({ bytes: record }) => cellsOf((record as Buffer).toString(), ','));
        expect(cells).toEqual(rows);
        expect(records.map(({ problem }) => problem)).toEqual(rows.map(() => ''));
      }),
    );
  });

  test('nothing but line ends is outside the records, whatever is in the source', async () => {
    const piece = fc.constantFrom('a', '"', '""', ',', '\n', '"x\ny",', '\r\n', '\r');
    await fc.assert(
      fc.asyncProperty(fc.array(piece), fc.array(fc.nat({ max: 4 })), async (pieces, cuts) => {
        const bytes = Buffer.from(pieces.join(''));
        const records = await recordsOf(cutInto(bytes, cuts));
        expect(await recordsOf([bytes])).toEqual(records);
        const withoutLineEnds = (text: string): string => text.replaceAll(/[\r\n]/g, '');
        const all = Buffer.concat(records.map(({ bytes: record }) => record as Buffer));
        expect(withoutLineEnds(all.toString())).toBe(withoutLineEnds(bytes.toString()));
        const ends = records.map(({ end }) => end);
        expect(ends).toEqual([...ends].sort((one, other) => one - other));
      }),
    );
  });

  test('a long record is passed over, and the records behind it keep their lines', async () => {
    const text = 'h\r\na,1\r\n"long\n""\nrecord",of many bytes\nb,2\r\n12 of rain,3\nan endless one!';
    for (const chunks of [[Buffer.from(text)], [...Buffer.from(text)].map((byte) => Buffer.from([byte]))]) {
      const records = await recordsOf(chunks, 14);
      expect(records.map(({ line, lastLine, bytes }) => [line, lastLine, bytes?.toString()])).toEqual([
        [1, 1, 'h'],
        [2, 2, 'a,1'],
        [3, 5, undefined],
        [6, 6, 'b,2'],
        [7, 7, '12 of rain,3'],
        [8, 8, undefined],
      ]);
    }
  });
});

describe('encodings', () => {
  test('nothing is replaced', () => {
    expect(textDecoderOf('utf-8')(Buffer.from([0x61, 0xff]))).toBeUndefined();
    expect(textDecoderOf('utf-8')(Buffer.from('\ufeffx'))).toBe('\ufeffx');
    expect(textDecoderOf('latin1')(Buffer.from([0xe9]))).toBe('é');
    expect(() => textDecoderOf('klingon')).toThrow('not known');
    expect(() => textDecoderOf('utf-16le')).toThrow('iconv');
  });
});

describe('templates', () => {
  test('fields, braces and what is refused', () => {
    const row = { a: 'x', n: 7, yes: true, none: null, list: [1] };
    expect(fillTemplate(parseTemplate('{a}/{ n }-{yes}{{{a}}}'), row)).toBe('x/7-true{x}');
    for (const text of ['plain', '{', 'a}', '{}', '{{a}}'])
      expect(() => parseTemplate(text)).toThrow('template');
    for (const field of ['none', 'list', 'other', 'constructor']) {
      expect(() => fillTemplate(parseTemplate(`{${field}}`), row)).toThrow(`"${field}"`);
    }
  });
});

describe('bytes', () => {
  const anyBytes = fc.oneof(
    fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
  );

  test('JSON, hexadecimal and base64 are read back as they were', () => {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const shown: unknown = JSON.parse(JSON.stringify(jsonBytes(bytes)));
        if (typeof shown === 'string') expect(Buffer.from(shown)).toEqual(bytes);
        else expect(isBase64Marker(shown) && Buffer.from(shown.base64, 'base64').equals(bytes)).toBe(true);
        expect(parseBytes(showBytes(bytes, 'hex'), 'hex', 'key')).toEqual(bytes);
        expect(parseBytes(showBytes(bytes, 'base64'), 'base64', 'key')).toEqual(bytes);
      }),
    );
  });

  test('what is shown has one line, no control characters, and is different for different bytes', () => {
    fc.assert(
      fc.property(anyBytes, anyBytes, (one, other) => {
        expect(showBytes(one)).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
        const isBothText = [one, other].every((bytes) => typeof jsonBytes(bytes) === 'string');
        if (isBothText && !one.equals(other)) expect(showBytes(one)).not.toBe(showBytes(other));
      }),
    );
  });
});

test('units', () => {
  expect([0, 999, 1000, 1234567].map(showCount)).toEqual(['0', '999', '1,000', '1,234,567']);
  expect([0, 1023, 1536, 1024 ** 2 * 100, 5 * 1024 ** 4].map(showSize)).toEqual([
    '0 B',
    '1023 B',
    '1.5 KiB',
    '100 MiB',
    '5.0 TiB',
  ]);
  expect([0, 0.25, 9.96, 12.4].map(showRate)).toEqual(['0', '0.3', '10.0', '12']);
  expect([40, 1000, 200_000, 7_320_000, 273_600_000].map(showDuration)).toEqual([
    '40 ms',
    '1 s',
    '3 min 20 s',
    '2 h 2 min',
    '3 d 4 h',
  ]);
  expect(['500ms', '10s', '2', '1.5m', '7d', '', '5x', '-1s'].map(parseDurationMs)).toEqual([
    500,
    10_000,
    2_000,
    90_000,
    604_800_000,
    undefined,
    undefined,
    undefined,
  ]);
});

test('tables align wide characters and marks', () => {
  const table = renderTable(
    [{ title: 'a' }, { title: 'n', align: 'right' }],
    [
      ['東', '1'],
      ['e\u0301', '10'],
    ],
    'row',
  );
  expect(table).toBe(' a  |  n\n----+----\n 東 |  1\n e\u0301  | 10\n(2 rows)\n');
});

test('what a node says in a table moves no cursor', () => {
  const table = renderTable([{ title: 'a' }, { title: 'b' }], [['x\u001b[2J', 'y']], 'row');
  expect(table).toBe(' a          | b\n------------+---\n x\\u{1b}[2J | y\n(1 row)\n');
});

test('what is too long for a cell has several lines', () => {
  const text = wrap('A range that has grown past this is split: averyveryverylongword', 20);
  expect(text.split('\n')).toEqual([
    'A range that has',
    'grown past this is',
    'split:',
    'averyveryverylongword',
  ]);
  const columns = [{ title: 'name' }, { title: 'what' }];
  expect(
    renderTable(
      columns,
      [
        ['a', 'one\ntwo'],
        ['b', ''],
      ],
      'setting',
    ),
  ).toBe(
    [' name | what', '------+------', ' a    | one', '      | two', ' b    |', '(2 settings)', ''].join('\n'),
  );
});
