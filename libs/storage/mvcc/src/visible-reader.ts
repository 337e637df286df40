import { NO_BYTES, assert, type Timestamp } from '@cairn/base';
import {
  checkRow,
  decodeRecord,
  isRecordLiveAt,
  sequenceOfRecord,
  valueOfRecord,
  type VersionRecord,
} from './record.js';
import { successorOf } from './user-key.js';
import {
  VERSION_SUFFIX_BYTES,
  hasKeyPrefix,
  isSameChain,
  prefixLengthOf,
  timestampOfVersionKey,
  userKeyOfVersionKey,
} from './version-key.js';
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

/** Takes the visible rows of a reader, in iterator order. */
export interface RowSink {
  /** Rows so far. */
  readonly count: number;
  /** Answers the bytes that the row counts with against the page. */
  add(key: Buffer, record: Buffer): number;
}

export interface VisibleReaderOptions {
  readonly readTimestamp: Timestamp;
  /** Rows come in descending key order, hence oldest version first. */
  readonly reverse?: boolean;
  readonly sink: RowSink;
  /** Forward only: told of versions above the read timestamp, newest first per key. */
  readonly onNewer?: (row: VersionRow) => void;
  /** Rows after which the page is full; 1.. */
  readonly limit: number;
  /** The page is full once its rows reach this many bytes as the sink counts; it holds at least one row. */
  readonly pageBytes: number;
}

/** One byte more than a timestamp has: sorts behind all of them. */
const PAST_VERSIONS_BYTES = VERSION_SUFFIX_BYTES + 1;
/** Bytes a row costs beside key and value. */
const ROW_OVERHEAD_BYTES = 16;

/** Keeps visible rows as objects; their buffers are views where possible. */
export class VisibleRows implements RowSink {
  readonly #keysOnly: boolean;
  readonly #rows: VisibleRow[] = [];

  constructor(options: { readonly keysOnly?: boolean } = {}) {
    this.#keysOnly = options.keysOnly ?? false;
  }

  get count(): number {
    return this.#rows.length;
  }

  get rows(): readonly VisibleRow[] {
    return this.#rows;
  }

  add(engineKey: Buffer, record: Buffer): number {
    const key = userKeyOfVersionKey(engineKey);
    const value = this.#keysOnly ? NO_BYTES : valueOfRecord(record);
    const version = encodeVersionToken(timestampOfVersionKey(engineKey), sequenceOfRecord(record));
    this.#rows.push({ key, value, version });
    return key.length + value.length + ROW_OVERHEAD_BYTES;
  }
}

/**
 * Picks, from the versions that an engine iterator delivers, the rows visible at one timestamp. Feed it
 * arrays of rows in iterator order with `push` until it answers true (page full) or the iterator ends,
 * then call `finish`. It allocates for visible rows only and keeps references to the rows it is given, so
 * their buffers must stay unchanged.
 */
export class VisibleReader {
  readonly #readTimestamp: Timestamp;
  readonly #reverse: boolean;
  readonly #sink: RowSink;
  readonly #onNewer: ((row: VersionRow) => void) | undefined;
  readonly #limit: number;
  readonly #pageBytes: number;
  /** Engine key of the last visible row. */
  #last: Buffer | undefined = undefined;
  #bytes = 0;
  #full = false;
  #examined = 0;
  /** Engine key of the user key that the last row belonged to. */
  #current: Buffer | undefined = undefined;
  /** Forward: rows of the current user key behind the one that settled it. */
  #superseded = 0;
  /** Forward: whether the current user key is settled. */
  #settled = false;
  /** Reverse: newest version at or below the read timestamp among the current key's rows so far. */
  #candidate: VersionRow | undefined = undefined;

  constructor(options: VisibleReaderOptions) {
    assert(options.limit >= 1, 'a page needs room for one row', { limit: options.limit });
    this.#readTimestamp = options.readTimestamp;
    this.#reverse = options.reverse ?? false;
    this.#sink = options.sink;
    this.#onNewer = options.onNewer;
    this.#limit = options.limit;
    this.#pageBytes = options.pageBytes;
  }

  /** Versions looked at, visible or not: what a caller bounds the work of one page by. */
  get examined(): number {
    return this.#examined;
  }

  /** Forward: rows just passed that belong to a key which is settled already; more of them may follow. */
  get superseded(): number {
    return this.#superseded;
  }

  /** Forward, with `superseded` above 0: moves the iterator behind the rows of the current key. */
  skipSuperseded(iterator: { seek(target: Buffer): void }): void {
    assert(this.#current !== undefined && this.#settled, 'a key is settled');
    const prefixLength = prefixLengthOf(this.#current);
    const target = Buffer.alloc(prefixLength + PAST_VERSIONS_BYTES, 0xff);
    this.#current.copy(target, 0, 0, prefixLength);
    iterator.seek(target);
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
    if (this.#full && this.#last !== undefined) return userKeyOfVersionKey(this.#last);
    return successorOf(userKey);
  }

  /**
   * Where the next page starts when the walk was left before the row with this engine key, which it has not
   * handed out: as `resumeKey` does.
   */
  cutBefore(engineKey: Buffer): Buffer {
    if (this.#current !== undefined && isSameChain(this.#current, engineKey)) {
      return this.resumeKey() as Buffer;
    }
    // All versions of the user key before it were seen.
    this.#settleCandidate();
    const userKey = userKeyOfVersionKey(engineKey);
    return this.#reverse ? successorOf(userKey) : userKey;
  }

  #pushForward(rows: readonly VersionRow[]): boolean {
    for (let at = 0; at < rows.length && !this.#full; at += 1) {
      const row = rows[at] as VersionRow;
      const key = row[0];
      this.#examined += 1;
      if (this.#current === undefined || !isSameChain(this.#current, key)) {
        this.#current = key;
        this.#settled = false;
        this.#superseded = 0;
      } else if (this.#settled) {
        this.#superseded += 1;
        continue;
      }
      if (timestampOfVersionKey(key) > this.#readTimestamp) {
        if (this.#onNewer !== undefined) {
          checkRow(key, row[1]);
          this.#onNewer(row);
        }
        continue;
      }
      this.#settled = true;
      checkRow(key, row[1]);
      if (isRecordLiveAt(row[1], this.#readTimestamp)) this.#emit(row);
    }
    return this.#full;
  }

  #pushReverse(rows: readonly VersionRow[]): boolean {
    for (let at = 0; at < rows.length && !this.#full; at += 1) {
      const row = rows[at] as VersionRow;
      const key = row[0];
      if (this.#current === undefined || !isSameChain(this.#current, key)) {
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
    if (candidate === undefined) return;
    checkRow(candidate[0], candidate[1]);
    if (isRecordLiveAt(candidate[1], this.#readTimestamp)) this.#emit(candidate);
  }

  #emit(row: VersionRow): void {
    this.#bytes += this.#sink.add(row[0], row[1]);
    this.#last = row[0];
    this.#full = this.#sink.count >= this.#limit || this.#bytes >= this.#pageBytes;
  }
}

/**
 * The newest version at or below a timestamp, tombstones and expired ones included, from the first engine
 * row at or after `seekKeyOf(userKey, ts)`. `keyPrefix` is `encodeKeyPrefix(userKey)`. undefined
 * when the row is missing or belongs to another key. The value is a view. See `isVersionLiveAt`. Throws
 * CORRUPTION for a row that is not as it was written.
 */
export function versionOfRow(row: VersionRow | undefined, keyPrefix: Buffer): VersionRecord | undefined {
  if (row === undefined || !hasKeyPrefix(row[0], keyPrefix)) return undefined;
  checkRow(row[0], row[1]);
  return decodeRecord(timestampOfVersionKey(row[0]), row[1]);
}
