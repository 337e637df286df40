import { NO_BYTES } from '@cairn/base';
import { compareKeys } from '@cairn/routing';
import type { GetRoutesResponse, Route } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';
import { RangeState, type RangeInfo, type ReplicaInfo } from '@cairn/wire/gen/cairn/v1/cluster.js';

const ROLES = ['unspecified', 'voter', 'learner', 'incoming', 'outgoing'];

/**
 * What the metadata service answered, from `start` on, as a listing without gaps: spans that no node reports
 * are in it as missing, and a leader whose node is down is none. While the answer is incomplete, neither is
 * known yet. `isAll`: nothing is known behind the last.
 */
export function listedRanges(answer: GetRoutesResponse, start: Uint8Array, isAll: boolean): RangeInfo[] {
  const live = new Set(answer.stores.filter((store) => store.live).map(({ storeId }) => storeId));
  const listed: RangeInfo[] = [];
  // undefined = the end of the key space is reached.
  let covered: Uint8Array | undefined = start;
  for (const route of answer.routes) {
    const { descriptor } = route;
    if (descriptor === undefined || covered === undefined) continue;
    if (compareKeys(descriptor.startKey, covered) > 0)
      listed.push(missing(covered, descriptor.startKey, answer.incomplete));
    listed.push(rangeOf(route, descriptor, { live, isKnown: !answer.incomplete }));
    covered = descriptor.endKey.length === 0 ? undefined : descriptor.endKey;
  }
  if (isAll && covered !== undefined) listed.push(missing(covered, NO_BYTES, answer.incomplete));
  return listed;
}

function missing(start: Uint8Array, end: Uint8Array, mayExist: boolean): RangeInfo {
  return {
    rangeId: 0,
    start: Buffer.from(start),
    end: Buffer.from(end),
    version: 0,
    confVersion: 0,
    replicas: [],
    leaderStoreId: 0,
    bytes: 0,
    readsPerSecond: 0,
    writesPerSecond: 0,
    state: mayExist ? RangeState.NOT_KNOWN_YET : RangeState.MISSING,
  };
}

function rangeOf(
  route: Route,
  descriptor: NonNullable<Route['descriptor']>,
  { live, isKnown }: { readonly live: ReadonlySet<number>; readonly isKnown: boolean },
): RangeInfo {
  const isLed = live.has(route.leaderStoreId);
  return {
    rangeId: descriptor.rangeId,
    start: descriptor.startKey,
    end: descriptor.endKey,
    version: descriptor.version,
    confVersion: descriptor.confVersion,
    replicas: descriptor.replicas.map((replica): ReplicaInfo => ({
      replicaId: replica.replicaId,
      storeId: replica.storeId,
      role: ROLES[replica.role] ?? 'unspecified',
    })),
    leaderStoreId: isLed ? route.leaderStoreId : 0,
    bytes: route.bytes,
    readsPerSecond: route.readsPerSecond,
    writesPerSecond: route.writesPerSecond,
    state: isLed ? RangeState.LED : isKnown ? RangeState.NO_LEADER : RangeState.NOT_KNOWN_YET,
  };
}
