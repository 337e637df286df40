import { logIndex, type LogIndex, type Term } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import type { Clock, Logger } from '@cairn/ports';
import type { RaftLog } from '@cairn/raft-log';

import type { ApplyBacklog } from './apply-backlog.js';
import { encodeCheckpointState } from './checkpoint-state.js';
import type { Replica } from './replica.js';
import type { StoreConfig } from './store-config.js';
import type { StoreMetrics } from './store-metrics.js';

export interface CheckpointerParts {
  readonly engine: KvEngine;
  readonly log: RaftLog;
  readonly backlog: Pick<ApplyBacklog, 'appliedBytes' | 'whenBetweenBatches'>;
  readonly clock: Clock;
  readonly config: StoreConfig;
  readonly logger: Logger;
  readonly metrics: StoreMetrics;
  readonly replicas: Iterable<Replica>;
}

interface Mark {
  readonly replica: Replica;
  readonly index: LogIndex;
  readonly term: Term;
  readonly state: Uint8Array;
}

/**
 * Moves the point behind which the log is no longer needed. The engine is never synced per write, and after a
 * crash it may have lost any of the batches since its last flush; so only a flush that began after an index
 * was applied proves that index durable, and only behind such a proof may the log be cut.
 */
export class Checkpointer {
  readonly #parts: CheckpointerParts;
  #running: Promise<void> | undefined;
  #lastFinishedMs: number;
  /** How much the applier had applied when the last checkpoint began, less what that did not cover. */
  #coveredBytes = 0;

  constructor(parts: CheckpointerParts) {
    this.#parts = parts;
    this.#lastFinishedMs = parts.clock.nowMs();
  }

  /** Called every tick: begins a checkpoint when enough was applied or enough time went by. */
  poll(): Promise<void> | undefined {
    if (this.#running !== undefined) return undefined;
    const { backlog, config, clock } = this.#parts;
    const bytes = backlog.appliedBytes - this.#coveredBytes;
    if (bytes === 0) return undefined;
    const isDue = clock.nowMs() - this.#lastFinishedMs >= config.checkpointIntervalMs;
    if (bytes < config.checkpointBytes && !isDue) return undefined;
    return this.run();
  }

  /** One checkpoint of every replica that applied something; joins the one that is under way. */
  run(): Promise<void> {
    this.#running ??= this.#runOnce().finally(() => {
      this.#running = undefined;
      this.#lastFinishedMs = this.#parts.clock.nowMs();
    });
    return this.#running;
  }

  async #runOnce(): Promise<void> {
    const { engine, log, backlog, metrics } = this.#parts;
    const marks = await new Promise<Mark[]>((resolve) => {
      backlog.whenBetweenBatches(() => {
        resolve(this.#takeMarks());
      });
    });
    if (marks.length === 0) return;
    await engine.flush();
    for (const { replica, index, term, state } of marks) {
      const current = replica.log.checkpoint;
      // A split or a snapshot may have set a later mark of its own meanwhile, or be about to: while a
      // snapshot replaces the rows, the mark says where to start over from, and must stay.
      if (replica.isClosed || replica.isApplyBlocked) continue;
      if (current !== undefined && current.index >= index) continue;
      replica.log.setCheckpoint({ index, term, state });
      this.#truncate(replica, index);
    }
    await log.sync();
    metrics.checkpoint();
    await this.#reclaim();
  }

  #takeMarks(): Mark[] {
    const marks: Mark[] = [];
    this.#coveredBytes = this.#parts.backlog.appliedBytes;
    for (const replica of this.#parts.replicas) {
      const descriptor = replica.descriptorOrUndefined;
      if (descriptor === undefined || replica.appliedBytesSinceCheckpoint === 0) continue;
      if (replica.isApplyBlocked) {
        this.#coveredBytes -= replica.appliedBytesSinceCheckpoint;
        continue;
      }
      replica.appliedBytesSinceCheckpoint = 0;
      marks.push({
        replica,
        index: replica.appliedIndex,
        term: replica.appliedTerm,
        state: encodeCheckpointState({
          replicaId: replica.replicaId,
          descriptor,
          config: replica.raft.configState,
          confVersionSeen: 0,
          installing: undefined,
        }),
      });
    }
    return marks;
  }

  /** Cuts the log behind the checkpoint, as far as followers, snapshots and request windows allow. */
  #truncate(replica: Replica, checkpoint: LogIndex): void {
    const { config } = this.#parts;
    const { log } = replica;
    const first = log.firstIndex();
    const count = log.lastIndex() - first + 1;
    if (count <= 0) return;
    let most: number = checkpoint;
    for (const { index } of replica.snapshotHolds) most = Math.min(most, index);
    const averageBytes = Math.max(1, log.entryBytes / count);
    let limit = Math.min(most, log.lastIndex() - Math.ceil(config.logRetentionBytes / averageBytes));
    for (const peer of replica.raft.status().peers) {
      if (peer.recentlyActive && peer.state !== 'snapshot') limit = Math.min(limit, peer.match);
    }
    // Over its limit the log is cut whoever needs it, but no further than to the limit: a follower that is a
    // few large entries behind needs no snapshot for it.
    const leastKept = Math.floor(config.logForceTruncateBytes / averageBytes);
    limit = Math.max(limit, Math.min(most, log.lastIndex() - leastKept));
    // Below a sixteenth of the log it is not worth a record.
    if (limit - first + 1 < count / 16) return;
    const term = log.termOf(logIndex(limit));
    if (term === 'compacted') return;
    log.truncate(logIndex(limit), term);
  }

  /** Frees segments; ranges that pin old ones are cut down to their checkpoint whoever still needs them. */
  async #reclaim(): Promise<void> {
    const { log, logger } = this.#parts;
    const pinning = await log.reclaim();
    if (pinning.length === 0) return;
    for (const rangeId of pinning) {
      const view = log.range(rangeId);
      const { checkpoint } = view;
      if (checkpoint === undefined || checkpoint.index < view.firstIndex()) continue;
      logger.info('log cut to free segments', { range: rangeId, index: checkpoint.index });
      view.truncate(checkpoint.index, checkpoint.term);
    }
    await log.sync();
  }
}
