import { assert, type Timestamp } from '@cairn/base';
import {
  decodeRecord,
  isRecordLiveAt,
  sequenceOfRecord,
  valueOfRecord,
  type VersionRecord,
} from './record.js';
import { successorOf } from './user-key.js';
import { hasKeyPrefix, isSameUserKey, timestampOfVersionKey, userKeyOfVersionKey } from './version-key.js';
import { encodeVersionToken } from './version-token.js';

/** A row as engines hand it out: an engine key and its value. */
export type VersionRow = readonly [key: Buffer, value: Buffer];

/** A row as a reader sees it: views of the engine's buffers where possible. */
export interface VisibleRow {
  readonly key: Buffer;
  /** Empty when only keys were asked for. */
  readonly value: Buffer;
  /** Version token, 12 bytes. */
  readonly version: Buffer;
}

export interface VisibleReaderOptions {
  readonly readTimestamp: Timestamp;
  /** Rows come in descending key order, hence oldest version first. */
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
  /** Rows after which the page is full; 1.. */
  readonly limit: number;
  /** The page is full once keys, values and tokens reach this many bytes; a page holds at least one row. */
  readonly pageBytes: number;
}

const NO_VALUE = Buffer.alloc(0);

/** Bytes a row costs beside key and value. */
const ROW_OVERHEAD_BYTES = 16;

/**
 * Picks, from the versions that an engine iterator delivers, the rows visible at one timestamp. Feed it
 * arrays of rows in iterator order with `push` until it answers true (page full) or the iterator ends,
 * then call `finish`. It allocates for visible rows only and keeps references to the rows it is given, so
 * their buffers must stay unchanged.
 */
export class VisibleReader {
  readonly #readTimestamp: Timestamp;
  readonly #reverse: boolean;
  readonly #keysOnly: boolean;
  readonly #limit: number;
  readonly #pageBytes: number;
  #rows: VisibleRow[] = [];
  #bytes = 0;
  #full = false;
  #examined = 0;
  /** Engine key of the user key that the last row belonged to. */
  #current: Buffer | undefined = undefined;
  /** Forward: whether the current user key is settled. */
  #settled = false;
  /** Reverse: newest version at or below the read timestamp among the current key's rows so far. */
  #candidate: VersionRow | undefined = undefined;

  constructor(options: VisibleReaderOptions) {
    assert(options.limit >= 1, 'a page needs room for one row', { limit: options.limit });
    this.#readTimestamp = options.readTimestamp;
    this.#reverse = options.reverse ?? false;
    this.#keysOnly = options.keysOnly ?? false;
    this.#limit = options.limit;
    this.#pageBytes = options.pageBytes;
  }

  /** Visible rows so far, in iterator order. */
  get rows(): readonly VisibleRow[] {
    return this.#rows;
  }

  /** Bytes of the visible rows so far, as counted against `pageBytes`. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Versions looked at, visible or not: what a caller bounds the work of one page by. */
  get examined(): number {
    return this.#examined;
  }

  /** Answers whether the page is full; rows behind that point were not looked at. */
  push(rows: readonly VersionRow[]): boolean {
    return this.#reverse ? this.#pushReverse(rows) : this.#pushForward(rows);
  }

  /** The iterator has no more rows. */
  finish(): void {
    this.#settleCandidate();
  }

  /**
   * Where the next page starts: forward its inclusive start, reverse its exclusive end; undefined before
   * the first row. Valid at any time, so a caller may cut a page short by its own budget. Does not know
   * whether more rows follow.
   */
  resumeKey(): Buffer | undefined {
    if (this.#current === undefined) return undefined;
    const userKey = userKeyOfVersionKey(this.#current);
    if (!this.#reverse) return this.#settled ? successorOf(userKey) : userKey;
    const last = this.#rows.at(-1);
    if (this.#full && last !== undefined) return last.key;
    return successorOf(userKey);
  }

  #pushForward(rows: readonly VersionRow[]): boolean {
    for (let at = 0; at < rows.length && !this.#full; at += 1) {
      const row = rows[at] as VersionRow;
      const key = row[0];
      this.#examined += 1;
      if (this.#current === undefined || !isSameUserKey(this.#current, key)) {
        this.#current = key;
        this.#settled = false;
      } else if (this.#settled) {
        continue;
      }
      if (timestampOfVersionKey(key) > this.#readTimestamp) continue;
      this.#settled = true;
      if (isRecordLiveAt(row[1], this.#readTimestamp)) this.#emit(row);
    }
    return this.#full;
  }

  #pushReverse(rows: readonly VersionRow[]): boolean {
    for (let at = 0; at < rows.length && !this.#full; at += 1) {
      const row = rows[at] as VersionRow;
      const key = row[0];
      if (this.#current === undefined || !isSameUserKey(this.#current, key)) {
        this.#settleCandidate();
        if (this.#full) break;
        this.#current = key;
      }
      this.#examined += 1;
      if (timestampOfVersionKey(key) <= this.#readTimestamp) this.#candidate = row;
    }
    return this.#full;
  }

  #settleCandidate(): void {
    const candidate = this.#candidate;
    this.#candidate = undefined;
    if (candidate !== undefined && isRecordLiveAt(candidate[1], this.#readTimestamp)) this.#emit(candidate);
  }

  #emit(row: VersionRow): void {
    const key = userKeyOfVersionKey(row[0]);
    const value = this.#keysOnly ? NO_VALUE : valueOfRecord(row[1]);
    const version = encodeVersionToken(timestampOfVersionKey(row[0]), sequenceOfRecord(row[1]));
    this.#rows.push({ key, value, version });
    this.#bytes += key.length + value.length + ROW_OVERHEAD_BYTES;
    this.#full = this.#rows.length >= this.#limit || this.#bytes >= this.#pageBytes;
  }
}

/**
 * The newest version at or below a timestamp, tombstones and expired ones included, from the first engine
 * row at or after `encodeVersionKey(userKey, ts)`. `keyPrefix` is `encodeKeyPrefix(userKey)`. undefined
 * when the row is missing or belongs to another key. The value is a view. See `isVersionLiveAt`.
 */
export function versionOfRow(row: VersionRow | undefined, keyPrefix: Buffer): VersionRecord | undefined {
  if (row === undefined || !hasKeyPrefix(row[0], keyPrefix)) return undefined;
  return decodeRecord(timestampOfVersionKey(row[0]), row[1]);
}
