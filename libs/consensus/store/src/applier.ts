import { assert, BoundedBytes, type LogIndex } from '@cairn/base';
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

/** What applying an entry answered to whoever waits for it. */
interface AppliedResult {
  readonly index: LogIndex;
  readonly term: Entry['term'];
  readonly value: unknown;
}

/** One replica's part of a batch. */
interface AppliedRun {
  readonly replica: Replica;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Entry['term'];
  readonly bytes: number;
  /** Of the entries that somebody waits for, in index order; undefined = of none. */
  readonly results: readonly AppliedResult[] | undefined;
}

/**
 * Applies committed entries of all replicas in engine batches, one in flight at a time. With an engine that
 * takes a batch at once there is one per replica, so that each is visited once; for others, what commits
 * while a batch is in flight forms the next, of all replicas together. Nothing is visible to readers, and no
 * proposer is answered, before the engine holds the batch.
 */
export class Applier {
  readonly #parts: ApplierParts;
  #list: Replica[] = [];
  /** Payload bytes that are committed and that the engine does not hold yet. */
  readonly #backlog: BoundedBytes;
  /** Replicas whose cores keep what they have committed; see `holds`. */
  readonly #held = new Set<Replica>();
  /** Payload bytes of all entries applied since the store was opened. */
  appliedBytes = 0;
  #isBusy = false;
  #isStopped = false;
  readonly #betweenBatches: (() => void)[] = [];
  #idleWaiters: (() => void)[] = [];

  constructor(parts: ApplierParts) {
    this.#parts = parts;
    const limit = parts.config.applyBacklogBytesMax;
    this.#backlog = new BoundedBytes({ name: 'committed entries that wait for the engine', limit });
  }

  get backlogBytes(): number {
    return this.#backlog.used;
  }

  /** The engine is behind: nothing more is proposed or taken in until it has caught up a little. */
  get isBehind(): boolean {
    return this.#backlog.isFull;
  }

  /**
   * Whether the core of the replica shall keep what it commits: the engine is behind, or the replica applies
   * nothing now. It gets a turn when that is over.
   */
  holds(replica: Replica): boolean {
    if (!this.#backlog.isFull && !replica.isApplyBlocked) return false;
    this.#held.add(replica);
    return true;
  }

  /** What waits for the replica will never be applied: it is gone, or a snapshot is beyond it. */
  forget(replica: Replica): void {
    this.#backlog.resize(replica.applyQueue.bytes, 0);
    replica.applyQueue.clear();
    this.#held.delete(replica);
  }

  #letGo(): void {
    if (this.#held.size === 0 || this.#backlog.isFull) return;
    const held = [...this.#held];
    this.#held.clear();
    for (const replica of held) this.#parts.host.enqueue(replica);
  }

  /** Committed entries, in log order, right behind those handed in before. */
  enqueue(replica: Replica, entries: readonly Entry[]): void {
    const first = entries[0] as Entry;
    assert(
      first.index === replica.handedOutIndex + 1,
      'committed entries must continue what was handed over',
      {
        rangeId: replica.rangeId,
        got: first.index,
        handedOutIndex: replica.handedOutIndex,
      },
    );
    replica.handedOutIndex = (entries.at(-1) as Entry).index;
    this.#backlog.resize(0, replica.applyQueue.add(entries));
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
    this.#letGo();
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

  /** Applies what is waiting, unless a batch is in flight. */
  kick(): void {
    try {
      while (!this.#isBusy && !this.#isStopped && this.#list.length > 0) {
        const waiting = this.#list;
        this.#list = [];
        const size = this.#parts.engine.gathersWrites ? waiting.length : 1;
        let at = 0;
        for (; at < waiting.length && !this.#isBusy && !this.#isStopped; at += size) {
          this.#applyBatch(waiting, at, Math.min(at + size, waiting.length));
        }
        // The engine has to wait: what was not looked at comes before what was put back.
        if (at < waiting.length) this.#list = [...waiting.slice(at), ...this.#list];
      }
    } catch (error) {
      this.#parts.fatal(error);
    }
  }

  /** Applies what the replicas [from, to) have, as one batch. */
  #applyBatch(waiting: readonly Replica[], from: number, to: number): void {
    const { config, engine, metrics } = this.#parts;
    this.#isBusy = true;
    const batch = engine.newBatch();
    const runs: AppliedRun[] = [];
    let bytes = 0;
    for (let at = from; at < to; at += 1) {
      const replica = waiting[at] as Replica;
      replica.isInApplyList = false;
      if (replica.isClosed || replica.isApplyBlocked) continue;
      if (bytes < config.applyBatchBytesMax) {
        const run = this.#applyRun(replica, batch, config.applyBatchBytesMax - bytes);
        if (run !== undefined) {
          runs.push(run);
          bytes += run.bytes;
        }
      }
      this.#offer(replica);
    }
    let written: Promise<void> | undefined;
    if (batch.length > 0) {
      metrics.applyBatch(batch.length, batch.bytes);
      written = engine.write(batch);
    }
    if (written === undefined) {
      this.#finish(runs);
      return;
    }
    written
      .then(() => {
        this.#finish(runs);
        this.kick();
      })
      .catch((error: unknown) => {
        this.#parts.fatal(error);
      });
  }

  /** Takes entries of one replica up to the byte budget or the next store command. */
  #applyRun(replica: Replica, batch: EngineBatch, bytesMax: number): AppliedRun | undefined {
    const queue = replica.applyQueue;
    let results: AppliedResult[] | undefined;
    let count = 0;
    let bytes = 0;
    while (count < queue.length && bytes < bytesMax) {
      const entry = queue.at(count);
      if (entry.kind === EntryKind.command && isStoreCommand(entry.payload)) break;
      if (entry.kind === EntryKind.command) {
        assert(replica.machine !== undefined, 'no machine to apply to', { rangeId: replica.rangeId });
        const value = replica.machine.apply(entry, batch);
        if (replica.waiters.size > 0) results = withResult(results, replica, entry, value);
      } else if (entry.kind === EntryKind.config) {
        this.#parts.applyConfigEntry(replica, entry);
        if (replica.waiters.size > 0) results = withResult(results, replica, entry, undefined);
      }
      bytes += entry.payload.length;
      count += 1;
      // It was its own removal: what follows is none of its business.
      if (replica.isClosed) break;
    }
    if (count === 0) {
      if (queue.length > 0) this.#applyAlone(replica, queue.at(0));
      return undefined;
    }
    const last = queue.at(count - 1);
    queue.remove(count, bytes);
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
        replica.applyQueue.remove(1, entry.payload.length);
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
    this.appliedBytes += bytes;
    this.#backlog.resize(bytes, 0);
    if (replica.isClosed) return;
    replica.raft.applied(index);
    if (replica.isLeader && !replica.isReadyLeader && term === replica.term) this.#parts.readyToLead(replica);
    replica.reads.applied(index);
    if (replica.raft.hasReady()) this.#parts.host.enqueue(replica);
  }

  #finish(runs: readonly AppliedRun[]): void {
    if (!this.#isStopped) for (const run of runs) this.#finishRun(run);
    this.#isBusy = false;
    this.#letGo();
    if (this.#betweenBatches.length > 0 && !this.#isStopped) {
      for (const callback of this.#betweenBatches.splice(0)) callback();
    }
    if (this.#idleWaiters.length > 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #finishRun(run: AppliedRun): void {
    const { replica } = run;
    replica.machine?.published(run.lastIndex);
    if (run.results !== undefined) this.#answer(replica, run.results);
    this.#advance(replica, run.lastIndex, run.lastTerm, run.bytes);
    this.#offer(replica);
  }

  #answer(replica: Replica, results: readonly AppliedResult[]): void {
    for (const { index, term, value } of results) {
      const waiter = replica.waiters.get(index);
      replica.waiters.delete(index);
      // Another leader's entry may stand at the index now: then nobody knows what became of ours.
      if (waiter?.term === term) waiter.resolve(value);
      else waiter?.lost();
    }
  }
}

function withResult(
  results: AppliedResult[] | undefined,
  replica: Replica,
  { index, term }: Entry,
  value: unknown,
): AppliedResult[] | undefined {
  if (!replica.waiters.has(index)) return results;
  const result = { index, term, value };
  if (results === undefined) return [result];
  results.push(result);
  return results;
}
