import { CairnError, timestamp, type Timestamp } from '@cairn/base';
import { RECORD_SEQUENCE_AT } from './record.js';
import { asBuffer } from './user-key.js';
import { copyTimestampOf } from './version-key.js';

/*
 * The version of a row as clients see and compare it: timestamp (8 bytes) and record sequence (4 bytes),
 * both big endian, so that tokens of one key sort bytewise in the order of its writes. Opaque to clients.
 */

export const VERSION_TOKEN_BYTES = 12;
const TIMESTAMP_BYTES = 8;
const SEQUENCE_BYTES = VERSION_TOKEN_BYTES - TIMESTAMP_BYTES;

export interface VersionToken {
  readonly timestamp: Timestamp;
  /** 0 .. 2^32 - 1; tells writes at the same timestamp apart. */
  readonly sequence: number;
}

/** Writes twelve bytes at `at`. */
export function writeVersionToken(target: Buffer, at: number, ts: number, sequence: number): void {
  target.writeUInt32BE(Math.floor(ts / 4294967296), at);
  target.writeUInt32BE(ts >>> 0, at + 4);
  target.writeUInt32BE(sequence, at + 8);
}

/**
 * Writes the token of an engine row at `at`, from where the row has its timestamp and sequence. Both key and
 * value must have been looked at before: nothing is checked here.
 */
export function copyVersionToken(engineKey: Buffer, record: Buffer, target: Buffer, at: number): void {
  copyTimestampOf(engineKey, target, at);
  for (let byte = 0; byte < SEQUENCE_BYTES; byte += 1) {
    target[at + TIMESTAMP_BYTES + byte] = record[RECORD_SEQUENCE_AT + byte] as number;
  }
}

export function encodeVersionToken(ts: Timestamp, sequence: number): Buffer {
  const token = Buffer.allocUnsafe(VERSION_TOKEN_BYTES);
  writeVersionToken(token, 0, ts, sequence);
  return token;
}

/** Throws INVALID_ARGUMENT when the bytes cannot be a token: they come from clients. */
export function decodeVersionToken(token: Uint8Array): VersionToken {
  const bytes = asBuffer(token);
  const high = bytes.length === VERSION_TOKEN_BYTES ? bytes.readUInt32BE(0) : 0xffffffff;
  if (high > 0x1fffff) throw new CairnError('INVALID_ARGUMENT', 'not a version of this database');
  return { timestamp: timestamp(high * 4294967296 + bytes.readUInt32BE(4)), sequence: bytes.readUInt32BE(8) };
}

/** Negative when `one` was written before `other`. */
export function compareVersionTokens(one: VersionToken, other: VersionToken): number {
  return one.timestamp === other.timestamp ? one.sequence - other.sequence : one.timestamp - other.timestamp;
}
