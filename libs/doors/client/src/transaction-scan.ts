import { Row } from './entry.js';
import type { ScanOptions } from './options.js';
import type { BufferedWrite, ScannedSpan } from './transaction-state.js';

const NO_VERSION = Buffer.alloc(0);

/** The rows that are stored, as of the transaction's instant. */
export type SpanRows = (options: ScanOptions) => AsyncIterable<Row>;

export interface MergedScan extends Omit<ScanOptions, 'prefix'> {
  readonly start: Buffer;
  readonly end: Buffer;
  readonly reverse: boolean;
  /** 0 = all. */
  readonly limit: number;
}

/**
 * The stored rows of a span with the writes of the transaction in place of theirs. `own` is in the order of
 * the scan; `seen` is told what the reader gets to know.
 */
export async function* mergedScan(
  rowsOf: SpanRows,
  scan: MergedScan,
  own: readonly BufferedWrite[],
  seen: ScannedSpan,
): AsyncGenerator<Row, void, undefined> {
  let given = 0;
  for await (const row of merged(storedRows(rowsOf, scan, own.length), scan, own)) {
    seen.last = row.key;
    yield row;
    given += 1;
    if (given === scan.limit) return;
  }
  seen.isWhole = true;
}

function storedRows(rowsOf: SpanRows, scan: MergedScan, own: number): AsyncIterable<Row> {
  // Each write of the transaction may hide a row that is stored.
  return rowsOf({ ...scan, limit: scan.limit === 0 ? 0 : scan.limit + own });
}

async function* merged(
  stored: AsyncIterable<Row>,
  { reverse, keysOnly }: MergedScan,
  own: readonly BufferedWrite[],
): AsyncGenerator<Row, void, undefined> {
  const sign = reverse ? -1 : 1;
  const rows = own.map((write) => rowOf(write, keysOnly === true));
  let at = 0;
  for await (const row of stored) {
    let isHidden = false;
    for (let write = own[at]; write !== undefined; write = own[at]) {
      const order = sign * Buffer.compare(write.key, row.key);
      if (order > 0) break;
      const written = rows[at];
      at += 1;
      isHidden = order === 0;
      if (written !== undefined) yield written;
    }
    if (!isHidden) yield row;
  }
  for (const written of rows.slice(at)) if (written !== undefined) yield written;
}

/** undefined: the transaction deletes it. */
function rowOf({ key, value }: BufferedWrite, isKeysOnly: boolean): Row | undefined {
  if (value === undefined) return undefined;
  const shown = isKeysOnly ? NO_VERSION : value;
  return new Row(key, { value: shown, version: NO_VERSION, expiresUnixMs: 0, kind: 0 });
}
