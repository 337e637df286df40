import type { RangeDescriptor, ReplicaRole, StoreId } from '@cairn/base';

import type { RouteEntry } from './range-cache.js';

/** What of the known key space can be served from here. */
export interface Reach {
  readonly ranges: number;
  /** Ranges of which a majority of the voters can be reached. */
  readonly reachable: number;
}

/**
 * How many of the known ranges can be served. A leader alone is not enough: it may be the last of its range,
 * and a range that loses it has to find the next. Stores that hold no replica of a known range do not count,
 * however many of them are gone.
 */
export function reachOf(entries: readonly RouteEntry[], isUp: (store: StoreId) => boolean): Reach {
  let reachable = 0;
  for (const { descriptor } of entries) if (isReachable(descriptor, isUp)) reachable += 1;
  return { ranges: entries.length, reachable };
}

/**
 * A majority of the voters can be reached; while the members change, one of the old and one of the new ones.
 */
export function isReachable({ replicas }: RangeDescriptor, isUp: (store: StoreId) => boolean): boolean {
  const isMajority = (besides: ReplicaRole): boolean => {
    let members = 0;
    let up = 0;
    for (const { role, storeId } of replicas) {
      if (role !== 'voter' && role !== besides) continue;
      members += 1;
      if (isUp(storeId)) up += 1;
    }
    return up * 2 > members;
  };
  return isMajority('outgoing') && isMajority('incoming');
}
