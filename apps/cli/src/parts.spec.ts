/** Goal: sources, templates and renderings keep their laws. Method: properties, and tables of examples. */
import { Readable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mappingOf, START, type ImportItem } from './import/mapping.js';
import { LINE_BYTES_MAX, readNdjson } from './import/ndjson-source.js';
import { fillTemplate, parseTemplate } from './import/template.js';
import { bytesOfJson, jsonBytes, parseBytes, showBytes } from './render/bytes.js';
import { renderTable } from './render/table.js';
import { parseDurationMs, showCount, showDuration, showRate, showSize } from './render/units.js';

async function itemsOf(chunks: readonly Buffer[], start = START): Promise<ImportItem[]> {
  const items: ImportItem[] = [];
  for await (const item of readNdjson(Readable.from(chunks), start, mappingOf({}))) items.push(item);
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
    const chunks = [...Array.from({ length: LINE_BYTES_MAX / part.length + 1 }, () => part)];
    const items = await itemsOf([...chunks, Buffer.from('\n{"key":"a","value":"1"}\n')]);
    expect(items.map(({ line, row }) => [line, row?.key.toString()])).toEqual([
      [1, undefined],
      [2, 'a'],
    ]);
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
        expect(bytesOfJson(JSON.parse(JSON.stringify(jsonBytes(bytes))))).toEqual(bytes);
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
