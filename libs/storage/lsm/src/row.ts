import { ENGINE_KEY_BYTES_MAX } from '@cairn/engine';

/*
 * A row as it lies in batches, memtables and blocks alike, so that moving it is copying bytes:
 *   key bytes, the lower 16 bits | value bytes u30, bit 16 of the key bytes, then a bit: deleted, no value
 *   | key | value
 * Little endian.
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

/** Writes a row; without a value a deletion. Answers the place behind it. */
export function writeRow(
  bytes: Uint8Array,
  at: number,
  key: Uint8Array,
  value: Uint8Array | undefined,
): number {
  const valueBytes = value === undefined ? 0 : value.length;
  bytes[at] = key.length;
  bytes[at + 1] = key.length >>> 8;
  bytes[at + 2] = valueBytes;
  bytes[at + 3] = valueBytes >>> 8;
  bytes[at + 4] = valueBytes >>> 16;
  bytes[at + 5] =
    (valueBytes >>> 24) | ((key.length >>> 10) & LONG_KEY) | (value === undefined ? DELETED : 0);
  bytes.set(key, at + ROW_HEADER_BYTES);
  if (value === undefined) return at + ROW_HEADER_BYTES + key.length;
  bytes.set(value, at + ROW_HEADER_BYTES + key.length);
  return at + ROW_HEADER_BYTES + key.length + valueBytes;
}
