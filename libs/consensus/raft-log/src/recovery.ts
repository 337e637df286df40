import { CairnError, formatTooNew, NO_BYTES, type RangeId } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import type { DiskFile, Logger } from '@cairn/ports';
import type { LogPlaces } from './log-places.js';
import { RangeState, decodeHardState } from './range-state.js';
import {
  decodeRecordHeader,
  ENTRY_HEADER_BYTES,
  getU32,
  laterThanKnown,
  type RecordFields,
  RecordType,
} from './record-format.js';
import type { SegmentFiles } from './segment-files.js';
import {
  alignBlock,
  BLOCK_ALIGN_BYTES,
  BLOCK_HEADER_BYTES,
  type BlockHeader,
  decodeBlockHeader,
  decodeSegmentHeader,
  FORMAT_VERSION,
  type LogSalt,
  mixDigest,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  startDigest,
} from './segment-format.js';
import type { StageStart } from './stage.js';

const READ_AHEAD_BYTES = 4 * 1024 * 1024;

export interface Recovered {
  readonly ranges: Map<RangeId, RangeState>;
  /** Its salt is undefined in a log that was never written. */
  readonly start: Omit<StageStart, 'salt'> & { readonly salt: LogSalt | undefined };
  /** The bytes of the last block of the newest segment, with the segment's header if it is the first one. */
  readonly lastBlock: { readonly from: number; readonly to: number };
}

/** What the records make. */
interface Replay {
  readonly ranges: Map<RangeId, RangeState>;
  readonly places: LogPlaces;
}

/** How far the valid blocks of a segment go. */
interface SegmentEnd {
  /** 0 = the segment was never written. */
  readonly offset: number;
  readonly sequence: number;
  /** Where the last of them begins. */
  readonly lastBlockAt: number;
}

const NEVER_WRITTEN: SegmentEnd = { offset: 0, sequence: 0, lastBlockAt: 0 };

/** The error for a log that contradicts itself. */
export function damaged(path: string, offset: number, what: string): CairnError {
  return new CairnError(
    'CORRUPTION',
    `raft log damaged: ${path} at offset ${offset}: ${what}. This store cannot tell which of its promises it ` +
      'still keeps. Keep a copy of the directory, then give the node an empty data directory and let its ' +
      'ranges be rebuilt from their other replicas, or restore a backup if there are none.',
    { details: { path, offset } },
  );
}

/** Forward reads of one file through a window, so that memory does not follow the segment's size. */
class SegmentReader {
  readonly path: string;
  readonly size: number;
  readonly #file: DiskFile;
  #window: Buffer = NO_BYTES;
  #windowAt = 0;

  constructor(file: DiskFile, size: number) {
    this.#file = file;
    this.path = file.path;
    this.size = size;
  }

  /** A view of [at, at + length); shorter at the end of the file. Valid until the next call. */
  async bytes(at: number, length: number): Promise<Buffer> {
    const wanted = Math.min(length, Math.max(0, this.size - at));
    const end = this.#windowAt + this.#window.length;
    if (at < this.#windowAt || at + wanted > end) {
      this.#window = await this.#file.read(at, Math.max(wanted, READ_AHEAD_BYTES));
      this.#windowAt = at;
    }
    const from = at - this.#windowAt;
    return this.#window.subarray(from, from + wanted);
  }
}

/**
 * Rebuilds all ranges from the segments, oldest first. What the last, unacknowledged write left half done is
 * discarded; any other flaw throws CORRUPTION with file and offset.
 */
export async function recover(
  files: SegmentFiles,
  epochs: readonly number[],
  around: { readonly logger: Logger; readonly places: LogPlaces; readonly firstEpoch: number },
): Promise<Recovered> {
  const { logger, places, firstEpoch } = around;
  const ranges = new Map<RangeId, RangeState>();
  let salt: LogSalt | undefined;
  let previousEnd = 0;
  let last = NEVER_WRITTEN;
  for (const [at, epoch] of epochs.entries()) {
    const before = epochs[at - 1];
    if (before !== undefined && before + 1 !== epoch) {
      throw damaged(files.pathOf(before + 1), 0, `the segment between ${before} and ${epoch} is missing`);
    }
    const file = files.fileOf(epoch);
    const reader = new SegmentReader(file, await file.size());
    const isNewest = at === epochs.length - 1;
    const stated = await headerOf(reader, epoch, isNewest);
    if (stated !== undefined) {
      if (before !== undefined && stated.previousEnd !== previousEnd) {
        throw damaged(files.pathOf(before), previousEnd, `records are missing up to ${stated.previousEnd}`);
      }
      if (salt !== undefined && stated.salt !== salt) {
        throw damaged(reader.path, 0, 'the segment is of another log than the one before it');
      }
      salt = stated.salt;
      last = await replaySegment(reader, { epoch, salt }, { ranges, places });
    } else {
      if (before !== undefined) await checkTail(files, { epoch: before, salt, end: last }, logger);
      last = NEVER_WRITTEN;
    }
    if (isNewest) await checkTail(files, { epoch, salt, end: last }, logger);
    else previousEnd = last.offset;
  }
  for (const [rangeId, state] of ranges) {
    if (!state.isReplayComplete()) {
      throw damaged(files.pathOf(epochs[0] ?? 1), 0, `the log of range ${rangeId} has no beginning`);
    }
  }
  return {
    ranges,
    start: {
      ...{ epoch: epochs.at(-1) ?? firstEpoch, offset: last.offset, sequence: last.sequence, previousEnd },
      salt,
    },
    lastBlock: { from: last.sequence === 1 ? 0 : last.lastBlockAt, to: last.offset },
  };
}

/** undefined: the segment was never written in its present life, which only the newest may be. */
async function headerOf(
  reader: SegmentReader,
  epoch: number,
  isNewest: boolean,
): Promise<SegmentHeader | undefined> {
  const result = decodeSegmentHeader(await reader.bytes(0, SEGMENT_HEADER_BYTES));
  switch (result.type) {
    case 'valid':
      if (result.header.epoch === epoch) return result.header;
      break;
    case 'other-version':
      throw otherVersion(reader.path, result.version);
    case 'invalid':
      break;
  }
  if (isNewest) return undefined;
  throw damaged(reader.path, 0, 'the segment header is not valid');
}

function otherVersion(path: string, version: number): CairnError {
  if (version > FORMAT_VERSION) {
    return formatTooNew(`raft log ${path} of format ${version}`, { path });
  }
  return new CairnError(
    'FAILED_PRECONDITION',
    `raft log ${path} has format ${version}, written by an older version of the program; this one reads ` +
      `${FORMAT_VERSION}. Give the node an empty data directory and let its ranges be rebuilt from their other replicas.`,
  );
}

/** Applies every block up to the first that is not whole. */
async function replaySegment(
  reader: SegmentReader,
  { epoch, salt }: { readonly epoch: number; readonly salt: LogSalt },
  replay: Replay,
): Promise<SegmentEnd> {
  let offset = SEGMENT_HEADER_BYTES;
  let sequence = 0;
  let lastBlockAt = 0;
  for (;;) {
    const head = decodeBlockHeader(await reader.bytes(offset, BLOCK_HEADER_BYTES), 0, { epoch, salt });
    if (head === undefined || head.sequence !== sequence) break;
    const bodyAt = offset + BLOCK_HEADER_BYTES;
    if (bodyAt + head.bodyBytes > reader.size) break;
    const body = await reader.bytes(bodyAt, head.bodyBytes);
    if (!isBodyWhole(body, head, salt)) break;
    replayBody({ reader, replay, body, epoch, bodyAt });
    lastBlockAt = offset;
    offset = alignBlock(bodyAt + head.bodyBytes);
    sequence += 1;
  }
  // A header without its first block is what a torn first write leaves: the segment counts as never written.
  return sequence === 0 ? NEVER_WRITTEN : { offset, sequence, lastBlockAt };
}

/**
 * Checks every record's CRC and, through the digest, that these are the records the header was written with.
 */
function isBodyWhole(body: Buffer, head: BlockHeader, salt: LogSalt): boolean {
  if (body.length !== head.bodyBytes) return false;
  let at = 0;
  let digest = startDigest(salt, head.epoch, head.sequence);
  for (let count = 0; count < head.recordCount; count += 1) {
    if (at + ENTRY_HEADER_BYTES > body.length) return false;
    const end = at + ENTRY_HEADER_BYTES + getU32(body, at + 28);
    if (end > body.length) return false;
    const crc = getU32(body, at);
    if (crc32(body.subarray(at + 4, end)) !== crc) return false;
    digest = mixDigest(digest, crc);
    at = end;
  }
  return at === body.length && digest === head.digest;
}

interface ReplayBody {
  readonly reader: SegmentReader;
  readonly replay: Replay;
  readonly body: Buffer;
  readonly epoch: number;
  readonly bodyAt: number;
}

function replayBody({ reader, replay, body, epoch, bodyAt }: ReplayBody): void {
  const { ranges, places } = replay;
  let at = 0;
  while (at < body.length) {
    const header = body.subarray(at, at + ENTRY_HEADER_BYTES);
    const end = at + ENTRY_HEADER_BYTES + getU32(body, at + 28);
    const payload = body.subarray(at + ENTRY_HEADER_BYTES, end);
    const fields = decodeRecordHeader(header);
    if (fields === undefined) {
      const later = laterThanKnown(header);
      if (later === undefined) throw damaged(reader.path, bodyAt + at, 'a record is of no release');
      const place = { path: reader.path, offset: bodyAt + at };
      throw formatTooNew(`raft log ${place.path} at offset ${place.offset}: ${later}`, place);
    }
    if (!replayRecord(ranges, fields, payload, places.of(epoch, bodyAt + at))) {
      throw damaged(reader.path, bodyAt + at, 'the record contradicts the records before it');
    }
    at = end;
  }
}

/** Applies one record; false when it cannot follow what came before. */
function replayRecord(
  ranges: Map<RangeId, RangeState>,
  fields: RecordFields,
  payload: Buffer,
  position: number,
): boolean {
  if (fields.type === RecordType.removeRange) {
    ranges.delete(fields.rangeId);
    return true;
  }
  let state = ranges.get(fields.rangeId);
  if (state === undefined) {
    state = new RangeState(fields.rangeId);
    ranges.set(fields.rangeId, state);
  }
  switch (fields.type) {
    case RecordType.entry:
      return state.replayEntry(fields, { position, payloadBytes: payload.length });
    case RecordType.hardState: {
      const hardState = decodeHardState(fields, payload);
      if (hardState !== undefined) state.setHardState(hardState, position);
      return hardState !== undefined;
    }
    case RecordType.checkpoint:
      // A copy: the payload is a view of the read window.
      state.setCheckpoint({ index: fields.index, term: fields.term, state: Buffer.from(payload) }, position);
      return true;
    case RecordType.truncate:
      return state.replayTruncate(fields.index, fields.term, position);
    case RecordType.reset:
      state.replayReset(fields.index, fields.term, position);
      return true;
  }
}

/**
 * Decides what ended the last segment, by what lies behind its last whole block. Writes follow one another:
 * the log begins none before the one before it is durable. So only the very last one can be half there, and
 * nobody was told of it.
 *
 * | behind the last whole block    | decision      | because                             |
 * | ------------------------------ | ------------- | ----------------------------------- |
 * | zeros                          | the end       | free files are filled with them     |
 * | a block of another epoch       | the end       | the file had another life before    |
 * | like a block, without the salt | the end       | a value: who wrote it knows no salt |
 * | the next block, not whole      | torn: warning | the write that was going on         |
 * | a later block                  | damage        | the broken one was durable before   |
 *
 * A torn block is not removed: the next write goes to its place. Where that one is shorter, the rest of the
 * old one fits neither its digest nor its sequence. Three cases are told apart elsewhere, or not at all. A
 * segment whose header has no whole block behind it was never written, so the tail is that of the segment
 * before. A lost last block is noticed once a later segment states where this one ended. One that rots while
 * nothing follows it cannot be told from a torn write.
 */
async function checkTail(
  files: SegmentFiles,
  {
    epoch,
    salt,
    end,
  }: { readonly epoch: number; readonly salt: LogSalt | undefined; readonly end: SegmentEnd },
  logger: Logger,
): Promise<void> {
  const file = files.fileOf(epoch);
  const reader = new SegmentReader(file, await file.size());
  const brokenAt = end.offset === 0 ? SEGMENT_HEADER_BYTES : end.offset;
  let isTorn = false;
  for (let at = brokenAt; at < reader.size; at += BLOCK_ALIGN_BYTES) {
    const head = decodeBlockHeader(await reader.bytes(at, BLOCK_HEADER_BYTES), 0, { epoch, salt });
    if (head === undefined) continue;
    if (head.sequence > end.sequence) {
      throw damaged(
        reader.path,
        brokenAt,
        `a block is not valid although block ${head.sequence} follows at ${at}`,
      );
    }
    isTorn = true;
  }
  if (isTorn) {
    logger.warn('raft log discards its last, unfinished write', { path: reader.path, offset: brokenAt });
  }
}
