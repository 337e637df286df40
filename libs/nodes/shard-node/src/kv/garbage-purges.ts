import type { Term, Timestamp } from '@cairn/base';
import { WriteBatchBuilder } from '@cairn/mvcc';

import type { KvMachine } from './kv-machine.js';

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

/**
 * Logs a purge. From the moment it is proposed no read below its safe point begins here; the log tells the
 * other replicas.
 */
export function proposePurge(machine: KvMachine, purge: Purge): Promise<PurgeResult> {
  const { replica } = machine;
  const isCurrent = (): boolean => !machine.isClosed && replica.isReadyLeader && replica.term === purge.term;
  if (!isCurrent() || machine.descriptor.epoch.version !== purge.version) return Promise.resolve('stopped');
  // Behind a split in the log the purge would reach into its children.
  if (replica.isFrozen) return Promise.resolve('busy');
  machine.raiseReadableSince(purge.safePoint);
  const builder = new WriteBatchBuilder();
  builder.addCollected(purge.safePoint, purge.bytes);
  builder.addPurge(purge.keys);
  const result = replica.propose(builder.finish());
  if (result.type === 'refused') {
    return Promise.resolve(result.reason === 'too-many-uncommitted' ? 'busy' : 'stopped');
  }
  machine.pending.add(result.index, result.term, []);
  return new Promise((resolve) => {
    machine.whenPublished(() => {
      resolve(isCurrent() ? 'logged' : 'stopped');
    });
  });
}
