import { assert, type LogIndex } from '@cairn/base';
import type { EngineBatch, KvEngine } from '@cairn/engine';
import { EntryKind, type Entry } from '@cairn/raft';

import type { Replica, ReplicaHost } from './replica.js';
import { isStoreCommand } from './store-commands.js';
import type { StoreConfig } from './store-config.js';
import type { StoreMetrics } from './store-metrics.js';

export interface ApplierParts {
  readonly engine: KvEngine;
  readonly config: StoreConfig;
  readonly host: ReplicaHost;
  readonly metrics: StoreMetrics;
  /** Carries out a store command (split) alone; resolves when the replica may go on. */
  applyStoreCommand(replica: Replica, entry: Entry): Promise<void>;
  /** Membership takes effect where its entry is applied. */
  applyConfigEntry(replica: Replica, entry: Entry): void;
  readyToLead(replica: Replica): void;
  fatal(error: unknown): void;
}

/** One replica's part of a batch. */
interface AppliedRun {
  readonly replica: Replica;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Entry['term'];
  readonly bytes: number;
  /** Results of entries that somebody waits for, in index order. */
  readonly results: readonly {
    readonly index: LogIndex;
    readonly term: Entry['term'];
    readonly value: unknown;
  }[];
}

/**
 * Applies committed entries of all replicas in large engine batches, one in flight at a time: what commits
 * meanwhile forms the next. Nothing is visible to readers, and nobody is answered, before the engine holds
 * the batch.
 */
export class Applier {
  readonly #parts: ApplierParts;
  #list: Replica[] = [];
  #isBusy = false;
  #isStopped = false;
  readonly #betweenBatches: (() => void)[] = [];
  #idleWaiters: (() => void)[] = [];

  constructor(parts: ApplierParts) {
    this.#parts = parts;
  }

  /** Committed entries, in log order, right behind those handed in before. */
  enqueue(replica: Replica, entries: readonly Entry[]): void {
    const first = entries[0] as Entry;
    assert(first.index === replica.handedIndex + 1, 'committed entries must continue what was handed over', {
      rangeId: replica.rangeId,
      got: first.index,
      handed: replica.handedIndex,
    });
    replica.handedIndex = (entries.at(-1) as Entry).index;
    for (const entry of entries) {
      replica.applyQueue.push(entry);
      replica.applyQueueBytes += entry.payload.length;
    }
    this.#offer(replica);
  }

  #offer(replica: Replica): void {
    if (replica.isInApplyList || replica.isApplyBlocked || replica.applyQueue.length === 0) return;
    replica.isInApplyList = true;
    this.#list.push(replica);
  }

  /** The replica's exclusive work is done; the applier may have it back. */
  unblock(replica: Replica): void {
    replica.isApplyBlocked = false;
    this.#offer(replica);
    this.kick();
  }

  /** Runs when no batch is in flight, so that the engine is exactly at every replica's applied index. */
  whenBetweenBatches(callback: () => void): void {
    if (!this.#isBusy) callback();
    else this.#betweenBatches.push(callback);
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Resolves when no batch is in flight. */
  idle(): Promise<void> {
    if (!this.#isBusy) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Begins the next batch unless one is in flight. */
  kick(): void {
    if (this.#isBusy || this.#isStopped || this.#list.length === 0) return;
    const batch = this.#parts.engine.newBatch();
    const runs: AppliedRun[] = [];
    const waiting = this.#list;
    this.#list = [];
    let bytes = 0;
    for (const replica of waiting) {
      replica.isInApplyList = false;
      if (replica.isClosed || replica.isApplyBlocked) continue;
      if (bytes < this.#parts.config.applyBatchBytesMax) {
        const run = this.#applyRun(replica, batch, this.#parts.config.applyBatchBytesMax - bytes);
        if (run !== undefined) {
          runs.push(run);
          bytes += run.bytes;
        }
      }
      this.#offer(replica);
    }
    if (runs.length === 0) return;
    this.#isBusy = true;
    if (batch.length === 0) {
      this.#finish(runs);
      return;
    }
    this.#parts.metrics.applyBatch(batch.length, batch.bytes);
    this.#parts.engine.write(batch).then(
      () => {
        this.#finish(runs);
      },
      (error: unknown) => {
        this.#parts.fatal(error);
      },
    );
  }

  /** Takes entries of one replica up to the byte budget or the next store command. */
  #applyRun(replica: Replica, batch: EngineBatch, bytesMax: number): AppliedRun | undefined {
    const queue = replica.applyQueue;
    const results: { index: LogIndex; term: Entry['term']; value: unknown }[] = [];
    let count = 0;
    let bytes = 0;
    while (count < queue.length && bytes < bytesMax) {
      const entry = queue[count] as Entry;
      if (entry.kind === EntryKind.command && isStoreCommand(entry.payload)) break;
      if (entry.kind === EntryKind.command) {
        assert(replica.machine !== undefined, 'no machine to apply to', { rangeId: replica.rangeId });
        const value = replica.machine.apply(entry, batch);
        if (replica.waiters.has(entry.index)) results.push({ index: entry.index, term: entry.term, value });
      } else if (entry.kind === EntryKind.config) {
        this.#parts.applyConfigEntry(replica, entry);
        if (replica.waiters.has(entry.index))
          results.push({ index: entry.index, term: entry.term, value: undefined });
      }
      bytes += entry.payload.length;
      count += 1;
      // It was its own removal: what follows is none of its business.
      if (replica.isClosed) break;
    }
    if (count === 0) {
      if (queue.length > 0) this.#applyAlone(replica, queue[0] as Entry);
      return undefined;
    }
    const last = queue[count - 1] as Entry;
    queue.splice(0, count);
    replica.applyQueueBytes -= bytes;
    return { replica, lastIndex: last.index, lastTerm: last.term, bytes, results };
  }

  /** A store command waits until everything before it is published, then runs with the applier kept away. */
  #applyAlone(replica: Replica, entry: Entry): void {
    assert(replica.appliedIndex === entry.index - 1, 'store commands run alone', {
      rangeId: replica.rangeId,
    });
    replica.isApplyBlocked = true;
    replica.exclusiveWork = this.#parts.applyStoreCommand(replica, entry).then(
      () => {
        replica.exclusiveWork = undefined;
        replica.applyQueue.shift();
        replica.applyQueueBytes -= entry.payload.length;
        this.#advance(replica, entry.index, entry.term, entry.payload.length);
        this.unblock(replica);
      },
      (error: unknown) => {
        replica.exclusiveWork = undefined;
        this.#parts.fatal(error);
      },
    );
  }

  #advance(replica: Replica, index: LogIndex, term: Entry['term'], bytes: number): void {
    replica.appliedIndex = index;
    replica.appliedTerm = term;
    replica.appliedBytesSinceCheckpoint += bytes;
    if (replica.isClosed) return;
    replica.raft.applied(index);
    if (replica.isLeader && !replica.isReadyLeader && term === replica.term) this.#parts.readyToLead(replica);
    replica.reads.applied(index);
    if (replica.raft.hasReady()) this.#parts.host.enqueue(replica);
  }

  #finish(runs: readonly AppliedRun[]): void {
    if (this.#isStopped) {
      this.#isBusy = false;
      this.#releaseIdle();
      return;
    }
    try {
      for (const run of runs) {
        const { replica } = run;
        replica.machine?.published(run.lastIndex);
        for (const { index, term, value } of run.results) {
          const waiter = replica.waiters.get(index);
          replica.waiters.delete(index);
          // Another leader's entry may stand at the index now: then nobody knows what became of ours.
          if (waiter?.term === term) waiter.resolve(value);
          else waiter?.lost();
        }
        this.#advance(replica, run.lastIndex, run.lastTerm, run.bytes);
        this.#offer(replica);
      }
      this.#isBusy = false;
      for (const callback of this.#betweenBatches.splice(0)) callback();
      this.#releaseIdle();
      this.kick();
    } catch (error) {
      this.#parts.fatal(error);
    }
  }

  #releaseIdle(): void {
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}
