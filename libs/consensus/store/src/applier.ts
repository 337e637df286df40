// Timeline: docs/timelines/write.md
import { assert, type LogIndex } from '@cairn/base';
import type { EngineBatch, KvEngine } from '@cairn/engine';
import { EntryKind, type Entry } from '@cairn/raft';

import type { ApplyBacklog } from './apply-backlog.js';
import type { Leadership } from './leadership.js';
import type { MemberChanges } from './member-changes.js';
import type { Replica } from './replica.js';
import type { StoreCommandApplier } from './store-command-applier.js';
import { isStoreCommand } from './store-commands.js';
import type { StoreConfig } from './store-config.js';
import type { StoreLife } from './store-life.js';
import type { StoreMetrics } from './store-metrics.js';

export interface ApplierParts {
  readonly engine: KvEngine;
  readonly config: Pick<StoreConfig, 'applyBatchBytesMax'>;
  readonly backlog: ApplyBacklog;
  readonly commands: Pick<StoreCommandApplier, 'apply'>;
  readonly members: Pick<MemberChanges, 'apply'>;
  readonly leadership: Pick<Leadership, 'readyToLead'>;
  readonly metrics: StoreMetrics;
  readonly life: StoreLife;
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

  constructor(parts: ApplierParts) {
    this.#parts = parts;
  }

  /** The replica's exclusive work is done; the applier may have it back. */
  unblock(replica: Replica): void {
    const { backlog } = this.#parts;
    replica.isApplyBlocked = false;
    backlog.offer(replica);
    backlog.releaseHeld();
    this.kick();
  }

  /** Applies what is waiting, unless a batch is in flight. */
  kick(): void {
    const { backlog, engine, life } = this.#parts;
    try {
      while (!backlog.isBatchUnderWay && !life.isOver && backlog.hasWork) {
        const waiting = backlog.take();
        const size = engine.gathersWrites ? waiting.length : 1;
        let at = 0;
        for (; at < waiting.length && !backlog.isBatchUnderWay && !life.isOver; at += size) {
          this.#applyBatch(waiting, at, Math.min(at + size, waiting.length));
        }
        // The engine has to wait.
        backlog.putBack(waiting, at);
      }
    } catch (error) {
      life.fatal(error);
    }
  }

  /** Applies what the replicas [from, to) have, as one batch. */
  #applyBatch(waiting: readonly Replica[], from: number, to: number): void {
    const { backlog, config, engine, metrics } = this.#parts;
    backlog.beginBatch();
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
      backlog.offer(replica);
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
        this.#parts.life.fatal(error);
        backlog.endBatch(true);
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
        this.#parts.members.apply(replica, entry);
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
    replica.exclusiveWork = this.#parts.commands.apply(replica, entry).then(
      () => {
        replica.exclusiveWork = undefined;
        replica.applyQueue.remove(1, entry.payload.length);
        this.#advance(replica, entry.index, entry.term, entry.payload.length);
        this.unblock(replica);
      },
      (error: unknown) => {
        replica.exclusiveWork = undefined;
        this.#parts.life.fatal(error);
      },
    );
  }

  #advance(replica: Replica, index: LogIndex, term: Entry['term'], bytes: number): void {
    replica.appliedIndex = index;
    replica.appliedTerm = term;
    replica.appliedBytesSinceCheckpoint += bytes;
    this.#parts.backlog.applied(bytes);
    if (replica.isClosed) return;
    replica.raft.applied(index);
    if (replica.isLeader && !replica.isReadyLeader && term === replica.term)
      this.#parts.leadership.readyToLead(replica);
    replica.reads.applied(index);
    if (replica.raft.hasReady()) replica.wake();
  }

  #finish(runs: readonly AppliedRun[]): void {
    const { backlog, life } = this.#parts;
    if (!life.isOver) for (const run of runs) this.#finishRun(run);
    backlog.endBatch(life.isOver);
  }

  #finishRun(run: AppliedRun): void {
    const { replica } = run;
    replica.machine?.published(run.lastIndex);
    if (run.results !== undefined) this.#answer(replica, run.results);
    this.#advance(replica, run.lastIndex, run.lastTerm, run.bytes);
    this.#parts.backlog.offer(replica);
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
