import { crc32 } from './crc32.js';

const CHECKSUM_BYTES = 4;

/** Fills in the checksum that takes the first four bytes, little endian; answers the same bytes. */
export function sealFront(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(crc32(bytes.subarray(CHECKSUM_BYTES)), 0);
  return bytes;
}

/** Whether the first four bytes are the checksum of the others. */
export function isFrontSealed(bytes: Uint8Array): boolean {
  if (bytes.length < CHECKSUM_BYTES) return false;
  return littleEndian(bytes, 0) === crc32(bytes.subarray(CHECKSUM_BYTES));
}

/** Fills in the checksum that takes the last four bytes, little endian; answers the same bytes. */
export function sealEnd(bytes: Buffer): Buffer {
  const at = bytes.length - CHECKSUM_BYTES;
  bytes.writeUInt32LE(crc32(bytes.subarray(0, at)), at);
  return bytes;
}

/** Whether the last four bytes are the checksum of the others. */
export function isEndSealed(bytes: Uint8Array): boolean {
  const at = bytes.length - CHECKSUM_BYTES;
  return at >= 0 && littleEndian(bytes, at) === crc32(bytes.subarray(0, at));
}

function littleEndian(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + CHECKSUM_BYTES);
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}
