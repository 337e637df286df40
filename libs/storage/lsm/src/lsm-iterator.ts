import type { CairnError } from '@cairn/base';
import {
  handleClosed,
  ITERATOR_PAGE_BYTES,
  type EngineIterator,
  type EngineRange,
  type EngineRow,
} from '@cairn/engine';

import { asEngineError } from './engine-error.js';
import { compareKeys, KeyView } from './key-view.js';
import { MemtableCursor } from './memtable-cursor.js';
import { MergedRows } from './merged-rows.js';
import type { ReadTurns } from './read-turns.js';
import type { RowCursor, RowView } from './row-cursor.js';
import { ROW_HEADER_BYTES } from './row.js';
import { RunCursor, type TableReads } from './run-cursor.js';
import { overlaps } from './version.js';
import type { View } from './view.js';

/** Most that one read of a table fetches. */
const CHUNK_BYTES_MAX = 64 * 1024;
/** Rows of a page are copied into pieces of memory of this size. */
const PIECE_BYTES = 32 * 1024;

export interface LsmIteratorOptions {
  /** Belongs to the iterator; released when it is closed. */
  readonly view: View;
  readonly reads: TableReads;
  readonly turns: ReadTurns;
  readonly range: EngineRange;
  /** Why nothing may be read any more; undefined while it may. */
  refusal(): CairnError | undefined;
  /** Around everything that waits for the disk, so that the engine does not close its files meanwhile. */
  whileReading<Value>(work: Promise<Value>): Promise<Value>;
}

/** Pages of rows of a view. */
export class LsmIterator implements EngineIterator {
  readonly #options: LsmIteratorOptions;
  readonly #rows: MergedRows;
  readonly #isReverse: boolean;
  readonly #start: KeyView;
  readonly #end: KeyView;
  /** The next row is the one that `#rows` stands on, and not the one behind it. */
  #isAtNext = false;
  #isAtEnd = false;
  #isClosed = false;
  /** What a page failed with: its cursors stand anywhere, so nothing more is read. */
  #failure: CairnError | undefined;
  #cutAt: Buffer | undefined;
  #looked = 0;
  #piece = Buffer.alloc(0);
  #pieceEnd = 0;

  constructor(options: LsmIteratorOptions) {
    const { range, view } = options;
    this.#options = options;
    this.#isReverse = range.reverse ?? false;
    // The caller may change its buffers afterwards.
    this.#start = KeyView.of(Buffer.from(range.start));
    this.#end = KeyView.of(Buffer.from(range.end));
    this.#rows = new MergedRows(cursorsOf(options, view), this.#isReverse);
    this.#moveTo(this.#isReverse ? this.#end : this.#start);
  }

  get cutAt(): Buffer | undefined {
    return this.#cutAt;
  }

  get looked(): number {
    return this.#looked;
  }

  async next(countMax: number, looksMax = Infinity): Promise<readonly EngineRow[]> {
    const refused = this.#refusal();
    if (refused !== undefined) throw refused;
    try {
      return await this.#page(countMax, this.#looked + Math.max(looksMax, 1));
    } catch (error) {
      this.#failure = asEngineError(error);
      throw this.#failure;
    }
  }

  async #page(countMax: number, looksMax: number): Promise<readonly EngineRow[]> {
    const rows: EngineRow[] = [];
    const wanted = Math.max(countMax, 1);
    this.#cutAt = undefined;
    for (let bytes = 0; rows.length < wanted && bytes < ITERATOR_PAGE_BYTES;) {
      if (this.#options.turns.isUsedUp) await this.#nextTurn();
      const settling = this.#advance();
      if (settling !== undefined) {
        await this.#options.whileReading(settling);
        const closed = this.#refusal();
        if (closed !== undefined) throw closed;
      }
      const cursor = this.#isAtEnd ? undefined : this.#rows.current;
      if (cursor === undefined || this.#isOutside(cursor.key)) {
        this.#isAtEnd = true;
        break;
      }
      if (this.#looked >= looksMax) {
        this.#cutAt = Buffer.from(cursor.key.copy());
        this.#isAtNext = true;
        break;
      }
      this.#looked += 1;
      this.#options.turns.look();
      if (cursor.isDeleted || this.#isEnd(cursor.key)) continue;
      const rowBytes = ROW_HEADER_BYTES + cursor.key.length + cursor.valueBytes;
      bytes += rowBytes;
      this.#options.turns.found(rowBytes);
      rows.push(this.#copyOf(cursor, wanted === 1));
    }
    return rows;
  }

  async #nextTurn(): Promise<void> {
    await this.#options.turns.nextTurn();
    const closed = this.#refusal();
    if (closed !== undefined) throw closed;
  }

  seek(target: Uint8Array): void {
    const refused = this.#refusal();
    if (refused !== undefined) throw refused;
    const key = KeyView.of(Buffer.from(target));
    this.#isAtEnd = compareKeys(key, this.#start) < 0 || compareKeys(key, this.#end) >= 0;
    if (!this.#isAtEnd) this.#moveTo(key);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.view.release();
  }

  #refusal(): CairnError | undefined {
    if (this.#isClosed) return handleClosed('iterator');
    return this.#options.refusal() ?? this.#failure;
  }

  #moveTo(key: KeyView): void {
    this.#rows.seek(key);
    this.#isAtNext = true;
  }

  /** To the next row; undefined = it is known, else it is when the promise resolves. */
  #advance(): Promise<void> | undefined {
    if (this.#isAtEnd) return undefined;
    if (this.#isAtNext) this.#isAtNext = false;
    else if (this.#rows.current !== undefined) this.#rows.next();
    return this.#rows.settle();
  }

  #isOutside(key: KeyView): boolean {
    return this.#isReverse ? compareKeys(key, this.#start) < 0 : compareKeys(key, this.#end) >= 0;
  }

  /** A walk backwards begins at the end of the range, which is not in it. */
  #isEnd(key: KeyView): boolean {
    return this.#isReverse && compareKeys(key, this.#end) >= 0;
  }

  /** Rows belong to the caller: what the cursor stands on is written over when it moves on. */
  #copyOf({ key, bytes, valueAt, valueBytes }: RowView, isAlone: boolean): EngineRow {
    const length = key.length + valueBytes;
    if (this.#pieceEnd + length > this.#piece.length) {
      this.#piece = isAlone
        ? Buffer.allocUnsafe(length)
        : Buffer.allocUnsafeSlow(Math.max(length, PIECE_BYTES));
      this.#pieceEnd = 0;
    }
    const at = this.#pieceEnd;
    this.#pieceEnd = at + length;
    const keyEnd = key.copyTo(this.#piece, at);
    this.#piece.set(bytes.subarray(valueAt, valueAt + valueBytes), keyEnd);
    return [this.#piece.subarray(at, keyEnd), this.#piece.subarray(keyEnd, at + length)];
  }
}

function cursorsOf({ reads, range }: LsmIteratorOptions, view: View): RowCursor[] {
  const isReverse = range.reverse ?? false;
  const cursors: RowCursor[] = [];
  for (const { memtable, rowCount } of view.memtables) {
    if (rowCount === 0) continue;
    for (const run of memtable.table.sortedRuns()) {
      cursors.push(new MemtableCursor(memtable.table, run, rowCount, isReverse));
    }
  }
  for (const run of view.version.runs) {
    const slices = run.slices.filter((slice) => overlaps(slice, range.start, range.end));
    if (slices.length === 0) continue;
    const chunkBytesMax = CHUNK_BYTES_MAX;
    cursors.push(new RunCursor({ reads, slices, isReverse, chunkBytesMax, isLongWalk: false }));
  }
  return cursors;
}
