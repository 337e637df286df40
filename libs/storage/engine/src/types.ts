/**
 * An ordered map of byte strings. Keys are compared as unsigned bytes; keys that start with eight 0xff
 * bytes are reserved. The state machine's store: written only by apply, never synced per write; `flush`
 * is the durability barrier. After a crash everything written before the last completed `flush` is there,
 * and of later batches any subset (each batch whole or not at all), not necessarily a prefix.
 */
export interface KvEngine {
  /** Latest value, read synchronously from memory or page cache: for single cold reads of known keys. */
  get(key: Uint8Array): Buffer | undefined;
  /**
   * The first row in [start, end), as of the call: the point read of versions. Where a trip to another thread
   * would cost more than the read, it is read on the calling thread and is there at once. What is read at
   * once throws, what is waited for rejects.
   */
  first(start: Uint8Array, end: Uint8Array): FirstRow | Promise<FirstRow>;
  /**
   * Atomic. Later calls see it once the promise resolves; undefined = they see it from now on. The batch's
   * buffers belong to the engine until then.
   */
  write(batch: EngineBatch): Promise<void> | undefined;
  /** Whether a batch costs so much in itself that writes should be gathered into few. */
  readonly gathersWrites: boolean;
  newBatch(): EngineBatch;
  /** A consistent view as of now. Must be closed, after its iterators; holds back compaction while open. */
  snapshot(): EngineSnapshot;
  iterate(range: EngineRange, snapshot?: EngineSnapshot): EngineIterator;
  /** Resolves once everything written before the call is durable. */
  flush(): Promise<void>;
  /** Removes [start, end) without loading values; not atomic; durable with the next flush. */
  deleteRange(start: Uint8Array, end: Uint8Array): Promise<void>;
  /**
   * Merges what lies on disk of [start, end) into one piece, and gives the space of what is overwritten or
   * deleted back. Engines do that by themselves when it is worth it; this is for operators, who want it
   * now. Other work comes in between; resolves when it is done, however long that takes. Rejects
   * UNAVAILABLE when the engine is closed meanwhile.
   */
  compact(start: Uint8Array, end: Uint8Array): Promise<void>;
  /** What the engine holds, as far as it can tell, for operators and benchmarks. Reads no rows. */
  stats(): Promise<EngineStats>;
  /** Rough bytes on disk of a span; recent writes may be missing. */
  approximateBytes(start: Uint8Array, end: Uint8Array): Promise<number>;
  /**
   * The disk has no room for what was written, so it waits for some, and `flush` and writes with it. Only of
   * engines that can wait; the others fail.
   */
  readonly isOutOfRoom?: boolean;
  close(): Promise<void>;
}

/** Sizes in bytes. What an engine cannot tell is missing; nothing is guessed. */
export interface EngineStats {
  /** The engine's name, as it stands in data directories that it made. */
  readonly engine: string;
  /**
   * Its files, those included that only snapshots and iterators still read, without a log that it may have.
   */
  readonly diskBytes: number;
  /** Of what lies on disk, newest first; empty for an engine that has no levels. */
  readonly levels: readonly EngineLevelStats[];
  /** Memory of everything: what is not written out yet, caches, indexes. */
  readonly memoryBytes?: number;
  /** What was written and is in memory only. */
  readonly memtableBytes?: number;
  /** Blocks that were looked for in the cache since it was opened. */
  readonly cacheHits?: number;
  readonly cacheMisses?: number;
  /** What merges that are due or under way still have to read. */
  readonly pendingMergeBytes?: number;
}

export interface EngineLevelStats {
  /** How often its rows were merged: 0 = written out of memory. */
  readonly level: number;
  /** A read of a key may have to look into each. */
  readonly runs: number;
  readonly tables: number;
  /** Of its tables; to a MiB for engines that round. */
  readonly bytes: number;
}

/** Collects writes. Later operations on a key win. */
export interface EngineBatch {
  put(key: Uint8Array, value: Uint8Array): void;
  delete(key: Uint8Array): void;
  /** Operations so far. */
  readonly length: number;
  /** Key and value bytes so far. */
  readonly bytes: number;
}

export interface EngineSnapshot {
  close(): void;
}

export interface EngineRange {
  /** Inclusive. */
  readonly start: Uint8Array;
  /** Exclusive. */
  readonly end: Uint8Array;
  readonly reverse?: boolean;
}

/**
 * Must be closed; one call at a time. Without an explicit snapshot it reads the state of its creation.
 * However many rows lie between two that are found, one turn of the event loop looks at a bounded number.
 * After an error every further page fails with it.
 */
export interface EngineIterator {
  /**
   * Up to `countMax` next rows in order (at least one unless at the end, fewer when a byte budget of 1
   * MiB is met). Empty = the end, if `cutAt` is undefined. With `looksMax` the page also ends before more
   * rows than that were looked at, those included that are not found because they are deleted.
   */
  next(countMax: number, looksMax?: number): Promise<readonly EngineRow[]>;
  /** When the last page ended because of `looksMax`: the key of the row that comes next, deleted or not. */
  readonly cutAt: Buffer | undefined;
  /** Rows looked at so far, found or not: what a caller bounds its work by. */
  readonly looked: number;
  /** Moves to the first key >= target (reverse: <= target). A target outside the range moves to the end. */
  seek(target: Uint8Array): void;
  close(): Promise<void>;
}

/** A tuple, as the native bindings hand it out. */
export type EngineRow = readonly [key: Buffer, value: Buffer];

/** What a point read finds; undefined = the span is empty. */
export type FirstRow = EngineRow | undefined;

/**
 * What an engine may know about keys, as plain data that another thread can be sent: those that begin with
 * a byte of `namespaces` end with `suffixBytes` that tell versions of one thing apart. What is before the
 * suffix is the stem, and no stem begins with another: reads of the newest version ask for the first key of a
 * stem, so filters are about stems, and the suffixes of a table bound what it can hold.
 */
export interface VersionedKeys {
  readonly namespaces: readonly number[];
  readonly suffixBytes: number;
}
