import { crc32 } from '@cairn/codec';

import { Compression, deflateBody } from './compression.js';
import { compareKeys, KeyView } from './key-view.js';
import {
  isDeleted,
  KEY_BYTES_MAX,
  keyBytesOf,
  moveRowWithoutPrefix,
  ROW_HEADER_BYTES,
  valueBytesOf,
} from './row.js';

/*
 * A block of a table file, little endian:
 *   body, or what compression made of it | body bytes u32 | compression u8 | crc u32
 * The CRC-32 covers everything before it, as it is on disk. The body:
 *   packed rows in key order, without the prefix of their keys | prefix | offset of each row, u16 or u32 |
 *   prefix bytes u32 | rows u16 | format u8
 *
 * The prefix is what all keys of the block begin with, so a search compares with it once, and then only
 * with what comes behind it: every row can be looked at by itself. Keys that share with the key before
 * them, with restart points in between, as LevelDB has them, would save a little more and make each look
 * put keys together.
 */

/** Behind the offsets of a body. */
const BODY_FOOT_BYTES = 7;
/** Behind the body. */
export const BLOCK_TRAILER_BYTES = 9;
/** Rows that one block holds at most. */
export const BLOCK_ROWS_MAX = 0xffff;
/** A block whose rows stay below this has offsets of two bytes. */
const SHORT_OFFSET_BYTES_MAX = 0xffff;

const Format = { shortOffsets: 1, longOffsets: 2 } as const;

/** What is to become a block, while it is written: packed rows with whole keys. */
export interface OpenBlock {
  /** The rows lie at [start, end). */
  readonly start: number;
  readonly end: number;
  /** Where each begins, from `start`. */
  readonly offsets: Uint32Array;
  readonly count: number;
  /** What all keys begin with. */
  readonly prefix: Uint8Array;
}

/** Bytes of a block that is not compressed: of so many rows, whose bytes are these without the prefix. */
export function blockBytesOf(rowBytes: number, rows: number, prefixBytes: number): number {
  const offsetBytes = rowBytes <= SHORT_OFFSET_BYTES_MAX ? 2 : 4;
  return rowBytes + prefixBytes + rows * offsetBytes + BODY_FOOT_BYTES + BLOCK_TRAILER_BYTES;
}

/**
 * Makes a block of the rows, where they lie; answers where it ends. There must be room for `blockBytesOf`.
 */
export function sealBlock(bytes: Uint8Array, open: OpenBlock, isCompressed: boolean): number {
  const { start } = open;
  const bodyEnd = writeBody(bytes, open);
  const deflated = isCompressed ? deflateBody(bytes.subarray(start, bodyEnd)) : undefined;
  if (deflated !== undefined) bytes.set(deflated, start);
  let at = deflated === undefined ? bodyEnd : start + deflated.length;
  at = writeU32(bytes, at, bodyEnd - start);
  bytes[at++] = deflated === undefined ? Compression.none : Compression.deflate;
  return writeU32(bytes, at, crc32(bytes.subarray(start, at)));
}

/** Answers where the body ends. */
function writeBody(bytes: Uint8Array, { start, end, offsets, count, prefix }: OpenBlock): number {
  let rowsEnd = start;
  for (let row = 0; row < count; row += 1) {
    const at = start + (offsets[row] as number);
    const next = row + 1 === count ? end : start + (offsets[row + 1] as number);
    offsets[row] = rowsEnd - start;
    rowsEnd = moveRowWithoutPrefix(bytes, { at, end: next, to: rowsEnd }, prefix.length);
  }
  bytes.set(prefix, rowsEnd);
  let at = rowsEnd + prefix.length;
  const isShort = rowsEnd - start <= SHORT_OFFSET_BYTES_MAX;
  for (let row = 0; row < count; row += 1) {
    const offset = offsets[row] as number;
    bytes[at++] = offset;
    bytes[at++] = offset >>> 8;
    if (isShort) continue;
    bytes[at++] = offset >>> 16;
    bytes[at++] = offset >>> 24;
  }
  at = writeU32(bytes, at, prefix.length);
  bytes[at++] = count;
  bytes[at++] = count >>> 8;
  bytes[at++] = isShort ? Format.shortOffsets : Format.longOffsets;
  return at;
}

function writeU32(bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
  return at + 4;
}

function readU32(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
  return (low | ((bytes[at + 3] as number) << 24)) >>> 0;
}

function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

/** Whether the checksum of the block in bytes [start, end) is right. */
export function isBlockIntact(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < BLOCK_TRAILER_BYTES) return false;
  return crc32(bytes.subarray(start, end - 4)) === readU32(bytes, end - 4);
}

/** The compression byte of the block that ends at `end`. */
export function compressionOf(bytes: Uint8Array, end: number): number {
  return bytes[end - 5] as number;
}

/** The bytes of the body, as the block that ends at `end` says. */
export function bodyBytesOf(bytes: Uint8Array, end: number): number {
  return readU32(bytes, end - BLOCK_TRAILER_BYTES);
}

/** What a body is that was checked: only of one that is 'whole' a view may be made. */
export type BodyState = 'whole' | 'malformed' | 'unknown-format';

/**
 * Whether the parts of the body in bytes [start, end) lie within it, its rows included: nobody who looks at
 * one of them afterwards asks where it ends.
 */
export function stateOfBody(bytes: Uint8Array, start: number, end: number): BodyState {
  const foot = end - BODY_FOOT_BYTES;
  if (foot < start) return 'malformed';
  const format = bytes[end - 1];
  if (format !== Format.shortOffsets && format !== Format.longOffsets) return 'unknown-format';
  const rows = readU16(bytes, foot + 4);
  const isShort = format === Format.shortOffsets;
  const offsetsAt = foot - rows * (isShort ? 2 : 4);
  const prefixBytes = readU32(bytes, foot);
  const rowsEnd = offsetsAt - prefixBytes;
  const keyBytesMax = KEY_BYTES_MAX - prefixBytes;
  let at = start;
  for (let row = 0; row < rows; row += 1) {
    const offset = isShort ? readU16(bytes, offsetsAt + row * 2) : readU32(bytes, offsetsAt + row * 4);
    if (offset !== at - start || rowsEnd - at < ROW_HEADER_BYTES) return 'malformed';
    const keyBytes = keyBytesOf(bytes, at);
    const valueBytes = valueBytesOf(bytes, at);
    if (keyBytes > keyBytesMax || (valueBytes > 0 && isDeleted(bytes, at))) return 'malformed';
    at += ROW_HEADER_BYTES + keyBytes + valueBytes;
  }
  return rows > 0 && at === rowsEnd ? 'whole' : 'malformed';
}

/** The rows of a body in memory that belongs to somebody else. */
export class BlockView {
  bytes: Uint8Array = new Uint8Array(0);
  rowCount = 0;
  #start = 0;
  #offsetsAt = 0;
  #isShort = true;
  #prefixAt = 0;
  #prefixBytes = 0;
  /** The key of one row in one piece: the prefix, once somebody asked for a key, then the rest. */
  #whole = new Uint8Array(256);
  #hasPrefix = false;
  readonly #key = new KeyView();
  readonly #rest = new KeyView();

  /** Looks at the body in bytes [start, end), of which it was checked that it is whole. */
  set(bytes: Uint8Array, start: number, end: number): void {
    const foot = end - BODY_FOOT_BYTES;
    this.bytes = bytes;
    this.#start = start;
    this.rowCount = readU16(bytes, foot + 4);
    this.#isShort = bytes[end - 1] === Format.shortOffsets;
    this.#offsetsAt = foot - this.rowCount * (this.#isShort ? 2 : 4);
    this.#prefixBytes = readU32(bytes, foot);
    this.#prefixAt = this.#offsetsAt - this.#prefixBytes;
    this.#hasPrefix = false;
  }

  /** Where a row lies; its key is without the prefix. */
  rowAt(row: number): number {
    const { bytes } = this;
    if (this.#isShort) return this.#start + readU16(bytes, this.#offsetsAt + row * 2);
    return this.#start + readU32(bytes, this.#offsetsAt + row * 4);
  }

  /** Lets `key` look at the whole key of the row at this place, until the next call. */
  showKey(rowAt: number, key: KeyView): void {
    const rest = this.#key;
    rest.setToRow(this.bytes, rowAt);
    const length = this.#prefixBytes + rest.length;
    if (this.#whole.length < length) {
      this.#whole = new Uint8Array(Math.max(length, this.#whole.length * 2));
      this.#hasPrefix = false;
    }
    if (!this.#hasPrefix) {
      this.#rest.set(this.bytes, this.#prefixAt, this.#prefixBytes);
      this.#rest.copyTo(this.#whole, 0);
      this.#hasPrefix = true;
    }
    rest.copyTo(this.#whole, this.#prefixBytes);
    key.set(this.#whole, 0, length);
  }

  /** The first row whose key is at or above the target; `rowCount` when all are below. */
  lowerBound(target: KeyView): number {
    const side = this.#compareWithPrefix(target);
    if (side !== 0) return side < 0 ? 0 : this.rowCount;
    const rest = this.#rest;
    rest.set(target.bytes, target.at + this.#prefixBytes, target.length - this.#prefixBytes);
    const key = this.#key;
    let low = 0;
    let high = this.rowCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      key.setToRow(this.bytes, this.rowAt(middle));
      if (compareKeys(key, rest) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Below 0: the target is below all keys with the prefix; above 0: above all; 0: it begins with it. */
  #compareWithPrefix(target: KeyView): number {
    const { bytes } = this;
    const end = this.#prefixAt + this.#prefixBytes;
    const targetEnd = target.at + target.length;
    for (let at = this.#prefixAt, targetAt = target.at; at < end; at += 1, targetAt += 1) {
      if (targetAt === targetEnd) return -1;
      const difference = (target.bytes[targetAt] as number) - (bytes[at] as number);
      if (difference !== 0) return difference;
    }
    return 0;
  }
}
