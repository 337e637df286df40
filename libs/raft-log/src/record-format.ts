import {
  assert,
  CairnError,
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

/** Length of every record header, hence of `Entry.header`. */
export const ENTRY_HEADER_BYTES = 32;
/** Longest payload of one record. */
export const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

/** First byte pair of every record: a letter and the format version. */
const RECORD_MAGIC = 0xc4;
const RECORD_VERSION = 1;

const HEADER_BEHIND_CRC = { from: 4, to: ENTRY_HEADER_BYTES };

/**
 * CRC-32 of a record: header bytes 4 .. 31, then the payload. The short part in script: cheaper than a native
 * call.
 */
function recordCrc(header: Uint8Array, payload: Uint8Array): number {
  const headerCrc = crc32Short(header, HEADER_BEHIND_CRC);
  return payload.length === 0 ? headerCrc : crc32(payload, headerCrc);
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

/**
 * Encodes a record header; the payload goes right behind it. All integers little endian, see the README's
 * picture.
 */
export function encodeRecordHeader(fields: RecordFields, payload: Uint8Array): Uint8Array {
  assert(payload.length <= PAYLOAD_BYTES_MAX, 'record payload too long', { bytes: payload.length });
  assert(fields.rangeId >= 0 && fields.rangeId <= UINT48_MAX, 'range id does not fit');
  assert(fields.index >= 0 && fields.index <= UINT48_MAX, 'index does not fit');
  assert(fields.term >= 0 && fields.term <= UINT48_MAX, 'term does not fit');
  const header = Buffer.allocUnsafe(ENTRY_HEADER_BYTES);
  header[4] = RECORD_MAGIC;
  header[5] = RECORD_VERSION;
  header[6] = fields.type;
  header[7] = fields.kind;
  putU48(header, 8, fields.rangeId);
  putU48(header, 14, fields.index);
  putU48(header, 20, fields.term);
  header[26] = 0;
  header[27] = 0;
  putU32(header, 28, payload.length);
  putU32(header, 0, recordCrc(header, payload));
  return header;
}

/** The payload length that a header announces; only meaningful once the CRC has been checked. */
export function payloadLengthOf(header: Uint8Array): number {
  return getU32(header, 28);
}

/** The range that a record header belongs to: a receiver compares it with the range it was sent for. */
export function rangeIdOfHeader(header: Uint8Array): RangeId {
  return toRangeId(getU48(header, 8));
}

export function indexOfHeader(header: Uint8Array): LogIndex {
  return logIndex(getU48(header, 14));
}

/** Whether the bytes are a record of this version whose CRC matches the payload. */
export function isRecordIntact(header: Uint8Array, payload: Uint8Array): boolean {
  return (
    header.length === ENTRY_HEADER_BYTES &&
    header[4] === RECORD_MAGIC &&
    header[5] === RECORD_VERSION &&
    getU32(header, 28) === payload.length &&
    recordCrc(header, payload) === getU32(header, 0)
  );
}

/**
 * Decodes a header that `isRecordIntact` accepted. Throws CORRUPTION for a type that this version does not
 * know.
 */
export function decodeRecordHeader(header: Uint8Array): RecordFields {
  const type = header[6] as number;
  if (type < RecordType.entry || type > RecordType.removeRange) {
    throw new CairnError('CORRUPTION', `unknown log record type ${type}`);
  }
  return {
    type: type as RecordType,
    kind: header[7] as number,
    rangeId: toRangeId(getU48(header, 8)),
    index: logIndex(getU48(header, 14)),
    term: toTerm(getU48(header, 20)),
  };
}

/**
 * The encoded record header of an entry, made on first use and kept in `entry.header`: the same bytes go to
 * the log and, ahead of the payload, to every follower. An entry belongs to one range for ever.
 */
export function entryHeader(rangeId: RangeId, entry: Entry): Uint8Array {
  const known = entry.header;
  if (known !== undefined) return known;
  const { kind, index, term } = entry;
  const header = encodeRecordHeader({ type: RecordType.entry, kind, rangeId, index, term }, entry.payload);
  entry.header = header;
  return header;
}

/**
 * The entry that a received header and payload make; both become part of it and must not change afterwards.
 * Throws CORRUPTION when the CRC does not match or the record is no entry.
 */
export function entryFromRecord(header: Uint8Array, payload: Uint8Array): Entry {
  if (!isRecordIntact(header, payload)) {
    throw new CairnError('CORRUPTION', 'a log entry does not match its checksum');
  }
  if (header[6] !== RecordType.entry || (header[7] as number) > EntryKind.config) {
    throw new CairnError('CORRUPTION', 'a log record is not an entry of a known kind');
  }
  return decodeEntry(header, payload);
}

/** The same of a record that this process encoded, or checked, before. */
export function decodeEntry(header: Uint8Array, payload: Uint8Array): Entry {
  return {
    index: logIndex(getU48(header, 14)),
    term: toTerm(getU48(header, 20)),
    kind: header[7] as EntryKind,
    payload,
    header,
  };
}
