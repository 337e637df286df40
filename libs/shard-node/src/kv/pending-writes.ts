import type { LogIndex, Term } from '@cairn/base';
import type { RowCacheKey, VersionRecord } from '@cairn/mvcc';
import type { KvResponse } from '@cairn/wire';

import type { KvCall } from './kv-call.js';

/**
 * Publishings after which what was built for look-ups is dropped. Whoever looks next builds it anew, from the
 * few commands that are under way; a map that lived longer would keep garbage alive (see `IdTable`).
 */
const INDEX_PUBLISHINGS_MAX = 64;

/** A command that is in the log and not yet visible: what it wrote, and the answer that is due. */
export interface PendingWrite {
  readonly call: KvCall | undefined;
  readonly response: KvResponse | undefined;
  /** The row it writes; undefined when it writes none (or many, as a range deletion does). */
  readonly key: RowCacheKey | undefined;
  readonly version: VersionRecord | undefined;
  /** Sendings of the same command that arrived while it was under way. */
  duplicates: KvCall[] | undefined;
}

/** The commands of one log entry. */
export interface PendingBatch {
  readonly index: LogIndex;
  readonly term: Term;
  readonly writes: readonly PendingWrite[];
}

/**
 * The commands that this leader has proposed and that are not visible yet, in log order, and the newest row
 * they will leave behind for each key: what later commands of the same leader are evaluated against. Log
 * order makes that safe: a later command commits only if the earlier ones do.
 */
export class PendingWrites {
  #batches: PendingBatch[] = [];
  #lastIndex = 0 as LogIndex;
  /** The newest row of each key, and commands by identity; both with the collected ones. */
  #newest: Map<RowCacheKey, VersionRecord> | undefined;
  #byIdentity: Map<string, PendingWrite> | undefined;
  #publishings = 0;

  /** Index of the last batch added; 0 before the first. */
  get lastIndex(): LogIndex {
    return this.#lastIndex;
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

  /** The commands up to `index` are visible: takes them out, in order. */
  published(index: LogIndex): PendingWrite[] {
    let count = 0;
    while (count < this.#batches.length && (this.#batches[count] as PendingBatch).index <= index) count += 1;
    if (count === 0) return [];
    this.#publishings += 1;
    if (this.#publishings >= INDEX_PUBLISHINGS_MAX) this.#dropIndexes();
    const done: PendingWrite[] = [];
    for (const batch of this.#batches.splice(0, count)) {
      for (const write of batch.writes) {
        done.push(write);
        this.#forget(write);
      }
    }
    return done;
  }

  /** Whether the entry at `index` is one of ours. */
  holds(index: LogIndex, term: Term): boolean {
    for (const batch of this.#batches) {
      if (batch.index === index) return batch.term === term;
      if (batch.index > index) return false;
    }
    return false;
  }

  /** Collected commands were refused and will be in no batch. */
  refused(): void {
    this.#dropIndexes();
  }

  /** Leadership is lost: hands out everything that was under way; its outcome is not known here. */
  takeAll(): readonly PendingBatch[] {
    const all = this.#batches;
    this.#batches = [];
    this.#dropIndexes();
    return all;
  }

  #noteAll(collected: readonly PendingWrite[]): void {
    for (const batch of this.#batches) for (const write of batch.writes) this.collected(write);
    for (const write of collected) this.collected(write);
  }

  #forget(write: PendingWrite): void {
    const { key, version } = write;
    if (key !== undefined && this.#newest?.get(key) === version) this.#newest?.delete(key);
    if (this.#byIdentity === undefined) return;
    const id = write.call?.request.requestId;
    if (id !== undefined) this.#byIdentity.delete(nameOf(id.client, id.sequence));
  }

  #dropIndexes(): void {
    this.#newest = undefined;
    this.#byIdentity = undefined;
    this.#publishings = 0;
  }
}

function nameOf(client: number, sequence: number): string {
  return `${client}/${sequence}`;
}
