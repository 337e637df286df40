import type { Readable } from 'node:stream';
import { parse, type CsvError, type Info } from 'csv-parse';
import type { ImportItem, Mapping, ResumePoint } from './mapping.js';
import { RejectedRow, type Row } from './template.js';

interface CsvRecord {
  readonly info: Info;
  readonly raw: string;
  readonly record: Row;
}

export interface CsvOptions {
  readonly delimiter: string;
}

/**
 * Rows of a CSV file whose first line names the columns. `source` begins at the first byte even when the
 * import is resumed: quoting has no safe place to start in the middle, so records that are done are parsed
 * and passed over. Malformed records are rejected one by one.
 */
export async function* readCsv(
  source: Readable,
  start: ResumePoint,
  mapping: Mapping,
  options: CsvOptions,
): AsyncGenerator<ImportItem, void, undefined> {
  const malformed: ImportItem[] = [];
  let last: ResumePoint = { offset: 0, line: 1, records: 0 };
  const parser = parse({
    columns: true,
    bom: true,
    info: true,
    raw: true,
    delimiter: options.delimiter,
    skip_empty_lines: true,
    skip_records_with_error: true,
    on_skip: (error: CsvError | undefined, raw: string | undefined) => {
      const line = typeof error?.['lines'] === 'number' ? error['lines'] : last.line + 1;
      if (line <= start.line) return;
      const reason = error === undefined ? 'malformed' : error.message;
      malformed.push({ line, next: { ...last, line }, row: undefined, reason, text: (raw ?? '').trimEnd() });
    },
  });
  source.once('error', (error) => parser.destroy(error));
  source.pipe(parser);
  for await (const parsed of parser) {
    const { info, raw, record } = parsed as CsvRecord;
    last = { offset: info.bytes, line: info.lines, records: last.records + 1 };
    yield* malformed.splice(0);
    if (last.records <= start.records) continue;
    yield itemOf(record, raw, last, mapping);
  }
  yield* malformed.splice(0);
}

function itemOf(record: Row, raw: string, next: ResumePoint, mapping: Mapping): ImportItem {
  const text = raw.trimEnd();
  try {
    return { line: next.line, next, row: mapping(record, undefined), reason: '', text };
  } catch (error) {
    if (!(error instanceof RejectedRow)) throw error;
    return { line: next.line, next, row: undefined, reason: error.message, text };
  }
}
