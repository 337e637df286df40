import { assert, type CairnError } from '@cairn/base';
import {
  batchSpent,
  engineClosed,
  firstByWalk,
  handleClosed,
  type EngineBatch,
  type EngineIterator,
  type EngineRange,
  type EngineSnapshot,
  type EngineStats,
  type FirstRow,
  type KvEngine,
} from '@cairn/engine';
import type { Timer } from '@cairn/ports';

import { approximateBytes } from './approximate-bytes.js';
import { Background } from './background.js';
import { asEngineError } from './engine-error.js';
import { Fetched } from './fetched.js';
import { KeyShape } from './key-shape.js';
import { LsmBatch } from './lsm-batch.js';
import { LsmIterator } from './lsm-iterator.js';
import { LsmMetrics, type LsmFacts } from './lsm-metrics.js';
import { levelsOf } from './lsm-stats.js';
import { Memtable } from './memtable.js';
import { isCompressedAt, resolveOptions, type LsmOptions, type ResolvedLsmOptions } from './options.js';
import { PointReader, type PointSources } from './point-reader.js';
import { TableSet } from './table-set.js';
import { ReadTurns } from './read-turns.js';
import { Tables } from './tables.js';
import { CountedMemtable, View } from './view.js';

/** Memtables that wait to be written out; with more, writes wait. */
const FROZEN_MAX = 2;
/**
 * Memory of memtables and batches that is kept for the next ones. While flushing keeps up, two memtables take
 * turns: a third is memory for a bad moment, and is given back after it.
 */
const FREE_MEMTABLES_MAX = 1;
/** Memory that no memtable took for so long is given back: the writes have become few. */
const FREE_MEMTABLE_KEPT_MS = 10_000;
const FREE_BATCHES_MAX = 4;
const BATCH_BYTES_KEPT_MAX = 4 * 1024 * 1024;
const DONE = Promise.resolve();

class LsmSnapshot implements EngineSnapshot {
  readonly view: View;
  isClosed = false;

  constructor(view: View) {
    this.view = view;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.view.release();
  }
}

/**
 * The engine of our own: a log-structured merge tree without a log, because the Raft log is one. Writes go to
 * memory and are there at once; a full memtable becomes a table on disk, whole or not at all; tables are
 * merged in the background. After a crash it holds a prefix of the batches: at least all before the last
 * `flush`.
 */
export class LsmEngine implements KvEngine {
  readonly gathersWrites = false;
  readonly #options: ResolvedLsmOptions;
  readonly #shape: KeyShape;
  readonly #tables: Tables;
  readonly #set: TableSet;
  readonly #background: Background;
  readonly #points: PointReader;
  readonly #turns: ReadTurns;
  readonly #metrics: LsmMetrics | undefined;
  /** Takes the writes. */
  #active: CountedMemtable;
  /** Wait to be written out, newest first. */
  #frozen: readonly CountedMemtable[] = [];
  /** The active one and the frozen ones. */
  #memtables: readonly CountedMemtable[] = [];
  readonly #freeMemtables: (ArrayBuffer | SharedArrayBuffer)[] = [];
  #givingBack: Timer | undefined;
  readonly #freeBatches: Uint8Array[] = [];
  /** Writes that wait until there is room. */
  #waiting: (() => void)[] = [];
  #failure: CairnError | undefined;
  #closing: Promise<void> | undefined;
  readonly #reads = new Set<Promise<unknown>>();

  private constructor(options: ResolvedLsmOptions, tables: Tables, set: TableSet) {
    this.#options = options;
    this.#shape = new KeyShape(options.versioned);
    this.#tables = tables;
    this.#set = set;
    this.#points = new PointReader(tables, this.#shape);
    this.#turns = new ReadTurns(options.clock);
    const { versioned, blockBytes, tableBytes, runner, clock, logger, metrics } = options;
    this.#background = new Background({
      set,
      tables,
      runner,
      setting: { ...set.place, versioned, blockBytes },
      tableBytes,
      isCompressedAt: (level) => isCompressedAt(options, level),
      clock,
      logger,
      flushed: (memtable) => {
        this.#frozen = this.#frozen.filter((each) => each !== memtable);
        this.#memtablesChanged();
        memtable.release();
        this.#metrics?.flushed();
      },
      failed: (error) => {
        this.#failure = error;
        this.#letWaitersGo();
      },
      progressed: () => {
        if (!this.#isFull()) this.#letWaitersGo();
      },
    });
    this.#active = this.#newMemtable(options.memtableBytes);
    this.#memtablesChanged();
    this.#metrics = metrics === undefined ? undefined : new LsmMetrics(metrics, () => this.#facts());
    this.#background.start();
  }

  /** Opens or creates. Rejects CORRUPTION, FORMAT_TOO_NEW, INVALID_ARGUMENT, and what the disk says. */
  static async open(options: LsmOptions): Promise<LsmEngine> {
    const resolved = resolveOptions(options);
    const { disk, path: directory, logger, rng } = resolved;
    try {
      await disk.makeDirectory(directory);
      const tables = new Tables(resolved);
      const set = await TableSet.open({ disk, directory, tables, logger, rng });
      logger.info('engine opened', { engine: 'lsm', path: directory, runs: set.version.runs.length });
      return new LsmEngine(resolved, tables, set);
    } catch (error) {
      await resolved.runner.close();
      throw asEngineError(error);
    }
  }

  get(key: Uint8Array): Buffer | undefined {
    this.#checkOpen();
    const end = new Uint8Array(key.length + 1);
    end.set(key);
    try {
      const row = this.#tables.gate.force(() => this.#points.first(this.#newest(), key, end));
      assert(row !== 'waits' && row !== 'wide', 'a forced read of one key waits for nothing');
      return row?.[1];
    } catch (error) {
      throw asEngineError(error);
    }
  }

  first(start: Uint8Array, end: Uint8Array): FirstRow | Promise<FirstRow> {
    this.#checkOpen();
    try {
      const row = this.#points.first(this.#newest(), start, end);
      if (row === 'wide') return firstByWalk(this.iterate({ start, end }));
      return row === 'waits' ? this.#track(this.#firstWaiting(start, end)) : row;
    } catch (error) {
      throw asEngineError(error);
    }
  }

  /** Searches again whenever it has what the search before it missed. */
  async #firstWaiting(start: Uint8Array, end: Uint8Array): Promise<FirstRow> {
    const view = this.#view();
    const sources = {
      memtables: view.memtables.map(({ memtable, rowCount }) => ({ table: memtable.table, rowCount })),
      version: view.version,
    };
    // The caller may change its buffers afterwards.
    const span = { start: Uint8Array.from(start), end: Uint8Array.from(end) };
    const fetched = new Fetched();
    try {
      for (;;) {
        await this.#tables.fetch(this.#points.missing, fetched);
        const row = this.#points.first(sources, span.start, span.end, fetched);
        if (row === 'wide')
          return await firstByWalk(this.#walk(span, new View(view.memtables, view.version)));
        if (row !== 'waits') return row;
      }
    } catch (error) {
      throw asEngineError(error);
    } finally {
      view.release();
    }
  }

  newBatch(): EngineBatch {
    this.#checkOpen();
    return new LsmBatch(this.#freeBatches.pop());
  }

  write(batch: EngineBatch): Promise<void> | undefined {
    assert(batch instanceof LsmBatch, 'batch of another engine');
    const refused = this.#refusesWrite(batch);
    if (refused !== undefined) return Promise.reject(refused);
    batch.isSpent = true;
    if (!this.#active.table.hasRoomFor(batch.packedBytes)) this.#freeze(batch.packedBytes);
    this.#active.table.append(batch.packed, batch.packedBytes);
    this.#metrics?.written(batch.bytes);
    this.#recycle(batch);
    return this.#isFull() ? this.#waitForRoom() : undefined;
  }

  #refusesWrite(batch: LsmBatch): CairnError | undefined {
    if (this.#closing !== undefined) return engineClosed();
    return batch.isSpent ? batchSpent() : this.#failure;
  }

  #recycle(batch: LsmBatch): void {
    const memory = batch.release();
    if (memory.length > BATCH_BYTES_KEPT_MAX || this.#freeBatches.length >= FREE_BATCHES_MAX) return;
    this.#freeBatches.push(memory);
  }

  #isFull(): boolean {
    return this.#frozen.length >= FROZEN_MAX || (this.#frozen.length > 0 && this.#background.isBehind);
  }

  async #waitForRoom(): Promise<void> {
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#failure !== undefined) throw this.#failure;
  }

  #letWaitersGo(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** The rows so far are on their way to disk; what comes next goes to a new memtable. */
  #freeze(bytesNeeded = 0): void {
    if (this.#active.table.rowCount > 0) {
      const full = this.#active;
      this.#frozen = [full, ...this.#frozen];
      void this.#background.ask({ type: 'flush', memtable: full });
    } else {
      this.#active.release();
    }
    this.#active = this.#newMemtable(Math.max(this.#options.memtableBytes, bytesNeeded));
    this.#memtablesChanged();
  }

  #newMemtable(bytes: number): CountedMemtable {
    const isUsual = bytes === this.#options.memtableBytes;
    const memory = (isUsual ? this.#freeMemtables.pop() : undefined) ?? this.#allocate(bytes);
    const memtable = new CountedMemtable(new Memtable(memory, this.#shape), (unused) => {
      this.#keepMemory(unused.bytes.buffer);
    });
    memtable.retain();
    return memtable;
  }

  #keepMemory(memory: ArrayBuffer | SharedArrayBuffer): void {
    if (memory.byteLength !== this.#options.memtableBytes || this.#closing !== undefined) return;
    if (this.#freeMemtables.length >= FREE_MEMTABLES_MAX) return;
    this.#freeMemtables.push(memory);
    this.#givingBack?.cancel();
    this.#givingBack = this.#options.clock.setTimer(FREE_MEMTABLE_KEPT_MS, () => {
      this.#freeMemtables.length = 0;
    });
  }

  #allocate(bytes: number): ArrayBuffer | SharedArrayBuffer {
    return this.#options.runner.needsSharedMemory ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  }

  get isOutOfRoom(): boolean {
    return this.#background.isOutOfRoom;
  }

  snapshot(): EngineSnapshot {
    this.#checkOpen();
    return new LsmSnapshot(this.#view());
  }

  iterate(range: EngineRange, snapshot?: EngineSnapshot): EngineIterator {
    this.#checkOpen();
    assert(snapshot === undefined || snapshot instanceof LsmSnapshot, 'snapshot of another engine');
    if (snapshot?.isClosed === true) throw handleClosed('snapshot');
    const view =
      snapshot === undefined ? this.#view() : new View(snapshot.view.memtables, snapshot.view.version);
    return this.#walk(range, view, snapshot);
  }

  /** The view belongs to the walk. */
  #walk(range: EngineRange, view: View, snapshot?: LsmSnapshot): LsmIterator {
    return new LsmIterator({
      view,
      reads: this.#tables,
      turns: this.#turns,
      range,
      refusal: () => {
        if (this.#closing !== undefined) return engineClosed();
        return snapshot?.isClosed === true ? handleClosed('snapshot') : undefined;
      },
      whileReading: (work) => this.#track(work),
    });
  }

  /** The engine's files stay open while the work goes on. */
  async #track<Value>(work: Promise<Value>): Promise<Value> {
    this.#reads.add(work);
    try {
      return await work;
    } finally {
      this.#reads.delete(work);
    }
  }

  #view(): View {
    const memtables = this.#memtables.map((memtable) => ({
      memtable,
      rowCount: memtable.table.rowCount,
    }));
    return new View(memtables, this.#set.version);
  }

  /** Everything as it is now, for reads that end before anything changes. */
  #newest(): PointSources {
    return { memtables: this.#memtables, version: this.#set.version };
  }

  /** The memtables are others than before. */
  #memtablesChanged(): void {
    this.#memtables = [this.#active, ...this.#frozen];
  }

  flush(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(engineClosed());
    if (this.#active.table.rowCount > 0 && this.#failure === undefined) this.#freeze();
    return this.#background.barrier();
  }

  /** What was written before goes to disk first, so that what is written from now on is left alone. */
  deleteRange(start: Uint8Array, end: Uint8Array): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(engineClosed());
    if (Buffer.compare(start, end) >= 0) return DONE;
    if (this.#active.table.rowCount > 0 && this.#failure === undefined) this.#freeze();
    return this.#background.ask({ type: 'delete', from: new Uint8Array(start), to: new Uint8Array(end) });
  }

  async compact(start: Uint8Array, end: Uint8Array): Promise<void> {
    this.#checkOpen();
    if (Buffer.compare(start, end) >= 0) return;
    if (this.#active.table.rowCount > 0 && this.#failure === undefined) this.#freeze();
    await this.#background.ask({ type: 'compact', from: new Uint8Array(start), to: new Uint8Array(end) });
  }

  async stats(): Promise<EngineStats> {
    this.#checkOpen();
    const { cache, metaBytes } = this.#tables;
    const memtableBytes = this.#memtableBytes();
    return {
      engine: 'lsm',
      diskBytes: this.#set.diskBytes,
      levels: levelsOf(this.#set.version.runs),
      memoryBytes: memtableBytes + cache.usedBytes + metaBytes,
      memtableBytes,
      cacheHits: cache.hits,
      cacheMisses: cache.misses,
      pendingMergeBytes: this.#background.pendingMergeBytes,
    };
  }

  async approximateBytes(start: Uint8Array, end: Uint8Array): Promise<number> {
    this.#checkOpen();
    const view = this.#view();
    try {
      return await this.#track(approximateBytes(this.#tables, view.version, start, end));
    } catch (error) {
      throw asEngineError(error);
    } finally {
      view.release();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#givingBack?.cancel();
    await this.#background.close();
    this.#letWaitersGo();
    await Promise.allSettled(this.#reads);
    await this.#options.runner.close();
    await this.#set.close();
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw engineClosed();
  }

  #memtableBytes(): number {
    return this.#memtables.reduce((sum, { table }) => sum + table.usedBytes, 0);
  }

  #facts(): LsmFacts {
    const { cache, gate, metaBytes } = this.#tables;
    return {
      runs: this.#set.version.runs,
      diskBytes: this.#set.diskBytes,
      memtableBytes: this.#memtableBytes(),
      cacheBytes: cache.usedBytes + metaBytes,
      cacheHits: cache.hits,
      cacheMisses: cache.misses,
      slowReads: gate.slowReads,
      mergedRows: this.#background.mergedRows,
      isOutOfRoom: this.#background.isOutOfRoom,
    };
  }
}
