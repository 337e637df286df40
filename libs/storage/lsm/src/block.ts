import { CairnError } from '@cairn/base';
import { crc32 } from '@cairn/codec';

import { compareKeys, KeyView } from './key-view.js';

/*
 * A block of a table file, little endian:
 *   packed rows in key order | offset of each row, u16 or u32 | rows u16 | format u8 | 0 u8 | crc u32
 * The CRC-32 covers everything before it.
 */

/** Behind the row offsets. */
export const BLOCK_TRAILER_BYTES = 8;
/** Rows that one block holds at most. */
export const BLOCK_ROWS_MAX = 0xffff;
/** A block that stays below this has offsets of two bytes. */
const SHORT_OFFSET_BYTES_MAX = 0xffff;

const Format = { shortOffsets: 1, longOffsets: 2 } as const;

/** Bytes that a block of so many row bytes and rows takes. */
export function blockBytesOf(rowBytes: number, rows: number): number {
  const offsetBytes = rowBytes <= SHORT_OFFSET_BYTES_MAX ? 2 : 4;
  return rowBytes + rows * offsetBytes + BLOCK_TRAILER_BYTES;
}

/** What stands behind the rows: they lie at [start, end) and begin at `offsets` from `start`. */
export function sealBlock(
  bytes: Uint8Array,
  rows: { readonly start: number; readonly end: number },
  offsets: Uint32Array,
  count: number,
): number {
  const isShort = rows.end - rows.start <= SHORT_OFFSET_BYTES_MAX;
  let at = rows.end;
  for (let row = 0; row < count; row += 1) {
    const offset = offsets[row] as number;
    bytes[at++] = offset;
    bytes[at++] = offset >>> 8;
    if (isShort) continue;
    bytes[at++] = offset >>> 16;
    bytes[at++] = offset >>> 24;
  }
  bytes[at++] = count;
  bytes[at++] = count >>> 8;
  bytes[at++] = isShort ? Format.shortOffsets : Format.longOffsets;
  bytes[at++] = 0;
  const crc = crc32(bytes.subarray(rows.start, at));
  bytes[at++] = crc;
  bytes[at++] = crc >>> 8;
  bytes[at++] = crc >>> 16;
  bytes[at++] = crc >>> 24;
  return at;
}

/** A block in memory that belongs to somebody else. */
export class BlockView {
  bytes: Uint8Array = new Uint8Array(0);
  rowCount = 0;
  #start = 0;
  #offsetsAt = 0;
  #isShort = true;
  readonly #key = new KeyView();

  /**
   * Looks at the block in bytes [start, end). Its checksum must have been checked when it was read. Throws
   * CORRUPTION for a format of which nothing is known.
   */
  set(bytes: Uint8Array, start: number, end: number): void {
    const trailer = end - BLOCK_TRAILER_BYTES;
    const format = bytes[trailer + 2];
    if (format !== Format.shortOffsets && format !== Format.longOffsets) {
      throw new CairnError('CORRUPTION', `engine: unknown format ${String(format)} of a block`);
    }
    this.bytes = bytes;
    this.#start = start;
    this.rowCount = (bytes[trailer] as number) | ((bytes[trailer + 1] as number) << 8);
    this.#isShort = format === Format.shortOffsets;
    this.#offsetsAt = trailer - this.rowCount * (this.#isShort ? 2 : 4);
  }

  /** Where a row lies. */
  rowAt(row: number): number {
    const { bytes } = this;
    if (this.#isShort) {
      const at = this.#offsetsAt + row * 2;
      return this.#start + ((bytes[at] as number) | ((bytes[at + 1] as number) << 8));
    }
    const at = this.#offsetsAt + row * 4;
    const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
    return this.#start + ((low | ((bytes[at + 3] as number) << 24)) >>> 0);
  }

  /** The first row whose key is at or above the target; `rowCount` when all are below. */
  lowerBound(target: KeyView): number {
    const key = this.#key;
    let low = 0;
    let high = this.rowCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      key.setToRow(this.bytes, this.rowAt(middle));
      if (compareKeys(key, target) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Whether the checksum of the block in bytes [start, end) is right. */
export function isBlockIntact(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < BLOCK_TRAILER_BYTES) return false;
  const at = end - 4;
  const stored =
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0;
  return crc32(bytes.subarray(start, at)) === stored;
}
