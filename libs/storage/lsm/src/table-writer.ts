import { assert } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import type { DiskFile } from '@cairn/ports';

import { BLOCK_ROWS_MAX, blockBytesOf, sealBlock } from './block.js';
import { buildFilter } from './bloom.js';
import { hashStem, type KeyShape } from './key-shape.js';
import { KeyView, sharedBytesOf } from './key-view.js';
import type { RowView } from './row-cursor.js';
import { ROW_HEADER_BYTES, writeRowOf } from './row.js';
import { encodeFooter, metaBytesOf, separatorOf, TABLE_BYTES_MAX } from './table-format.js';
import type { TableSummary } from './table-summary.js';

/** Rows are gathered up to here before they are written. */
const OUTPUT_BYTES = 1024 * 1024;
/** Written bytes after which the file is synced: what is dirty stays little, and so does the last sync. */
const SYNC_BYTES = 4 * 1024 * 1024;
const NOTHING = new Uint8Array(0);

export interface TableWriterOptions {
  readonly file: DiskFile;
  readonly number: number;
  /** Of the directory that the file is in. */
  readonly directoryId: number;
  readonly shape: KeyShape;
  /** A block is closed before it grows beyond this; a single larger row gets a block of its own. */
  readonly blockBytes: number;
  /** Whether blocks are compressed where that is worth it. */
  readonly isCompressed: boolean;
  /** About how large the table becomes: a small one begins with less memory. */
  readonly bytesExpected: number;
}

/** Writes one table, row by row in key order, each key once. */
export class TableWriter {
  readonly #options: TableWriterOptions;
  #output: Uint8Array;
  #end = 0;
  /** The file's bytes before the output's. */
  #written = 0;
  #unsynced = 0;

  // The open block.
  #blockStart = 0;
  #offsets = new Uint32Array(256);
  #rowsInBlock = 0;
  /**
   * What all its keys begin with: its first key has that, and the row that comes next may have less of it.
   */
  #prefixBytes = 0;
  readonly #firstKey = new KeyView();
  /** Bytes of the closed blocks before they were compressed. */
  #plainBytes = 0;

  readonly #positions: number[] = [];
  readonly #separatorEnds: number[] = [];
  readonly #separators: Uint8Array[] = [];
  #separatorBytes = 0;
  #hashes = new Uint32Array(4096);
  #hashCount = 0;

  #rows = 0;
  #deletedRows = 0;
  #smallestKey: Uint8Array | undefined;
  /** Of the block that was closed last. */
  #lastKey: Uint8Array = NOTHING;
  #lastRowAt = 0;
  #lowestSuffix: Uint8Array = NOTHING;
  readonly #key = new KeyView();

  constructor(options: TableWriterOptions) {
    this.#options = options;
    this.#output = Buffer.allocUnsafeSlow(Math.min(OUTPUT_BYTES, options.bytesExpected));
  }

  /** Bytes of the blocks so far, as they are without compression: what the work is measured by. */
  get plainBytes(): number {
    return this.#plainBytes + this.#end - this.#blockStart;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Adds a row. Answers whether `drain` is due. */
  add(row: RowView): boolean {
    const { key } = row;
    const length = ROW_HEADER_BYTES + key.length + row.valueBytes;
    let prefixBytes = this.#sharedWith(key);
    if (this.#rowsInBlock > 0 && this.#isFullWith(length, prefixBytes)) {
      this.#closeBlock();
      prefixBytes = key.length;
    }
    if (this.#rowsInBlock === 0) this.#openBlock(key);
    this.#prefixBytes = prefixBytes;
    const to = this.#end;
    if (to + length > this.#output.length) this.#makeRoom(length);
    writeRowOf(this.#output, to, row);
    if (this.#rowsInBlock === this.#offsets.length) this.#offsets = twice(this.#offsets);
    this.#offsets[this.#rowsInBlock] = to - this.#blockStart;
    this.#rowsInBlock += 1;
    this.#lastRowAt = to;
    this.#end = to + length;
    this.#note(key, row.isDeleted);
    return this.#blockStart >= OUTPUT_BYTES / 2;
  }

  /** What the keys of the open block would begin with, with this one. Keys rise: it tells for all of them. */
  #sharedWith(key: KeyView): number {
    if (this.#rowsInBlock === 0) return key.length;
    this.#firstKey.setToRow(this.#output, this.#blockStart);
    return Math.min(this.#prefixBytes, sharedBytesOf(this.#firstKey, key));
  }

  #isFullWith(length: number, prefixBytes: number): boolean {
    const rows = this.#rowsInBlock + 1;
    const rowBytes = this.#end - this.#blockStart + length - rows * prefixBytes;
    return (
      blockBytesOf(rowBytes, rows, prefixBytes) > this.#options.blockBytes ||
      this.#rowsInBlock === BLOCK_ROWS_MAX
    );
  }

  #openBlock(firstKey: KeyView): void {
    this.#positions.push(this.#written + this.#blockStart);
    if (this.#smallestKey === undefined) this.#smallestKey = firstKey.copy();
    else this.#addSeparator(separatorOf(this.#lastKey, firstKey));
  }

  #addSeparator(separator: Uint8Array): void {
    this.#separators.push(separator);
    this.#separatorBytes += separator.length;
    this.#separatorEnds.push(this.#separatorBytes);
  }

  #note(key: KeyView, isDeletion: boolean): void {
    this.#rows += 1;
    if (isDeletion) this.#deletedRows += 1;
    const { shape } = this.#options;
    const suffixBytes = shape.suffixBytesOf(key);
    if (suffixBytes > 0) this.#noteSuffix(key, suffixBytes);
    const hash = hashStem(key, key.length - suffixBytes);
    // The versions of one thing follow each other.
    if (this.#hashCount > 0 && this.#hashes[this.#hashCount - 1] === hash) return;
    if (this.#hashCount === this.#hashes.length) this.#hashes = twice(this.#hashes);
    this.#hashes[this.#hashCount] = hash;
    this.#hashCount += 1;
  }

  #noteSuffix(key: KeyView, suffixBytes: number): void {
    const at = key.at + key.length - suffixBytes;
    const lowest = this.#lowestSuffix;
    if (lowest.length > 0) {
      let offset = 0;
      while (offset < suffixBytes && key.bytes[at + offset] === lowest[offset]) offset += 1;
      if (offset === suffixBytes || (key.bytes[at + offset] as number) > (lowest[offset] as number)) return;
    }
    this.#lowestSuffix = Uint8Array.prototype.slice.call(key.bytes, at, at + suffixBytes);
  }

  #closeBlock(): void {
    const [start, end, count] = [this.#blockStart, this.#end, this.#rowsInBlock];
    const last = this.#key;
    last.setToRow(this.#output, this.#lastRowAt);
    this.#lastKey = last.copy();
    // A row alone shares nothing: its value may be large, and need not be moved.
    const prefix = this.#lastKey.subarray(0, count === 1 ? 0 : this.#prefixBytes);
    const length = blockBytesOf(end - start - count * prefix.length, count, prefix.length);
    if (start + length > this.#output.length) this.#makeRoom(length - (end - start));
    const open = { start, end, count, offsets: this.#offsets, prefix };
    this.#end = sealBlock(this.#output, open, this.#options.isCompressed);
    this.#plainBytes += length;
    this.#blockStart = this.#end;
    this.#rowsInBlock = 0;
  }

  /** Rows larger than the output make it grow. */
  #makeRoom(bytes: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#end + bytes, this.#output.length * 2));
    grown.set(this.#output.subarray(0, this.#end));
    this.#output = grown;
  }

  /** Writes the closed blocks. */
  async drain(): Promise<void> {
    const bytes = this.#blockStart;
    if (bytes === 0) return;
    await this.#write([this.#output.subarray(0, bytes)], bytes);
    this.#output.copyWithin(0, bytes, this.#end);
    this.#end -= bytes;
    this.#lastRowAt -= bytes;
    this.#blockStart = 0;
    if (this.#output.length > OUTPUT_BYTES && this.#end < OUTPUT_BYTES) {
      const usual = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
      usual.set(this.#output.subarray(0, this.#end));
      this.#output = usual;
    }
  }

  async #write(parts: readonly Uint8Array[], bytes: number): Promise<void> {
    const { file } = this.#options;
    assert(this.#written + bytes <= TABLE_BYTES_MAX, 'a table has at most 4 GiB', { bytes });
    await file.write(parts, this.#written);
    this.#written += bytes;
    this.#unsynced += bytes;
    if (this.#unsynced < SYNC_BYTES) return;
    await file.sync();
    this.#unsynced = 0;
  }

  /** Ends the table, durably; at least one row must have been added. */
  async finish(): Promise<TableSummary> {
    const { file, number } = this.#options;
    assert(this.#rows > 0 && this.#smallestKey !== undefined, 'a table without rows');
    this.#closeBlock();
    await this.drain();
    this.#positions.push(this.#written);
    this.#addSeparator(this.#lastKey);
    await this.#writeMeta();
    await file.sync();
    return {
      number,
      bytes: this.#written,
      rows: this.#rows,
      deletedRows: this.#deletedRows,
      smallestKey: this.#smallestKey,
      largestKey: this.#lastKey,
      lowestSuffix: this.#lowestSuffix,
    };
  }

  async #writeMeta(): Promise<void> {
    const filter = buildFilter(this.#hashes, this.#hashCount);
    const sizes = {
      filterWords: filter.length,
      blocks: this.#separatorEnds.length,
      separatorBytes: this.#separatorBytes,
    };
    const meta = Buffer.allocUnsafe(metaBytesOf(sizes));
    meta.set(asBytes(filter), 0);
    let at = filter.byteLength;
    for (const numbers of [this.#positions, this.#separatorEnds]) {
      for (const number of numbers) at = meta.writeUInt32LE(number, at);
    }
    for (const separator of this.#separators) {
      meta.set(separator, at);
      at += separator.length;
    }
    const { number, directoryId } = this.#options;
    const place = { metaAt: this.#written, metaCrc: crc32(meta) };
    const footer = encodeFooter({ ...sizes, ...place, number, directoryId });
    await this.#write([meta, footer], meta.length + footer.length);
  }
}

function asBytes(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function twice(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(array.length * 2);
  larger.set(array);
  return larger;
}
