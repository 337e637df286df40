import { CairnError, type RangeDescriptor, type StoreId } from '@cairn/base';

import { descriptorFromMessage } from './descriptor-messages.js';
import type { MetadataView } from './metadata-state.js';
import type { RangeFacts } from './range-map.js';
import { REPORTED_RANGES_MAX, type HeartbeatRequest, type RangeReport } from './wire-binding.js';

/** Longest key that any setting allows, and the zero byte of a boundary behind it. */
const BOUNDARY_BYTES_MAX = 32 * 1024 + 1;
/** Members while one of seven replicas is being replaced, and a few that were left behind. */
const REPLICAS_MAX = 32;
/** Counts of splits and moves do not come near it; sums of them stay exact. */
const COUNT_MAX = 2 ** 48;

/** Operations per second: far more than any node serves. */
const RATE_MAX = 1e12;

/**
 * What a node says of itself in numbers that may be none: they are shown, and added to those of others.
 *
 * @throws CairnError INVALID_ARGUMENT for what cannot be counted.
 */
export function checkNumbers({ name, readsPerSecond, writesPerSecond }: HeartbeatRequest): void {
  const isRate = (value: number): boolean => value >= 0 && value <= RATE_MAX;
  if (isRate(readsPerSecond) && isRate(writesPerSecond)) return;
  throw new CairnError(
    'INVALID_ARGUMENT',
    `${name} says that it serves ${readsPerSecond} reads and ${writesPerSecond} writes per second: no node can`,
  );
}

/**
 * What a store says of its ranges, when it can be true: ids that were handed out, members that are
 * registered, the store among them unless it tells of its past. Whether it is believed is another question.
 *
 * @throws CairnError INVALID_ARGUMENT for what no range can be: the whole heartbeat is refused.
 */
export function checkReports(state: MetadataView, store: StoreId, request: HeartbeatRequest): RangeFacts[] {
  const { ranges, removedRangeIds, waitingReplicas } = request;
  const most = Math.max(ranges.length, removedRangeIds.length, waitingReplicas.length);
  if (most > REPORTED_RANGES_MAX)
    throw nonsense(store, `tells of ${most} ranges at once; ${REPORTED_RANGES_MAX} is the most`);
  const seen = new Set<number>();
  return ranges.map((report) => {
    const descriptor = descriptorFromMessage(report.descriptor);
    checkDescriptor(state, store, descriptor);
    if (seen.has(descriptor.rangeId)) throw nonsense(store, `names range ${descriptor.rangeId} twice`);
    seen.add(descriptor.rangeId);
    return factsFrom(store, descriptor, report);
  });
}

function checkDescriptor(state: MetadataView, store: StoreId, descriptor: RangeDescriptor): void {
  const { rangeId, startKey, endKey, epoch, replicas } = descriptor;
  const wrong = (what: string): CairnError => nonsense(store, `reports range ${rangeId} with ${what}`);
  if (rangeId >= state.nextId) throw wrong('an id that was not given out');
  const longest = Math.max(startKey.length, endKey.length);
  if (longest > BOUNDARY_BYTES_MAX)
    throw wrong(`a boundary of ${longest} bytes; ${BOUNDARY_BYTES_MAX} is the most`);
  if (
    epoch.version < 1 ||
    epoch.version > COUNT_MAX ||
    epoch.confVersion < 1 ||
    epoch.confVersion > COUNT_MAX
  ) {
    throw wrong(`epoch ${epoch.version}/${epoch.confVersion}`);
  }
  if (replicas.length === 0 || replicas.length > REPLICAS_MAX) throw wrong(`${replicas.length} members`);
  const stores = new Set<number>();
  const ids = new Set<number>();
  for (const member of replicas) {
    if (member.replicaId >= state.nextId)
      throw wrong(`replica ${member.replicaId}, an id that was not given out`);
    if (state.nodeOfStore(member.storeId) === undefined)
      throw wrong(`store ${member.storeId}, which is not registered`);
    stores.add(member.storeId);
    ids.add(member.replicaId);
  }
  if (stores.size !== replicas.length || ids.size !== replicas.length) throw wrong('a member twice');
}

function factsFrom(store: StoreId, descriptor: RangeDescriptor, report: RangeReport): RangeFacts {
  const { leaderTerm, bytes, readsPerSecond, writesPerSecond, laggingReplicaIds } = report;
  const isMember = descriptor.replicas.some((member) => member.storeId === store);
  if (leaderTerm > COUNT_MAX)
    throw nonsense(store, `leads range ${descriptor.rangeId} in term ${leaderTerm}`);
  if (leaderTerm > 0 && !isMember)
    throw nonsense(store, `leads range ${descriptor.rangeId} without being a member`);
  const numbers = [bytes, readsPerSecond, writesPerSecond];
  if (!numbers.every((value) => Number.isFinite(value) && value >= 0)) {
    throw nonsense(store, `reports range ${descriptor.rangeId} with the numbers ${numbers.join(', ')}`);
  }
  const lagging = new Set(laggingReplicaIds);
  const laggingReplicas = descriptor.replicas.filter(({ replicaId }) => lagging.has(replicaId)).length;
  return { descriptor, leaderTerm, bytes, readsPerSecond, writesPerSecond, laggingReplicas };
}

function nonsense(store: StoreId, what: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', `store ${store} ${what}`);
}
