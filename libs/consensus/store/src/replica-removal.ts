import { assert, type RangeDescriptor, type RangeId, type ReplicaId, type StoreId } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import type { Logger } from '@cairn/ports';
import type { RaftLog } from '@cairn/raft-log';

import type { ApplyBacklog } from './apply-backlog.js';
import type { OwnRows } from './own-rows.js';
import { overlap } from './range-spans.js';
import type { ReceivedSpools } from './received-spools.js';
import type { Replica } from './replica.js';
import { Tombstones } from './tombstones.js';

export interface ReplicaRemovalParts {
  readonly storeId: StoreId;
  readonly engine: KvEngine;
  readonly log: RaftLog;
  readonly backlog: Pick<ApplyBacklog, 'forget' | 'whenBetweenBatches'>;
  readonly ownRows: Pick<OwnRows, 'of'>;
  readonly spools: Pick<ReceivedSpools, 'remove'>;
  readonly logger: Logger;
  /** The last trace is gone. */
  removed(rangeId: RangeId): void;
  fatal(error: unknown): void;
}

/**
 * Takes replicas off the store. A replica that goes does nothing from the moment it is given here: it
 * answers no message and serves no read. Then, in this order: its tombstone becomes durable, the snapshot
 * goes that it was to install, its rows go, and only when they are durably gone its log goes and the
 * tombstone says so. A crash anywhere in between leaves either the whole replica or a tombstone that says
 * what is left to do. Until the end the span counts as taken, so that nothing else moves in while rows are
 * being deleted.
 *
 * Timeline: docs/timelines/replica-move.md
 */
export class ReplicaRemoval {
  readonly #parts: ReplicaRemovalParts;
  readonly #tombstones: Tombstones;
  readonly #leaving = new Map<RangeId, { readonly replica: Replica; readonly work: Promise<void> }>();

  constructor(parts: ReplicaRemovalParts) {
    this.#parts = parts;
    this.#tombstones = new Tombstones(parts.log);
  }

  /** Whether the replica was removed from here, or another replica of its range is just on its way out. */
  isGone(rangeId: RangeId, replicaId: ReplicaId): boolean {
    return this.#leaving.has(rangeId) || this.#tombstones.isGone(rangeId, replicaId);
  }

  /** A replica of another range on its way out that shares keys with the span. */
  overlapping(span: RangeDescriptor): Replica | undefined {
    for (const { replica } of this.#leaving.values()) {
      const taken = replica.descriptorOrUndefined;
      if (taken !== undefined && taken.rangeId !== span.rangeId && overlap(taken, span)) return replica;
    }
    return undefined;
  }

  /** The caller has taken the replica out of its own books. `proof`: a descriptor that does not name it. */
  begin(replica: Replica, proof: RangeDescriptor): void {
    assert(!replica.isClosed, 'a replica is removed once', { rangeId: replica.rangeId });
    replica.isClosed = true;
    replica.isReadyLeader = false;
    replica.thaw();
    replica.reads.refuseAll();
    replica.loseWaiters();
    const work = this.#remove(replica, lastGone(replica, proof, this.#parts.storeId)).catch(
      (error: unknown) => {
        this.#parts.fatal(error);
      },
    );
    this.#leaving.set(replica.rangeId, { replica, work });
  }

  async #remove(replica: Replica, last: ReplicaId): Promise<void> {
    const { engine, log, backlog, logger, ownRows, spools } = this.#parts;
    const { rangeId, replicaId } = replica;
    for (;;) {
      const other = replica.exclusiveWork ?? replica.installation;
      if (other === undefined) break;
      await other;
    }
    await new Promise<void>((resolve) => {
      backlog.whenBetweenBatches(resolve);
    });
    backlog.forget(replica);
    replica.machine?.closed?.();
    const spans = replica.isInitialised ? ownRows.of(replica.descriptor) : [];
    this.#tombstones.begin(rangeId, last, spans);
    await log.sync();
    await spools.remove(rangeId);
    for (const span of spans) await engine.deleteRange(span.start, span.end);
    if (spans.length > 0) await engine.flush();
    log.removeRange(rangeId);
    this.#tombstones.finish(rangeId);
    await log.sync();
    this.#leaving.delete(rangeId);
    const what = replica.isInitialised ? 'replica removed' : 'replica without a state removed';
    logger.info(what, { range: rangeId, replicaId });
    this.#parts.removed(rangeId);
  }

  /** Before any replica is opened: finishes the removals that a crash interrupted. */
  async recover(): Promise<void> {
    const { engine, log, logger } = this.#parts;
    const unfinished = this.#tombstones.recover();
    if (unfinished.length === 0) return;
    for (const { spans } of unfinished) {
      for (const span of spans) await engine.deleteRange(span.start, span.end);
    }
    await engine.flush();
    for (const { rangeId } of unfinished) {
      log.removeRange(rangeId);
      this.#tombstones.finish(rangeId);
      logger.info('replica removed after restart', { range: rangeId });
    }
    await log.sync();
  }

  /** Resolves when nothing is on its way out any more. */
  async settled(): Promise<void> {
    while (this.#leaving.size > 0) {
      await Promise.all([...this.#leaving.values()].map(({ work }) => work));
    }
  }
}

/**
 * The last replica of the range that may not come to this store any more; 0 = any may. The id of a replica
 * without a state is what a message said, and may be invented: it closes the way only as far as ids are known
 * to be used, and never as far as the replica that the proof has on this store. That an earlier one may come
 * back so is no harm: it acknowledged nothing, so no majority that changed the members counted it.
 */
function lastGone(replica: Replica, proof: RangeDescriptor, storeId: StoreId): ReplicaId {
  if (replica.isInitialised) return replica.replicaId;
  const here = proof.replicas.find((member) => member.storeId === storeId)?.replicaId ?? Infinity;
  let last = 0;
  for (const { replicaId } of proof.replicas) if (replicaId < here) last = Math.max(last, replicaId);
  return Math.min(replica.replicaId, last) as ReplicaId;
}
