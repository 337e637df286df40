import { assert, NOTHING, type LogIndex, type Term } from '@cairn/base';
import type { RowCacheKey, VersionRecord } from '@cairn/mvcc';
import type { Entry } from '@cairn/raft';
import type { KvResponse } from '@cairn/wire';

import type { KvCall } from './kv-call.js';
import type { EndedReservations } from './reservations/range-reservations.js';
import type { TxnEffect } from './txn/txn-state.js';

/**
 * Publishings after which what was built for look-ups is dropped. Whoever looks next builds it anew, from the
 * few commands that are under way; a map that lived longer would keep garbage alive (see `IdTable`).
 */
const INDEX_PUBLISHINGS_MAX = 64;
/** A read walks through up to so many acknowledged commands; of more it makes an index. */
const WALKED_WRITES_MAX = 64;

/** A command that is in the log and not yet visible: what it wrote, and the answer that is due. */
export interface PendingWrite {
  readonly call: KvCall | undefined;
  readonly response: KvResponse | undefined;
  /** The row it writes; undefined when it writes none (or many, as a range deletion does). */
  readonly key: RowCacheKey | undefined;
  readonly version: VersionRecord | undefined;
  /** Of a command of a transaction: what it does besides rows. */
  readonly effect?: TxnEffect | undefined;
  /** Likewise: reservations of its owner that end when it is visible. */
  readonly ended?: EndedReservations | undefined;
  /** Sendings of the same command that arrived while it was under way. */
  duplicates: KvCall[] | undefined;
  /** The command is committed, and whoever waited for it was told. */
  isAcknowledged: boolean;
}

/** The commands of one log entry. */
export interface PendingBatch {
  readonly index: LogIndex;
  readonly term: Term;
  readonly writes: readonly PendingWrite[];
}

/**
 * The commands that this leader has proposed and that the engine does not hold yet, in log order, and the
 * newest row they will leave behind for each key: what later commands of the same leader are evaluated
 * against. Log order makes that safe: a later command commits only if the earlier ones do.
 *
 * The first of them are committed and acknowledged; they stay, also when leadership is lost, until the engine
 * has them, so that reads need not wait for it.
 */
export class PendingWrites {
  #batches: PendingBatch[] = [];
  /** The number of the first batches that are acknowledged. */
  #acknowledged = 0;
  #lastIndex = 0 as LogIndex;
  /** The newest row of each key, and commands by identity; both with the collected ones. */
  #newest: Map<RowCacheKey, VersionRecord> | undefined;
  #byIdentity: Map<string, PendingWrite> | undefined;
  /** The newest acknowledged row of each key. */
  #newestAcknowledged: Map<RowCacheKey, VersionRecord> | undefined;
  #acknowledgedWrites = 0;
  #publishings = 0;

  /** Index of the last batch added; 0 before the first. */
  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  /** Log entries whose commands the engine does not hold. */
  get entries(): number {
    return this.#batches.length;
  }

  /** The number of those entries that are not committed. */
  get uncommittedEntries(): number {
    return this.#batches.length - this.#acknowledged;
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /**
   * The row that the commands under way, or among `collected`, will leave for the key. Plain puts and
   * deletes never ask, so they pay for no index.
   */
  newest(key: RowCacheKey, collected: readonly PendingWrite[]): VersionRecord | undefined {
    if (this.#newest === undefined) {
      this.#newest = new Map();
      this.#noteAll(collected);
    }
    return this.#newest.get(key);
  }

  /**
   * The command with this identity, if it is under way or among `collected`. Only retries ask, and many at
   * once when a leader was lost.
   */
  find(client: number, sequence: number, collected: readonly PendingWrite[]): PendingWrite | undefined {
    if (this.#byIdentity === undefined) {
      this.#byIdentity = new Map();
      this.#noteAll(collected);
    }
    return this.#byIdentity.get(nameOf(client, sequence));
  }

  /** A command was evaluated and will be in the next batch: later commands of the turn see it. */
  collected(write: PendingWrite): void {
    const { key, version } = write;
    if (key !== undefined && version !== undefined) this.#newest?.set(key, version);
    const id = write.call?.request.requestId;
    if (id !== undefined) this.#byIdentity?.set(nameOf(id.client, id.sequence), write);
  }

  add(index: LogIndex, term: Term, writes: readonly PendingWrite[]): void {
    this.#batches.push({ index, term, writes });
    this.#lastIndex = index;
  }

  /** The entries are committed, in log order: answers the commands that are to be acknowledged. */
  committed(entries: readonly Entry[]): readonly PendingWrite[] {
    const [first, last] = [entries[0], entries.at(-1)];
    if (first === undefined || last === undefined) return NOTHING;
    const from = this.#acknowledged;
    for (; this.#acknowledged < this.#batches.length; this.#acknowledged += 1) {
      const batch = this.#batches[this.#acknowledged] as PendingBatch;
      if (batch.index > last.index) break;
      const entry = entries[batch.index - first.index];
      assert(entry?.term === batch.term, 'what was proposed here is what is committed', {
        index: batch.index,
      });
      for (const write of batch.writes) write.isAcknowledged = true;
    }
    const acknowledged = this.#writesIn(from, this.#acknowledged);
    this.#acknowledgedWrites += acknowledged.length;
    if (this.#newestAcknowledged !== undefined)
      for (const { key, version } of acknowledged) note(this.#newestAcknowledged, key, version);
    return acknowledged;
  }

  /**
   * The newest acknowledged row of the key that the engine may not hold yet. Few are looked through; behind a
   * slow engine there may be very many, and every read that misses the cache asks.
   */
  acknowledged(key: RowCacheKey): VersionRecord | undefined {
    if (this.#acknowledgedWrites <= WALKED_WRITES_MAX) return this.#walk(key);
    if (this.#newestAcknowledged === undefined) {
      this.#newestAcknowledged = new Map();
      for (let at = 0; at < this.#acknowledged; at += 1) {
        const { writes } = this.#batches[at] as PendingBatch;
        for (const write of writes) note(this.#newestAcknowledged, write.key, write.version);
      }
    }
    return this.#newestAcknowledged.get(key);
  }

  #walk(key: RowCacheKey): VersionRecord | undefined {
    for (let at = this.#acknowledged - 1; at >= 0; at -= 1) {
      const { writes } = this.#batches[at] as PendingBatch;
      for (let last = writes.length - 1; last >= 0; last -= 1) {
        if (writes[last]?.key === key) return writes[last]?.version;
      }
    }
    return undefined;
  }

  /** The engine holds the commands up to `index`: takes them out, in order. */
  published(index: LogIndex): readonly PendingWrite[] {
    let count = 0;
    while (count < this.#batches.length && (this.#batches[count] as PendingBatch).index <= index) count += 1;
    if (count === 0) return NOTHING;
    assert(count <= this.#acknowledged, 'entries are committed before they are applied');
    this.#acknowledged -= count;
    this.#publishings += 1;
    if (this.#publishings >= INDEX_PUBLISHINGS_MAX) this.#dropIndexes();
    const done = this.#writesIn(0, count);
    this.#acknowledgedWrites -= done.length;
    if (count === 1) this.#batches.shift();
    else this.#batches.splice(0, count);
    if (this.#hasIndexes) for (const write of done) this.#forget(write);
    return done;
  }

  /** The commands of the batches [from, to). Mostly that is one, whose list is used as it is. */
  #writesIn(from: number, to: number): readonly PendingWrite[] {
    if (to - from === 1) return (this.#batches[from] as PendingBatch).writes;
    return this.#batches.slice(from, to).flatMap(({ writes }) => writes);
  }

  /** Whether the entry at `index` is one of ours. */
  holds(index: LogIndex, term: Term): boolean {
    let low = 0;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#batches[middle] as PendingBatch).index < index) low = middle + 1;
      else high = middle;
    }
    const batch = this.#batches[low];
    return batch?.index === index && batch.term === term;
  }

  get #hasIndexes(): boolean {
    return (
      this.#newest !== undefined || this.#byIdentity !== undefined || this.#newestAcknowledged !== undefined
    );
  }

  /** Collected commands were refused and will be in no batch. */
  refused(): void {
    this.#dropIndexes();
  }

  /** Leadership is lost: hands out what is not committed; its outcome is not known here. */
  takeUnacknowledged(): readonly PendingBatch[] {
    this.#dropIndexes();
    return this.#batches.splice(this.#acknowledged);
  }

  /** A snapshot took the place of everything that was to be applied. */
  clear(): void {
    this.#batches = [];
    this.#acknowledged = 0;
    this.#acknowledgedWrites = 0;
    this.#dropIndexes();
  }

  #noteAll(collected: readonly PendingWrite[]): void {
    for (const batch of this.#batches) for (const write of batch.writes) this.collected(write);
    for (const write of collected) this.collected(write);
  }

  #forget(write: PendingWrite): void {
    const { key, version } = write;
    if (key !== undefined && this.#newest?.get(key) === version) this.#newest?.delete(key);
    if (key !== undefined && this.#newestAcknowledged?.get(key) === version)
      this.#newestAcknowledged?.delete(key);
    if (this.#byIdentity === undefined) return;
    const id = write.call?.request.requestId;
    if (id !== undefined) this.#byIdentity.delete(nameOf(id.client, id.sequence));
  }

  #dropIndexes(): void {
    this.#newest = undefined;
    this.#byIdentity = undefined;
    this.#newestAcknowledged = undefined;
    this.#publishings = 0;
  }
}

function note(
  newest: Map<RowCacheKey, VersionRecord>,
  key: RowCacheKey | undefined,
  version: VersionRecord | undefined,
): void {
  if (key !== undefined && version !== undefined) newest.set(key, version);
}

function nameOf(client: number, sequence: number): string {
  return `${client}/${sequence}`;
}
