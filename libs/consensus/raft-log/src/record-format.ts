import {
  assert,
  CairnError,
  formatTooNew,
  logIndex,
  rangeId as toRangeId,
  term as toTerm,
  type LogIndex,
  type RangeId,
  type Term,
} from '@cairn/base';
import { crc32, crc32Short, UINT48_MAX } from '@cairn/codec';
import { type Entry, EntryKind } from '@cairn/raft';

/** What a record says. Numbers are written to disk: append only. */
export const RecordType = {
  entry: 1,
  /** `index` is the commit index; the payload is the vote, eight bytes. */
  hardState: 2,
  /** The payload is the host's opaque state. */
  checkpoint: 3,
  /** Entries up to (index, term) are forgotten. */
  truncate: 4,
  /** The log of the range is empty and continues after (index, term). */
  reset: 5,
  /** Nothing that came before about this range counts. */
  removeRange: 6,
} as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

/** Length of every record header: where the payload begins in `Entry.record`. */
export const ENTRY_HEADER_BYTES = 32;
/** Where in a record the length of its payload stands, four bytes. */
export const PAYLOAD_LENGTH_AT = 28;
/** Longest payload of one record. */
export const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

/** First byte pair of every record: a letter and the format version. */
const RECORD_MAGIC = 0xc4;
const RECORD_VERSION = 1;

const BEHIND_CRC_AT = 4;
/** Up to here the checksum in script is cheaper than a native call. */
const SHORT_RECORD_BYTES = 64;

/** CRC-32 of everything behind the CRC itself. */
function recordCrc(record: Uint8Array): number {
  if (record.length <= SHORT_RECORD_BYTES) {
    return crc32Short(record, { from: BEHIND_CRC_AT, to: record.length });
  }
  return crc32(record.subarray(BEHIND_CRC_AT));
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

function putU48(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, value >>> 0);
  const high = Math.floor(value / 4294967296);
  bytes[at + 4] = high;
  bytes[at + 5] = high >>> 8;
}

export function getU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

export function getU48(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + ((bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8)) * 4294967296;
}

/** The decoded fields of a record header. */
export interface RecordFields {
  readonly type: RecordType;
  /** The entry's kind; 0 for other types. */
  readonly kind: number;
  readonly rangeId: RangeId;
  readonly index: LogIndex;
  readonly term: Term;
}

/** Encodes a record, header and payload. All integers little endian, see the README's picture. */
export function encodeRecord(fields: RecordFields, payload: Uint8Array): Buffer {
  assert(payload.length <= PAYLOAD_BYTES_MAX, 'record payload too long', { bytes: payload.length });
  assert(fields.rangeId >= 0 && fields.rangeId <= UINT48_MAX, 'range id does not fit');
  assert(fields.index >= 0 && fields.index <= UINT48_MAX, 'index does not fit');
  assert(fields.term >= 0 && fields.term <= UINT48_MAX, 'term does not fit');
  const record = Buffer.allocUnsafe(ENTRY_HEADER_BYTES + payload.length);
  record[4] = RECORD_MAGIC;
  record[5] = RECORD_VERSION;
  record[6] = fields.type;
  record[7] = fields.kind;
  putU48(record, 8, fields.rangeId);
  putU48(record, 14, fields.index);
  putU48(record, 20, fields.term);
  record[26] = 0;
  record[27] = 0;
  putU32(record, PAYLOAD_LENGTH_AT, payload.length);
  record.set(payload, ENTRY_HEADER_BYTES);
  putU32(record, 0, recordCrc(record));
  return record;
}

/** The range that a record belongs to: a receiver compares it with the range it was sent for. */
export function rangeIdOfRecord(record: Uint8Array): RangeId {
  return toRangeId(getU48(record, 8));
}

export function indexOfRecord(record: Uint8Array): LogIndex {
  return logIndex(getU48(record, 14));
}

/** Whether the bytes are one record of this version whose CRC matches. */
export function isRecordIntact(record: Uint8Array): boolean {
  return (
    record.length >= ENTRY_HEADER_BYTES &&
    record[4] === RECORD_MAGIC &&
    record[5] === RECORD_VERSION &&
    getU32(record, PAYLOAD_LENGTH_AT) === record.length - ENTRY_HEADER_BYTES &&
    recordCrc(record) === getU32(record, 0)
  );
}

/**
 * What makes a record whose CRC matches one of a later release, in words; undefined when nothing does: then
 * this release reads it, or none ever wrote it.
 */
export function laterThanKnown(header: Uint8Array): string | undefined {
  const [magic = 0, version = 0, type = 0, kind = 0] = header.subarray(BEHIND_CRC_AT);
  if (magic !== RECORD_MAGIC) return undefined;
  if (version > RECORD_VERSION) return `a record of format ${version}`;
  if (type > RecordType.removeRange) return `a record of type ${type}`;
  return type === RecordType.entry && kind > EntryKind.config ? `an entry of kind ${kind}` : undefined;
}

/** Decodes a header whose CRC matches; undefined for one that this release does not know. */
export function decodeRecordHeader(header: Uint8Array): RecordFields | undefined {
  const type = header[6] as number;
  const isKnown = type >= RecordType.entry && type <= RecordType.removeRange;
  if (header[4] !== RECORD_MAGIC || header[5] !== RECORD_VERSION || !isKnown) return undefined;
  if (type === RecordType.entry && (header[7] as number) > EntryKind.config) return undefined;
  return {
    type: type as RecordType,
    kind: header[7] as number,
    rangeId: toRangeId(getU48(header, 8)),
    index: logIndex(getU48(header, 14)),
    term: toTerm(getU48(header, 20)),
  };
}

/**
 * The record of an entry, made on first use and kept in `entry.record`: the same bytes go to the log and to
 * every follower. An entry belongs to one range for ever.
 */
export function entryRecord(rangeId: RangeId, entry: Entry): Uint8Array {
  const known = entry.record;
  if (known !== undefined) return known;
  const { kind, index, term } = entry;
  const record = encodeRecord({ type: RecordType.entry, kind, rangeId, index, term }, entry.payload);
  entry.record = record;
  return record;
}

/**
 * The entry that a received record makes; it becomes part of it and must not change afterwards. Throws
 * CORRUPTION when the CRC does not match or the record is no entry, FORMAT_TOO_NEW for one of a later
 * release.
 */
export function entryFromRecord(record: Uint8Array): Entry {
  const isKnown = record[6] === RecordType.entry && (record[7] as number) <= EntryKind.config;
  if (isKnown && isRecordIntact(record)) return decodeEntry(record);
  throw unreadable(record);
}

function unreadable(record: Uint8Array): CairnError {
  const isWhole = record.length >= ENTRY_HEADER_BYTES && recordCrc(record) === getU32(record, 0);
  if (!isWhole) return new CairnError('CORRUPTION', 'a log entry does not match its checksum');
  const later = laterThanKnown(record);
  return later === undefined ? new CairnError('CORRUPTION', 'a log record is no entry') : formatTooNew(later);
}

/** The same of a record that this process encoded, or checked, before. */
export function decodeEntry(record: Uint8Array): Entry {
  return {
    index: logIndex(getU48(record, 14)),
    term: toTerm(getU48(record, 20)),
    kind: record[7] as EntryKind,
    payload: record.subarray(ENTRY_HEADER_BYTES),
    record,
  };
}
