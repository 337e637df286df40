import { assert, type StoreId } from '@cairn/base';

import { refuse, type Refusal } from './decision.js';

/** What the choice of a store for a new replica depends on. */
export interface StoreCandidate {
  readonly storeId: StoreId;
  /** Heard from lately. */
  readonly isLive: boolean;
  /** Replicas it holds now. */
  readonly replicas: number;
  /** 0 = not reported yet: does not count against it. */
  readonly diskFreeBytes: number;
}

export interface ChooseStoresRequest {
  /** Each store at most once. */
  readonly stores: readonly StoreCandidate[];
  /** Replicas wanted, 1... */
  readonly count: number;
  /** Stores that report less free space than this are passed over. */
  readonly diskFreeBytesMin: number;
}

export type ChooseStoresRefusal = 'too-few-stores' | 'too-few-live-stores' | 'too-little-space';

export type ChooseStoresDecision =
  { readonly decided: true; readonly storeIds: readonly StoreId[] } | Refusal<ChooseStoresRefusal>;

/**
 * Stores for the replicas of a new range: distinct, live, with space; fewest replicas first, then most free
 * space, then the lowest id, so that equal inputs give equal answers in any order. Answers all `count` or
 * none.
 */
export function chooseStoresForNewRange(request: ChooseStoresRequest): ChooseStoresDecision {
  const { stores, count, diskFreeBytesMin } = request;
  assert(Number.isSafeInteger(count) && count > 0, 'a range has at least one replica', { count });
  assert(new Set(stores.map((store) => store.storeId)).size === stores.length, 'a store is named twice');
  if (stores.length < count) {
    return refuse('too-few-stores', `${count} stores are needed and ${stores.length} have joined`);
  }
  const live = stores.filter((store) => store.isLive);
  if (live.length < count) {
    return refuse(
      'too-few-live-stores',
      `${count} live stores are needed, ${live.length} of ${stores.length} are live`,
    );
  }
  const roomy = live.filter((store) => store.diskFreeBytes === 0 || store.diskFreeBytes >= diskFreeBytesMin);
  if (roomy.length < count) {
    return refuse(
      'too-little-space',
      `${count} stores with ${diskFreeBytesMin} free bytes are needed, ${roomy.length} of ${live.length} do`,
    );
  }
  const ranked = roomy.toSorted(
    (a, b) => a.replicas - b.replicas || b.diskFreeBytes - a.diskFreeBytes || a.storeId - b.storeId,
  );
  return { decided: true, storeIds: ranked.slice(0, count).map((store) => store.storeId) };
}
