/*
 * A row as it lies in batches, memtables and blocks alike, so that moving it is copying bytes:
 *   key bytes u16 | value bytes u31, top bit set = deleted, no value | key | value
 * Little endian.
 */

/** What stands before the key of a packed row. */
export const ROW_HEADER_BYTES = 6;
/** Longest key. */
export const KEY_BYTES_MAX = 0xffff;
/** Longest value. */
export const VALUE_BYTES_MAX = 0x7fffffff;

const DELETED = 0x80;

/** The key bytes of the row at `at`. */
export function keyBytesOf(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

/** The value bytes of the row at `at`; 0 for a deleted one. */
export function valueBytesOf(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at + 2] as number) |
    ((bytes[at + 3] as number) << 8) |
    ((bytes[at + 4] as number) << 16) |
    (((bytes[at + 5] as number) & ~DELETED) << 24)
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
  bytes[at + 5] = (valueBytes >>> 24) | (value === undefined ? DELETED : 0);
  bytes.set(key, at + ROW_HEADER_BYTES);
  if (value === undefined) return at + ROW_HEADER_BYTES + key.length;
  bytes.set(value, at + ROW_HEADER_BYTES + key.length);
  return at + ROW_HEADER_BYTES + key.length + valueBytes;
}
