import { CairnError, assert } from '@cairn/base';
import type { Counter, Disk, Logger, Metrics } from '@cairn/ports';
import { ITERATOR_PAGE_BYTES, batchSpent, engineClosed, handleClosed } from './engine-errors.js';
import { firstByWalk } from './first-by-walk.js';
import { FORMAT_KEY, FORMAT_VALUE, SEGMENT_BYTES, longRow, rowKey } from './lmdb-keys.js';
import {
  estimateBytes,
  readValue,
  scanRows,
  scanStoredKeys,
  type ScanSource,
  type ScanSpan,
} from './lmdb-scan.js';
import {
  asBuffer,
  mapLmdbError,
  openLmdbStore,
  settleCommit,
  syncStore,
  type LmdbStore,
  type LmdbView,
} from './lmdb-store.js';
import { checkKey } from './reserved-keys.js';
import type {
  EngineBatch,
  EngineIterator,
  EngineRange,
  EngineRow,
  EngineSnapshot,
  FirstRow,
  KvEngine,
} from './types.js';
import { WriteQueue } from './write-queue.js';

/**
 * Address space for the file: growing the map later means mapping it anew, with all readers in the way.
 * It costs neither memory nor disk, and fits the 512 GiB that some arm64 kernels give a process.
 */
const MAP_BYTES = 256 * 2 ** 30;
/** Slots for views: one for each turn of the event loop in which an open iterator or snapshot was made. */
const VIEWS_MAX = 8192;
/** Rows that `deleteRange` removes in one transaction. */
const DELETE_RANGE_ROWS = 4096;
/** With less room than this, a failed write is put down to that. */
const FULL_DISK_BYTES = 2 ** 20;
const NO_VALUE = Buffer.alloc(0);

export interface LmdbOptions {
  /** Directory; created when missing. One process at a time: the caller sees to that. */
  readonly path: string;
  /** To look at the file before LMDB does. */
  readonly disk: Disk;
  readonly logger: Logger;
  readonly metrics?: Metrics;
}

class LmdbBatch implements EngineBatch {
  /** Rows of the file, in the order of the calls. */
  readonly keys: Buffer[] = [];
  /** undefined = delete. */
  readonly values: (Uint8Array | undefined)[] = [];
  isSpent = false;
  #length = 0;
  #bytes = 0;

  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    if (this.isSpent) throw batchSpent();
    checkKey(key);
    if (key.length > SEGMENT_BYTES) {
      for (const pointer of longRow(key).pointers) this.#add(pointer, NO_VALUE);
    }
    this.#add(rowKey(key), value);
    this.#length += 1;
    this.#bytes += key.length + value.length;
  }

  delete(key: Uint8Array): void {
    if (this.isSpent) throw batchSpent();
    this.#add(rowKey(key), undefined);
    this.#length += 1;
    this.#bytes += key.length;
  }

  #add(row: Buffer, value: Uint8Array | undefined): void {
    this.keys.push(row);
    this.values.push(value);
  }
}

/** What is open on an engine and must end before the file is closed. */
interface Handle {
  end(): void;
}

class LmdbSnapshot implements EngineSnapshot, Handle {
  readonly view: LmdbView;
  readonly iterators = new Set<LmdbIterator>();
  readonly #open: Set<Handle>;
  isClosed = false;

  constructor(view: LmdbView, open: Set<Handle>) {
    this.view = view;
    this.#open = open;
    open.add(this);
  }

  close(): void {
    this.end();
  }

  end(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#open.delete(this);
    for (const iterator of this.iterators) iterator.end();
    this.view.done();
  }
}

interface IteratorParts {
  readonly store: LmdbStore;
  readonly span: ScanSpan;
  readonly open: Set<Handle>;
  readonly isEngineOpen: () => boolean;
}

class LmdbIterator implements EngineIterator, Handle {
  readonly #parts: IteratorParts;
  readonly #source: ScanSource;
  readonly #snapshot: LmdbSnapshot | undefined;
  #rows: Generator<EngineRow, void>;
  #hasEnded = false;
  /** What a page failed with: the rows behind it are lost to the walk. */
  #failure: CairnError | undefined;
  /** It meets no deletions: a page is never cut. */
  readonly cutAt = undefined;
  looked = 0;

  constructor(parts: IteratorParts, snapshot: LmdbSnapshot | undefined) {
    this.#parts = parts;
    this.#snapshot = snapshot;
    const view = snapshot?.view ?? parts.store.useReadTransaction();
    this.#source = { store: parts.store, view };
    this.#rows = scanRows(this.#source, parts.span);
    snapshot?.iterators.add(this);
    parts.open.add(this);
  }

  async next(countMax: number): Promise<readonly EngineRow[]> {
    this.#check();
    const page: EngineRow[] = [];
    let bytes = 0;
    try {
      while (page.length < Math.max(countMax, 1) && bytes < ITERATOR_PAGE_BYTES) {
        const row = this.#rows.next();
        if (row.done === true) break;
        page.push(row.value);
        bytes += row.value[0].length + row.value[1].length;
      }
    } catch (error) {
      this.#failure = mapLmdbError(error);
      throw this.#failure;
    }
    this.looked += page.length;
    return page;
  }

  seek(target: Uint8Array): void {
    this.#check();
    this.#rows.return();
    const { start, end, reverse } = this.#parts.span;
    const key = Buffer.from(target);
    const isInside = key.compare(start) >= 0 && key.compare(end) < 0;
    const past = Buffer.concat([key, Buffer.from([0])]);
    const rest = reverse ? { start, end: past, reverse } : { start: key, end, reverse };
    this.#rows = scanRows(this.#source, isInside ? rest : { start, end: start, reverse });
  }

  async close(): Promise<void> {
    this.end();
  }

  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#parts.open.delete(this);
    this.#snapshot?.iterators.delete(this);
    this.#rows.return();
    if (this.#snapshot === undefined) this.#source.view.done();
  }

  #check(): void {
    if (!this.#parts.isEngineOpen()) throw engineClosed();
    if (this.#hasEnded) throw handleClosed('iterator');
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/**
 * LMDB as an engine. Commits are visible when their write resolves, and follow one another to disk without
 * being waited for; the file always holds one state that is durable as a whole, and after a crash of any
 * kind it is opened at that state. Reads run on the calling thread and block it while pages come from disk.
 */
export class LmdbEngine implements KvEngine {
  readonly gathersWrites = true;
  readonly #store: LmdbStore;
  readonly #path: string;
  readonly #disk: Disk;
  readonly #queue: WriteQueue;
  readonly #writtenBatches: Counter | undefined;
  readonly #writtenBytes: Counter | undefined;
  readonly #flushes: Counter | undefined;
  readonly #open = new Set<Handle>();
  #closing: Promise<void> | undefined = undefined;
  readonly #isOpen = (): boolean => this.#closing === undefined;

  /** Use `openLmdbEngine`. */
  constructor(store: LmdbStore, options: LmdbOptions) {
    this.#store = store;
    this.#path = options.path;
    this.#disk = options.disk;
    this.#queue = new WriteQueue(options.logger, mapLmdbError);
    const metrics = options.metrics;
    this.#writtenBatches = metrics?.counter('cairn_engine_written_batches_total', 'Batches written.');
    this.#writtenBytes = metrics?.counter('cairn_engine_written_bytes_total', 'Key and value bytes written.');
    this.#flushes = metrics?.counter('cairn_engine_flushes_total', 'Forced flushes that ended well.');
  }

  get(key: Uint8Array): Buffer | undefined {
    this.#checkOpen();
    try {
      return readValue(this.#store, key);
    } catch (error) {
      throw mapLmdbError(error);
    }
  }

  first(start: Uint8Array, end: Uint8Array): Promise<FirstRow> {
    return firstByWalk(this.iterate({ start, end }));
  }

  newBatch(): EngineBatch {
    this.#checkOpen();
    return new LmdbBatch();
  }

  write(batch: EngineBatch): Promise<void> {
    assert(batch instanceof LmdbBatch, 'batch of another engine');
    if (batch.isSpent) return Promise.reject(batchSpent());
    batch.isSpent = true;
    this.#writtenBatches?.add(1);
    this.#writtenBytes?.add(batch.bytes);
    return this.#queue.run(() => this.#commit(batch.keys, batch.values));
  }

  snapshot(): EngineSnapshot {
    this.#checkOpen();
    try {
      return new LmdbSnapshot(this.#store.useReadTransaction(), this.#open);
    } catch (error) {
      throw mapLmdbError(error);
    }
  }

  iterate(range: EngineRange, snapshot?: EngineSnapshot): EngineIterator {
    this.#checkOpen();
    if (snapshot !== undefined) assert(snapshot instanceof LmdbSnapshot, 'snapshot of another engine');
    if (snapshot?.isClosed === true) throw handleClosed('snapshot');
    const span = {
      start: Buffer.from(range.start),
      end: Buffer.from(range.end),
      reverse: range.reverse ?? false,
    };
    const parts = { store: this.#store, span, open: this.#open, isEngineOpen: this.#isOpen };
    try {
      return new LmdbIterator(parts, snapshot);
    } catch (error) {
      throw mapLmdbError(error);
    }
  }

  flush(): Promise<void> {
    return this.#queue.run(async () => {
      await syncStore(this.#store);
      this.#flushes?.add(1);
    });
  }

  deleteRange(start: Uint8Array, end: Uint8Array): Promise<void> {
    return this.#queue.run(() => this.#deleteRange({ start: asBuffer(start), end: asBuffer(end) }));
  }

  /** Nothing to do: pages of deleted rows are used again as they are, and the file never shrinks. */
  async compactRange(): Promise<void> {
    this.#checkOpen();
  }

  async approximateBytes(start: Uint8Array, end: Uint8Array): Promise<number> {
    this.#checkOpen();
    const snapshot = new LmdbSnapshot(this.#store.useReadTransaction(), this.#open);
    try {
      const source = { store: this.#store, view: snapshot.view };
      return await estimateBytes(source, asBuffer(start), asBuffer(end));
    } catch (error) {
      if (!this.#isOpen()) throw engineClosed();
      throw mapLmdbError(error);
    } finally {
      snapshot.end();
    }
  }

  /** Waits for accepted writes, then ends open iterators and snapshots. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#queue.close();
    for (const handle of [...this.#open]) handle.end();
    try {
      // The binding waits for the sync of the last commit, which never comes when that failed: one without
      // rows takes its place.
      if (this.#queue.hasFailed) await this.#store.batch(() => undefined);
      await this.#store.close();
    } catch (error) {
      throw mapLmdbError(error);
    } finally {
      openPaths.delete(this.#path);
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw engineClosed();
  }

  async #commit(keys: readonly Buffer[], values: readonly (Uint8Array | undefined)[]): Promise<void> {
    if (keys.length === 0) return;
    const commit = this.#store.batch(() => {
      keys.forEach((key, at) => {
        const value = values[at];
        if (value === undefined) void this.#store.remove(key);
        else void this.#store.put(key, asBuffer(value));
      });
    });
    try {
      await settleCommit(commit);
    } catch (error) {
      throw await this.#reasonOf(error);
    }
  }

  /** LMDB calls a write that ended early an I/O error, whatever ended it; most often it is a full disk. */
  async #reasonOf(error: unknown): Promise<CairnError> {
    const mapped = mapLmdbError(error);
    if (mapped.code !== 'INTERNAL') return mapped;
    const freeBytes = await this.#disk.freeBytes(this.#path);
    if (freeBytes > FULL_DISK_BYTES) return mapped;
    return new CairnError('DISK_FULL', `engine: no space left (${mapped.message})`, { cause: error });
  }

  async #deleteRange(span: { readonly start: Buffer; readonly end: Buffer }): Promise<void> {
    for (;;) {
      const keys = this.#storedKeys(span);
      if (keys.length === 0) return;
      await this.#commit(keys, []);
    }
  }

  #storedKeys(span: { readonly start: Buffer; readonly end: Buffer }): Buffer[] {
    const view = this.#store.useReadTransaction();
    const keys: Buffer[] = [];
    try {
      for (const key of scanStoredKeys({ store: this.#store, view }, span)) {
        keys.push(key);
        if (keys.length === DELETE_RANGE_ROWS) break;
      }
    } finally {
      view.done();
    }
    return keys;
  }
}

/** Directories that this process has open: LMDB itself would share the file. */
const openPaths = new Set<string>();

/**
 * Opens or creates. Rejects FAILED_PRECONDITION when this process has the directory open or the file is
 * of something else, CORRUPTION, DISK_FULL.
 */
export async function openLmdbEngine(options: LmdbOptions): Promise<LmdbEngine> {
  const { path, logger } = options;
  if (openPaths.has(path)) throw new CairnError('FAILED_PRECONDITION', `engine: ${path} is open already`);
  openPaths.add(path);
  try {
    await checkHeader(options.disk, path);
    const store = openLmdbStore({
      path,
      noSubdir: false,
      encoding: 'binary',
      keyEncoding: 'binary',
      mapSize: MAP_BYTES,
      maxReaders: VIEWS_MAX,
      maxDbs: 1,
      // Else every batch becomes part of another, whose promise nobody has when it rejects.
      eventTurnBatching: false,
      // Why these two: docs/decisions/0014-engines-compared.md.
      overlappingSync: true,
      safeRestore: true,
    });
    try {
      await checkFormat(store);
    } catch (error) {
      await store.close();
      throw error;
    }
    logger.info('engine opened', { path });
    return new LmdbEngine(store, options);
  } catch (error) {
    openPaths.delete(path);
    throw mapLmdbError(error);
  }
}

const FILE_NAME = 'data.mdb';
/** Where the first page keeps the number that says LMDB, and the version of the format behind it. */
const MAGIC_AT = 24;
const MAGIC = 0xbeefc0de;
const FORMAT_VERSION = 2;

/** The binding crashes the process when LMDB refuses a file, so what can be seen is looked for before. */
async function checkHeader(disk: Disk, path: string): Promise<void> {
  await disk.makeDirectory(path);
  const file = await disk.open(`${path}/${FILE_NAME}`, { mode: 'write' });
  try {
    const header = await file.read(0, MAGIC_AT + 8);
    if (header.length === 0) return;
    const isKnown =
      header.length === MAGIC_AT + 8 &&
      header.readUInt32LE(MAGIC_AT) === MAGIC &&
      header.readUInt32LE(MAGIC_AT + 4) === FORMAT_VERSION;
    if (!isKnown) throw new CairnError('CORRUPTION', `engine: ${path}/${FILE_NAME} is not a file of LMDB`);
  } finally {
    await file.close();
  }
}

/** A new file gets its mark, durably: before a first sync there is no state to fall back to. */
async function checkFormat(store: LmdbStore): Promise<void> {
  const found = store.getBinary(FORMAT_KEY);
  if (found?.equals(FORMAT_VALUE) === true) return;
  const [first] = [...store.getKeys({ limit: 1 })];
  if (first !== undefined) {
    throw new CairnError('FAILED_PRECONDITION', 'engine: the file is LMDB, but not of this engine');
  }
  await settleCommit(store.put(FORMAT_KEY, FORMAT_VALUE));
  await syncStore(store);
}
