import { TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';

import type { MetadataView } from './metadata-state.js';
import type { NodeTable } from './node-table.js';

/**
 * A transaction that began so long ago and has a lock may have lost its router: its locks are over three
 * seconds after the last sign of life, and most commits take less than one.
 */
const OLD_AFTER_MS = 8_000;

/**
 * Stores that lead ranges with locks of transactions that began long before `now`: routers are told, one of
 * which asks them which of the locks nobody came back for. They are told of no more than there are stores.
 */
export function storesWithOldLocks(state: MetadataView, nodes: NodeTable, now: Timestamp): number[] {
  const old = now - OLD_AFTER_MS * TIMESTAMP_LOGICAL_STEPS;
  const stores: number[] = [];
  for (const { kind, name, isLive, numbers } of nodes.contacts()) {
    if (kind !== 'shard' || !isLive || numbers.oldestLock === 0 || numbers.oldestLock >= old) continue;
    const record = state.nodes.get(name);
    if (record !== undefined && !record.isLost) stores.push(record.storeId);
  }
  return stores;
}
