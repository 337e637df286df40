import { NOTHING, timestamp, type Timestamp } from '@cairn/base';
import { decodeLockRow, rowCacheKey, userKeyOfLockKey, type LockRow, type RowCacheKey } from '@cairn/mvcc';
import { LOCKS_TOLD_MAX, type LockInfo } from '@cairn/wire';

import { OrderedKeys } from './ordered-keys.js';

/** Locks of one range. */
export const LOCKS_MAX = 100_000;
/** Bytes of their keys, primaries and values. */
export const LOCK_BYTES_MAX = 64 * 1024 * 1024;
/** What a lock costs beside those. */
const LOCK_OVERHEAD_BYTES = 256;

/** A lock of a user key, from the moment it is evaluated until its end is visible. */
export interface Lock extends LockRow {
  readonly key: RowCacheKey;
  readonly userKey: Uint8Array;
  readonly bytes: number;
  /**
   * The transaction must not commit at or below `to` (T13). Not logged: a new leader has a floor of its own.
   * Shared with the lock that takes its place.
   */
  readonly push: { to: Timestamp };
  /** Committed in the log; before, it may still come to nothing. */
  isLogged: boolean;
  /**
   * `proposed`: its removal is evaluated, and may come to nothing. `committed`: it is gone, but the engine
   * may not show yet what came in its place.
   */
  removal: 'none' | 'proposed' | 'committed';
}

/** What one command does to locks, from its evaluation until it is visible or came to nothing. */
export interface LockEffect {
  readonly added: readonly Lock[];
  readonly removed: readonly Lock[];
}

/** Which locks a read passes over: transactions by their start, ascending. */
export type IgnoredLocks = readonly Timestamp[];

/** A lock that is not in the table yet. Copies what it is given. */
export function newLock(userKey: Uint8Array, row: LockRow, push = { to: timestamp(0) }): Lock {
  const primary = Buffer.from(row.primary);
  const value = Buffer.from(row.value);
  return {
    start: row.start,
    op: row.op,
    minCommit: row.minCommit,
    deadline: row.deadline,
    ttlMs: row.ttlMs,
    primary,
    value,
    key: rowCacheKey(userKey),
    userKey: Buffer.from(userKey),
    bytes: LOCK_OVERHEAD_BYTES + 2 * userKey.length + primary.length + value.length,
    push,
    isLogged: false,
    removal: 'none',
  };
}

/** What whoever met a lock is told of it. */
export function infoOf({ deadline, userKey, primary, start }: Lock): LockInfo {
  return { key: userKey, primary, start, deadline, owner: timestamp(0) };
}

/**
 * The locks of one range (T7). Every replica keeps them by what it applies. A leader knows them from their
 * evaluation on: whoever evaluates sees what is proposed, whoever reads sees what is logged. While a lock and
 * its successor are both on their way, a key has several.
 *
 * Bounded for what is added by evaluation (`hasRoomFor`); what the log says is taken in any case.
 */
export class LockTable {
  readonly #locks = new Map<RowCacheKey, readonly Lock[]>();
  readonly #order = new OrderedKeys();
  #size = 0;
  #bytes = 0;
  /** Of all locks; undefined = to be looked for. */
  #leastCommit: Timestamp | undefined;

  /** 0 = nothing is locked, and nobody need ask anything else. */
  get size(): number {
    return this.#size;
  }

  /** Estimated, overhead included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether so many more locks of so many bytes may be made. */
  hasRoomFor(count: number, bytes: number): boolean {
    return this.#size + count <= LOCKS_MAX && this.#bytes + bytes <= LOCK_BYTES_MAX;
  }

  /** The smallest start of a transaction that has a lock here, proposed ones included; undefined = none. */
  get oldestStart(): Timestamp | undefined {
    let oldest = Infinity;
    for (const locks of this.#locks.values()) for (const { start } of locks) oldest = Math.min(oldest, start);
    return oldest === Infinity ? undefined : timestamp(oldest);
  }

  /**
   * The least timestamp at which a transaction that has a lock here may commit, proposed locks and those that
   * are going included; undefined = there is no lock.
   */
  get leastCommit(): Timestamp | undefined {
    if (this.#size === 0) return undefined;
    if (this.#leastCommit === undefined) {
      let least = Infinity;
      for (const locks of this.#locks.values())
        for (const { minCommit } of locks) least = Math.min(least, minCommit);
      this.#leastCommit = timestamp(least);
    }
    return this.#leastCommit;
  }

  /** Logged locks that stay and whose time was over before `now`, at most as many as are told. */
  overdue(now: Timestamp, ignored: IgnoredLocks): Lock[] {
    const found: Lock[] = [];
    for (const locks of this.#locks.values()) {
      for (const lock of locks) {
        const isMet = lock.isLogged && lock.removal === 'none' && lock.deadline < now;
        if (!isMet || isIgnored(ignored, lock.start)) continue;
        found.push(lock);
        if (found.length === LOCKS_TOLD_MAX) return found;
      }
    }
    return found;
  }

  /** The lock that commands meet: what the log will leave when all that is proposed commits. */
  current(key: RowCacheKey): Lock | undefined {
    if (this.#size === 0) return undefined;
    const last = this.#locks.get(key)?.at(-1);
    return last?.removal === 'none' ? last : undefined;
  }

  /** Whether the end of a transaction's lock is evaluated and may still come to nothing. */
  isLeaving(key: RowCacheKey, start: Timestamp): boolean {
    const locks = this.#locks.get(key);
    return locks?.some((lock) => lock.start === start && lock.removal === 'proposed') === true;
  }

  /**
   * The locks that commands meet in [start, end), at most as many as are told; `end` undefined = no bound.
   */
  currentIn(start: RowCacheKey, end: RowCacheKey | undefined): Lock[] {
    return this.#collect(start, end, ({ removal }) => removal === 'none');
  }

  /** The lock that stops a read of the newest state (T12): a proposal stops nobody. */
  stopsNewest(key: RowCacheKey, ignored: IgnoredLocks): Lock | undefined {
    const locks = this.#locks.get(key);
    return locks?.find(
      (lock) => lock.isLogged && lock.removal !== 'committed' && !isIgnored(ignored, lock.start),
    );
  }

  /**
   * The lock that stops a read as of `at` (T13), which was observed, and behind what had been evaluated until
   * then. One that is going stops it, too: what comes in its place may be at or below `at`, and not visible.
   */
  stopsAt(key: RowCacheKey, at: Timestamp, ignored: IgnoredLocks): Lock | undefined {
    return this.#locks.get(key)?.find((lock) => stopsReadAt(lock, at, ignored));
  }

  /** The same for [start, end), at most as many as are told. */
  stopsAtIn(
    start: RowCacheKey,
    end: RowCacheKey | undefined,
    { at, ignored }: { readonly at: Timestamp; readonly ignored: IgnoredLocks },
  ): Lock[] {
    return this.#collect(start, end, (lock) => stopsReadAt(lock, at, ignored));
  }

  #collect(start: RowCacheKey, end: RowCacheKey | undefined, isMet: (lock: Lock) => boolean): Lock[] {
    const found: Lock[] = [];
    if (this.#size === 0) return found;
    for (const key of this.#order.within(start, end)) {
      const met = this.#locks.get(key)?.find(isMet);
      if (met === undefined) continue;
      found.push(met);
      if (found.length === LOCKS_TOLD_MAX) break;
    }
    return found;
  }

  /** A command was evaluated: whoever evaluates after it sees what it does. */
  proposed({ added, removed }: LockEffect): void {
    for (const lock of removed) lock.removal = 'proposed';
    for (const lock of added) this.#add(lock);
  }

  /** Its proposal was refused, or lost with the leadership. */
  withdrawn({ added, removed }: LockEffect): void {
    for (const lock of added) this.#drop(lock);
    for (const lock of removed) lock.removal = 'none';
  }

  /** It is committed. */
  committed({ added, removed }: LockEffect): void {
    for (const lock of added) lock.isLogged = true;
    for (const lock of removed) lock.removal = 'committed';
  }

  /** The engine shows what it did. */
  published({ removed }: LockEffect): void {
    for (const lock of removed) this.#drop(lock);
  }

  /** A lock row of an entry that was proposed elsewhere, or that the engine holds. Copies it. */
  put(engineKey: Buffer, record: Buffer): void {
    const lock = newLock(userKeyOfLockKey(engineKey), decodeLockRow(record));
    lock.isLogged = true;
    this.#dropAll(lock.key);
    this.#add(lock);
  }

  /** A lock row went with such an entry. */
  remove(engineKey: Buffer): void {
    this.#dropAll(rowCacheKey(userKeyOfLockKey(engineKey)));
  }

  clear(): void {
    this.#locks.clear();
    this.#order.clear();
    this.#size = 0;
    this.#bytes = 0;
    this.#leastCommit = undefined;
  }

  /** Takes the locks of the user keys in [startKey, endKey) over from another table; an empty end = all. */
  takeFrom(other: LockTable, startKey: Uint8Array, endKey: Uint8Array): void {
    const end = endKey.length === 0 ? undefined : rowCacheKey(endKey);
    for (const key of [...other.#order.within(rowCacheKey(startKey), end)]) {
      const locks = other.#locks.get(key) ?? NOTHING;
      other.#dropAll(key);
      for (const lock of locks) this.#add(lock);
    }
  }

  #add(lock: Lock): void {
    const before = this.#locks.get(lock.key);
    if (before === undefined) {
      this.#order.add(lock.key);
      this.#locks.set(lock.key, [lock]);
    } else {
      this.#locks.set(lock.key, [...before, lock]);
    }
    this.#size += 1;
    this.#bytes += lock.bytes;
    if (this.#size === 1) this.#leastCommit = lock.minCommit;
    else if (this.#leastCommit !== undefined && lock.minCommit < this.#leastCommit)
      this.#leastCommit = lock.minCommit;
  }

  /** One that is there no more is none of our business. */
  #drop(lock: Lock): void {
    const locks = this.#locks.get(lock.key);
    if (locks?.includes(lock) !== true) return;
    this.#size -= 1;
    this.#bytes -= lock.bytes;
    if (lock.minCommit === this.#leastCommit) this.#leastCommit = undefined;
    if (locks.length > 1) {
      this.#locks.set(
        lock.key,
        locks.filter((other) => other !== lock),
      );
      return;
    }
    this.#locks.delete(lock.key);
    this.#order.delete(lock.key);
  }

  #dropAll(key: RowCacheKey): void {
    for (const lock of this.#locks.get(key) ?? NOTHING) this.#drop(lock);
  }
}

function stopsReadAt(lock: Lock, at: Timestamp, ignored: IgnoredLocks): boolean {
  return lock.isLogged && lock.minCommit <= at && !isIgnored(ignored, lock.start);
}

function isIgnored(ignored: IgnoredLocks, start: Timestamp): boolean {
  let low = 0;
  let high = ignored.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ignored[middle] as Timestamp) < start) low = middle + 1;
    else high = middle;
  }
  return ignored[low] === start;
}
