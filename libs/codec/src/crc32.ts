import { crc32 as zlibCrc32 } from 'node:zlib';

/** CRC-32 (the polynomial of zlib) of the bytes; pass the previous result to go on over several buffers. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  return zlibCrc32(bytes, previous);
}
