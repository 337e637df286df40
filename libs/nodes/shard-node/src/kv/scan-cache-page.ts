import { NO_BYTES, RowKind, type Timestamp } from '@cairn/base';
import {
  encodeVersionToken,
  expiryToUnixMs,
  isVersionLiveAt,
  successorOf,
  userKeyOfRowCacheKey,
  type RowCacheKey,
  type VersionRecord,
} from '@cairn/mvcc';
import { PackedRowReader, RowPacker, type PackedRows } from '@cairn/wire';

/** Versions of one key that a page keeps beside its packed rows; reads below the oldest go to the engine. */
const VERSIONS_PER_KEY_MAX = 3;
/** What a changed version costs beside key and value: map slot, array, record and buffer headers. */
const CHANGE_OVERHEAD_BYTES = 240;
/** What a page costs beside its rows. */
const PAGE_OVERHEAD_BYTES = 1024;
/**
 * A page is dropped when more keys of it changed than this part of its rows, so that a leader that is written
 * to hard does not pay for scans that may not come again; but not below so many.
 */
const CHANGED_SHARE_MAX = 1 / 8;
const CHANGED_KEYS_MIN = 64;

/** A span of user keys in the form of cache keys; `end` undefined = no bound. */
export interface CacheSpan {
  readonly start: RowCacheKey;
  readonly end: RowCacheKey | undefined;
}

/** Which rows of a page are wanted; `key` and `endKey` are user keys, undefined = the page's own bounds. */
export interface PageSlice {
  readonly key: Uint8Array | undefined;
  readonly endKey: Uint8Array | undefined;
  readonly limit: number;
  readonly bytesMax: number;
}

interface Due {
  readonly key: RowCacheKey;
  readonly version: VersionRecord;
}

/**
 * All rows of a span as of one timestamp, packed as clients get them, and the versions written since. A read
 * at a later timestamp works those in that it can see, so rows that nobody wrote are never touched again.
 */
export class ScanCachePage {
  readonly span: CacheSpan;
  #packed: PackedRows;
  /** Position of each row in the packed bytes, and their end. */
  #offsets: Uint32Array;
  /** The timestamp the packed rows are of. */
  #at: Timestamp;
  /** Reads below this cannot be answered; at or above `#at`. */
  #readableSince: Timestamp;
  /** From this timestamp on a packed row would have to be left out. */
  #firstExpiry: number;
  /** Per key the versions above `#at`, oldest first. */
  readonly #changes = new Map<RowCacheKey, VersionRecord[]>();
  #changeBytes = 0;
  lastUsedMs: number;

  constructor(
    span: CacheSpan,
    rows: { readonly packed: PackedRows; readonly at: Timestamp; readonly firstExpiry: number },
    nowMs: number,
  ) {
    this.span = span;
    this.#packed = rows.packed;
    this.#offsets = offsetsOf(rows.packed);
    this.#at = rows.at;
    this.#readableSince = rows.at;
    this.#firstExpiry = rows.firstExpiry;
    this.lastUsedMs = nowMs;
  }

  /** Estimated, overhead included. */
  get bytes(): number {
    return PAGE_OVERHEAD_BYTES + this.#packed.bytes.length + this.#offsets.length * 4 + this.#changeBytes;
  }

  /** Whether a key belongs to the span. */
  covers(key: RowCacheKey): boolean {
    return key >= this.span.start && (this.span.end === undefined || key < this.span.end);
  }

  /** A version became visible. Answers false when the page must go: it cannot keep it, or is not worth it. */
  note(key: RowCacheKey, version: VersionRecord): boolean {
    if (version.timestamp <= this.#at) return false;
    let versions = this.#changes.get(key);
    if (versions === undefined) {
      if (this.#changes.size >= Math.max(CHANGED_KEYS_MIN, this.#packed.count * CHANGED_SHARE_MAX))
        return false;
      versions = [];
      this.#changes.set(key, versions);
    }
    let at = versions.length;
    while (at > 0 && (versions[at - 1] as VersionRecord).timestamp > version.timestamp) at -= 1;
    const same = versions[at - 1];
    if (same?.timestamp === version.timestamp) {
      if (same.sequence >= version.sequence) return true;
      this.#changeBytes -= bytesOf(key, same);
      versions[at - 1] = ownCopy(version);
    } else {
      versions.splice(at, 0, ownCopy(version));
    }
    this.#changeBytes += bytesOf(key, version);
    if (versions.length > VERSIONS_PER_KEY_MAX) {
      this.#changeBytes -= bytesOf(key, versions.shift() as VersionRecord);
      const oldest = versions[0] as VersionRecord;
      if (oldest.timestamp > this.#readableSince) this.#readableSince = oldest.timestamp;
    }
    return true;
  }

  /**
   * Whether the rows can be read at `ts`; if so, the packed rows are those of `ts` now. Below a timestamp for
   * which changes were worked in, and once a row has expired, the engine must be asked.
   */
  bringTo(ts: Timestamp): 'ready' | 'too-old' | 'expired' {
    if (ts < this.#readableSince) return 'too-old';
    if (this.#changes.size > 0) this.#workIn(ts);
    return ts < this.#firstExpiry ? 'ready' : 'expired';
  }

  /**
   * Rows of the span, after `bringTo`: at least one if there is one. `resumeKey` is set where limit or bytes
   * cut it short. The bytes never change.
   */
  slice(wanted: PageSlice): { readonly rows: PackedRows; readonly resumeKey: Buffer | undefined } {
    const from = wanted.key === undefined ? 0 : this.#lowerBound(wanted.key);
    const below = wanted.endKey === undefined ? this.#packed.count : this.#lowerBound(wanted.endKey);
    const end = Math.max(from, below);
    let to = Math.min(end, from + wanted.limit);
    const offsets = this.#offsets;
    const start = offsets[from] as number;
    if ((offsets[to] as number) - start > wanted.bytesMax) {
      let low = Math.min(from + 1, to);
      while (low < to) {
        const middle = (low + to) >>> 1;
        if ((offsets[middle] as number) - start >= wanted.bytesMax) to = middle;
        else low = middle + 1;
      }
    }
    const rows = { count: to - from, bytes: this.#packed.bytes.subarray(start, offsets[to]) };
    return { rows, resumeKey: to < end ? successorOf(this.#keyOf(to - 1)) : undefined };
  }

  #keyOf(at: number): Buffer {
    const reader = new PackedRowReader(this.#packed.bytes, this.#offsets[at]);
    reader.next();
    return this.#packed.bytes.subarray(reader.keyStart, reader.keyEnd);
  }

  /** Position of the first row at or above a user key. */
  #lowerBound(userKey: Uint8Array): number {
    let low = 0;
    let high = this.#packed.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(this.#keyOf(middle), userKey) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Puts the changes up to `ts` in the place of what they replace, copying whole runs of other rows. */
  #workIn(ts: Timestamp): void {
    const due = this.#takeDue(ts);
    if (due.length === 0) return;
    this.#at = ts;
    this.#readableSince = ts;
    const { bytes, count } = this.#packed;
    const packer = new RowPacker(bytes.length + 1024);
    const reader = new PackedRowReader(bytes);
    let hasRow = reader.next();
    let runStart = 0;
    let runCount = 0;
    let passed = 0;
    for (const { key, version } of due) {
      const userKey = userKeyOfRowCacheKey(key);
      let order = hasRow ? compareKey(bytes, reader, userKey) : 1;
      while (order < 0) {
        runCount += 1;
        hasRow = reader.next();
        order = hasRow ? compareKey(bytes, reader, userKey) : 1;
      }
      const runEnd = hasRow ? reader.rowStart : bytes.length;
      packer.append(bytes.subarray(runStart, runEnd), runCount);
      passed += runCount;
      runStart = runEnd;
      runCount = 0;
      if (order === 0) {
        runStart = reader.rowEnd;
        passed += 1;
        hasRow = reader.next();
      }
      if (!isVersionLiveAt(version, ts)) continue;
      packer.add({
        key: userKey,
        value: version.kind === RowKind.bytes ? version.value : NO_BYTES,
        version: encodeVersionToken(version.timestamp, version.sequence),
        kind: version.kind,
        expiresUnixMs: expiryToUnixMs(version.expiry),
      });
      if (version.expiry !== 0 && version.expiry < this.#firstExpiry) this.#firstExpiry = version.expiry;
    }
    packer.append(bytes.subarray(runStart), count - passed);
    this.#packed = packer.take();
    this.#offsets = offsetsOf(this.#packed);
  }

  /** Takes out the versions at or below `ts`; answers the newest of each key, in key order. */
  #takeDue(ts: Timestamp): Due[] {
    const due: Due[] = [];
    for (const [key, versions] of this.#changes) {
      let count = 0;
      while (count < versions.length && (versions[count] as VersionRecord).timestamp <= ts) count += 1;
      if (count === 0) continue;
      due.push({ key, version: versions[count - 1] as VersionRecord });
      for (const version of versions.splice(0, count)) this.#changeBytes -= bytesOf(key, version);
      if (versions.length === 0) this.#changes.delete(key);
    }
    return due.sort((one, other) => (one.key < other.key ? -1 : 1));
  }
}

function offsetsOf({ bytes, count }: PackedRows): Uint32Array {
  const offsets = new Uint32Array(count + 1);
  const reader = new PackedRowReader(bytes);
  for (let at = 0; at < count && reader.next(); at += 1) offsets[at + 1] = reader.rowEnd;
  return offsets;
}

function compareKey(bytes: Buffer, row: PackedRowReader, userKey: Uint8Array): number {
  return bytes.compare(userKey, 0, userKey.length, row.keyStart, row.keyEnd);
}

/** The value of a version that was just written is a view of a whole request frame. */
function ownCopy(version: VersionRecord): VersionRecord {
  return { ...version, value: Buffer.from(version.value) };
}

function bytesOf(key: RowCacheKey, version: VersionRecord): number {
  return CHANGE_OVERHEAD_BYTES + key.length + version.value.length;
}
