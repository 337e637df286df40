import { Readable } from 'node:stream';
import { parse, type CsvError, type Info } from 'csv-parse';
import { UsageError } from '../exit-codes.js';
import { jsonBytes } from '../render/bytes.js';
import { wholeCsvRecords } from './csv-records.js';
import { SOURCE_ROW_BYTES_MAX, type ImportItem, type Mapping, type ResumePoint } from './mapping.js';
import { RejectedRow, type Row } from './template.js';
import type { DecodeText } from './text-encoding.js';

interface CsvRecord {
  readonly info: Info;
  readonly raw: string;
  readonly record: Row;
}

export interface CsvOptions {
  readonly delimiter: string;
  readonly decode: DecodeText;
}

const ASCII = /^[\0-\x7f]*$/;

/**
 * Rows of a CSV file whose first line names the columns. `source` begins at the first byte even when the
 * import is resumed: quoting has no safe place to start in the middle, so records that are done are parsed
 * and passed over. Malformed and overlong records are rejected one by one.
 *
 * The parser sees bytes as characters of one byte each, so that the cells can be decoded exactly, or refused.
 *
 * @throws UsageError when the first line cannot name columns.
 */
export async function* readCsv(
  source: Readable,
  start: ResumePoint,
  mapping: Mapping,
  options: CsvOptions,
): AsyncGenerator<ImportItem, void, undefined> {
  const rejected: ImportItem[] = [];
  let last: ResumePoint = { offset: 0, line: 1, records: 0 };
  const reject = (line: number, reason: string, raw: string): void => {
    if (line <= start.line) return;
    const text = jsonBytes(Buffer.from(raw.trimEnd(), 'latin1'));
    rejected.push({ line, next: { ...last, line }, row: undefined, reason, text });
  };
  const records = wholeCsvRecords(source as AsyncIterable<Buffer>, {
    delimiter: options.delimiter.charCodeAt(0),
    recordBytesMax: SOURCE_ROW_BYTES_MAX,
    onTooLong: (line) => {
      const problem = `longer than ${SOURCE_ROW_BYTES_MAX} bytes`;
      if (line === 1) throw new UsageError(`the first line, which names the columns, is ${problem}`);
      reject(line, problem, '');
    },
  });
  const parser = parse({
    columns: (names: string[]) => names.map((name) => columnName(name, options.decode)),
    encoding: 'latin1',
    info: true,
    raw: true,
    delimiter: Buffer.from(options.delimiter).toString('latin1'),
    skip_empty_lines: true,
    skip_records_with_error: true,
    on_skip: (error: CsvError | undefined, raw: string | undefined) => {
      const line = typeof error?.['lines'] === 'number' ? error['lines'] : last.line + 1;
      reject(line, error === undefined ? 'malformed' : error.message, raw ?? '');
    },
  });
  const input = Readable.from(withoutByteOrderMark(records), { objectMode: true, highWaterMark: 1 });
  input.once('error', (error) => parser.destroy(error));
  input.pipe(parser);
  for await (const parsed of parser) {
    const { info, raw, record } = parsed as CsvRecord;
    last = { offset: info.bytes, line: info.lines, records: last.records + 1 };
    yield* rejected.splice(0);
    if (last.records <= start.records) continue;
    yield itemOf(record, raw, last, { mapping, decode: options.decode });
  }
  yield* rejected.splice(0);
}

async function* withoutByteOrderMark(records: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let isFirst = true;
  for await (const bytes of records) {
    const hasMark = isFirst && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
    isFirst = false;
    yield hasMark ? bytes.subarray(3) : bytes;
  }
}

function columnName(name: string, decode: DecodeText): string {
  const text = decode(Buffer.from(name, 'latin1'));
  if (text === undefined) {
    throw new UsageError('the first line, which names the columns, cannot be decoded; see --encoding');
  }
  return text;
}

function itemOf(
  record: Row,
  raw: string,
  next: ResumePoint,
  { mapping, decode }: { readonly mapping: Mapping; readonly decode: DecodeText },
): ImportItem {
  const item = { line: next.line, next, text: jsonBytes(Buffer.from(raw.trimEnd(), 'latin1')) };
  try {
    return { ...item, row: mapping(decoded(record, decode), undefined), reason: '' };
  } catch (error) {
    if (!(error instanceof RejectedRow)) throw error;
    return { ...item, row: undefined, reason: error.message };
  }
}

function decoded(record: Row, decode: DecodeText): Row {
  const row: Record<string, unknown> = {};
  for (const [column, cell] of Object.entries(record as Record<string, string>)) {
    const text = ASCII.test(cell) ? cell : decode(Buffer.from(cell, 'latin1'));
    if (text === undefined) throw new RejectedRow(`column "${column}" cannot be decoded; see --encoding`);
    row[column] = text;
  }
  return row;
}
