import {
  CairnError,
  NO_BYTES,
  RowKind,
  assert,
  formatTooNew,
  timestamp,
  timestampToUnixMs,
  type Timestamp,
} from '@cairn/base';
import { crc32, crc32Short } from '@cairn/codec';

/*
 * Engine value of a row, big endian, the same in every row namespace:
 *   flags u8 | sequence u32 | checksum u32 | expiry u64 | kind u8 | start u64 | value
 * Flags: 1 tombstone; the others say that a field is there: 2 an expiry, 4 a kind, which is another than
 * bytes, 8 the timestamp at which the transaction began that wrote the row. A row with a flag that is not
 * known here was written by a later release: reading it as if the flag were not there would be wrong.
 *
 * The checksum is the CRC-32 of the version key and the engine value, its own bytes taken as zeros: engines
 * may not notice bytes that flip in their files, and a right value under a wrong key is as wrong.
 */

const FLAG_TOMBSTONE = 1;
const FLAG_EXPIRY = 2;
const FLAG_KIND = 4;
const FLAG_START = 8;
const FLAGS_KNOWN = FLAG_TOMBSTONE | FLAG_EXPIRY | FLAG_KIND | FLAG_START;
/** Where an engine value has its sequence, four bytes. */
export const RECORD_SEQUENCE_AT = 1;
const CHECKSUM_AT = 5;
const HEADER_BYTES = 9;
const TIMESTAMP_BYTES = 8;
/** Where the value begins, by flags. */
const VALUE_OFFSETS = Uint8Array.from({ length: FLAGS_KNOWN + 1 }, (_, flags) => {
  const timestamps = ((flags & FLAG_EXPIRY) >> 1) + ((flags & FLAG_START) >> 3);
  return HEADER_BYTES + timestamps * TIMESTAMP_BYTES + ((flags & FLAG_KIND) >> 2);
});

/** Not written by a transaction. */
const NO_START = timestamp(0);

/** No expiry. */
export const NO_EXPIRY = timestamp(0);

/** An expiry as the doors show it: milliseconds since 1970 by the time of the cluster; 0 = none. */
export function expiryToUnixMs(expiry: Timestamp): number {
  return expiry === NO_EXPIRY ? 0 : timestampToUnixMs(expiry);
}

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
  /** Of what the value says; bytes for a tombstone. */
  readonly kind: RowKind;
  /** Of another kind than bytes: what only the kind's own code can read. */
  readonly value: Uint8Array;
}

function flagsOf(version: VersionRecord, start: Timestamp): number {
  return (
    (version.tombstone ? FLAG_TOMBSTONE : 0) |
    (version.expiry === 0 ? 0 : FLAG_EXPIRY) |
    (version.kind === RowKind.bytes ? 0 : FLAG_KIND) |
    (start === NO_START ? 0 : FLAG_START)
  );
}

/** Bytes that the record needs. `start`: when the transaction began that writes it; 0 = none does. */
export function recordLength(version: VersionRecord, start: Timestamp = NO_START): number {
  return (VALUE_OFFSETS[flagsOf(version, start)] as number) + version.value.length;
}

/** The timestamp is in the key, not here; the checksum is left zero. Answers the position behind. */
function writeRecord(target: Buffer, at: number, version: VersionRecord, start: Timestamp): number {
  const isEmpty = version.value.length === 0 && version.kind === RowKind.bytes;
  assert(!version.tombstone || isEmpty, 'tombstone with a value');
  const { expiry, kind } = version;
  target[at] = flagsOf(version, start);
  target.writeUInt32BE(version.sequence, at + 1);
  target.fill(0, at + CHECKSUM_AT, at + HEADER_BYTES);
  let to = at + HEADER_BYTES;
  if (expiry !== 0) to = writeTimestamp(target, to, expiry);
  if (kind !== RowKind.bytes) target[to++] = kind;
  if (start !== NO_START) to = writeTimestamp(target, to, start);
  target.set(version.value, to);
  return to + version.value.length;
}

function writeTimestamp(target: Buffer, at: number, ts: Timestamp): number {
  target.writeUInt32BE(Math.floor(ts / 4294967296), at);
  target.writeUInt32BE(ts >>> 0, at + 4);
  return at + TIMESTAMP_BYTES;
}

/**
 * Writes the engine value behind the row's key that stands at [keyAt, recordAt), and answers the position
 * behind it. `start`: when the transaction began that writes it; 0 = none does.
 */
export function writeRecordOf(
  target: Buffer,
  { keyAt, recordAt }: { readonly keyAt: number; readonly recordAt: number },
  version: VersionRecord,
  start: Timestamp = NO_START,
): number {
  const end = writeRecord(target, recordAt, version, start);
  target.writeUInt32BE(crc32(target.subarray(keyAt, end)), recordAt + CHECKSUM_AT);
  return end;
}

/** The engine row with this key: what a write batch puts. `start`: as of `recordLength`. */
export function encodeRow(
  engineKey: Uint8Array,
  version: VersionRecord,
  start: Timestamp = NO_START,
): readonly [key: Buffer, record: Buffer] {
  const recordAt = engineKey.length;
  const both = Buffer.allocUnsafe(recordAt + recordLength(version, start));
  both.set(engineKey);
  writeRecordOf(both, { keyAt: 0, recordAt }, version, start);
  return [both.subarray(0, recordAt), both.subarray(recordAt)];
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
    kind: kindOf(record, flags),
    value: tombstone ? NO_BYTES : record.subarray(valueOffset(flags)),
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

/** The kind of row that an engine value says it is. Throws CORRUPTION, FORMAT_TOO_NEW. */
export function kindOfRecord(record: Buffer): RowKind {
  return kindOf(record, checkRecord(record));
}

/** When the transaction began that wrote an engine value; 0 = none did. Throws CORRUPTION, FORMAT_TOO_NEW. */
export function startOfRecord(record: Buffer): Timestamp {
  const flags = checkRecord(record);
  if ((flags & FLAG_START) === 0) return NO_START;
  return timestampIn(record, valueOffset(flags) - TIMESTAMP_BYTES);
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
  if ((flags & FLAG_TOMBSTONE) !== 0) return false;
  return (flags & FLAG_EXPIRY) === 0 || expiryOf(record, flags) > readTs;
}

/** Whether a version, taken as the newest at or below `readTs`, is a live value there. */
export function isVersionLiveAt(version: VersionRecord, readTs: number): boolean {
  return !version.tombstone && (version.expiry === 0 || version.expiry > readTs);
}

function valueOffset(flags: number): number {
  return VALUE_OFFSETS[flags] as number;
}

function expiryOf(record: Buffer, flags: number): Timestamp {
  return (flags & FLAG_EXPIRY) === 0 ? NO_EXPIRY : timestampIn(record, HEADER_BYTES);
}

/** What is written is not 0. */
function timestampIn(record: Buffer, at: number): Timestamp {
  const high = record.readUInt32BE(at);
  const ts = high * 4294967296 + record.readUInt32BE(at + 4);
  if (high > 0x1fffff || ts === 0) throw new CairnError('CORRUPTION', 'record with an impossible timestamp');
  return timestamp(ts);
}

function kindOf(record: Buffer, flags: number): RowKind {
  if ((flags & FLAG_KIND) === 0) return RowKind.bytes;
  const kind = record[(flags & FLAG_EXPIRY) === 0 ? HEADER_BYTES : HEADER_BYTES + TIMESTAMP_BYTES] as number;
  if (kind === RowKind.bytes || (flags & FLAG_TOMBSTONE) !== 0) {
    throw new CairnError('CORRUPTION', `record with flags ${flags} and the kind ${kind}`);
  }
  return kind;
}

/** Answers the flags of a record whose header is whole and known. Throws CORRUPTION, FORMAT_TOO_NEW. */
function checkRecord(record: Buffer): number {
  const flags = record[0] ?? 0;
  if (flags <= FLAGS_KNOWN && record.length >= valueOffset(flags)) return flags;
  const problem = `${record.length} bytes, flags ${flags}`;
  if (flags > FLAGS_KNOWN && record.length >= HEADER_BYTES) {
    throw formatTooNew(`a row of ${problem}`);
  }
  throw new CairnError('CORRUPTION', `not a row of this database (${problem})`);
}
