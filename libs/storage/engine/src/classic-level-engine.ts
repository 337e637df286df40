import { CairnError, NO_BYTES, assert } from '@cairn/base';
import type { Counter, Logger, Metrics } from '@cairn/ports';
import { piecesOf, type KeySpan } from './compaction-pieces.js';
import { ITERATOR_PAGE_BYTES, batchSpent, engineClosed, handleClosed } from './engine-errors.js';
import { firstByWalk } from './first-by-walk.js';
import {
  PAST_ALL_KEYS,
  RESERVED_PREFIX,
  boundedEnd,
  checkKey,
  flushMarkerKey,
  flushMarkerNumber,
} from './reserved-keys.js';
import {
  NativeLevel,
  asBuffer,
  levelsOf,
  mapNativeError,
  type NativeBatch,
  type NativeIterator,
} from './native-level.js';
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
import { WriteQueue } from './write-queue.js';

/*
 * Chosen by measurement on two shared cores (600,000 random-order puts of 260 half-compressible bytes in
 * batches of 100; CPU of the whole process, compaction included; medians of noisy runs):
 *   write path     native chained batch without the abstract layer 2.2 us per put, array batch
 *                  4.3, chained batch 3.3
 *   write buffer   32 MiB 2.9-3.1 us, 16 MiB 2.9-4.0, 8 MiB 3.8-5.3, 64 MiB 3.7 and twice the memory
 *   compression    on: half the disk for the same CPU (fewer bytes to compact)
 *   file size      8 MiB: a quarter of the files of the default; 32 MiB was no faster and leaves more to
 *                  rewrite at once
 *   block size     4 KiB stays: point reads dominate
 */
const CLASSIC_LEVEL_DEFAULTS = {
  blockCacheBytes: 128 * 1024 * 1024,
  writeBufferBytes: 32 * 1024 * 1024,
  tableFileBytes: 8 * 1024 * 1024,
  blockBytes: 4096,
  openFilesMax: 1000,
  compactionPieceBytes: 64 * 1024 * 1024,
} as const;

/** Native batches kept for reuse, and the size above which one is not kept (its memory never shrinks). */
const BATCH_POOL_MAX = 8;
const POOLED_BATCH_BYTES_MAX = 4 * 1024 * 1024;
const LEVELS = 7;
/** An empty span to compact: nothing but the side effect on the memtable is wanted. */
const EMPTY_SPAN_END = Buffer.alloc(PAST_ALL_KEYS.length + 1, 0xff);
const NO_OPTIONS = {};

export interface ClassicLevelOptions {
  /** Directory; created when missing. One process at a time. */
  readonly path: string;
  /** Cache of uncompressed blocks. */
  readonly blockCacheBytes?: number;
  /** Memtable size; up to two are in memory. */
  readonly writeBufferBytes?: number;
  /** What `compact` merges at a time, in bytes on disk before: `close` waits for so much. */
  readonly compactionPieceBytes?: number;
  readonly logger: Logger;
  readonly metrics?: Metrics;
}

class ClassicLevelBatch implements EngineBatch {
  readonly native: NativeBatch;
  isSpent = false;
  #length = 0;
  #bytes = 0;

  constructor(native: NativeBatch) {
    this.native = native;
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    if (this.isSpent) throw batchSpent();
    checkKey(key);
    this.native._put(key, value);
    this.#length += 1;
    this.#bytes += key.length + value.length;
  }

  delete(key: Uint8Array): void {
    if (this.isSpent) throw batchSpent();
    this.native._del(key);
    this.#length += 1;
    this.#bytes += key.length;
  }
}

class ClassicLevelSnapshot implements EngineSnapshot {
  readonly native: ReturnType<NativeLevel['snapshot']>;
  readonly #logger: Logger;
  isClosed = false;

  constructor(native: ReturnType<NativeLevel['snapshot']>, logger: Logger) {
    this.native = native;
    this.#logger = logger;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.native.close().catch((error: unknown) => {
      this.#logger.error('snapshot close failed', { error: mapNativeError(error).message });
    });
  }
}

class ClassicLevelIterator implements EngineIterator {
  readonly #native: NativeIterator;
  readonly #isEngineOpen: () => boolean;
  #isClosed = false;
  /** What a page failed with: the rows behind it are lost to the walk. */
  #failure: CairnError | undefined;
  /** LevelDB passes over deletions on a thread of its own, and does not say how many. */
  readonly cutAt = undefined;
  looked = 0;

  constructor(native: NativeIterator, isEngineOpen: () => boolean) {
    this.#native = native;
    this.#isEngineOpen = isEngineOpen;
  }

  async next(countMax: number): Promise<readonly EngineRow[]> {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    try {
      const rows = await this.#native.nextv(Math.max(countMax, 1));
      this.looked += rows.length;
      return rows;
    } catch (error) {
      this.#failure = mapNativeError(error);
      throw this.#failure;
    }
  }

  seek(target: Uint8Array): void {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    this.#native.seek(asBuffer(target));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#native.close();
  }

  #refusal(): CairnError | undefined {
    if (this.#isClosed) return handleClosed('iterator');
    return this.#isEngineOpen() ? this.#failure : engineClosed();
  }
}

/**
 * LevelDB as an engine. Writes take effect in the order of the calls, one after the other, without
 * syncing. The first failed write or flush ends all writing: LevelDB itself refuses from then on, and
 * what follows might build on what was lost. Reads go on; reopening recovers.
 */
export class ClassicLevelEngine implements KvEngine {
  readonly gathersWrites = true;
  readonly #level: NativeLevel;
  readonly #logger: Logger;
  readonly #writtenBatches: Counter | undefined;
  readonly #writtenBytes: Counter | undefined;
  readonly #flushes: Counter | undefined;
  readonly #queue: WriteQueue;
  #pool: NativeBatch[] = [];
  /** Written since the last flush began. */
  #isDirty = true;
  /** Flush marker in the database, and the number of the next one. */
  #marker: Buffer | undefined;
  #nextMarker: number;
  readonly #compactionPieceBytes: number;
  readonly #compactions = new Set<Promise<void>>();
  #closing: Promise<void> | undefined = undefined;
  readonly #isOpen = (): boolean => this.#closing === undefined;

  /** Use `openClassicLevelEngine`. */
  constructor(level: NativeLevel, lastMarker: Buffer | undefined, options: ClassicLevelOptions) {
    this.#level = level;
    this.#logger = options.logger;
    this.#compactionPieceBytes = options.compactionPieceBytes ?? CLASSIC_LEVEL_DEFAULTS.compactionPieceBytes;
    this.#queue = new WriteQueue(options.logger, mapNativeError);
    this.#marker = lastMarker;
    this.#nextMarker = lastMarker === undefined ? 1 : flushMarkerNumber(lastMarker) + 1;
    const metrics = options.metrics;
    if (metrics === undefined) return;
    this.#writtenBatches = metrics.counter('cairn_engine_written_batches_total', 'Batches written');
    this.#writtenBytes = metrics.counter('cairn_engine_written_bytes_total', 'Key and value bytes written');
    this.#flushes = metrics.counter('cairn_engine_flushes_total', 'Forced memtable flushes that ended well');
    const files = metrics.gauge('cairn_engine_table_files', 'Table files per level', ['level']);
    const memory = metrics.gauge('cairn_engine_memory_bytes', 'Memory of memtables and block cache');
    metrics.onCollect(() => {
      if (!this.#isOpen()) return;
      memory.set(Number(this.#level.getProperty('leveldb.approximate-memory-usage')));
      for (let level = 0; level < LEVELS; level += 1) {
        const count = Number(this.#level.getProperty(`leveldb.num-files-at-level${level}`));
        files.set(count, { level: String(level) });
      }
    });
  }

  get(key: Uint8Array): Buffer | undefined {
    this.#checkOpen();
    try {
      return this.#level.getSync(asBuffer(key));
    } catch (error) {
      throw mapNativeError(error);
    }
  }

  first(start: Uint8Array, end: Uint8Array): Promise<FirstRow> {
    return firstByWalk(this.iterate({ start, end }));
  }

  newBatch(): EngineBatch {
    this.#checkOpen();
    return new ClassicLevelBatch(this.#pool.pop() ?? this.#level.nativeBatch());
  }

  write(batch: EngineBatch): Promise<void> {
    assert(batch instanceof ClassicLevelBatch, 'batch of another engine');
    if (batch.isSpent) return Promise.reject(batchSpent());
    batch.isSpent = true;
    this.#isDirty = true;
    this.#writtenBatches?.add(1);
    this.#writtenBytes?.add(batch.bytes);
    return this.#queue.run(() => this.#writeNative(batch));
  }

  snapshot(): EngineSnapshot {
    this.#checkOpen();
    return new ClassicLevelSnapshot(this.#level.snapshot(), this.#logger);
  }

  iterate(range: EngineRange, snapshot?: EngineSnapshot): EngineIterator {
    this.#checkOpen();
    const options = {
      gte: asBuffer(range.start),
      lt: boundedEnd(asBuffer(range.end)),
      reverse: range.reverse ?? false,
      highWaterMarkBytes: ITERATOR_PAGE_BYTES,
    };
    if (snapshot === undefined) return new ClassicLevelIterator(this.#level.iterator(options), this.#isOpen);
    assert(snapshot instanceof ClassicLevelSnapshot, 'snapshot of another engine');
    if (snapshot.isClosed) throw handleClosed('snapshot');
    const native = this.#level.iterator({ ...options, snapshot: snapshot.native });
    return new ClassicLevelIterator(native, this.#isOpen);
  }

  /**
   * Compacts a span that no key is in, which first writes out the memtable, syncs the table and the
   * manifest, and waits. LevelDB tells nobody if that fails. So a marker is written before, with a key
   * above all older ones, and must be found in a table afterwards: tables count in size estimates,
   * memtables do not.
   */
  flush(): Promise<void> {
    return this.#queue.run(() => this.#flush());
  }

  deleteRange(start: Uint8Array, end: Uint8Array): Promise<void> {
    this.#isDirty = true;
    return this.#queue.run(() => this.#level.clear({ gte: asBuffer(start), lt: boundedEnd(asBuffer(end)) }));
  }

  /** A piece at a time: one call of the library cannot be ended, and closing waits for it. */
  async compact(start: Uint8Array, end: Uint8Array): Promise<void> {
    this.#checkOpen();
    // The caller may change its buffers afterwards.
    const span = { start: Buffer.from(start), end: boundedEnd(Buffer.from(end)) };
    if (Buffer.compare(span.start, span.end) >= 0) return;
    const compaction = this.#compactPieces(span);
    this.#compactions.add(compaction);
    try {
      await compaction;
    } finally {
      this.#compactions.delete(compaction);
    }
  }

  async #compactPieces(span: KeySpan): Promise<void> {
    const bytesOf = (start: Uint8Array, end: Uint8Array): Promise<number> =>
      this.approximateBytes(start, end);
    for await (const { start, end } of piecesOf(span, this.#compactionPieceBytes, bytesOf)) {
      this.#checkOpen();
      try {
        await this.#level.compactRange(asBuffer(start), asBuffer(end));
      } catch (error) {
        throw mapNativeError(error);
      }
    }
  }

  /** LevelDB tells memtables and block cache as one number, and neither hits nor what it has to merge. */
  async stats(): Promise<EngineStats> {
    const diskBytes = await this.approximateBytes(NO_BYTES, PAST_ALL_KEYS);
    return {
      engine: 'classic-level',
      diskBytes,
      levels: levelsOf(this.#level.getProperty('leveldb.stats')),
      memoryBytes: Number(this.#level.getProperty('leveldb.approximate-memory-usage')),
    };
  }

  async approximateBytes(start: Uint8Array, end: Uint8Array): Promise<number> {
    this.#checkOpen();
    try {
      return await this.#level.approximateSize(asBuffer(start), asBuffer(end));
    } catch (error) {
      throw mapNativeError(error);
    }
  }

  /**
   * Waits for accepted writes, for reads under way, and for the piece of a compaction that is under way, then
   * ends open iterators and snapshots. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#queue.close();
    await Promise.allSettled(this.#compactions);
    this.#pool = [];
    try {
      await this.#level.close();
    } catch (error) {
      throw mapNativeError(error);
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw engineClosed();
  }

  async #flush(): Promise<void> {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    const marker = flushMarkerKey(this.#nextMarker);
    this.#nextMarker += 1;
    const batch = this.#pool.pop() ?? this.#level.nativeBatch();
    if (this.#marker !== undefined) batch._del(this.#marker);
    batch._put(marker, NO_BYTES);
    await batch._write(NO_OPTIONS);
    this.#marker = marker;
    this.#recycle(batch, 0);
    await this.#level.compactRange(PAST_ALL_KEYS, EMPTY_SPAN_END);
    if ((await this.#level.approximateSize(marker, PAST_ALL_KEYS)) > 0) {
      this.#flushes?.add(1);
      return;
    }
    const probe = this.#level.nativeBatch();
    probe._del(PAST_ALL_KEYS);
    await probe._write(NO_OPTIONS); // Rejects with the reason, if LevelDB noticed one.
    throw new CairnError('INTERNAL', 'engine: the memtable could not be written out');
  }

  async #writeNative(batch: ClassicLevelBatch): Promise<void> {
    await batch.native._write(NO_OPTIONS);
    this.#recycle(batch.native, batch.bytes);
  }

  #recycle(native: NativeBatch, bytes: number): void {
    if (
      this.#closing === undefined &&
      this.#pool.length < BATCH_POOL_MAX &&
      bytes <= POOLED_BATCH_BYTES_MAX
    ) {
      native._clear();
      this.#pool.push(native);
      return;
    }
    native.close().catch((error: unknown) => {
      this.#logger.error('batch close failed', { error: mapNativeError(error).message });
    });
  }
}

/** Opens or creates. Rejects FAILED_PRECONDITION when another process has it, CORRUPTION, DISK_FULL. */
export async function openClassicLevelEngine(options: ClassicLevelOptions): Promise<ClassicLevelEngine> {
  const level = new NativeLevel(options.path);
  let marker: Buffer | undefined;
  try {
    await level.open({
      cacheSize: options.blockCacheBytes ?? CLASSIC_LEVEL_DEFAULTS.blockCacheBytes,
      writeBufferSize: options.writeBufferBytes ?? CLASSIC_LEVEL_DEFAULTS.writeBufferBytes,
      maxFileSize: CLASSIC_LEVEL_DEFAULTS.tableFileBytes,
      blockSize: CLASSIC_LEVEL_DEFAULTS.blockBytes,
      maxOpenFiles: CLASSIC_LEVEL_DEFAULTS.openFilesMax,
      compression: true,
    });
    marker = await lastFlushMarker(level);
  } catch (error) {
    throw mapNativeError(error);
  }
  options.logger.info('engine opened', { engine: 'classic-level', path: options.path });
  return new ClassicLevelEngine(level, marker, options);
}

async function lastFlushMarker(level: NativeLevel): Promise<Buffer | undefined> {
  const iterator = level.iterator({ gte: RESERVED_PREFIX, lt: PAST_ALL_KEYS, reverse: true });
  const rows = await iterator.nextv(1);
  await iterator.close();
  return rows[0]?.[0];
}
