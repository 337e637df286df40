import { assert, type Timestamp } from '@cairn/base';
import { checkRow, isRecordLiveAt } from './record.js';
import {
  isSameChain,
  timestampOfVersionedKey,
  userKeyOfVersionKey,
  VERSION_SUFFIX_BYTES,
} from './version-key.js';
import type { VersionRow } from './visible-reader.js';

/**
 * How a chain is judged, that is all versions of one user key or of one member. `versions`: by its own
 * versions alone. `kept`: nothing of it goes. `dead`: nobody who reads at or above the safe point comes upon
 * it, so whatever is at or below that goes.
 */
export type ChainFate = 'versions' | 'kept' | 'dead';

export interface GarbageCollectorOptions {
  /** Keys after which one command has enough. Default: no bound. */
  readonly keysMax?: number;
  /** Asked once for each chain, with the key of its newest version that is looked at. Default: `versions`. */
  readonly fateOf?: (engineKey: Buffer) => ChainFate;
}

/**
 * Finds versions that no read at or above the safe point can see. Feed it rows of a forward iterator
 * (newest version of a chain first) with `push` until it answers true (enough for one command) or the
 * iterator ends, then call `finish`.
 *
 * Per chain, the newest version at or below the safe point is the *pivot*: what reads at the safe
 * point see. All older ones go. The pivot itself goes if it is a tombstone or expired at the safe point,
 * and only behind all older versions, because without it they would come back to life. So every prefix of
 * `keys` is safe to apply alone.
 */
export class GarbageCollector {
  readonly #safePoint: Timestamp;
  readonly #keysMax: number;
  readonly #fateOf: (engineKey: Buffer) => ChainFate;
  #keys: Buffer[] = [];
  #examined = 0;
  #chains = 0;
  #garbageBytes = 0;
  #current: Buffer | undefined = undefined;
  #fate: ChainFate = 'versions';
  #pivotSeen = false;
  /** A dead pivot that waits for the end of its version chain. */
  #deadPivot: VersionRow | undefined = undefined;
  #full = false;

  constructor(safePoint: Timestamp, options: GarbageCollectorOptions = {}) {
    const keysMax = options.keysMax ?? Number.MAX_SAFE_INTEGER;
    assert(keysMax >= 1, 'a collection needs room for one key', { keysMax });
    this.#safePoint = safePoint;
    this.#keysMax = keysMax;
    this.#fateOf = options.fateOf ?? ((): ChainFate => 'versions');
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

  /** Chains begun. */
  get chains(): number {
    return this.#chains;
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
      if (this.#current === undefined || !isSameChain(this.#current, row[0])) {
        this.#endChain();
        if (this.#full) break;
        this.#current = row[0];
        this.#pivotSeen = false;
        this.#fate = this.#fateOf(row[0]);
        this.#chains += 1;
      }
      this.#examined += 1;
      if (this.#fate !== 'kept') this.#judge(row);
    }
    return this.#full;
  }

  #judge(row: VersionRow): void {
    if (this.#pivotSeen) {
      this.#takeChecked(row);
    } else if (timestampOfVersionedKey(row[0]) <= this.#safePoint) {
      if (this.#fate === 'dead') {
        this.#takeChecked(row);
        return;
      }
      this.#pivotSeen = true;
      // A flipped flag must not make a live row garbage.
      checkRow(row[0], row[1]);
      if (!isRecordLiveAt(row[1], this.#safePoint)) this.#deadPivot = row;
    }
  }

  /**
   * The iterator has no more rows: the last chain is complete. Does nothing once full, when the chain may
   * go on.
   */
  finish(): void {
    if (!this.#full) this.#endChain();
  }

  /**
   * User key at which a next collection goes on, inclusive; undefined before the first row. Starting
   * there again is harmless and settles a chain that was cut by `keysMax`.
   */
  resumeKey(): Buffer | undefined {
    return this.#current === undefined ? undefined : userKeyOfVersionKey(this.#current);
  }

  /** As `resumeKey`, the beginning of the chain as an engine key: for chains of members. */
  resumeChain(): Buffer | undefined {
    return this.#current?.subarray(0, this.#current.length - VERSION_SUFFIX_BYTES);
  }

  #endChain(): void {
    const pivot = this.#deadPivot;
    this.#deadPivot = undefined;
    if (pivot !== undefined) this.#take(pivot);
  }

  /** A row that belongs elsewhere, because bits of its key have flipped, must not go unnoticed. */
  #takeChecked(row: VersionRow): void {
    checkRow(row[0], row[1]);
    this.#take(row);
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
  assert(collector.chains <= 1, 'rows of several user keys');
  return collector.keys;
}
