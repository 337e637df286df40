import type { Term, Timestamp } from '@cairn/base';
import { WriteBatchBuilder } from '@cairn/mvcc';

import type { PendingWrites } from './pending-writes.js';
import type { PublishWaiters } from './publish-waiters.js';
import type { ServedRange } from './served-range.js';
import type { LockTable } from './txn/lock-table.js';

/** Exact versions to remove, and under which conditions that was decided. */
export interface Purge {
  /** In an order in which every prefix is safe; see `GarbageCollector`. */
  readonly keys: readonly Buffer[];
  readonly safePoint: Timestamp;
  /** Engine bytes of the keys and their values. */
  readonly bytes: number;
  /** The leadership and the span that the decision holds for. */
  readonly term: Term;
  readonly version: number;
}

/**
 * `logged`: applied and visible here. `busy`: nothing happened, try again later. `stopped`: the leadership or
 * the span is another one; it may have happened.
 */
export type PurgeResult = 'logged' | 'busy' | 'stopped';

/** What a purge needs of its range. */
export interface PurgeParts {
  readonly range: Pick<ServedRange, 'replica' | 'isClosed' | 'descriptor' | 'raiseReadableSince'>;
  readonly pending: Pick<PendingWrites, 'add'>;
  readonly waiters: Pick<PublishWaiters, 'whenPublished'>;
  readonly locks: Pick<LockTable, 'size' | 'oldestStart'>;
}

/**
 * Logs a purge. From the moment it is proposed no read below its safe point begins here; the log tells the
 * other replicas.
 */
export function proposePurge(
  { range, pending, waiters, locks }: PurgeParts,
  purge: Purge,
): Promise<PurgeResult> {
  const { replica } = range;
  const isCurrent = (): boolean => !range.isClosed && replica.isReadyLeader && replica.term === purge.term;
  if (!isCurrent() || range.descriptor.epoch.version !== purge.version) return Promise.resolve('stopped');
  // Behind a split in the log the purge would reach into its children.
  if (replica.isFrozen) return Promise.resolve('busy');
  // Whoever has a lock may still read as of its start (T15); it goes in time.
  const oldest = locks.size === 0 ? undefined : locks.oldestStart;
  if (oldest !== undefined && oldest <= purge.safePoint) return Promise.resolve('busy');
  range.raiseReadableSince(purge.safePoint);
  const builder = new WriteBatchBuilder();
  builder.addCollected(purge.safePoint, purge.bytes);
  builder.addPurge(purge.keys);
  const result = replica.propose(builder.finish());
  if (result.type === 'refused') {
    return Promise.resolve(result.reason === 'too-many-uncommitted' ? 'busy' : 'stopped');
  }
  pending.add(result.index, result.term, []);
  return new Promise((resolve) => {
    waiters.whenPublished(() => {
      resolve(isCurrent() ? 'logged' : 'stopped');
    });
  });
}
