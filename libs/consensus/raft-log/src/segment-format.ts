import { crc32, isEndSealed, sealEnd } from '@cairn/codec';

/** Blocks begin at multiples of this: a torn write never shares a sector with an older block. */
export const BLOCK_ALIGN_BYTES = 512;
export const BLOCK_HEADER_BYTES = 32;
/** The first sector of a segment describes it. */
export const SEGMENT_HEADER_BYTES = BLOCK_ALIGN_BYTES;

const SEGMENT_MAGIC = 'CAIRNLOG';
/** Version 1 had no salt. */
export const FORMAT_VERSION = 2;
const SEGMENT_FIELDS_BYTES = 40;
const BLOCK_MAGIC = 0x4b4c4243;

/** What the first sector of a segment says. */
export interface SegmentHeader {
  /** Segments are numbered 1, 2, 3 ...; a recycled file gets a new number. */
  readonly epoch: number;
  /** Where the last block of the segment before ended: without it a lost last block would go unnoticed. */
  readonly previousEnd: number;
  /** The log's, the same in all of its segments. */
  readonly salt: LogSalt;
}

/**
 * 48 random bits that every log has of its own. They are part of every block header, in its checksum and
 * beside it, and leave the log nowhere: a value that looks like a block header cannot be told from one
 * without them, where a torn write left it behind the end of the log.
 */
export type LogSalt = number & { readonly brand: 'LogSalt' };
export const SALT_BYTES = 6;

export function saltFrom(bytes: Uint8Array): LogSalt {
  return Buffer.from(bytes).readUIntLE(0, SALT_BYTES) as LogSalt;
}

/** The part beside the checksum, 16 bits. */
function markOf(salt: LogSalt): number {
  return Math.floor(salt / 4294967296);
}

/** The part in the checksum, 32 bits. */
function seedOf(salt: LogSalt): number {
  return salt >>> 0;
}

export type SegmentHeaderResult =
  | { readonly type: 'valid'; readonly header: SegmentHeader }
  | { readonly type: 'other-version'; readonly version: number }
  | { readonly type: 'invalid' };

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  bytes.write(SEGMENT_MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(FORMAT_VERSION, 8);
  bytes.writeUIntLE(header.epoch, 16, 6);
  bytes.writeUIntLE(header.previousEnd, 24, 6);
  bytes.writeUIntLE(header.salt, 30, SALT_BYTES);
  sealEnd(bytes.subarray(0, SEGMENT_FIELDS_BYTES));
  return bytes;
}

export function decodeSegmentHeader(bytes: Buffer): SegmentHeaderResult {
  if (bytes.length < SEGMENT_HEADER_BYTES) return { type: 'invalid' };
  if (bytes.toString('latin1', 0, 8) !== SEGMENT_MAGIC) return { type: 'invalid' };
  if (!isEndSealed(bytes.subarray(0, SEGMENT_FIELDS_BYTES))) return { type: 'invalid' };
  const version = bytes.readUInt32LE(8);
  if (version !== FORMAT_VERSION) return { type: 'other-version', version };
  return {
    type: 'valid',
    header: {
      epoch: bytes.readUIntLE(16, 6),
      previousEnd: bytes.readUIntLE(24, 6),
      salt: saltFrom(bytes.subarray(30, 30 + SALT_BYTES)),
    },
  };
}

/** Frames the records of one durable write. */
export interface BlockHeader {
  /** The segment's: what an earlier life of a recycled file left behind never matches. */
  readonly epoch: number;
  /** Counts the blocks of a segment from 0. */
  readonly sequence: number;
  readonly bodyBytes: number;
  readonly recordCount: number;
  /** `mixDigest` over the CRCs of all records: ties the header to this very body. */
  readonly digest: number;
}

/** Where a digest begins; depends on the block's place, so that a body never fits another header. */
export function startDigest(salt: LogSalt, epoch: number, sequence: number): number {
  return mixDigest(mixDigest(mixDigest(0x811c9dc5, seedOf(salt)), epoch >>> 0), sequence);
}

/** Adds one record's CRC to a block's digest. */
export function mixDigest(digest: number, crc: number): number {
  const mixed = Math.imul(digest ^ crc, 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

export function encodeBlockHeader(target: Buffer, header: BlockHeader, salt: LogSalt): void {
  target.writeUInt32LE(BLOCK_MAGIC, 0);
  target.writeUIntLE(header.epoch, 4, 6);
  target.writeUInt16LE(markOf(salt), 10);
  target.writeUInt32LE(header.sequence, 12);
  target.writeUInt32LE(header.bodyBytes, 16);
  target.writeUInt32LE(header.recordCount, 20);
  target.writeUInt32LE(header.digest, 24);
  target.writeUInt32LE(crc32(target.subarray(0, 28), seedOf(salt)), 28);
}

/**
 * The block header at an offset, or undefined when there is none of this epoch and log. `salt` undefined: no
 * segment tells it; then nothing but the salt is left out of what is checked.
 */
export function decodeBlockHeader(
  bytes: Buffer,
  at: number,
  place: { readonly epoch: number; readonly salt: LogSalt | undefined },
): BlockHeader | undefined {
  const { epoch, salt } = place;
  if (at + BLOCK_HEADER_BYTES > bytes.length || bytes.readUInt32LE(at) !== BLOCK_MAGIC) return undefined;
  if (bytes.readUIntLE(at + 4, 6) !== epoch) return undefined;
  if (salt !== undefined) {
    if (bytes.readUInt16LE(at + 10) !== markOf(salt)) return undefined;
    if (bytes.readUInt32LE(at + 28) !== crc32(bytes.subarray(at, at + 28), seedOf(salt))) return undefined;
  }
  return {
    epoch,
    sequence: bytes.readUInt32LE(at + 12),
    bodyBytes: bytes.readUInt32LE(at + 16),
    recordCount: bytes.readUInt32LE(at + 20),
    digest: bytes.readUInt32LE(at + 24),
  };
}

export function alignBlock(bytes: number): number {
  return Math.ceil(bytes / BLOCK_ALIGN_BYTES) * BLOCK_ALIGN_BYTES;
}

const SEGMENT_NAME = /^segment-(\d{10,})\.log$/;
const FREE_NAME = /^free-(\d{10,})\.log$/;

export function segmentName(epoch: number): string {
  return `segment-${String(epoch).padStart(10, '0')}.log`;
}

export function freeName(number: number): string {
  return `free-${String(number).padStart(10, '0')}.log`;
}

/** The epoch in a segment's file name, or undefined for other files. */
export function epochOfName(name: string): number | undefined {
  const match = SEGMENT_NAME.exec(name);
  // One name for each number: a copy under another spelling is no segment.
  return match !== null && segmentName(Number(match[1])) === name ? Number(match[1]) : undefined;
}

/** The number in a free file's name, or undefined for other files. */
export function numberOfFreeName(name: string): number | undefined {
  const match = FREE_NAME.exec(name);
  return match !== null && freeName(Number(match[1])) === name ? Number(match[1]) : undefined;
}
