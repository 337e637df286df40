import { CairnError, assert, formatTooNew, timestamp, timestampToUnixMs, type Timestamp } from '@cairn/base';
import { crc32, crc32Short } from '@cairn/codec';

/*
 * Engine value of a row, big endian, the same in every row namespace:
 *   flags u8 | sequence u32 | checksum u32 | expiry u64, only with flag 2 | value
 * Flags: 1 tombstone, 2 has an expiry. Reserved: 4 another kind of row than plain bytes, a byte behind the
 * expiry; 8 written by a transaction, its start timestamp u64 behind that. A row with a flag that is not
 * known here was written by a later release: reading it as if the flag were not there would be wrong.
 *
 * The checksum is the CRC-32 of the version key and the engine value, its own bytes taken as zeros: engines
 * may not notice bytes that flip in their files, and a right value under a wrong key is as wrong.
 */

const FLAG_TOMBSTONE = 1;
const FLAG_EXPIRY = 2;
const FLAGS_KNOWN = FLAG_TOMBSTONE | FLAG_EXPIRY;
/** Flags that no release may give a meaning to without a new format of the whole row. */
const FLAGS_MAX = 0x0f;
/** Where an engine value has its sequence, four bytes. */
export const RECORD_SEQUENCE_AT = 1;
const CHECKSUM_AT = 5;
const HEADER_BYTES = 9;
const EXPIRY_BYTES = 8;

/** No expiry. */
export const NO_EXPIRY = timestamp(0);

/** An expiry as the doors show it: milliseconds since 1970 by the time of the cluster; 0 = none. */
export function expiryToUnixMs(expiry: Timestamp): number {
  return expiry === NO_EXPIRY ? 0 : timestampToUnixMs(expiry);
}

const NO_VALUE = Buffer.alloc(0);

/**
 * One version of a key. The one shape that reads, the row cache and write evaluation share.
 * `value` is empty for a tombstone.
 */
export interface VersionRecord {
  readonly timestamp: Timestamp;
  /** 0 .. 2^32 - 1. */
  readonly sequence: number;
  /** From this timestamp on the version counts as absent; 0 = never. */
  readonly expiry: Timestamp;
  readonly tombstone: boolean;
  readonly value: Uint8Array;
}

/** Bytes that `writeRecord` needs. */
export function recordLength(version: VersionRecord): number {
  return HEADER_BYTES + (version.expiry === 0 ? 0 : EXPIRY_BYTES) + version.value.length;
}

/** The timestamp is in the key, not here; the checksum is left zero. Answers the position behind. */
function writeRecord(target: Buffer, at: number, version: VersionRecord): number {
  assert(!version.tombstone || version.value.length === 0, 'tombstone with a value');
  const expiry = version.expiry;
  target[at] = (version.tombstone ? FLAG_TOMBSTONE : 0) | (expiry === 0 ? 0 : FLAG_EXPIRY);
  target.writeUInt32BE(version.sequence, at + 1);
  target.fill(0, at + CHECKSUM_AT, at + HEADER_BYTES);
  let to = at + HEADER_BYTES;
  if (expiry !== 0) {
    target.writeUInt32BE(Math.floor(expiry / 4294967296), to);
    target.writeUInt32BE(expiry >>> 0, to + 4);
    to += EXPIRY_BYTES;
  }
  target.set(version.value, to);
  return to + version.value.length;
}

/**
 * Writes the engine value behind the version key that stands at [keyAt, recordAt), and answers the position
 * behind it.
 */
export function writeRecordOf(
  target: Buffer,
  { keyAt, recordAt }: { readonly keyAt: number; readonly recordAt: number },
  version: VersionRecord,
): number {
  const end = writeRecord(target, recordAt, version);
  target.writeUInt32BE(crc32(target.subarray(keyAt, end)), recordAt + CHECKSUM_AT);
  return end;
}

const NO_CHECKSUM = Buffer.alloc(HEADER_BYTES - CHECKSUM_AT);

/**
 * Checks a row that an engine handed out. Throws CORRUPTION when it is not what was written: the node that
 * holds it must not serve it.
 */
export function checkRow(key: Buffer, record: Buffer): void {
  if (record.length >= HEADER_BYTES) {
    let crc = crc32Short(key, { from: 0, to: key.length });
    crc = crc32Short(record, { from: 0, to: CHECKSUM_AT }, crc);
    crc = crc32Short(NO_CHECKSUM, { from: 0, to: NO_CHECKSUM.length }, crc);
    if (record.length > HEADER_BYTES) crc = crc32(record.subarray(HEADER_BYTES), crc);
    if (crc === record.readUInt32BE(CHECKSUM_AT)) return;
  }
  throw new CairnError('CORRUPTION', 'a row of the engine does not match its checksum', {
    details: { key: key.toString('hex').slice(0, 128) },
  });
}

/** Decodes the engine value of a version at `ts`; `value` is a view. Throws CORRUPTION. */
export function decodeRecord(ts: Timestamp, record: Buffer): VersionRecord {
  const flags = checkRecord(record);
  const tombstone = (flags & FLAG_TOMBSTONE) !== 0;
  return {
    timestamp: ts,
    sequence: record.readUInt32BE(1),
    expiry: expiryOf(record, flags),
    tombstone,
    value: tombstone ? NO_VALUE : record.subarray(valueOffset(flags)),
  };
}

/** The sequence of an engine value, without decoding the rest. Throws CORRUPTION. */
export function sequenceOfRecord(record: Buffer): number {
  checkRecord(record);
  return record.readUInt32BE(1);
}

/** Where the value begins in an engine value. Throws CORRUPTION. */
export function valueStartOf(record: Buffer): number {
  return valueOffset(checkRecord(record));
}

/** The expiry of an engine value; 0 = never. Throws CORRUPTION. */
export function expiryOfRecord(record: Buffer): Timestamp {
  return expiryOf(record, checkRecord(record));
}

/** A view of the value bytes of an engine value. Throws CORRUPTION. */
export function valueOfRecord(record: Buffer): Buffer {
  return record.subarray(valueOffset(checkRecord(record)));
}

/** Whether an engine value says that its key was deleted. Throws CORRUPTION. */
export function isTombstoneRecord(record: Buffer): boolean {
  return (checkRecord(record) & FLAG_TOMBSTONE) !== 0;
}

/** Whether an engine value has an expiry, passed or not. Throws CORRUPTION. */
export function hasExpiryRecord(record: Buffer): boolean {
  return (checkRecord(record) & FLAG_EXPIRY) !== 0;
}

/**
 * Whether an engine value, taken as the newest at or below `readTs`, is a live value there. Throws
 * CORRUPTION.
 */
export function isRecordLiveAt(record: Buffer, readTs: number): boolean {
  const flags = checkRecord(record);
  if (flags === 0) return true;
  return (flags & FLAG_TOMBSTONE) === 0 && expiryOf(record, flags) > readTs;
}

/** Whether a version, taken as the newest at or below `readTs`, is a live value there. */
export function isVersionLiveAt(version: VersionRecord, readTs: number): boolean {
  return !version.tombstone && (version.expiry === 0 || version.expiry > readTs);
}

function valueOffset(flags: number): number {
  return (flags & FLAG_EXPIRY) === 0 ? HEADER_BYTES : HEADER_BYTES + EXPIRY_BYTES;
}

function expiryOf(record: Buffer, flags: number): Timestamp {
  if ((flags & FLAG_EXPIRY) === 0) return NO_EXPIRY;
  const high = record.readUInt32BE(HEADER_BYTES);
  const expiry = high * 4294967296 + record.readUInt32BE(HEADER_BYTES + 4);
  if (high > 0x1fffff || expiry === 0) throw new CairnError('CORRUPTION', 'record with an impossible expiry');
  return timestamp(expiry);
}

/** Answers the flags of a record whose header is whole and known. Throws CORRUPTION, FORMAT_TOO_NEW. */
function checkRecord(record: Buffer): number {
  const flags = record[0] ?? FLAGS_MAX + 1;
  if (flags <= FLAGS_KNOWN && record.length >= valueOffset(flags)) return flags;
  const problem = `${record.length} bytes, flags ${flags}`;
  if (flags > FLAGS_KNOWN && flags <= FLAGS_MAX && record.length >= HEADER_BYTES) {
    throw formatTooNew(`a row of ${problem}`);
  }
  throw new CairnError('CORRUPTION', `not a row of this database (${problem})`);
}
