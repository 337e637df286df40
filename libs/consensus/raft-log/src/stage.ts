import { BoundedBytes, NO_BYTES } from '@cairn/base';
import type { LogPlaces } from './log-places.js';
import type { LogMemory } from './log-memory.js';
import { getU32 } from './record-format.js';
import {
  alignBlock,
  BLOCK_ALIGN_BYTES,
  BLOCK_HEADER_BYTES,
  encodeBlockHeader,
  encodeSegmentHeader,
  type LogSalt,
  mixDigest,
  SEGMENT_HEADER_BYTES,
  startDigest,
} from './segment-format.js';

const ZEROS = Buffer.alloc(BLOCK_ALIGN_BYTES);

/**
 * One block, ready to be written; `parts` belong to the log's memory, which keeps them until they are
 * durable.
 */
export interface SealedBlock {
  readonly epoch: number;
  /** Where the write begins; the segment's header sector is part of the first one. */
  readonly offset: number;
  readonly parts: readonly Uint8Array[];
  /** Bytes of all parts. */
  readonly bytes: number;
  /** Bytes of the records alone. */
  readonly recordBytes: number;
}

export interface StageStart {
  readonly epoch: number;
  /** Where the next block begins; 0 = the segment has no header yet. */
  readonly offset: number;
  readonly sequence: number;
  /** End of the segment before; 0 when there is none. */
  readonly previousEnd: number;
  readonly salt: LogSalt;
}

export interface StageLimits {
  readonly segmentBytes: number;
  readonly blockBytesMax: number;
  readonly stagedBytesMax: number;
}

/**
 * Gathers records into blocks and gives each its final place in the log at once: the place of a block follows
 * from the blocks before it, and a block is begun in a segment only where the largest one would fit. A block
 * is written by one durable write; recovery takes it whole or not at all.
 */
export class Stage {
  readonly #segmentBytes: number;
  readonly #blockBytesMax: number;
  readonly #memory: LogMemory;
  readonly #places: LogPlaces;
  #sealed: SealedBlock[] = [];
  #epoch: number;
  #offset: number;
  #sequence: number;
  #previousEnd: number;
  readonly #salt: LogSalt;
  /** Records added and not yet released, counted by blocks. Nothing is refused here: see `RaftLog`. */
  readonly #staged: BoundedBytes;

  /** Bytes of the group that the next block begins with. */
  #groupBytes = 0;
  // The open block. `#recordCount` 0 = none is open.
  #recordCount = 0;
  /** What it takes at most, its header included. */
  #openBytesMax = 0;
  #headerBuffer: Buffer = NO_BYTES;
  #bodyOffset = 0;
  #bodyBytes = 0;
  #digest = 0;
  #parts: Uint8Array[] = [];
  #slab: Buffer = NO_BYTES;
  /** The slab's bytes from here to `#slabAt` are not yet in `#parts`. */
  #slabFrom = 0;
  #slabAt = 0;

  constructor(memory: LogMemory, places: LogPlaces, limits: StageLimits, start: StageStart) {
    this.#memory = memory;
    this.#places = places;
    this.#segmentBytes = limits.segmentBytes;
    this.#blockBytesMax = limits.blockBytesMax;
    this.#staged = new BoundedBytes({
      name: 'raft log records that wait for the disk',
      limit: limits.stagedBytesMax,
    });
    this.#epoch = start.epoch;
    this.#offset = start.offset;
    this.#sequence = start.sequence;
    this.#previousEnd = start.previousEnd;
    this.#salt = start.salt;
  }

  /** Record bytes added and not yet released. */
  get stagedBytes(): number {
    return this.#staged.used;
  }

  get isEmpty(): boolean {
    return this.#recordCount === 0 && this.#sealed.length === 0;
  }

  /**
   * Makes sure that the next records, `bytes` together, go into one block: one of their own where they are
   * more than the largest.
   */
  beginGroup(bytes: number): void {
    if (this.#recordCount > 0 && !this.#hasRoom(bytes)) this.#seal();
    if (this.#recordCount === 0) this.#groupBytes = bytes;
  }

  /** Adds one record and answers its position. It is copied into the log's memory. */
  add(record: Uint8Array): number {
    const bytes = record.length;
    if (this.#recordCount > 0 && !this.#hasRoom(bytes)) this.#seal();
    if (this.#recordCount === 0) this.#open(bytes);
    const position = this.#places.of(this.#epoch, this.#bodyOffset + this.#bodyBytes);
    const at = this.#reserve(bytes);
    this.#slab.set(record, at);
    this.#memory.hold(position, bytes);
    this.#digest = mixDigest(this.#digest, getU32(record, 0));
    this.#recordCount += 1;
    this.#bodyBytes += bytes;
    this.#staged.resize(0, bytes);
    return position;
  }

  /** Closes the open block and hands over all blocks, in the order in which they must be written. */
  take(): SealedBlock[] {
    if (this.#recordCount > 0) this.#seal();
    const taken = this.#sealed;
    this.#sealed = [];
    return taken;
  }

  /** The write of a block ended. */
  release(block: SealedBlock): void {
    this.#staged.give(block.recordBytes);
  }

  /** Whether the open block takes so many bytes more. */
  #hasRoom(bytes: number): boolean {
    return BLOCK_HEADER_BYTES + this.#bodyBytes + bytes <= this.#openBytesMax;
  }

  #open(firstRecordBytes: number): void {
    const leastBytes = Math.max(firstRecordBytes, this.#groupBytes);
    this.#groupBytes = 0;
    this.#openBytesMax = Math.max(BLOCK_HEADER_BYTES + leastBytes, this.#blockBytesMax);
    const largest = alignBlock(BLOCK_HEADER_BYTES + Math.max(leastBytes, this.#blockBytesMax));
    if (this.#offset > 0 && this.#offset + largest > this.#segmentBytes) {
      this.#previousEnd = this.#offset;
      this.#epoch += 1;
      this.#places.checkEpoch(this.#epoch);
      this.#offset = 0;
      this.#sequence = 0;
    }
    const blockOffset = this.#offset === 0 ? SEGMENT_HEADER_BYTES : this.#offset;
    this.#bodyOffset = blockOffset + BLOCK_HEADER_BYTES;
    this.#bodyBytes = 0;
    this.#staged.take(0);
    this.#digest = startDigest(this.#salt, this.#epoch, this.#sequence);
    if (this.#offset === 0) {
      const salt = this.#salt;
      this.#parts.push(encodeSegmentHeader({ epoch: this.#epoch, previousEnd: this.#previousEnd, salt }));
    }
    // Together with the first record: what is held of that keeps the memory of the header, too.
    const { buffer, offset } = this.#memory.reserve(BLOCK_HEADER_BYTES + firstRecordBytes);
    this.#memory.giveBack(firstRecordBytes);
    this.#slab = buffer;
    this.#slabFrom = offset;
    this.#slabAt = offset + BLOCK_HEADER_BYTES;
    this.#headerBuffer = buffer.subarray(offset, this.#slabAt);
  }

  #seal(): void {
    this.#flushSlab();
    this.#memory.endPiece();
    const bodyBytes = this.#bodyBytes;
    const header = {
      epoch: this.#epoch,
      sequence: this.#sequence,
      bodyBytes,
      recordCount: this.#recordCount,
      digest: this.#digest,
    };
    encodeBlockHeader(this.#headerBuffer, header, this.#salt);
    const end = alignBlock(this.#bodyOffset + bodyBytes);
    const padding = end - this.#bodyOffset - bodyBytes;
    if (padding > 0) this.#parts.push(ZEROS.subarray(0, padding));
    this.#sealed.push({
      epoch: this.#epoch,
      offset: this.#offset,
      parts: this.#parts,
      bytes: end - this.#offset,
      recordBytes: bodyBytes,
    });
    this.#offset = end;
    this.#sequence += 1;
    this.#recordCount = 0;
    this.#parts = [];
  }

  /** Answers where in `#slab` the next `bytes` go. */
  #reserve(bytes: number): number {
    const { buffer, offset } = this.#memory.reserve(bytes);
    if (buffer !== this.#slab) {
      this.#flushSlab();
      this.#slab = buffer;
      this.#slabFrom = offset;
    }
    this.#slabAt = offset + bytes;
    return offset;
  }

  #flushSlab(): void {
    if (this.#slabAt > this.#slabFrom) this.#parts.push(this.#slab.subarray(this.#slabFrom, this.#slabAt));
    this.#slabFrom = this.#slabAt;
  }
}
