import { assert } from '@cairn/base';
import type { VersionRecord } from './record.js';
import { placeBytesOf, ROW_VALUE_BYTES_MAX, RowArena } from './row-arena.js';
import { TERMINATOR_BYTES, asBuffer, copyUnescaped, countZeroBytes } from './user-key.js';
import { TIMESTAMP_BYTES, encodeKeyPrefix } from './version-key.js';

/** Default bound of a store's row cache. */
export const ROW_CACHE_BYTES_MAX = 64 * 1024 * 1024;
/** What an entry costs beside its key and its place: map slot, string header, rounding. */
const ENTRY_OVERHEAD_BYTES = 96;
const ENGINE_KEY_TAIL_BYTES = TERMINATOR_BYTES + TIMESTAMP_BYTES;

/**
 * How the cache names a row: the escaped user key, byte for byte as Latin-1 characters. Sorts like the
 * user key, and is a plain slice of the engine key.
 */
export type RowCacheKey = string;

/** The cache key of a user key. */
export function rowCacheKey(userKey: Uint8Array): RowCacheKey {
  const bytes = asBuffer(userKey);
  if (countZeroBytes(bytes) === 0) return bytes.toString('latin1');
  const prefix = encodeKeyPrefix(bytes);
  return prefix.toString('latin1', 1, prefix.length - TERMINATOR_BYTES);
}

/** The cache key of the user key of a version key. */
export function rowCacheKeyOfVersionKey(engineKey: Buffer): RowCacheKey {
  return engineKey.toString('latin1', 1, engineKey.length - ENGINE_KEY_TAIL_BYTES);
}

/** The user key that a cache key stands for. */
export function userKeyOfRowCacheKey(key: RowCacheKey): Buffer {
  const escaped = Buffer.from(key, 'latin1');
  const length = escaped.length - countZeroBytes(escaped);
  if (length === escaped.length) return escaped;
  const userKey = Buffer.allocUnsafe(length);
  copyUnescaped(escaped, 0, { target: userKey, at: 0, length });
  return userKey;
}

export interface RowCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  /** Estimated, overhead included. */
  readonly bytes: number;
  /** Entries dropped to stay within the bound. */
  readonly evictions: number;
}

/**
 * The newest version of hot keys, tombstones included, bounded by bytes. Two generations: entries are
 * born young or brought back by a hit; when the young ones fill half the bound, the old ones are dropped
 * at once and the young ones become old. So a hit costs no list maintenance, and an entry is dropped when
 * it was not used for one generation. A row that is young again stays behind in the old generation, where
 * nobody looks for it: taking it out would cost more than the room it wastes there.
 *
 * Rows live as bytes in memory that is used again and again (`RowArena`); only their names are on the
 * JavaScript heap. Rows kept as objects outlived every young collection and were garbage soon after, which
 * cost a leader more than its writes did.
 *
 * The owner keeps it true: every applied write goes through `set` or `updateIfPresent` once it is
 * visible, and whatever changes rows otherwise (snapshots, removed replicas) through `deleteSpan`.
 */
export class RowCache {
  readonly #generationBytesMax: number;
  #young: Generation;
  #old: Generation;
  #hits = 0;
  #misses = 0;
  #evictions = 0;

  /** `bytesMax` 0 turns the cache off. */
  constructor(bytesMax = ROW_CACHE_BYTES_MAX) {
    assert(bytesMax >= 0, 'negative cache size', { bytesMax });
    this.#generationBytesMax = bytesMax / 2;
    this.#young = new Generation();
    this.#old = new Generation();
  }

  /** The newest version, perhaps a tombstone or expired; undefined = not known here. The caller's own. */
  get(key: RowCacheKey): VersionRecord | undefined {
    const place = this.#young.places.get(key);
    if (place !== undefined) {
      this.#hits += 1;
      return this.#young.arena.read(place);
    }
    const oldPlace = this.#old.places.get(key);
    if (oldPlace === undefined) {
      this.#misses += 1;
      return undefined;
    }
    this.#hits += 1;
    const version = this.#old.arena.read(oldPlace);
    this.#addYoung(key, version);
    return version;
  }

  /** Keeps a copy of the version as the newest of its key. */
  set(key: RowCacheKey, version: VersionRecord): void {
    if (!this.#isTaken(key, version)) {
      this.delete(key);
      return;
    }
    const place = this.#young.places.get(key);
    if (place !== undefined) {
      if (this.#young.arena.replace(place, version)) return;
      this.#young.remove(key, place);
    }
    this.#addYoung(key, version);
  }

  /** Like `set`, for keys that are cached; others stay unknown. Answers whether it was. */
  updateIfPresent(key: RowCacheKey, version: VersionRecord): boolean {
    if (!this.#young.places.has(key) && !this.#old.places.has(key)) return false;
    this.set(key, version);
    return true;
  }

  delete(key: RowCacheKey): void {
    for (const generation of [this.#young, this.#old]) {
      const place = generation.places.get(key);
      if (place !== undefined) generation.remove(key, place);
    }
  }

  /**
   * Forgets the user keys in [startKey, endKey); an empty endKey means to the end. Looks at every entry.
   */
  deleteSpan(startKey: Uint8Array, endKey: Uint8Array): void {
    const start = rowCacheKey(startKey);
    const end = endKey.length === 0 ? undefined : rowCacheKey(endKey);
    for (const generation of [this.#young, this.#old]) {
      for (const [key, place] of generation.places) {
        if (key >= start && (end === undefined || key < end)) generation.remove(key, place);
      }
    }
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }

  stats(): RowCacheStats {
    return {
      hits: this.#hits,
      misses: this.#misses,
      entries: this.#young.places.size + this.#old.places.size,
      bytes: this.#young.bytes + this.#old.bytes,
      evictions: this.#evictions,
    };
  }

  #isTaken(key: RowCacheKey, version: VersionRecord): boolean {
    const bytes = version.value.length;
    return bytes <= ROW_VALUE_BYTES_MAX && costOf(key, placeBytesOf(bytes)) <= this.#generationBytesMax;
  }

  /** The key is not young. What the old generation has of it is never looked at from now on. */
  #addYoung(key: RowCacheKey, version: VersionRecord): void {
    const cost = costOf(key, placeBytesOf(version.value.length));
    // What was removed from the arena is not free before the generation ends: the bound counts all it has
    // taken.
    if (this.#young.takenBytes + cost > this.#generationBytesMax) {
      const dropped = this.#old;
      this.#evictions += dropped.places.size;
      dropped.clear();
      this.#old = this.#young;
      this.#young = dropped;
    }
    this.#young.add(key, version, cost);
  }
}

/** One generation of rows: their places by name, and the memory they are in. */
class Generation {
  readonly arena = new RowArena();
  places = new Map<RowCacheKey, number>();
  /** Of the rows in it. */
  bytes = 0;
  /** Of all rows that were ever put into it. */
  takenBytes = 0;

  add(key: RowCacheKey, version: VersionRecord, cost: number): void {
    this.places.set(key, this.arena.add(version));
    this.bytes += cost;
    this.takenBytes += cost;
  }

  remove(key: RowCacheKey, place: number): void {
    this.places.delete(key);
    this.bytes -= costOf(key, this.arena.bytesAt(place));
  }

  clear(): void {
    // Not cleared: the table that a map lets go keeps what came later alive (see `IdTable`).
    this.places = new Map();
    this.arena.clear();
    this.bytes = 0;
    this.takenBytes = 0;
  }
}

/** `placeBytes`: what the row takes in its arena. */
function costOf(key: RowCacheKey, placeBytes: number): number {
  return key.length + placeBytes + ENTRY_OVERHEAD_BYTES;
}
