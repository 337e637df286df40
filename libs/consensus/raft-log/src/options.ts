import { CairnError } from '@cairn/base';
import { BLOCK_ALIGN_BYTES, SEGMENT_HEADER_BYTES } from './segment-format.js';

/** Settings of a raft log. All have defaults. */
export interface RaftLogOptions {
  /** Size of a preallocated segment file. Default 64 MiB; 8 KiB .. 1 GiB, a multiple of 512. */
  readonly segmentBytes?: number;
  /**
   * Bytes of the newest records kept in memory, all ranges together; entries read back may take a quarter of
   * it besides. Staged records always stay, so the sum can be above it by what is staged. Default 64 MiB.
   */
  readonly cacheBytesMax?: number;
  /**
   * Bytes staged and not yet durable from which on the host takes no more entries in
   * (`RaftLog.stagedBytes`). What its cores took before is added, at most one turn's worth. Default 128 MiB.
   */
  readonly stagedBytesMax?: number;
  /** Ready-made files kept for later segments; those above are deleted. Default 2. */
  readonly freeSegmentsMax?: number;
  /** `reclaim` rewrites live records, and names ranges that pin, only above this many segments. Default 4. */
  readonly segmentsTarget?: number;
  /** `reclaim` rewrites a range's whole log when its records are not larger than this. Default 256 KiB. */
  readonly rewriteBytesMax?: number;
  /** The number of a new log's first segment. Default 1. */
  readonly firstEpoch?: number;
  /** Positions get a new base when the oldest segment is so many above the old one. Default 2^20. */
  readonly epochsPerBase?: number;
}

export interface ResolvedOptions extends Required<RaftLogOptions> {
  /** Largest block, unless it holds one single record that is larger. */
  readonly blockBytesMax: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;
const SEGMENT_BYTES_LEAST = 8 * KIB;
const SEGMENT_BYTES_MOST = 1024 * MIB;
/** At the end of a segment at most one largest block is left unused. */
const BLOCKS_PER_SEGMENT_LEAST = 16;

function reject(sentence: string): never {
  throw new CairnError('INVALID_ARGUMENT', `raft log options: ${sentence}`);
}

/** Fills in the defaults. Throws INVALID_ARGUMENT with both values when settings contradict each other. */
export function resolveOptions(options: RaftLogOptions): ResolvedOptions {
  const segmentBytes = options.segmentBytes ?? 64 * MIB;
  if (segmentBytes < SEGMENT_BYTES_LEAST || segmentBytes > SEGMENT_BYTES_MOST) {
    reject(`segmentBytes ${segmentBytes} is outside ${SEGMENT_BYTES_LEAST} .. ${SEGMENT_BYTES_MOST}`);
  }
  if (segmentBytes % BLOCK_ALIGN_BYTES !== 0) {
    reject(`segmentBytes ${segmentBytes} is not a multiple of ${BLOCK_ALIGN_BYTES}`);
  }
  const share = Math.floor(segmentBytes / BLOCKS_PER_SEGMENT_LEAST / BLOCK_ALIGN_BYTES) * BLOCK_ALIGN_BYTES;
  const blockBytesMax = Math.max(share, SEGMENT_HEADER_BYTES * 2);
  const resolved: ResolvedOptions = {
    segmentBytes,
    blockBytesMax,
    cacheBytesMax: options.cacheBytesMax ?? 64 * MIB,
    stagedBytesMax: options.stagedBytesMax ?? 128 * MIB,
    freeSegmentsMax: options.freeSegmentsMax ?? 2,
    segmentsTarget: options.segmentsTarget ?? 4,
    rewriteBytesMax: Math.min(options.rewriteBytesMax ?? 256 * KIB, blockBytesMax / 2),
    firstEpoch: options.firstEpoch ?? 1,
    epochsPerBase: options.epochsPerBase ?? 2 ** 20,
  };
  if (resolved.cacheBytesMax < 0) reject(`cacheBytesMax ${resolved.cacheBytesMax} is negative`);
  if (resolved.stagedBytesMax < 1) reject(`stagedBytesMax ${resolved.stagedBytesMax} is below 1`);
  if (resolved.freeSegmentsMax < 0) reject(`freeSegmentsMax ${resolved.freeSegmentsMax} is negative`);
  if (resolved.segmentsTarget < 1) reject(`segmentsTarget ${resolved.segmentsTarget} is below 1`);
  return resolved;
}
