import {
  rangeId,
  replicaId,
  type RangeDescriptor,
  type ReplicaId,
  type StoreId,
  NO_BYTES,
} from '@cairn/base';
import { chooseStoresForNewRange, type ChooseStoresRefusal, type StoreCandidate } from '@cairn/placement';

import { FIRST_RANGE_ID, type MetadataView } from './metadata-state.js';
import { evaluateEstablished } from './membership.js';
import type { Evaluation } from './proposer.js';

/** A store with less free space than this gets no replica of the first range. */
const DISK_FREE_BYTES_MIN = 64 * 1024 * 1024;

export type BootstrapOutcome =
  | { readonly type: 'done'; readonly descriptor: RangeDescriptor | undefined }
  | { readonly type: 'waiting'; readonly code: ChooseStoresRefusal; readonly reason: string };

/**
 * The first range: all keys, one voter on each of the chosen stores. Once there is a bootstrap record,
 * nothing.
 */
export function evaluateBootstrap(
  state: MetadataView,
  stores: readonly StoreCandidate[],
  replicas: number,
): Evaluation<BootstrapOutcome> {
  if (state.bootstrap !== undefined) return { changes: [], result: { type: 'done', descriptor: undefined } };
  const choice = chooseStoresForNewRange({ stores, count: replicas, diskFreeBytesMin: DISK_FREE_BYTES_MIN });
  if (!choice.decided) {
    return { changes: [], result: { type: 'waiting', code: choice.code, reason: choice.reason } };
  }
  const descriptor: RangeDescriptor = {
    rangeId: rangeId(FIRST_RANGE_ID),
    startKey: NO_BYTES,
    endKey: NO_BYTES,
    epoch: { version: 1, confVersion: 1 },
    replicas: choice.storeIds.map((storeId, index) => ({
      replicaId: replicaId(state.nextId + index),
      storeId,
      role: 'voter',
    })),
  };
  return {
    changes: [
      { type: 'next-id', value: state.nextId + replicas },
      { type: 'bootstrap', value: { ranges: [descriptor], createdReplicaIds: [] } },
      ...evaluateEstablished(state, choice.storeIds).changes,
    ],
    result: { type: 'done', descriptor },
  };
}

/** A replica of a first range, and the range it belongs to. */
export interface BootstrapReplica {
  readonly replicaId: ReplicaId;
  readonly descriptor: RangeDescriptor;
}

/** Replicas of first ranges that the store was never seen to hold. */
export function missingReplicas(state: MetadataView, store: StoreId): BootstrapReplica[] {
  const { bootstrap } = state;
  if (bootstrap === undefined) return [];
  const missing: BootstrapReplica[] = [];
  for (const descriptor of bootstrap.ranges) {
    for (const replica of descriptor.replicas) {
      if (replica.storeId !== store || bootstrap.createdReplicaIds.includes(replica.replicaId)) continue;
      missing.push({ replicaId: replica.replicaId, descriptor });
    }
  }
  return missing;
}

/**
 * The replicas exist. Remembered for ever: a store that lost one later, because it was moved away, must not
 * be asked to make it again.
 */
export function evaluateCreated(state: MetadataView, created: readonly ReplicaId[]): Evaluation<undefined> {
  const { bootstrap } = state;
  if (bootstrap === undefined) return { changes: [], result: undefined };
  const fresh = created.filter((id) => !bootstrap.createdReplicaIds.includes(id));
  if (fresh.length === 0) return { changes: [], result: undefined };
  const value = { ...bootstrap, createdReplicaIds: [...bootstrap.createdReplicaIds, ...fresh] };
  return { changes: [{ type: 'bootstrap', value }], result: undefined };
}
