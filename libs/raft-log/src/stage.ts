import { assert } from '@cairn/base';
import { ENTRY_HEADER_BYTES, getU32 } from './record-format.js';
import {
  alignBlock,
  BLOCK_ALIGN_BYTES,
  BLOCK_HEADER_BYTES,
  encodeBlockHeader,
  encodeSegmentHeader,
  mixDigest,
  positionOf,
  SEGMENT_HEADER_BYTES,
  startDigest,
} from './segment-format.js';

const CHUNK_BYTES = 256 * 1024;
/** Chunks kept for reuse: 2 MiB. */
const CHUNKS_KEPT_MAX = 8;
/** Up to here a payload is copied: cheaper than one more buffer in the vector of a write. */
const COPY_BYTES_MAX = 4096;
const NOTHING = Buffer.alloc(0);
const ZEROS = Buffer.alloc(BLOCK_ALIGN_BYTES);

/** One block, ready to be written; `parts` may not change until `Stage.release`. */
export interface SealedBlock {
  readonly epoch: number;
  /** Where the write begins; the segment's header sector is part of the first one. */
  readonly offset: number;
  readonly parts: readonly Uint8Array[];
  /** Bytes of all parts. */
  readonly bytes: number;
  /** Bytes of the records alone. */
  readonly recordBytes: number;
  readonly chunks: readonly Buffer[];
}

export interface StageStart {
  readonly epoch: number;
  /** Where the next block begins; 0 = the segment has no header yet. */
  readonly offset: number;
  readonly sequence: number;
  /** End of the segment before; 0 when there is none. */
  readonly previousEnd: number;
}

/**
 * Gathers records into blocks and gives each its final place in the log at once: the place of a block follows
 * from the blocks before it, and a block is begun in a segment only where the largest one would fit. A block
 * is written by one durable write; recovery takes it whole or not at all.
 */
export class Stage {
  readonly #segmentBytes: number;
  readonly #blockBytesMax: number;
  readonly #freeChunks: Buffer[] = [];
  #sealed: SealedBlock[] = [];
  #epoch: number;
  #offset: number;
  #sequence: number;
  #previousEnd: number;
  #stagedBytes = 0;

  // The open block. `#recordCount` 0 = none is open.
  #recordCount = 0;
  #headerBuffer: Buffer = NOTHING;
  #bodyOffset = 0;
  #bodyBytes = 0;
  #digest = 0;
  #parts: Uint8Array[] = [];
  #chunks: Buffer[] = [];
  #chunk: Buffer = NOTHING;
  /** The chunk's bytes from here to `#chunkAt` are not yet in `#parts`. */
  #chunkFrom = 0;
  #chunkAt = 0;

  constructor(segmentBytes: number, blockBytesMax: number, start: StageStart) {
    this.#segmentBytes = segmentBytes;
    this.#blockBytesMax = blockBytesMax;
    this.#epoch = start.epoch;
    this.#offset = start.offset;
    this.#sequence = start.sequence;
    this.#previousEnd = start.previousEnd;
  }

  /** Record bytes added and not yet released. */
  get stagedBytes(): number {
    return this.#stagedBytes;
  }

  get isEmpty(): boolean {
    return this.#recordCount === 0 && this.#sealed.length === 0;
  }

  /** The end of everything added so far. */
  get endPosition(): number {
    return positionOf(
      this.#epoch,
      this.#recordCount === 0 ? this.#offset : this.#bodyOffset + this.#bodyBytes,
    );
  }

  /** Makes sure that the next records, `bytes` together, go into one block. */
  beginGroup(bytes: number): void {
    assert(bytes <= this.#blockBytesMax, 'a group does not fit a block', { bytes });
    if (this.#recordCount > 0 && BLOCK_HEADER_BYTES + this.#bodyBytes + bytes > this.#blockBytesMax)
      this.#seal();
  }

  /**
   * Adds one record and answers its position. The header is copied; a long payload is referenced until the
   * write is done.
   */
  add(header: Uint8Array, payload: Uint8Array): number {
    const bytes = ENTRY_HEADER_BYTES + payload.length;
    if (this.#recordCount > 0 && BLOCK_HEADER_BYTES + this.#bodyBytes + bytes > this.#blockBytesMax)
      this.#seal();
    if (this.#recordCount === 0) this.#open(bytes);
    const position = positionOf(this.#epoch, this.#bodyOffset + this.#bodyBytes);
    const isCopied = payload.length <= COPY_BYTES_MAX;
    const needed = isCopied ? bytes : ENTRY_HEADER_BYTES;
    if (this.#chunkAt + needed > this.#chunk.length) this.#nextChunk();
    this.#chunk.set(header, this.#chunkAt);
    this.#chunkAt += ENTRY_HEADER_BYTES;
    if (isCopied) {
      this.#chunk.set(payload, this.#chunkAt);
      this.#chunkAt += payload.length;
    } else {
      this.#flushChunk();
      this.#parts.push(payload);
    }
    this.#digest = mixDigest(this.#digest, getU32(header, 0));
    this.#recordCount += 1;
    this.#bodyBytes += bytes;
    this.#stagedBytes += bytes;
    return position;
  }

  /** Closes the open block and hands over all blocks, in the order in which they must be written. */
  take(): SealedBlock[] {
    if (this.#recordCount > 0) this.#seal();
    const taken = this.#sealed;
    this.#sealed = [];
    return taken;
  }

  /** The write of a block ended: its memory is used again. */
  release(block: SealedBlock): void {
    this.#stagedBytes -= block.recordBytes;
    for (const chunk of block.chunks) {
      if (this.#freeChunks.length < CHUNKS_KEPT_MAX) this.#freeChunks.push(chunk);
    }
  }

  #open(firstRecordBytes: number): void {
    const largest = alignBlock(BLOCK_HEADER_BYTES + Math.max(firstRecordBytes, this.#blockBytesMax));
    if (this.#offset > 0 && this.#offset + largest > this.#segmentBytes) {
      this.#previousEnd = this.#offset;
      this.#epoch += 1;
      this.#offset = 0;
      this.#sequence = 0;
    }
    const blockOffset = this.#offset === 0 ? SEGMENT_HEADER_BYTES : this.#offset;
    this.#bodyOffset = blockOffset + BLOCK_HEADER_BYTES;
    this.#bodyBytes = 0;
    this.#digest = startDigest(this.#epoch, this.#sequence);
    if (this.#offset === 0) {
      this.#parts.push(encodeSegmentHeader({ epoch: this.#epoch, previousEnd: this.#previousEnd }));
    }
    this.#nextChunk();
    this.#headerBuffer = this.#chunk.subarray(0, BLOCK_HEADER_BYTES);
    this.#chunkAt = BLOCK_HEADER_BYTES;
  }

  #seal(): void {
    this.#flushChunk();
    const bodyBytes = this.#bodyBytes;
    encodeBlockHeader(this.#headerBuffer, {
      epoch: this.#epoch,
      sequence: this.#sequence,
      bodyBytes,
      recordCount: this.#recordCount,
      digest: this.#digest,
    });
    const end = alignBlock(this.#bodyOffset + bodyBytes);
    const padding = end - this.#bodyOffset - bodyBytes;
    if (padding > 0) this.#parts.push(ZEROS.subarray(0, padding));
    this.#sealed.push({
      epoch: this.#epoch,
      offset: this.#offset,
      parts: this.#parts,
      bytes: end - this.#offset,
      recordBytes: bodyBytes,
      chunks: this.#chunks,
    });
    this.#offset = end;
    this.#sequence += 1;
    this.#recordCount = 0;
    this.#parts = [];
    this.#chunks = [];
    this.#chunk = NOTHING;
    this.#chunkFrom = 0;
    this.#chunkAt = 0;
  }

  #flushChunk(): void {
    if (this.#chunkAt > this.#chunkFrom)
      this.#parts.push(this.#chunk.subarray(this.#chunkFrom, this.#chunkAt));
    this.#chunkFrom = this.#chunkAt;
  }

  #nextChunk(): void {
    this.#flushChunk();
    this.#chunk = this.#freeChunks.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#chunks.push(this.#chunk);
    this.#chunkFrom = 0;
    this.#chunkAt = 0;
  }
}
