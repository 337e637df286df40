import type { RangeDescriptor, Timestamp } from '@cairn/base';
import type { EngineIterator, EngineRow, KvEngine } from '@cairn/engine';
import {
  checkRow,
  GarbageCollector,
  hasExpiryRecord,
  incarnationNamedBy,
  incarnationOfMember,
  isRecordLiveAt,
  Namespace,
  rowSpanIn,
  seekKeyOf,
  timestampOfVersionKey,
  userKeyEndOf,
  type ChainFate,
  type KeySpan,
  type RowNamespace,
} from '@cairn/mvcc';

import { lookAtRecords, type RecordBounds } from './record-looks.js';

const ROWS_PER_STEP = 512;
/** Rows one look may examine before it yields. */
const EXAMINED_PER_LOOK_MAX = 10_000;
/** Above the suffix of every version key. */
const PAST_VERSIONS = Buffer.alloc(9, 0xff);

/**
 * Where a look begins: at a user key among the versions, or at an engine key among the members, or among the
 * records of transactions.
 */
export type LookPlace =
  | { readonly type: 'versions'; readonly userKey: Uint8Array }
  | { readonly type: 'members' | 'records'; readonly start: Buffer };

/** What garbage is sought in, and by which bounds. */
export interface LookedRange {
  readonly descriptor: RangeDescriptor;
  /** What no read at or above it sees goes. */
  readonly safePoint: Timestamp;
  readonly records: Omit<RecordBounds, 'keysMax'>;
}

/** What one look at a part of the range found. */
export interface Look {
  /** In an order in which every prefix is safe; see `GarbageCollector`. */
  readonly keys: readonly Buffer[];
  /** Engine bytes of the keys and their values. */
  readonly freedBytes: number;
  readonly examined: number;
  readonly hasExpiring: boolean;
  /** Of records whose time is over, and that locks keep. */
  readonly blockedBytes: number;
  /** undefined = the range is done. */
  readonly next: LookPlace | undefined;
}

/**
 * Looks for garbage in one range, a bounded part at a time: first among the versions of its keys, then among
 * the members of its collections, then among the records of transactions. What a key with a lock has is left
 * alone: an open transaction may name it.
 *
 * The locks are those of when the look began. A transaction that locks a key later began above the safe
 * point, so what it reads and writes is no garbage; and a lock that went before left its writes behind, in
 * the header that is read after.
 */
export class GarbageLooks {
  readonly #engine: KvEngine;
  readonly #descriptor: RangeDescriptor;
  readonly #safePoint: Timestamp;
  readonly #records: LookedRange['records'];
  readonly #keysMax: number;

  /** `keysMax`: keys that one look finds at most. */
  constructor(engine: KvEngine, { descriptor, records, safePoint }: LookedRange, keysMax: number) {
    this.#engine = engine;
    this.#descriptor = descriptor;
    this.#safePoint = safePoint;
    this.#records = records;
    this.#keysMax = keysMax;
  }

  get first(): LookPlace {
    return { type: 'versions', userKey: this.#descriptor.startKey };
  }

  look(place: LookPlace): Promise<Look> {
    switch (place.type) {
      case 'versions':
        return this.#lookAtVersions(place.userKey);
      case 'members':
        return this.#lookAtMembers(place.start);
      case 'records':
        return this.#lookAtRecords(place.start);
    }
  }

  /** The first chain is entered at its pivot: newer versions say nothing. */
  async #lookAtVersions(from: Uint8Array): Promise<Look> {
    const { endKey } = this.#descriptor;
    const { end } = rowSpanIn(Namespace.versions, from, endKey);
    const locked = new LockedKeys(this.#engine.iterate(rowSpanIn(Namespace.locks, from, endKey)));
    const iterator = this.#engine.iterate({ start: seekKeyOf(from, this.#safePoint), end });
    const collector = new GarbageCollector(this.#safePoint, {
      keysMax: this.#keysMax,
      fateOf: (key) => (locked.has(key) ? 'kept' : 'versions'),
    });
    let hasExpiring = false;
    const isCut = await walk([iterator, locked], iterator, async (rows) => {
      hasExpiring ||= rows.some(([key, record]) => {
        // Before anything is read of it: a flipped flag is damage, and no row of a later release.
        checkRow(key, record);
        return hasExpiryRecord(record);
      });
      await locked.readTo(rows.at(-1)?.[0]);
      return collector.push(rows) || isEnough(collector);
    });
    if (!isCut) collector.finish();
    const resumeKey = isCut ? collector.resumeKey() : undefined;
    const next: LookPlace =
      resumeKey === undefined
        ? { type: 'members', start: this.#spanIn(Namespace.members).start }
        : { type: 'versions', userKey: resumeKey };
    return { ...foundBy(collector), hasExpiring, blockedBytes: 0, next };
  }

  /**
   * Members go by their own versions, and all at once when no header that can still be read names their
   * incarnation. One key may have very many, so the next look begins within it.
   */
  async #lookAtMembers(start: Buffer): Promise<Look> {
    const { end } = this.#spanIn(Namespace.members);
    const lockStart = inNamespace(Namespace.locks, start.subarray(0, userKeyEndOf(start)));
    const { end: lockEnd } = this.#spanIn(Namespace.locks);
    const locked = new LockedKeys(this.#engine.iterate({ start: lockStart, end: lockEnd }));
    const iterator = this.#engine.iterate({ start, end });
    let prefix: Buffer | undefined;
    /** undefined: whatever is there stays. */
    let named: ReadonlySet<string> | undefined;
    const collector = new GarbageCollector(this.#safePoint, {
      keysMax: this.#keysMax,
      fateOf: (key): ChainFate => {
        if (named === undefined) return 'kept';
        return named.has(textOf(incarnationOfMember(key))) ? 'versions' : 'dead';
      },
    });
    const isCut = await walk([iterator, locked], iterator, async (rows) => {
      await locked.readTo(rows.at(-1)?.[0]);
      let at = 0;
      while (at < rows.length) {
        const row = rows[at] as EngineRow;
        if (prefix === undefined || !row[0].subarray(0, prefix.length).equals(prefix)) {
          prefix = row[0].subarray(0, userKeyEndOf(row[0]));
          named = locked.has(row[0]) ? undefined : await this.#named(prefix);
        }
        const to = endOfRun(rows, at, prefix);
        if (collector.push(rows.slice(at, to))) return true;
        at = to;
      }
      return isEnough(collector);
    });
    if (!isCut) collector.finish();
    const resume = isCut ? collector.resumeChain() : undefined;
    const next: LookPlace =
      resume === undefined
        ? { type: 'records', start: this.#spanIn(Namespace.transactions).start }
        : { type: 'members', start: resume };
    return { ...foundBy(collector), hasExpiring: false, blockedBytes: 0, next };
  }

  async #lookAtRecords(start: Buffer): Promise<Look> {
    const { end } = this.#spanIn(Namespace.transactions);
    const bounds = { ...this.#records, keysMax: this.#keysMax };
    const { next, ...found } = await lookAtRecords(this.#engine, { start, end }, bounds);
    return { ...found, hasExpiring: false, next: next && { type: 'records', start: next } };
  }

  #spanIn(namespace: RowNamespace): KeySpan {
    return rowSpanIn(namespace, this.#descriptor.startKey, this.#descriptor.endKey);
  }

  /**
   * The incarnations that some header names which a read at or above the safe point sees: the newest header
   * at or below it, and all above. undefined: a header may name more than can be told here.
   */
  async #named(memberPrefix: Buffer): Promise<ReadonlySet<string> | undefined> {
    const start = inNamespace(Namespace.versions, memberPrefix);
    const iterator = this.#engine.iterate({ start, end: Buffer.concat([start, PAST_VERSIONS]) });
    const named = new Set<string>();
    let isKnown = true;
    await walk([iterator], iterator, (rows) => {
      for (const [key, record] of rows) {
        checkRow(key, record);
        const isPivot = timestampOfVersionKey(key) <= this.#safePoint;
        if (!isPivot || isRecordLiveAt(record, this.#safePoint)) {
          const incarnation = incarnationNamedBy(record);
          if (incarnation === 'unknown') isKnown = false;
          else if (incarnation !== 'none') named.add(textOf(incarnation));
        }
        if (isPivot) return Promise.resolve(true);
      }
      return Promise.resolve(false);
    });
    return isKnown ? named : undefined;
  }
}

/** The user keys that have a lock, in key order. As many as a range has locks at most. */
class LockedKeys {
  readonly #iterator: EngineIterator;
  readonly #keys = new Set<string>();
  #last: Buffer | undefined;
  #isAtEnd = false;

  constructor(iterator: EngineIterator) {
    this.#iterator = iterator;
  }

  /** Reads on until `has` can tell of the user key of this engine key, and of all before. */
  async readTo(engineKey: Buffer | undefined): Promise<void> {
    if (engineKey === undefined) return;
    const wanted = engineKey.subarray(1, userKeyEndOf(engineKey));
    while (!this.#isAtEnd && (this.#last === undefined || Buffer.compare(this.#last, wanted) <= 0)) {
      const rows = await this.#iterator.next(ROWS_PER_STEP);
      for (const [key] of rows) {
        this.#last = key.subarray(1, userKeyEndOf(key));
        this.#keys.add(textOf(this.#last));
      }
      this.#isAtEnd = rows.length === 0;
    }
  }

  has(engineKey: Buffer): boolean {
    return this.#keys.size > 0 && this.#keys.has(textOf(engineKey.subarray(1, userKeyEndOf(engineKey))));
  }

  close(): Promise<void> {
    return this.#iterator.close();
  }
}

/**
 * Hands on the rows until `see` answers that it has enough; answers whether it did. Closes all that was open.
 */
async function walk(
  open: readonly { close(): Promise<void> }[],
  iterator: EngineIterator,
  see: (rows: readonly EngineRow[]) => Promise<boolean>,
): Promise<boolean> {
  try {
    for (;;) {
      const rows = await iterator.next(ROWS_PER_STEP);
      if (rows.length === 0) return false;
      if (await see(rows)) return true;
    }
  } finally {
    for (const each of open) await each.close();
  }
}

/** A look ends behind its first chain at the earliest: only there can the next one begin. */
function isEnough(collector: GarbageCollector): boolean {
  return collector.examined >= EXAMINED_PER_LOOK_MAX && collector.chains > 1;
}

function foundBy({
  keys,
  garbageBytes,
  examined,
}: GarbageCollector): Pick<Look, 'keys' | 'freedBytes' | 'examined'> {
  return { keys, freedBytes: garbageBytes, examined };
}

/** Where the rows end that begin with the prefix, from `at` on. */
function endOfRun(rows: readonly EngineRow[], at: number, prefix: Buffer): number {
  let to = at + 1;
  while (to < rows.length && rows[to]?.[0].subarray(0, prefix.length).equals(prefix) === true) to += 1;
  return to;
}

/** A copy of an engine key in another namespace. */
function inNamespace(namespace: number, key: Buffer): Buffer {
  const copy = Buffer.from(key);
  copy[0] = namespace;
  return copy;
}

function textOf(bytes: Buffer): string {
  return bytes.toString('latin1');
}
