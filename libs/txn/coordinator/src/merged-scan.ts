import { NO_BYTES, RowKind } from '@cairn/base';
import { compareKeys } from '@cairn/routing';
import { unpackRows, type KvRow, type PackedRows, type ReadSpan } from '@cairn/wire';

import type { TransactionScan, TransactionWrite } from './types.js';

/** A page of a scan, and the part of the span that it and those before it have covered. */
export interface MergedPage {
  readonly rows: readonly KvRow[];
  readonly covered: ReadSpan;
}

/**
 * The pages of a scan with a transaction's own writes in them: what it put is there, without a version, and
 * what it deleted is not. `written` is in ascending order. Own writes behind the last row of a page come with
 * a later one.
 */
export async function* mergedPages(
  stored: AsyncIterable<PackedRows>,
  written: readonly TransactionWrite[],
  span: TransactionScan,
): AsyncGenerator<MergedPage> {
  const merge = new Merge(written, span);
  for await (const page of stored) {
    yield* inParts(merge.page(unpackRows(page)), span);
    if (merge.isFull) return;
  }
  yield* inParts(merge.rest(), span);
}

/** Own writes may make a page of any size: its parts pass `pageBytes` by one row at most. */
function* inParts({ rows, covered }: MergedPage, span: TransactionScan): Generator<MergedPage> {
  let first = 0;
  let bytes = 0;
  for (const [at, { key, value }] of rows.entries()) {
    bytes += key.length + value.length;
    if (bytes < span.pageBytes || at === rows.length - 1) continue;
    yield { rows: rows.slice(first, at + 1), covered: upTo(key, span) };
    first = at + 1;
    bytes = 0;
  }
  yield { rows: first === 0 ? rows : rows.slice(first), covered };
}

/** What a scan has looked at when it has come to this key. */
function upTo(key: Uint8Array, { start, end, reverse }: TransactionScan): ReadSpan {
  return reverse ? { start: Buffer.from(key), end } : { start, end: behind(key) };
}

class Merge {
  readonly #span: TransactionScan;
  /** In the direction of the scan. */
  readonly #written: readonly TransactionWrite[];
  #next = 0;
  #left: number;

  constructor(written: readonly TransactionWrite[], span: TransactionScan) {
    this.#span = span;
    this.#written = span.reverse ? [...written].reverse() : written;
    this.#left = span.limit === 0 ? Infinity : span.limit;
  }

  get isFull(): boolean {
    return this.#left <= 0;
  }

  page(stored: readonly KvRow[]): MergedPage {
    const rows: KvRow[] = [];
    for (const row of stored) {
      this.#ownBefore(row.key, rows);
      const own = this.#written[this.#next];
      if (own !== undefined && compareKeys(own.key, row.key) === 0) {
        this.#next += 1;
        this.#take(own, rows);
      } else {
        rows.push(row);
      }
    }
    return this.#cut(rows, stored[stored.length - 1]?.key);
  }

  /** Behind the last page. */
  rest(): MergedPage {
    const rows: KvRow[] = [];
    this.#ownBefore(undefined, rows);
    return this.#cut(rows, undefined);
  }

  /** Own writes before the key, in the direction of the scan; undefined = all. */
  #ownBefore(key: Uint8Array | undefined, rows: KvRow[]): void {
    for (let own = this.#written[this.#next]; own !== undefined; own = this.#written[this.#next]) {
      if (key !== undefined && this.#order(own.key, key) >= 0) return;
      this.#next += 1;
      this.#take(own, rows);
    }
  }

  #take(own: TransactionWrite, rows: KvRow[]): void {
    if (own.type === 'delete') return;
    const value = this.#span.keysOnly ? NO_BYTES : own.value;
    rows.push({ key: own.key, value, version: NO_BYTES, kind: RowKind.bytes, expiresUnixMs: 0 });
  }

  /**
   * As many rows as are wanted; `last` is the last key that was looked at, undefined = all of the span was.
   */
  #cut(rows: readonly KvRow[], last: Uint8Array | undefined): MergedPage {
    const page = rows.length > this.#left ? rows.slice(0, this.#left) : rows;
    this.#left -= page.length;
    const edge = this.#left <= 0 ? (page[page.length - 1]?.key ?? last) : last;
    const { start, end } = this.#span;
    return { rows: page, covered: edge === undefined ? { start, end } : upTo(edge, this.#span) };
  }

  #order(one: Uint8Array, other: Uint8Array): number {
    return this.#span.reverse ? compareKeys(other, one) : compareKeys(one, other);
  }
}

/** The first key above a key; a copy, which keeps nothing of the page. */
function behind(key: Uint8Array): Uint8Array {
  return Buffer.concat([key, Buffer.of(0)]);
}
