import type { StoreId } from '@cairn/base';

import type { RouteEntry } from './range-cache.js';
import type { StoreConnection } from './store-connection.js';
import type { Stores } from './stores.js';

/** Where an operation goes; `givenUp`: there is nowhere but this store, which is left alone for a while. */
export interface Choice {
  readonly store: StoreConnection | undefined;
  readonly givenUp: StoreConnection | undefined;
}

const NOWHERE: Choice = { store: undefined, givenUp: undefined };

/**
 * The replicas that may lead, in turn. Those that cannot be reached are passed over, and so is the one that
 * was asked last (it does not lead, or hangs) while there is another.
 */
export function leaderCandidate(stores: Stores, entry: RouteEntry, askedLast: StoreId): Choice {
  const { replicas } = entry.descriptor;
  let fallback: StoreConnection | undefined;
  let givenUp: StoreConnection | undefined;
  for (let tried = 0; tried < replicas.length; tried += 1) {
    const replica = replicas[entry.searchCursor % replicas.length];
    entry.searchCursor += 1;
    if (replica === undefined || replica.role === 'learner') continue;
    const store = stores.get(replica.storeId);
    if (store?.isUp !== true) continue;
    if (store.isSpared) givenUp = store;
    else if (store.storeId !== askedLast) return { store, givenUp };
    else fallback = store;
  }
  return fallback === undefined && givenUp === undefined ? NOWHERE : { store: fallback, givenUp };
}

/** Stale reads go round the replicas, so that all of them share the work; to full ones last. */
export function anyReplica(stores: Stores, entry: RouteEntry): Choice {
  const { replicas } = entry.descriptor;
  let full: StoreConnection | undefined;
  let givenUp: StoreConnection | undefined;
  for (let tried = 0; tried < replicas.length; tried += 1) {
    entry.staleCursor += 1;
    const replica = replicas[entry.staleCursor % replicas.length];
    const store = replica === undefined ? undefined : stores.get(replica.storeId);
    if (store?.isUp !== true) continue;
    if (store.isSpared) givenUp = store;
    else if (!store.isFull) return { store, givenUp };
    else full = store;
  }
  return full === undefined && givenUp === undefined ? NOWHERE : { store: full, givenUp };
}
