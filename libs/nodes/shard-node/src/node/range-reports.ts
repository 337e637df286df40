import type { RangeDescriptor, RangeId } from '@cairn/base';
import { descriptorToMessage } from '@cairn/metadata';
import type { Replica, Store } from '@cairn/store';
import type { RangeReport } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import type { RangeLoad } from '../kv/range-load.js';

/** What is asked of the machine of a range. */
export interface ReportedMachine {
  readonly load: RangeLoad;
}

/**
 * Which ranges the next heartbeat has to tell of. A range is told of when something about it changed, and all
 * are when the metadata service asks for it; what was told and not acknowledged is told again.
 */
export class RangeReports {
  readonly #changed = new Set<RangeId>();
  #watcher: (() => void) | undefined;
  #wantsFull = true;

  /** Whom it is told that there is something new to tell; before, changes only wait. */
  watch(watcher: () => void): void {
    this.#watcher = watcher;
  }

  changed(rangeId: RangeId): void {
    this.#changed.add(rangeId);
    this.#watcher?.();
  }

  wantFull(): void {
    this.#wantsFull = true;
  }

  get hasChanges(): boolean {
    return this.#wantsFull || this.#changed.size > 0;
  }

  /**
   * Takes what is due, without the ranges that are being created: they come with a later one. `failed` puts
   * it back when the heartbeat did not arrive.
   */
  take(
    store: Store,
    machines: ReadonlyMap<RangeId, ReportedMachine>,
    creating: ReadonlySet<RangeId>,
  ): { full: boolean; ranges: RangeReport[]; removed: RangeId[]; failed(): void } {
    const full = this.#wantsFull;
    const ids = full ? [...store.replicas()].map((replica) => replica.rangeId) : [...this.#changed];
    const asked = full ? [] : ids;
    this.#wantsFull = false;
    this.#changed.clear();
    const ranges: RangeReport[] = [];
    const removed: RangeId[] = [];
    for (const rangeId of ids) {
      if (creating.has(rangeId)) continue;
      const replica = store.replica(rangeId);
      const descriptor = replica?.descriptorOrUndefined;
      if (replica === undefined) removed.push(rangeId);
      if (replica !== undefined && descriptor !== undefined)
        ranges.push(reportOf(replica, descriptor, machines.get(rangeId)?.load));
    }
    return {
      full,
      ranges,
      removed,
      failed: () => {
        if (full) this.#wantsFull = true;
        for (const rangeId of asked) this.#changed.add(rangeId);
      },
    };
  }
}

/** Committed entries that a voter may be behind without counting as one that is catching up. */
const LAG_ENTRIES_MAX = 10_000;

function reportOf(replica: Replica, descriptor: RangeDescriptor, load: RangeLoad | undefined): RangeReport {
  const peers = replica.isReadyLeader ? replica.raft.status().peers : [];
  return {
    descriptor: descriptorToMessage(descriptor),
    leaderTerm: replica.isReadyLeader ? replica.term : 0,
    bytes: Math.round(load?.bytes ?? 0),
    readsPerSecond: load?.readsPerSecond ?? 0,
    writesPerSecond: load?.writesPerSecond ?? 0,
    liveReplicaIds: replica.isReadyLeader
      ? [replica.replicaId, ...peers.filter((peer) => peer.recentlyActive).map((peer) => peer.replicaId)]
      : [],
    laggingReplicaIds: peers
      .filter(
        ({ isLearner, pendingSnapshotIndex, match }) =>
          isLearner || pendingSnapshotIndex > 0 || match + LAG_ENTRIES_MAX < replica.appliedIndex,
      )
      .map((peer) => peer.replicaId),
  };
}
