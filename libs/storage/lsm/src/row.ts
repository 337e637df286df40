import { ENGINE_KEY_BYTES_MAX } from '@cairn/engine';

import type { RowView } from './row-cursor.js';

/*
 * A row as it lies in batches, memtables and blocks alike:
 *   key bytes, the lower 16 bits | value bytes u30, bit 16 of the key bytes, then a bit: deleted, no value
 *   | key | value
 * Little endian. In a block the key is what comes behind the prefix that all keys of the block share.
 */

/** What stands before the key of a packed row. */
export const ROW_HEADER_BYTES = 6;
/** Longest key. */
export const KEY_BYTES_MAX = ENGINE_KEY_BYTES_MAX;
/** Longest value. */
export const VALUE_BYTES_MAX = 0x3fffffff;

const DELETED = 0x80;
/** The seventeenth bit of the key's length. */
const LONG_KEY = 0x40;
const VALUE_HIGH = 0x3f;

/** The key bytes of the row at `at`. */
export function keyBytesOf(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | (((bytes[at + 5] as number) & LONG_KEY) << 10)
  );
}

/** The value bytes of the row at `at`; 0 for a deleted one. */
export function valueBytesOf(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at + 2] as number) |
    ((bytes[at + 3] as number) << 8) |
    ((bytes[at + 4] as number) << 16) |
    (((bytes[at + 5] as number) & VALUE_HIGH) << 24)
  );
}

/** Whether the row says that its key was deleted. */
export function isDeleted(bytes: Uint8Array, at: number): boolean {
  return ((bytes[at + 5] as number) & DELETED) !== 0;
}

/** Bytes of the whole row at `at`. */
export function rowBytesOf(bytes: Uint8Array, at: number): number {
  return ROW_HEADER_BYTES + keyBytesOf(bytes, at) + valueBytesOf(bytes, at);
}

/** `valueBytes` below 0: deleted. */
function writeHeader(bytes: Uint8Array, at: number, keyBytes: number, valueBytes: number): void {
  const isDeletion = valueBytes < 0;
  const length = isDeletion ? 0 : valueBytes;
  bytes[at] = keyBytes;
  bytes[at + 1] = keyBytes >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = length >>> 8;
  bytes[at + 4] = length >>> 16;
  bytes[at + 5] = (length >>> 24) | ((keyBytes >>> 10) & LONG_KEY) | (isDeletion ? DELETED : 0);
}

/** Writes a row; without a value a deletion. Answers the place behind it. */
export function writeRow(
  bytes: Uint8Array,
  at: number,
  key: Uint8Array,
  value: Uint8Array | undefined,
): number {
  const valueBytes = value === undefined ? 0 : value.length;
  writeHeader(bytes, at, key.length, value === undefined ? -1 : valueBytes);
  bytes.set(key, at + ROW_HEADER_BYTES);
  if (value === undefined) return at + ROW_HEADER_BYTES + key.length;
  bytes.set(value, at + ROW_HEADER_BYTES + key.length);
  return at + ROW_HEADER_BYTES + key.length + valueBytes;
}

/** Writes a row that lies elsewhere, in one piece. */
export function writeRowOf(bytes: Uint8Array, at: number, row: RowView): void {
  const { key, valueAt, valueBytes } = row;
  writeHeader(bytes, at, key.length, row.isDeleted ? -1 : valueBytes);
  const to = key.copyTo(bytes, at + ROW_HEADER_BYTES);
  if (valueBytes > 0) bytes.set(row.bytes.subarray(valueAt, valueAt + valueBytes), to);
}

/**
 * Takes the first `prefixBytes` of the key out of the row at `at`, which ends at `end`, and moves the row to
 * `to`, at or before its place. Answers where it ends then.
 */
export function moveRowWithoutPrefix(
  bytes: Uint8Array,
  { at, end, to }: { readonly at: number; readonly end: number; readonly to: number },
  prefixBytes: number,
): number {
  const valueBytes = isDeleted(bytes, at) ? -1 : valueBytesOf(bytes, at);
  writeHeader(bytes, to, keyBytesOf(bytes, at) - prefixBytes, valueBytes);
  bytes.copyWithin(to + ROW_HEADER_BYTES, at + ROW_HEADER_BYTES + prefixBytes, end);
  return end - prefixBytes - (at - to);
}
