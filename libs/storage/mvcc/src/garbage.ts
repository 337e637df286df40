import { assert, type Timestamp } from '@cairn/base';
import { checkRow, isRecordLiveAt } from './record.js';
import { isSameUserKey, timestampOfVersionKey, userKeyOfVersionKey } from './version-key.js';
import type { VersionRow } from './visible-reader.js';

/**
 * Finds versions that no read at or above the safe point can see. Feed it rows of a forward iterator
 * (newest version of a key first) with `push` until it answers true (enough for one command) or the
 * iterator ends, then call `finish`.
 *
 * Per user key, the newest version at or below the safe point is the *pivot*: what reads at the safe
 * point see. All older ones go. The pivot itself goes if it is a tombstone or expired at the safe point,
 * and only behind all older versions, because without it they would come back to life. So every prefix of
 * `keys` is safe to apply alone.
 */
export class GarbageCollector {
  readonly #safePoint: Timestamp;
  readonly #keysMax: number;
  #keys: Buffer[] = [];
  #examined = 0;
  #userKeys = 0;
  #garbageBytes = 0;
  #current: Buffer | undefined = undefined;
  #pivotSeen = false;
  /** A dead pivot that waits for the end of its version chain. */
  #deadPivot: VersionRow | undefined = undefined;
  #full = false;

  constructor(safePoint: Timestamp, keysMax = Number.MAX_SAFE_INTEGER) {
    assert(keysMax >= 1, 'a collection needs room for one key', { keysMax });
    this.#safePoint = safePoint;
    this.#keysMax = keysMax;
  }

  /**
   * Exact engine keys to delete, in an order in which every prefix is safe; references to the rows' key
   * buffers.
   */
  get keys(): readonly Buffer[] {
    return this.#keys;
  }

  /** Versions looked at. */
  get examined(): number {
    return this.#examined;
  }

  /** User keys begun. */
  get userKeys(): number {
    return this.#userKeys;
  }

  /** Engine bytes (keys and values) of `keys`. */
  get garbageBytes(): number {
    return this.#garbageBytes;
  }

  /** Answers whether `keysMax` keys were found; rows behind that point were not looked at. */
  push(rows: readonly VersionRow[]): boolean {
    assert(!this.#full, 'rows after the collection was full');
    for (let at = 0; at < rows.length && !this.#full; at += 1) {
      const row = rows[at] as VersionRow;
      if (this.#current === undefined || !isSameUserKey(this.#current, row[0])) {
        this.#endKey();
        if (this.#full) break;
        this.#current = row[0];
        this.#pivotSeen = false;
        this.#userKeys += 1;
      }
      this.#examined += 1;
      if (this.#pivotSeen) {
        this.#take(row);
      } else if (timestampOfVersionKey(row[0]) <= this.#safePoint) {
        this.#pivotSeen = true;
        // A flipped flag must not make a live row garbage.
        checkRow(row[0], row[1]);
        if (!isRecordLiveAt(row[1], this.#safePoint)) this.#deadPivot = row;
      }
    }
    return this.#full;
  }

  /**
   * The iterator has no more rows: the last chain is complete. Does nothing once full, when the chain may
   * go on.
   */
  finish(): void {
    if (!this.#full) this.#endKey();
  }

  /**
   * User key at which a next collection goes on, inclusive; undefined before the first row. Starting
   * there again is harmless and settles a chain that was cut by `keysMax`.
   */
  resumeKey(): Buffer | undefined {
    return this.#current === undefined ? undefined : userKeyOfVersionKey(this.#current);
  }

  #endKey(): void {
    const pivot = this.#deadPivot;
    this.#deadPivot = undefined;
    if (pivot !== undefined) this.#take(pivot);
  }

  #take(row: VersionRow): void {
    this.#keys.push(row[0]);
    this.#garbageBytes += row[0].length + row[1].length;
    this.#full = this.#keys.length >= this.#keysMax;
  }
}

/** The garbage among all versions of one user key, given newest first; see `GarbageCollector`. */
export function collectGarbage(rows: readonly VersionRow[], safePoint: Timestamp): readonly Buffer[] {
  const collector = new GarbageCollector(safePoint);
  collector.push(rows);
  collector.finish();
  assert(collector.userKeys <= 1, 'rows of several user keys');
  return collector.keys;
}
