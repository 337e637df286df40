import { CairnError, timestamp, type Timestamp } from '@cairn/base';
import { writeU64 } from './big-endian.js';

/*
 * The version of a row as clients see and compare it: timestamp (8 bytes) and record sequence (4 bytes),
 * both big endian, so that tokens of one key sort bytewise in the order of its writes. Opaque to clients.
 */

export const VERSION_TOKEN_BYTES = 12;

export interface VersionToken {
  readonly timestamp: Timestamp;
  /** 0 .. 2^32 - 1; tells writes at the same timestamp apart. */
  readonly sequence: number;
}

/** Writes twelve bytes at `at`. */
export function writeVersionToken(target: Buffer, at: number, ts: number, sequence: number): void {
  writeU64(target, at, ts);
  target.writeUInt32BE(sequence, at + 8);
}

export function encodeVersionToken(ts: Timestamp, sequence: number): Buffer {
  const token = Buffer.allocUnsafe(VERSION_TOKEN_BYTES);
  writeVersionToken(token, 0, ts, sequence);
  return token;
}

/** Throws INVALID_ARGUMENT when the bytes cannot be a token: they come from clients. */
export function decodeVersionToken(token: Uint8Array): VersionToken {
  const bytes = Buffer.from(token.buffer, token.byteOffset, token.byteLength);
  const high = bytes.length === VERSION_TOKEN_BYTES ? bytes.readUInt32BE(0) : 0xffffffff;
  if (high > 0x1fffff) throw new CairnError('INVALID_ARGUMENT', 'not a version of this database');
  return { timestamp: timestamp(high * 4294967296 + bytes.readUInt32BE(4)), sequence: bytes.readUInt32BE(8) };
}

/** Negative when `one` was written before `other`. */
export function compareVersionTokens(one: VersionToken, other: VersionToken): number {
  return one.timestamp === other.timestamp ? one.sequence - other.sequence : one.timestamp - other.timestamp;
}
