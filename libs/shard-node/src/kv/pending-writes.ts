import type { LogIndex, Term } from '@cairn/base';
import type { RowCacheKey, VersionRecord } from '@cairn/mvcc';
import type { KvResponse } from '@cairn/wire';

import type { KvCall } from './kv-call.js';

/** Publishings without a retry after which the index by identity is dropped. */
const PUBLISHED_WITHOUT_FIND_MAX = 64;

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
  readonly #newest = new Map<RowCacheKey, VersionRecord>();
  #lastIndex = 0 as LogIndex;
  /** Commands by identity, collected ones too. Exists only while retries come: see `find`. */
  #byIdentity: Map<string, PendingWrite> | undefined;
  #publishedSinceFind = 0;

  /** Index of the last batch added; 0 before the first. */
  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /** The row that the commands under way will leave for the key. */
  newest(key: RowCacheKey): VersionRecord | undefined {
    return this.#newest.get(key);
  }

  /** During evaluation, before the batch is proposed: later commands of the turn see it. */
  overlay(key: RowCacheKey, version: VersionRecord): void {
    this.#newest.set(key, version);
  }

  /** A command was evaluated and will be in the next batch. */
  collected(write: PendingWrite): void {
    if (this.#byIdentity !== undefined) this.#note(write);
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
    this.#publishedSinceFind += 1;
    if (this.#publishedSinceFind > PUBLISHED_WITHOUT_FIND_MAX) this.#byIdentity = undefined;
    const done: PendingWrite[] = [];
    for (const batch of this.#batches.splice(0, count)) {
      for (const write of batch.writes) {
        done.push(write);
        this.#forget(write);
        if (write.key !== undefined && this.#newest.get(write.key) === write.version)
          this.#newest.delete(write.key);
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

  /** A batch was refused: forgets the rows it laid over, keeping those of the batches under way. */
  undoOverlay(): void {
    this.#newest.clear();
    this.#byIdentity = undefined;
    for (const batch of this.#batches) {
      for (const write of batch.writes) {
        if (write.key !== undefined && write.version !== undefined)
          this.#newest.set(write.key, write.version);
      }
    }
  }

  /**
   * The command with this identity, if it is under way or among `collected`. Only retries ask, and many at
   * once when a leader was lost: the first builds an index, which is kept up until nobody has asked for a
   * while.
   */
  find(client: number, sequence: number, collected: readonly PendingWrite[]): PendingWrite | undefined {
    this.#publishedSinceFind = 0;
    if (this.#byIdentity === undefined) {
      this.#byIdentity = new Map();
      for (const batch of this.#batches) for (const write of batch.writes) this.#note(write);
      for (const write of collected) this.#note(write);
    }
    return this.#byIdentity.get(nameOf(client, sequence));
  }

  #note(write: PendingWrite): void {
    const id = write.call?.request.requestId;
    if (id !== undefined) this.#byIdentity?.set(nameOf(id.client, id.sequence), write);
  }

  #forget(write: PendingWrite): void {
    if (this.#byIdentity === undefined) return;
    const id = write.call?.request.requestId;
    if (id !== undefined) this.#byIdentity.delete(nameOf(id.client, id.sequence));
  }

  /** Leadership is lost: hands out everything that was under way; its outcome is not known here. */
  takeAll(): readonly PendingBatch[] {
    const all = this.#batches;
    this.#batches = [];
    this.#byIdentity = undefined;
    this.#newest.clear();
    return all;
  }
}

function nameOf(client: number, sequence: number): string {
  return `${client}/${sequence}`;
}
