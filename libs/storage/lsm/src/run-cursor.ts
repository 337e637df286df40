import { assert } from '@cairn/base';

import { bodyOf, isPlainBlock } from './block-read.js';
import { BLOCK_TRAILER_BYTES, BlockView } from './block.js';
import { compareKeys, KeyView } from './key-view.js';
import { isDeleted, keyBytesOf, ROW_HEADER_BYTES, valueBytesOf } from './row.js';
import type { CursorState, RowCursor } from './row-cursor.js';
import type { TableMeta } from './table-format.js';
import { damagedBlock, type Table } from './table.js';
import { isWhole, sliceFor, type Slice } from './version.js';

/** The first read after a seek: a short walk should not read much. Each further one is longer. */
const FIRST_CHUNK_BYTES = 8 * 1024;
const CHUNK_GROWTH = 4;

/** How a cursor gets at tables. */
export interface TableReads {
  /** undefined when it has to be waited for. */
  metaNow(table: Table): TableMeta | undefined;
  loadMeta(table: Table): Promise<TableMeta>;
  /** Fills the target from a position of the file; false when it has to be waited for. */
  readNow(table: Table, target: Uint8Array, position: number): boolean;
  read(table: Table, position: number, length: number): Promise<Uint8Array>;
}

export interface RunCursorOptions {
  readonly reads: TableReads;
  readonly slices: readonly Slice[];
  readonly isReverse: boolean;
  /** Most that one read fetches; a larger block comes whole. */
  readonly chunkBytesMax: number;
  /** Read that much from the beginning: the whole run will be walked over. */
  readonly isLongWalk: boolean;
}

/** Blocks that were read together. */
interface Chunk {
  readonly table: Table;
  readonly bytes: Uint8Array;
  /** Position in the file of `bytes[0]`. */
  readonly position: number;
  readonly firstBlock: number;
  readonly endBlock: number;
}

/** Where in the slice it wants to go: to a key, or to the end of a block that it comes to first. */
type Goal = { readonly type: 'key'; readonly key: KeyView | undefined } | { readonly type: 'block' };

const SLICE_EDGE: Goal = { type: 'key', key: undefined };
const BLOCK_EDGE: Goal = { type: 'block' };
const NOTHING = new Uint8Array(0);

/** Walks over the slices of a run. */
export class RunCursor implements RowCursor {
  readonly key = new KeyView();
  bytes: Uint8Array = NOTHING;
  valueAt = 0;
  valueBytes = 0;
  isDeleted = false;
  state: CursorState = 'at-end';
  readonly #reads: TableReads;
  readonly #slices: readonly Slice[];
  readonly #isReverse: boolean;
  readonly #chunkBytesMax: number;
  readonly #isLongWalk: boolean;
  #chunkBytes: number;
  /** Memory for what is read on this thread; reused. */
  #memory: Uint8Array = NOTHING;
  #chunk: Chunk | undefined;
  #sliceAt = 0;
  /** The slice covers all of its table: no row has to be compared with its bounds. */
  #isWhole = true;
  #meta: TableMeta | undefined;
  #goal: Goal = SLICE_EDGE;
  #block = 0;
  #row = 0;
  readonly #view = new BlockView();
  readonly #bound = new KeyView();

  constructor(options: RunCursorOptions) {
    this.#reads = options.reads;
    this.#slices = options.slices;
    this.#isReverse = options.isReverse;
    this.#chunkBytesMax = options.chunkBytesMax;
    this.#isLongWalk = options.isLongWalk;
    this.#chunkBytes = options.chunkBytesMax;
  }

  seek(target: KeyView): void {
    this.#chunkBytes = this.#isLongWalk ? this.#chunkBytesMax : FIRST_CHUNK_BYTES;
    let at = sliceFor(this.#slices, target);
    if (this.#isReverse) {
      // That slice, if it begins at or before the target; else the one before ends before it.
      const slice = this.#slices[at];
      if (slice === undefined || compareKeys(KeyView.of(slice.from), target) > 0) at -= 1;
    }
    this.#enterSlice(at, { type: 'key', key: target });
  }

  next(): CursorState {
    assert(this.state === 'on-row', 'moved from no row');
    this.#row += this.#isReverse ? -1 : 1;
    if (this.#row >= 0 && this.#row < this.#view.rowCount) this.#show();
    else this.#leaveBlock();
    return this.state;
  }

  load(): Promise<void> | undefined {
    while (this.state === 'waits') {
      const { table } = this.#slices[this.#sliceAt] as Slice;
      const meta = this.#meta ?? this.#reads.metaNow(table);
      if (meta === undefined) return this.#loadWaiting();
      this.#meta = meta;
      const block = this.#wantedBlock(meta);
      if (!this.#hasRead(table, block) && !this.#readNow(table, meta, block)) return this.#loadWaiting();
      this.#enterBlock(block);
    }
    return undefined;
  }

  async #loadWaiting(): Promise<void> {
    while (this.state === 'waits') {
      const { table } = this.#slices[this.#sliceAt] as Slice;
      this.#meta ??= await this.#reads.loadMeta(table);
      const block = this.#wantedBlock(this.#meta);
      if (!this.#hasRead(table, block)) {
        const place = this.#chunkAround(this.#meta, block);
        const bytes = await this.#reads.read(table, place.position, place.length);
        if (bytes.length !== place.length) throw damagedBlock(table, place.position, 'is cut off');
        this.#chunk = { table, bytes, ...place };
      }
      this.#enterBlock(block);
    }
  }

  #readNow(table: Table, meta: TableMeta, block: number): boolean {
    const place = this.#chunkAround(meta, block);
    if (this.#memory.length < place.length) {
      this.#memory = Buffer.allocUnsafeSlow(Math.max(place.length, this.#chunkBytes));
    }
    // What was read before into this memory is gone, whether or not this read succeeds.
    this.#chunk = undefined;
    const bytes = this.#memory.subarray(0, place.length);
    if (!this.#reads.readNow(table, bytes, place.position)) return false;
    this.#chunk = { table, bytes, ...place };
    return true;
  }

  #hasRead(table: Table, block: number): boolean {
    const chunk = this.#chunk;
    return chunk?.table === table && chunk.firstBlock <= block && block < chunk.endBlock;
  }

  /** Blocks from this one on in the direction of the walk, as many as one read should fetch. */
  #chunkAround(
    meta: TableMeta,
    block: number,
  ): { position: number; length: number; firstBlock: number; endBlock: number } {
    const wanted = this.#chunkBytes;
    this.#chunkBytes = Math.min(this.#chunkBytesMax, wanted * CHUNK_GROWTH);
    let firstBlock = block;
    let endBlock = block + 1;
    const bytes = (first: number, end: number): number => meta.positionOf(end) - meta.positionOf(first);
    if (this.#isReverse) {
      while (firstBlock > 0 && bytes(firstBlock - 1, endBlock) <= wanted) firstBlock -= 1;
    } else {
      while (endBlock < meta.blocks && bytes(firstBlock, endBlock + 1) <= wanted) endBlock += 1;
    }
    return {
      position: meta.positionOf(firstBlock),
      length: bytes(firstBlock, endBlock),
      firstBlock,
      endBlock,
    };
  }

  #enterSlice(at: number, goal: Goal): void {
    const slice = this.#slices[at];
    if (slice === undefined) {
      this.state = 'at-end';
      return;
    }
    this.#isWhole = isWhole(slice);
    this.#meta = undefined;
    this.#sliceAt = at;
    this.#goal = goal;
    this.state = 'waits';
  }

  #wantedBlock(meta: TableMeta): number {
    if (this.#goal.type === 'block') return this.#block;
    return meta.blockFor(this.#boundOf(this.#goal.key));
  }

  /** Where in the slice the walk begins: the target, or the edge of the slice if that is nearer. */
  #boundOf(target: KeyView | undefined): KeyView {
    const slice = this.#slices[this.#sliceAt] as Slice;
    const edge = this.#isReverse ? slice.to : slice.from;
    this.#bound.set(edge, 0, edge.length);
    if (target === undefined) return this.#bound;
    const difference = compareKeys(target, this.#bound);
    return (this.#isReverse ? difference < 0 : difference > 0) ? target : this.#bound;
  }

  #enterBlock(block: number): void {
    const chunk = this.#chunk as Chunk;
    const meta = this.#meta as TableMeta;
    const start = meta.positionOf(block) - chunk.position;
    const end = meta.positionOf(block + 1) - chunk.position;
    if (isPlainBlock(chunk.bytes, start, end)) {
      this.#view.set(chunk.bytes, start, end - BLOCK_TRAILER_BYTES);
    } else {
      const body = bodyOf(chunk.table, meta.positionOf(block), chunk.bytes.subarray(start, end));
      this.#view.set(body, 0, body.length);
    }
    this.bytes = this.#view.bytes;
    this.#block = block;
    if (this.#goal.type === 'block') this.#row = this.#isReverse ? this.#view.rowCount - 1 : 0;
    else this.#row = this.#rowFor(this.#goal.key);
    if (this.#row >= 0 && this.#row < this.#view.rowCount) this.#show();
    else this.#leaveBlock();
  }

  #rowFor(target: KeyView | undefined): number {
    const bound = this.#boundOf(target);
    const row = this.#view.lowerBound(bound);
    if (!this.#isReverse) return row;
    // The end of a slice is not in it; a target may be.
    if (bound !== target || row === this.#view.rowCount) return row - 1;
    this.#view.showKey(this.#view.rowAt(row), this.key);
    return compareKeys(this.key, bound) === 0 ? row : row - 1;
  }

  #leaveBlock(): void {
    this.#block += this.#isReverse ? -1 : 1;
    const { table } = this.#slices[this.#sliceAt] as Slice;
    if (this.#block < 0 || this.#block >= (this.#meta as TableMeta).blocks) {
      this.#leaveSlice();
      return;
    }
    this.#goal = BLOCK_EDGE;
    this.state = 'waits';
    if (this.#hasRead(table, this.#block)) this.#enterBlock(this.#block);
  }

  #leaveSlice(): void {
    this.#enterSlice(this.#sliceAt + (this.#isReverse ? -1 : 1), SLICE_EDGE);
  }

  /** Stands on the row, unless it is beyond the slice. */
  #show(): void {
    const { bytes } = this;
    const at = this.#view.rowAt(this.#row);
    this.#view.showKey(at, this.key);
    this.valueAt = at + ROW_HEADER_BYTES + keyBytesOf(bytes, at);
    this.valueBytes = valueBytesOf(bytes, at);
    this.isDeleted = isDeleted(bytes, at);
    if (!this.#isWhole && this.#isBeyondSlice()) this.#leaveSlice();
    else this.state = 'on-row';
  }

  #isBeyondSlice(): boolean {
    const slice = this.#slices[this.#sliceAt] as Slice;
    const edge = this.#isReverse ? slice.from : slice.to;
    this.#bound.set(edge, 0, edge.length);
    const difference = compareKeys(this.key, this.#bound);
    return this.#isReverse ? difference < 0 : difference >= 0;
  }
}
