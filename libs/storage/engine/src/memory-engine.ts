import { CairnError, NO_BYTES, assert, messageOf } from '@cairn/base';
import type { Rng } from '@cairn/ports';
import { CowTree, TreeCursor, type TreeVersion } from './cow-tree.js';
import { ITERATOR_PAGE_BYTES, batchSpent, engineClosed, handleClosed } from './engine-errors.js';
import { checkKey } from './reserved-keys.js';
import type {
  EngineBatch,
  EngineIterator,
  EngineRange,
  EngineRow,
  EngineSnapshot,
  EngineStats,
  FirstRow,
  KvEngine,
} from './types.js';

/**
 * Unflushed bytes after which older batches count as durable, as if a full memtable had been written out.
 */
const UNFLUSHED_BYTES_MAX = 32 * 1024 * 1024;
/** Keys that `deleteRange` removes as one unit that a crash keeps or loses. */
const DELETE_RANGE_UNIT = 100;
const ignore = (): void => undefined;

export interface MemoryEngineOptions {
  /**
   * Awaited before a write, flush or deleteRange takes effect: lets a simulator give them virtual time.
   * Absent = at once. A write is not visible before it.
   */
  readonly delay?: (operation: 'write' | 'flush') => Promise<void>;
  /**
   * Called before each write takes effect; what it throws is what the write rejects with. For tests of
   * full disks.
   */
  readonly beforeWrite?: (bytes: number) => void;
  /** Likewise for flushes. */
  readonly beforeFlush?: () => void;
  /** Default 32 MiB; tests shrink it. */
  readonly unflushedBytesMax?: number;
}

function keyOf(bytes: Uint8Array): string {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('latin1');
}

/** A copy that nothing else can change. */
function ownedCopy(bytes: Uint8Array): Buffer {
  return bytes.length === 0 ? NO_BYTES : Buffer.from(bytes);
}

class MemoryBatch implements EngineBatch {
  readonly keys: string[] = [];
  /** undefined = delete. */
  readonly values: (Buffer | undefined)[] = [];
  isSpent = false;
  #bytes = 0;

  get length(): number {
    return this.keys.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    checkKey(key);
    this.#add(key, ownedCopy(value));
  }

  delete(key: Uint8Array): void {
    this.#add(key, undefined);
  }

  #add(key: Uint8Array, value: Buffer | undefined): void {
    if (this.isSpent) throw batchSpent();
    this.keys.push(keyOf(key));
    this.values.push(value);
    this.#bytes += key.length + (value === undefined ? 0 : value.length);
  }
}

class MemorySnapshot implements EngineSnapshot {
  version: TreeVersion | undefined;

  constructor(version: TreeVersion) {
    this.version = version;
  }

  close(): void {
    this.version = undefined;
  }
}

class MemoryIterator implements EngineIterator {
  /** It meets no deletions: a page is never cut. */
  readonly cutAt = undefined;
  looked = 0;
  readonly #cursor: TreeCursor;
  readonly #start: string;
  readonly #end: string;
  readonly #reverse: boolean;
  readonly #snapshot: MemorySnapshot;
  readonly #isEngineOpen: () => boolean;
  #isClosed = false;

  constructor(snapshot: MemorySnapshot, range: EngineRange, isEngineOpen: () => boolean) {
    const version = snapshot.version;
    if (version === undefined) throw handleClosed('snapshot');
    this.#snapshot = snapshot;
    this.#cursor = new TreeCursor(version);
    this.#start = keyOf(range.start);
    this.#end = keyOf(range.end);
    this.#reverse = range.reverse ?? false;
    this.#isEngineOpen = isEngineOpen;
    this.#moveToBeginning();
  }

  next(countMax: number): Promise<readonly EngineRow[]> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    const rows: EngineRow[] = [];
    let bytes = 0;
    const wanted = Math.max(countMax, 1);
    while (rows.length < wanted && bytes < ITERATOR_PAGE_BYTES) {
      const key = this.#cursor.key;
      const value = this.#cursor.value;
      if (key === undefined || value === undefined) break;
      if (this.#reverse ? key < this.#start : key >= this.#end) break;
      rows.push([Buffer.from(key, 'latin1'), value]);
      this.looked += 1;
      bytes += key.length + value.length;
      if (this.#reverse) this.#cursor.previous();
      else this.#cursor.next();
    }
    return Promise.resolve(rows);
  }

  seek(target: Uint8Array): void {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    const key = keyOf(target);
    if (key < this.#start || key >= this.#end) this.#cursor.end();
    else if (this.#reverse) this.#cursor.seekBackwards(key);
    else this.#cursor.seek(key);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  #refusal(): CairnError | undefined {
    if (this.#isClosed) return handleClosed('iterator');
    if (!this.#isEngineOpen()) return engineClosed();
    return this.#snapshot.version === undefined ? handleClosed('snapshot') : undefined;
  }

  #moveToBeginning(): void {
    if (!this.#reverse) {
      this.#cursor.seek(this.#start);
      return;
    }
    this.#cursor.seekBackwards(this.#end);
    if (this.#cursor.key === this.#end) this.#cursor.previous();
  }
}

/**
 * The engine without a disk: for tests and for simulated clusters. Snapshots are free; `crash` loses what
 * LevelDB may lose. Rows that it hands out share the value buffers it keeps: they must not be changed.
 */
export class MemoryEngine implements KvEngine {
  readonly #options: MemoryEngineOptions;
  #tree: CowTree;
  /** The state that a crash cannot lose. */
  #durable: TreeVersion;
  #durableSize: number;
  /** Written since, in order. */
  #unflushed: MemoryBatch[] = [];
  #unflushedBytes = 0;
  /**
   * Ends when everything accepted so far has taken effect: writes and flushes happen one after the other.
   */
  #tail: Promise<void> = Promise.resolve();
  #failure: Error | undefined = undefined;
  #isOpen = true;
  #hasCrashed = false;

  constructor(options: MemoryEngineOptions = {}) {
    this.#options = options;
    this.#tree = new CowTree();
    this.#durable = this.#tree.version();
    this.#durableSize = 0;
  }

  /** Rows it holds. */
  get size(): number {
    return this.#tree.size;
  }

  /** Batches a crash may lose. */
  get unflushedBatches(): number {
    return this.#unflushed.length;
  }

  get(key: Uint8Array): Buffer | undefined {
    this.#checkOpen();
    return this.#tree.get(keyOf(key));
  }

  first(start: Uint8Array, end: Uint8Array): FirstRow {
    this.#checkOpen();
    const cursor = new TreeCursor(this.#tree.version());
    cursor.seek(keyOf(start));
    const { key, value } = cursor;
    if (key === undefined || value === undefined || key >= keyOf(end)) return undefined;
    return [Buffer.from(key, 'latin1'), value];
  }

  newBatch(): EngineBatch {
    this.#checkOpen();
    return new MemoryBatch();
  }

  get gathersWrites(): boolean {
    return true;
  }

  write(batch: EngineBatch): Promise<void> | undefined {
    assert(batch instanceof MemoryBatch, 'batch of another engine');
    if (batch.isSpent) return Promise.reject(batchSpent());
    batch.isSpent = true;
    return this.#enqueue('write', () => {
      this.#options.beforeWrite?.(batch.bytes);
      this.#apply(batch);
    });
  }

  snapshot(): EngineSnapshot {
    this.#checkOpen();
    return new MemorySnapshot(this.#tree.version());
  }

  iterate(range: EngineRange, snapshot?: EngineSnapshot): EngineIterator {
    this.#checkOpen();
    const isOpen = (): boolean => this.#isOpen;
    if (snapshot === undefined) {
      return new MemoryIterator(new MemorySnapshot(this.#tree.version()), range, isOpen);
    }
    assert(snapshot instanceof MemorySnapshot, 'snapshot of another engine');
    return new MemoryIterator(snapshot, range, isOpen);
  }

  flush(): Promise<void> {
    return this.#enqueue('flush', () => {
      this.#options.beforeFlush?.();
      this.#markDurable();
    });
  }

  deleteRange(start: Uint8Array, end: Uint8Array): Promise<void> {
    const first = keyOf(start);
    const last = keyOf(end);
    return this.#enqueue('write', () => {
      this.#options.beforeWrite?.(0);
      const cursor = new TreeCursor(this.#tree.version());
      cursor.seek(first);
      let unit = new MemoryBatch();
      for (let key = cursor.key; key !== undefined && key < last; key = cursor.key) {
        unit.delete(Buffer.from(key, 'latin1'));
        if (unit.length === DELETE_RANGE_UNIT) {
          this.#apply(unit);
          unit = new MemoryBatch();
        }
        cursor.next();
      }
      if (unit.length > 0) this.#apply(unit);
    });
  }

  compact(_start: Uint8Array, _end: Uint8Array): Promise<void> {
    return this.#isOpen ? Promise.resolve() : Promise.reject(engineClosed());
  }

  stats(): Promise<EngineStats> {
    if (!this.#isOpen) return Promise.reject(engineClosed());
    return Promise.resolve({
      engine: 'memory',
      diskBytes: 0,
      levels: [],
      memtableBytes: this.#unflushedBytes,
    });
  }

  approximateBytes(start: Uint8Array, end: Uint8Array): Promise<number> {
    if (!this.#isOpen) return Promise.reject(engineClosed());
    const cursor = new TreeCursor(this.#tree.version());
    const last = keyOf(end);
    let bytes = 0;
    cursor.seek(keyOf(start));
    for (let key = cursor.key; key !== undefined && key < last; key = cursor.key) {
      bytes += key.length + (cursor.value?.length ?? 0);
      cursor.next();
    }
    return Promise.resolve(bytes);
  }

  /** Waits for accepted writes; iterators and snapshots that are still open end with it. */
  async close(): Promise<void> {
    if (!this.#isOpen) return;
    const tail = this.#tail;
    this.#isOpen = false;
    await tail;
  }

  /**
   * The process dies now: this engine is closed, accepted writes that did not take effect yet are gone,
   * and the answer is the engine as it is found after the restart. Of the batches since the last flush a
   * random subset survives, each whole: often all, sometimes none, else each by a coin.
   */
  crash(rng: Rng): MemoryEngine {
    this.#isOpen = false;
    this.#hasCrashed = true;
    const survivor = new MemoryEngine(this.#options);
    survivor.#tree = new CowTree(this.#durable, this.#durableSize);
    const keepShare = [1, 0, rng.next()][rng.integer(3)] as number;
    for (const batch of this.#unflushed) {
      if (keepShare === 1 || rng.next() < keepShare) survivor.#applyToTree(batch);
    }
    survivor.#markDurable();
    return survivor;
  }

  #checkOpen(): void {
    if (!this.#isOpen) throw engineClosed();
  }

  /**
   * Runs `effect` after everything accepted before. A failed one stops all later ones: they may build on
   * it.
   */
  #enqueue(operation: 'write' | 'flush', effect: () => void): Promise<void> {
    if (!this.#isOpen) return Promise.reject(engineClosed());
    const done = this.#tail.then(() => this.#run(operation, effect));
    this.#tail = done.then(ignore, ignore);
    return done;
  }

  async #run(operation: 'write' | 'flush', effect: () => void): Promise<void> {
    if (this.#options.delay !== undefined) await this.#options.delay(operation);
    if (this.#hasCrashed) throw engineClosed();
    if (this.#failure !== undefined) throw this.#failure;
    try {
      effect();
    } catch (error) {
      this.#failure =
        error instanceof Error ? error : new CairnError('INTERNAL', `engine: ${messageOf(error)}`);
      throw this.#failure;
    }
  }

  #apply(batch: MemoryBatch): void {
    this.#applyToTree(batch);
    this.#unflushed.push(batch);
    this.#unflushedBytes += batch.bytes;
    if (this.#unflushedBytes > (this.#options.unflushedBytesMax ?? UNFLUSHED_BYTES_MAX)) this.#markDurable();
  }

  #applyToTree(batch: MemoryBatch): void {
    for (let at = 0; at < batch.keys.length; at += 1) {
      const key = batch.keys[at] as string;
      const value = batch.values[at];
      if (value === undefined) this.#tree.delete(key);
      else this.#tree.set(key, value);
    }
  }

  #markDurable(): void {
    this.#durable = this.#tree.version();
    this.#durableSize = this.#tree.size;
    this.#unflushed = [];
    this.#unflushedBytes = 0;
  }
}
