import { RowKind, timestamp, type Timestamp, NO_BYTES } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import {
  encodeKeyPrefix,
  NO_EXPIRY,
  seekKeyOf,
  versionOfRow,
  type RowCache,
  type RowCacheKey,
  type VersionRecord,
} from '@cairn/mvcc';

/** Stands in the cache for a key that has no version at all. Older than every timestamp. */
const ABSENT: VersionRecord = {
  timestamp: timestamp(0),
  sequence: 0,
  expiry: NO_EXPIRY,
  tombstone: true,
  kind: RowKind.bytes,
  value: NO_BYTES,
};

/** Newest first, so a search for the newest version begins at the largest timestamp. */
const NEWEST = timestamp(Number.MAX_SAFE_INTEGER);

/** Longer than the suffix of any version key, and above all of them. */
const PAST_VERSIONS = Buffer.alloc(9, 0xff);

interface ColdRead {
  /** The row that it found, while a command needs it and the cache has not taken it. */
  row: { readonly version: VersionRecord | undefined } | undefined;
  isForCommand: boolean;
  readonly result: Promise<VersionRecord | undefined>;
  /**
   * A newer version was published after the read began: others must not share it, the cache must not keep it.
   */
  isOutdated: boolean;
}

/** A row, or none, or the promise of either when the engine could not tell at once. */
export type ColdRow = VersionRecord | undefined | Promise<VersionRecord | undefined>;

/**
 * Point reads that the row cache cannot answer. The engine's view is taken when `newest` is called, before it
 * returns, so that the caller can check its lease right after.
 */
export class ColdReads {
  readonly #engine: KvEngine;
  readonly #cache: RowCache;
  /** Dropped whenever it gets empty: a map that lived on would keep garbage alive (see `IdTable`). */
  #newest: Map<RowCacheKey, ColdRead> | undefined;
  /** Keys of rows that are kept until the next turn has ended. */
  #kept: RowCacheKey[] = [];

  constructor(engine: KvEngine, cache: RowCache) {
    this.#engine = engine;
    this.#cache = cache;
  }

  /** Looks at the engine that others may share now. */
  get length(): number {
    return this.#newest?.size ?? 0;
  }

  /**
   * The newest version, tombstones and expired ones included. Reads of one key that wait at the same time
   * share one look. The cache keeps what was found, absence too, unless something newer was published
   * meanwhile.
   */
  newest(key: RowCacheKey, userKey: Uint8Array): ColdRow {
    return this.#read(key, userKey, false);
  }

  /**
   * As `newest`, for a command that is evaluated in the turn after the row is there. The cache may not take
   * the row, because it is too large or the cache too small; then it is kept here until that turn has ended.
   */
  newestForCommand(key: RowCacheKey, userKey: Uint8Array): ColdRow {
    return this.#read(key, userKey, true);
  }

  /** The commands that waited for rows were evaluated. */
  turnEnded(): void {
    if (this.#kept.length === 0) return;
    for (const key of this.#kept.splice(0)) if (this.#newest?.get(key)?.row !== undefined) this.#forget(key);
  }

  #read(key: RowCacheKey, userKey: Uint8Array, isForCommand: boolean): ColdRow {
    const shared = this.#newest?.get(key);
    if (shared !== undefined) {
      shared.isForCommand ||= isForCommand;
      return shared.row === undefined ? shared.result : shared.row.version;
    }
    const found = this.#look(userKey, NEWEST);
    if (!(found instanceof Promise)) {
      this.#cache.set(key, found ?? ABSENT);
      return found;
    }
    const read: ColdRead = { row: undefined, isForCommand, result: found, isOutdated: false };
    this.#newest ??= new Map();
    this.#newest.set(key, read);
    const finish = (): void => {
      if (this.#newest?.get(key) === read) this.#forget(key);
    };
    found.then((version) => {
      if (!read.isOutdated) this.#cache.set(key, version ?? ABSENT);
      if (read.isOutdated || !read.isForCommand || this.#cache.get(key) !== undefined) {
        finish();
        return;
      }
      read.row = { version };
      this.#kept.push(key);
    }, finish);
    return found;
  }

  /** The newest version at or below `ts`. */
  at(userKey: Uint8Array, ts: Timestamp): ColdRow {
    return this.#look(userKey, ts);
  }

  /** A newer version of the key is visible from now on. */
  outdate(key: RowCacheKey): void {
    const read = this.#newest?.get(key);
    if (read === undefined) return;
    read.isOutdated = true;
    this.#forget(key);
  }

  outdateAll(): void {
    if (this.#newest === undefined) return;
    for (const read of this.#newest.values()) read.isOutdated = true;
    this.#newest = undefined;
  }

  #forget(key: RowCacheKey): void {
    this.#newest?.delete(key);
    if (this.#newest?.size === 0) this.#newest = undefined;
  }

  /** Rejects with what the engine throws, whether at once or later. */
  #look(userKey: Uint8Array, ts: Timestamp): ColdRow {
    const prefix = encodeKeyPrefix(userKey);
    const start = seekKeyOf(userKey, ts);
    const end = Buffer.concat([prefix, PAST_VERSIONS]);
    try {
      const row = this.#engine.first(start, end);
      if (!(row instanceof Promise)) return versionOfRow(row, prefix);
      return row.then((found) => versionOfRow(found, prefix));
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
