import { CairnError, type RangeDescriptor } from '@cairn/base';

import { descriptorToMessage } from './descriptor-messages.js';
import type { LeaderMemory } from './leader-memory.js';
import type { MetadataView } from './metadata-state.js';
import type { RangeEntry } from './range-map.js';
import { RPC_KEYS_MAX, type GetRoutesRequest, type GetRoutesResponse, type Route } from './wire-binding.js';

/** Ranges of one answer. */
const ROUTES_MAX = RPC_KEYS_MAX;
const ROUTES_DEFAULT = 100;
/** Above every key that can be stored; whoever asks with more is mistaken. */
const KEY_BYTES_MAX = 64 * 1024;

const RETRY_AFTER_MS = 200;

/**
 * Where keys live, as far as heartbeats have told; the first ranges while they have told nothing. Each range
 * once, and of what no shard node has reported lately nothing: one range that is gone must not hide others.
 *
 * @throws CairnError UNAVAILABLE while the cluster has no range at all; INVALID_ARGUMENT.
 */
export function findRoutes(
  state: MetadataView,
  memory: LeaderMemory,
  request: GetRoutesRequest,
): GetRoutesResponse {
  if (request.keys.length > ROUTES_MAX || request.limit > ROUTES_MAX) {
    throw new CairnError('INVALID_ARGUMENT', `at most ${ROUTES_MAX} keys or ranges can be asked for at once`);
  }
  const longest = Math.max(request.fromKey?.length ?? 0, ...request.keys.map((key) => key.length));
  if (longest > KEY_BYTES_MAX) {
    throw new CairnError('INVALID_ARGUMENT', `a key of ${longest} bytes; ${KEY_BYTES_MAX} is the most`);
  }
  if (memory.ranges.size === 0 && state.bootstrap === undefined) {
    const message = 'the cluster has no range yet: not enough shard nodes have joined';
    throw new CairnError('UNAVAILABLE', message, { retryAfterMs: RETRY_AFTER_MS });
  }
  const routes = new Map<number, Route>();
  const add = (route: Route | undefined): void => {
    if (route !== undefined) routes.set(route.descriptor?.rangeId ?? 0, route);
  };
  for (const key of request.keys) add(routeOf(state, memory, key));
  if (request.fromKey !== undefined) {
    const limit = request.limit === 0 ? ROUTES_DEFAULT : request.limit;
    const entries = memory.ranges.from(request.fromKey, limit);
    if (entries.length === 0) add(routeOf(state, memory, request.fromKey));
    for (const entry of entries) add(routeFromEntry(state, memory, entry));
  }
  const found = [...routes.values()];
  const stores = new Set<number>();
  for (const route of found)
    for (const replica of route.descriptor?.replicas ?? []) stores.add(replica.storeId);
  return {
    routes: found,
    stores: memory.nodes.storeInfos(state).filter((info) => stores.has(info.storeId)),
    incomplete: memory.nodes.unheard(state).length > 0,
  };
}

/** undefined = no shard node has reported the range of this key lately. */
function routeOf(state: MetadataView, memory: LeaderMemory, key: Uint8Array): Route | undefined {
  const entry = memory.ranges.at(key);
  if (entry !== undefined) return routeFromEntry(state, memory, entry);
  const first =
    memory.ranges.size === 0 ? state.bootstrap?.ranges.find((range) => holds(range, key)) : undefined;
  if (first === undefined) return undefined;
  return {
    descriptor: descriptorToMessage(first),
    leaderStoreId: 0,
    bytes: 0,
    readsPerSecond: 0,
    writesPerSecond: 0,
  };
}

function holds(range: RangeDescriptor, key: Uint8Array): boolean {
  if (Buffer.compare(range.startKey, key) > 0) return false;
  return range.endKey.length === 0 || Buffer.compare(key, range.endKey) < 0;
}

function routeFromEntry(state: MetadataView, memory: LeaderMemory, entry: RangeEntry): Route {
  const { leaderStoreId } = entry;
  // A leader that has not been heard from for seconds is none: another may lead already.
  const isLed = leaderStoreId !== 0 && memory.nodes.isStoreLive(state, leaderStoreId);
  return {
    descriptor: descriptorToMessage(entry.descriptor),
    leaderStoreId: isLed ? leaderStoreId : 0,
    bytes: entry.bytes,
    readsPerSecond: entry.readsPerSecond,
    writesPerSecond: entry.writesPerSecond,
  };
}
