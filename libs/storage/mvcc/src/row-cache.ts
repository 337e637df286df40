import { assert } from '@cairn/base';
import type { VersionRecord } from './record.js';
import { placeBytesOf, ROW_NAME_BYTES_MAX, ROW_VALUE_BYTES_MAX } from './row-arena.js';
import { hashName, hashNameBytes, NO_PLACE, RowTable } from './row-table.js';
import { TERMINATOR_BYTES, asBuffer, copyUnescaped, countZeroBytes } from './user-key.js';
import { VERSION_SUFFIX_BYTES, encodeKeyPrefix } from './version-key.js';

/** Default bound of a store's row cache. */
export const ROW_CACHE_BYTES_MAX = 56 * 1024 * 1024;
/** What an entry costs beside its place: slots of the table, which is between three and six eighths full. */
const ENTRY_OVERHEAD_BYTES = 24;
const ENGINE_KEY_TAIL_BYTES = TERMINATOR_BYTES + VERSION_SUFFIX_BYTES;

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
 * created young or brought back by a hit; when the young ones fill half the bound, the old ones are dropped
 * at once and the young ones become old. So a hit costs no list maintenance, and an entry is dropped when
 * it was not used for one generation. A row that is young again stays behind in the old generation, where
 * nobody looks for it: taking it out would cost more than the room it wastes there.
 *
 * Rows and their names live as bytes in memory that is used again and again (`RowTable`). Kept as objects
 * they outlived every young collection and were garbage soon after, which cost a leader more than its writes
 * did.
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
    const hash = hashName(key);
    const place = this.#young.rows.find(key, hash);
    if (place !== NO_PLACE) {
      this.#hits += 1;
      return this.#young.rows.read(place);
    }
    return this.#getOld(key, hash);
  }

  /**
   * Like `get` for a user key, but the value may be memory of the cache: it is the caller's until the next
   * call of any method here, and not to be kept. Saves a point read the key as a string and one copy of two.
   */
  view(userKey: Uint8Array): VersionRecord | undefined {
    if (countZeroBytes(userKey) > 0) return this.get(rowCacheKey(userKey));
    const hash = hashNameBytes(userKey);
    const place = this.#young.rows.findBy(userKey, hash);
    if (place === NO_PLACE) return this.#getOld(asBuffer(userKey).toString('latin1'), hash);
    this.#hits += 1;
    return this.#young.rows.view(place);
  }

  /** A key that is not young: one that the old generation has becomes so. */
  #getOld(key: RowCacheKey, hash: number): VersionRecord | undefined {
    const oldPlace = this.#old.rows.find(key, hash);
    if (oldPlace === NO_PLACE) {
      this.#misses += 1;
      return undefined;
    }
    this.#hits += 1;
    const version = this.#old.rows.read(oldPlace);
    this.#addYoung(key, hash, version);
    return version;
  }

  /** Keeps a copy of the version as the newest of its key. */
  set(key: RowCacheKey, version: VersionRecord): void {
    this.#set(key, hashName(key), version);
  }

  #set(key: RowCacheKey, hash: number, version: VersionRecord): void {
    if (!this.#isTaken(key, version)) {
      this.#delete(key, hash);
      return;
    }
    const place = this.#young.rows.find(key, hash);
    if (place !== NO_PLACE) {
      if (this.#young.rows.replace(place, version)) return;
      this.#young.remove(hash, place);
    }
    this.#addYoung(key, hash, version);
  }

  /** Like `set`, for keys that are cached; others stay unknown. Answers whether it was. */
  updateIfPresent(key: RowCacheKey, version: VersionRecord): boolean {
    const hash = hashName(key);
    const isHere =
      this.#young.rows.find(key, hash) !== NO_PLACE || this.#old.rows.find(key, hash) !== NO_PLACE;
    if (isHere) this.#set(key, hash, version);
    return isHere;
  }

  delete(key: RowCacheKey): void {
    this.#delete(key, hashName(key));
  }

  #delete(key: RowCacheKey, hash: number): void {
    for (const generation of [this.#young, this.#old]) {
      const place = generation.rows.find(key, hash);
      if (place !== NO_PLACE) generation.remove(hash, place);
    }
  }

  /**
   * Forgets the user keys in [startKey, endKey); an empty endKey means to the end. Looks at every entry.
   */
  deleteSpan(startKey: Uint8Array, endKey: Uint8Array): void {
    const start = rowCacheKey(startKey);
    const end = endKey.length === 0 ? undefined : rowCacheKey(endKey);
    for (const generation of [this.#young, this.#old]) {
      generation.rows.forEach((key, hash, place) => {
        if (key >= start && (end === undefined || key < end)) generation.remove(hash, place);
      });
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
      entries: this.#young.rows.size + this.#old.rows.size,
      bytes: this.#young.bytes + this.#old.bytes,
      evictions: this.#evictions,
    };
  }

  #isTaken(key: RowCacheKey, version: VersionRecord): boolean {
    const isShort = version.value.length <= ROW_VALUE_BYTES_MAX && key.length <= ROW_NAME_BYTES_MAX;
    return isShort && costOf(key, version) <= this.#generationBytesMax;
  }

  /** The key is not young. What the old generation has of it is never looked at from now on. */
  #addYoung(key: RowCacheKey, hash: number, version: VersionRecord): void {
    // What was removed is not free before the generation ends: the bound counts all it has taken.
    const cost = costOf(key, version);
    if (this.#young.takenBytes + cost > this.#generationBytesMax) {
      const dropped = this.#old;
      this.#evictions += dropped.rows.size;
      dropped.clear();
      this.#old = this.#young;
      this.#young = dropped;
    }
    this.#young.add(key, hash, version, cost);
  }
}

/** One generation of rows. */
class Generation {
  readonly rows = new RowTable();
  /** Of the rows in it. */
  bytes = 0;
  /** Of all rows that were ever put into it. */
  takenBytes = 0;

  add(key: RowCacheKey, hash: number, version: VersionRecord, cost: number): void {
    this.rows.add(key, hash, version);
    this.bytes += cost;
    this.takenBytes += cost;
  }

  remove(hash: number, place: number): void {
    this.bytes -= this.rows.bytesAt(place) + ENTRY_OVERHEAD_BYTES;
    this.rows.remove(hash, place);
  }

  clear(): void {
    this.rows.clear();
    this.bytes = 0;
    this.takenBytes = 0;
  }
}

function costOf(key: RowCacheKey, version: VersionRecord): number {
  return placeBytesOf(key.length, version.value.length) + ENTRY_OVERHEAD_BYTES;
}
