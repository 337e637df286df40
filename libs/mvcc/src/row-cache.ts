import { assert } from '@cairn/base';
import type { VersionRecord } from './record.js';
import { TERMINATOR_BYTES, asBuffer, copyUnescaped, countZeroBytes } from './user-key.js';
import { TIMESTAMP_BYTES, encodeKeyPrefix } from './version-key.js';

/** Default bound of a store's row cache. */
export const ROW_CACHE_BYTES_MAX = 64 * 1024 * 1024;
/** What an entry costs beside key and value: two map slots, entry, string and buffer headers. */
const ENTRY_OVERHEAD_BYTES = 240;
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
 * it was not used for one generation.
 *
 * The owner keeps it true: every applied write goes through `set` or `updateIfPresent` once it is
 * visible, and whatever changes rows otherwise (snapshots, removed replicas) through `deleteSpan`.
 */
export class RowCache {
  readonly #generationBytesMax: number;
  #young = new Map<RowCacheKey, CachedRow>();
  #old = new Map<RowCacheKey, CachedRow>();
  #youngBytes = 0;
  #oldBytes = 0;
  #hits = 0;
  #misses = 0;
  #evictions = 0;

  /** `bytesMax` 0 turns the cache off. */
  constructor(bytesMax = ROW_CACHE_BYTES_MAX) {
    assert(bytesMax >= 0, 'negative cache size', { bytesMax });
    this.#generationBytesMax = bytesMax / 2;
  }

  /**
   * The newest version, perhaps a tombstone or expired; undefined = not known here. Its value must not be
   * changed.
   */
  get(key: RowCacheKey): VersionRecord | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) {
      this.#hits += 1;
      return recordOf(young);
    }
    const old = this.#old.get(key);
    if (old === undefined) {
      this.#misses += 1;
      return undefined;
    }
    this.#hits += 1;
    this.#old.delete(key);
    this.#oldBytes -= costOf(key, old);
    this.#addYoung(key, old);
    return recordOf(old);
  }

  /** Keeps a copy of the version as the newest of its key. */
  set(key: RowCacheKey, version: VersionRecord): void {
    if (costOf(key, version) > this.#generationBytesMax) {
      this.delete(key);
      return;
    }
    this.#replace(key, version, this.#removeOld(key));
  }

  /** Like `set`, for keys that are cached; others stay unknown. Answers whether it was. */
  updateIfPresent(key: RowCacheKey, version: VersionRecord): boolean {
    const wasOld = this.#removeOld(key);
    if (!wasOld && !this.#young.has(key)) return false;
    if (costOf(key, version) > this.#generationBytesMax) this.delete(key);
    else this.#replace(key, version, wasOld);
    return true;
  }

  delete(key: RowCacheKey): void {
    this.#removeOld(key);
    const young = this.#young.get(key);
    if (young === undefined) return;
    this.#young.delete(key);
    this.#youngBytes -= costOf(key, young);
  }

  /**
   * Forgets the user keys in [startKey, endKey); an empty endKey means to the end. Looks at every entry.
   */
  deleteSpan(startKey: Uint8Array, endKey: Uint8Array): void {
    const start = rowCacheKey(startKey);
    const end = endKey.length === 0 ? undefined : rowCacheKey(endKey);
    for (const generation of [this.#young, this.#old]) {
      for (const key of generation.keys()) {
        if (key >= start && (end === undefined || key < end)) this.delete(key);
      }
    }
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngBytes = 0;
    this.#oldBytes = 0;
  }

  stats(): RowCacheStats {
    return {
      hits: this.#hits,
      misses: this.#misses,
      entries: this.#young.size + this.#old.size,
      bytes: this.#youngBytes + this.#oldBytes,
      evictions: this.#evictions,
    };
  }

  #removeOld(key: RowCacheKey): boolean {
    const old = this.#old.get(key);
    if (old === undefined) return false;
    this.#old.delete(key);
    this.#oldBytes -= costOf(key, old);
    return true;
  }

  #replace(key: RowCacheKey, version: VersionRecord, knownAbsent: boolean): void {
    if (!knownAbsent) {
      const young = this.#young.get(key);
      if (young !== undefined) this.#youngBytes -= costOf(key, young);
    }
    this.#addYoung(key, copyOf(version));
  }

  /** The key is counted in neither generation. */
  #addYoung(key: RowCacheKey, entry: CachedRow): void {
    const cost = costOf(key, entry);
    if (this.#youngBytes + cost > this.#generationBytesMax) {
      this.#young.delete(key);
      this.#evictions += this.#old.size;
      this.#old = this.#young;
      this.#oldBytes = this.#youngBytes;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(key, entry);
    this.#youngBytes += cost;
  }
}

/**
 * A row as it is kept. Small values are Latin-1 strings on the JavaScript heap: buffers of their own cost an
 * allocation outside the heap each, and slices of shared ones keep whole slabs alive (measured: six times the
 * bytes in use).
 */
interface CachedRow {
  readonly timestamp: VersionRecord['timestamp'];
  readonly sequence: number;
  readonly expiry: VersionRecord['expiry'];
  readonly tombstone: boolean;
  readonly valueBytes: number;
  readonly value: string | Buffer;
}

/** Values above this are buffers of their own: few, and large enough not to fragment. */
const TEXT_BYTES_MAX = 4096;

function costOf(key: RowCacheKey, version: VersionRecord | CachedRow): number {
  const bytes = 'valueBytes' in version ? version.valueBytes : version.value.length;
  return key.length + bytes + ENTRY_OVERHEAD_BYTES;
}

/** The value may be a view of a network chunk or log entry; what is kept lives on its own. */
function copyOf(version: VersionRecord): CachedRow {
  const value = asBuffer(version.value);
  return {
    timestamp: version.timestamp,
    sequence: version.sequence,
    expiry: version.expiry,
    tombstone: version.tombstone,
    valueBytes: value.length,
    value: value.length <= TEXT_BYTES_MAX ? value.toString('latin1') : ownCopy(value),
  };
}

function ownCopy(value: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(value.length);
  value.copy(copy);
  return copy;
}

function recordOf(row: CachedRow): VersionRecord {
  return {
    timestamp: row.timestamp,
    sequence: row.sequence,
    expiry: row.expiry,
    tombstone: row.tombstone,
    value: typeof row.value === 'string' ? Buffer.from(row.value, 'latin1') : row.value,
  };
}
