import type { Readable } from 'node:stream';
import { UsageError } from '../exit-codes.js';
import { jsonBytes, shorten } from '../render/bytes.js';
import { cellsOf, csvRecords, type CsvRecord } from './csv-records.js';
import { SOURCE_ROW_BYTES_MAX, type ImportItem, type Mapping, type ResumePoint } from './mapping.js';
import { RejectedRow, type Row } from './template.js';
import type { DecodeText } from './text-encoding.js';

export interface CsvOptions {
  readonly delimiter: string;
  readonly decode: DecodeText;
  /** Columns without which no row can be taken. */
  readonly needed: readonly string[];
}

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
/** Of the names of columns in a sentence. */
const SHOWN_COLUMNS_LENGTH = 200;
const ASCII = /^[\0-\x7f]*$/;

/**
 * Rows of a CSV file whose first line names the columns. `source` begins at the first byte even when the
 * import is resumed, because the columns are named there; records that are done are passed over. Blank lines
 * are skipped; malformed and overlong records are rejected one by one.
 *
 * @throws UsageError when the first line cannot name columns, or leaves out one that every row needs.
 */
export async function* readCsv(
  source: Readable,
  start: ResumePoint,
  mapping: Mapping,
  options: CsvOptions,
): AsyncGenerator<ImportItem, void, undefined> {
  const records = csvRecords(withoutByteOrderMark(source as AsyncIterable<Buffer>), {
    delimiter: options.delimiter.charCodeAt(0),
    recordBytesMax: SOURCE_ROW_BYTES_MAX,
  });
  let columns: readonly string[] | undefined;
  for await (const several of records) {
    for (const record of several) {
      if (record.bytes?.length === 0) continue;
      if (columns === undefined) columns = columnsOf(record, options);
      else if (record.end > start.offset) yield itemOf(record, columns, mapping, options);
    }
  }
}

/** Offsets count from behind a byte order mark. */
async function* withoutByteOrderMark(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (head === undefined) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < BYTE_ORDER_MARK.length) continue;
    yield head.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
      ? head.subarray(BYTE_ORDER_MARK.length)
      : head;
    head = undefined;
  }
  if (head !== undefined && head.length > 0) yield head;
}

function columnsOf({ bytes, problem }: CsvRecord, { delimiter, decode, needed }: CsvOptions): string[] {
  const refuse = (why: string): UsageError =>
    new UsageError(`the first line, which names the columns, cannot be read: ${why}`);
  if (bytes === undefined || problem !== '') throw refuse(problem);
  const columns = cellsOf(bytes.toString('latin1'), delimiter).map((cell) => {
    const name = textOf(cell, decode);
    if (name === undefined) throw refuse('it cannot be decoded; see --encoding');
    return name;
  });
  const missing = needed.find((field) => !columns.includes(field));
  if (missing === undefined) return columns;
  const found = shorten(columns.map((column) => JSON.stringify(column)).join(', '), SHOWN_COLUMNS_LENGTH);
  throw new UsageError(
    `no column is called "${missing}"; the first line names ${found}; see --key, --key-field, --delimiter`,
  );
}

function itemOf(
  record: CsvRecord,
  columns: readonly string[],
  mapping: Mapping,
  options: CsvOptions,
): ImportItem {
  const { line, lastLine, end, bytes } = record;
  const next: ResumePoint = { offset: end, line: lastLine };
  const text = bytes === undefined ? '' : jsonBytes(bytes);
  try {
    return { line, next, text, row: mapping(rowOf(record, columns, options), undefined), reason: '' };
  } catch (error) {
    if (!(error instanceof RejectedRow)) throw error;
    return { line, next, text, row: undefined, reason: error.message };
  }
}

function rowOf(
  { bytes, problem }: CsvRecord,
  columns: readonly string[],
  { delimiter, decode }: CsvOptions,
): Row {
  if (bytes === undefined || problem !== '') throw new RejectedRow(problem);
  const cells = cellsOf(bytes.toString('latin1'), delimiter);
  if (cells.length !== columns.length) {
    const count = `${cells.length} ${cells.length === 1 ? 'cell' : 'cells'}`;
    const wanted = `${columns.length} ${columns.length === 1 ? 'column' : 'columns'}`;
    throw new RejectedRow(`${count}, but the first line names ${wanted}`);
  }
  return Object.fromEntries(
    columns.map((column, index) => {
      const text = textOf(cells[index] as string, decode);
      if (text === undefined) throw new RejectedRow(`column "${column}" cannot be decoded; see --encoding`);
      return [column, text];
    }),
  );
}

/** The text of a cell that has one character for each byte; undefined when it has none. */
function textOf(cell: string, decode: DecodeText): string | undefined {
  return ASCII.test(cell) ? cell : decode(Buffer.from(cell, 'latin1'));
}
