import { assert, CairnError, messageOf, rethrowInvariant, type StoreId, NO_BYTES } from '@cairn/base';
import type { MetadataClient } from '@cairn/metadata';
import {
  checkBound,
  checkKey,
  compareKeys,
  invalidField,
  WIDEST_KEY_VALUE_LIMITS,
  type KeyValueLimits,
} from '@cairn/routing';
import { checkCompaction, compactOn, debugTextOf, enginesOf, shardsOf } from './engine-admin.js';
import { listedRanges } from './listed-ranges.js';
import { ShardRpc, SPLIT_KEYS_MAX, type RpcPool } from '@cairn/wire';
import {
  NodeState as KnownState,
  type GetRoutesResponse,
  type NodeStatus,
  type Route,
} from '@cairn/wire/gen/cairn/internal/v1/metadata.js';
import {
  NodeKind,
  NodeState,
  type CompactEngineRequest,
  type DebugRequest,
  type DebugResponse,
  type Engine,
  type Hold,
  type ListHoldsResponse,
  type ListRangesResponse,
  type Node,
  type PutHoldRequest,
  type RangeInfo,
  type Setting,
  type SettingChange,
  type StatusResponse,
} from '@cairn/wire/gen/cairn/v1/cluster.js';

const KINDS: Readonly<Record<string, NodeKind>> = {
  metadata: NodeKind.METADATA,
  shard: NodeKind.SHARD,
  router: NodeKind.ROUTER,
};
const STATES: Readonly<Record<KnownState, NodeState>> = {
  [KnownState.UNSPECIFIED]: NodeState.UNSPECIFIED,
  [KnownState.LIVE]: NodeState.LIVE,
  [KnownState.NOT_HEARD_YET]: NodeState.NOT_HEARD_YET,
  [KnownState.GONE]: NodeState.GONE,
  [KnownState.LOST]: NodeState.LOST,
};
const RANGES_PER_PAGE_MAX = 1_000;
/** Bytes of one page: clients accept messages of 4 MiB by default. */
const PAGE_BYTES_MAX = 3 * 1024 * 1024;
/** What a range takes besides its bounds, roughly. */
const RANGE_BYTES = 256;
/** Longest name and value of a setting, name and reason of a hold, that are passed on to be judged. */
const TEXT_CHARS_MAX = 4_096;
/** Keys whose ranges are asked for in one call of the metadata service. */
const ROUTE_KEYS_MAX = 100;
const SPLIT_TIMEOUT_MS = 30_000;
/** A split that meets a moved leader or a changed range looks again; this often. */
const SPLIT_TRIES_MAX = 20;
const SPLIT_RETRY_MS = 100;

export interface ClusterAdminParts {
  readonly metadata: MetadataClient;
  /** Calls to shard nodes. */
  readonly shards: RpcPool;
  readonly serverVersion: string;
  /** Stores that this router leaves alone for a while. */
  givenUpStores(): readonly StoreId[];
  /** Limits of now: settings change. */
  limits(): KeyValueLimits;
  sleep(delayMs: number): Promise<void>;
  /** Routes have changed by what was done here. */
  routesChanged(answer: GetRoutesResponse): void;
}

/**
 * Looking at the cluster and steering it, for the `Cluster` service. Holds nothing; asks the metadata service
 * each time.
 */
export class ClusterAdmin {
  readonly #parts: ClusterAdminParts;

  constructor(parts: ClusterAdminParts) {
    this.#parts = parts;
  }

  async status(): Promise<StatusResponse> {
    const status = await this.#parts.metadata.status();
    const nodes = status.nodes.map(nodeOf);
    const sum = (of: (node: Node) => number): number => nodes.reduce((total, node) => total + of(node), 0);
    return {
      clusterId: status.clusterId,
      serverVersion: this.#parts.serverVersion,
      nodes,
      ranges: status.ranges,
      rangesWithoutLeader: status.rangesWithoutLeader,
      rangesUnderReplicated: status.rangesUnderReplicated,
      readsPerSecond: sum((node) => node.readsPerSecond),
      writesPerSecond: sum((node) => node.writesPerSecond),
      timestamp: status.timestamp,
      givenUpStoreIds: [...this.#parts.givenUpStores()],
      problems: status.problems,
      unsettled: status.unsettled,
      clusterVersion: status.clusterVersion,
      newestClusterVersion: status.newestClusterVersion,
      upgradeWaits: status.upgradeWaits,
      gcSafePoint: status.gcSafePoint,
      gcPinnedBy: status.gcPinnedBy,
    };
  }

  async nodes(): Promise<Node[]> {
    return (await this.#parts.metadata.status()).nodes.map(nodeOf);
  }

  async ranges(start: Uint8Array, limit: number): Promise<ListRangesResponse> {
    const problem = checkBound(start, WIDEST_KEY_VALUE_LIMITS, 'start');
    if (problem !== undefined) throw problem;
    const wanted = limit === 0 ? RANGES_PER_PAGE_MAX : Math.min(limit, RANGES_PER_PAGE_MAX);
    const answer = await this.#parts.metadata.routes({
      keys: [],
      fromKey: Buffer.from(start),
      limit: wanted,
    });
    const isAll = answer.routes.length < wanted;
    const all = listedRanges(answer, start, isAll);
    const ranges = withinBytes(all);
    const isLast = isAll && ranges.length === all.length;
    return { ranges, nextStart: isLast ? NO_BYTES : (ranges.at(-1)?.end ?? NO_BYTES) };
  }

  /** What the engine of one store holds, or of all stores. */
  async engines(storeId: number): Promise<Engine[]> {
    const { nodes } = await this.#parts.metadata.status();
    return enginesOf(this.#parts.shards, shardsOf(nodes, storeId));
  }

  /** Has the engine of one store begin to compact a span. */
  async compact(request: CompactEngineRequest): Promise<void> {
    checkCompaction(request);
    const { nodes } = await this.#parts.metadata.status();
    for (const node of shardsOf(nodes, request.storeId)) await compactOn(this.#parts.shards, node, request);
  }

  /** What the node of one store knows at this moment, in words. */
  async debug({ storeId, rangeId }: DebugRequest): Promise<DebugResponse> {
    if (storeId === 0) throw invalidField('store_id', 'store_id is missing: one node is asked at a time');
    const { nodes } = await this.#parts.metadata.status();
    const [node] = shardsOf(nodes, storeId);
    assert(node !== undefined, 'a store that was asked for is there', { storeId });
    return debugTextOf(this.#parts.shards, node, rangeId);
  }

  async settings(): Promise<Setting[]> {
    return this.#parts.metadata.settings();
  }

  /** All of them, or none. */
  async putSettings(changes: readonly SettingChange[]): Promise<void> {
    for (const { name, value } of changes) checkTexts({ name, value });
    await this.#parts.metadata.putSettings(changes);
  }

  holds(): Promise<ListHoldsResponse> {
    return this.#parts.metadata.holds();
  }

  /** Makes a hold, or renews the one of that name. */
  async putHold(request: PutHoldRequest): Promise<Hold> {
    checkTexts({ name: request.name, reason: request.reason });
    return this.#parts.metadata.putHold(request);
  }

  /** Whether there was one. */
  async deleteHold(name: string): Promise<boolean> {
    checkTexts({ name });
    return (await this.#parts.metadata.deleteHold({ name })).deleted;
  }

  /** Cuts ranges until each key begins one. Answers how many ranges were made. */
  async split(keys: readonly Uint8Array[]): Promise<number> {
    if (keys.length > SPLIT_KEYS_MAX) {
      throw invalidField('keys', `keys has ${keys.length} elements; the limit is ${SPLIT_KEYS_MAX}`);
    }
    const limits = this.#parts.limits();
    for (const key of keys) {
      const problem = checkKey(key, limits, 'keys');
      if (problem !== undefined) throw problem;
    }
    let left = [...keys]
      .sort((a, b) => compareKeys(a, b))
      .filter((key, at, all) => at === 0 || compareKeys(key, all[at - 1] as Uint8Array) !== 0);
    let created = 0;
    let lastError: unknown;
    for (let tries = 0; tries < SPLIT_TRIES_MAX && left.length > 0; tries += 1) {
      if (tries > 0) await this.#parts.sleep(SPLIT_RETRY_MS);
      const answer = await this.#routesOf(left);
      left = left.filter(
        (key) =>
          !answer.routes.some(
            ({ descriptor }) => descriptor !== undefined && compareKeys(descriptor.startKey, key) === 0,
          ),
      );
      for (const [route, inside] of group(answer.routes, left)) {
        try {
          created += await this.#splitOne(answer, route, inside);
          left = left.filter((key) => !inside.includes(key));
        } catch (error) {
          rethrowInvariant(error);
          if (CairnError.is(error) && error.code === 'INVALID_ARGUMENT') throw error;
          lastError = error;
        }
      }
    }
    if (left.length > 0) {
      throw new CairnError(
        'UNAVAILABLE',
        `${left.length} keys could not be split at: ${messageOf(lastError)}`,
        {
          retryAfterMs: 500,
        },
      );
    }
    return created;
  }

  /** Ranges of the keys; the metadata service takes a bounded number at a time. */
  async #routesOf(keys: readonly Uint8Array[]): Promise<GetRoutesResponse> {
    const all: GetRoutesResponse = { routes: [], stores: [], incomplete: false };
    for (let at = 0; at < keys.length; at += ROUTE_KEYS_MAX) {
      const part = await this.#parts.metadata.routes({
        keys: keys.slice(at, at + ROUTE_KEYS_MAX).map((key) => Buffer.from(key)),
        limit: 0,
      });
      for (const route of part.routes) {
        const isKnown = all.routes.some((known) => known.descriptor?.rangeId === route.descriptor?.rangeId);
        if (!isKnown) all.routes.push(route);
      }
      all.stores = part.stores;
    }
    this.#parts.routesChanged(all);
    return all;
  }

  async #splitOne(answer: GetRoutesResponse, route: Route, keys: readonly Uint8Array[]): Promise<number> {
    const { descriptor } = route;
    const store = answer.stores.find(({ storeId }) => storeId === route.leaderStoreId);
    if (descriptor === undefined || store === undefined) {
      throw new CairnError('UNAVAILABLE', 'the leader of the range is not known yet', { retryAfterMs: 100 });
    }
    const response = await this.#parts.shards.client(store.address).call(
      ShardRpc.splitRange,
      {
        rangeId: descriptor.rangeId,
        version: descriptor.version,
        keys: keys.map((key) => Buffer.from(key)),
      },
      { timeoutMs: SPLIT_TIMEOUT_MS },
    );
    return response.created;
  }
}

/** @throws CairnError INVALID_ARGUMENT for a text that is too long, by the name of its field. */
function checkTexts(texts: Readonly<Record<string, string>>): void {
  for (const [field, text] of Object.entries(texts)) {
    if (text.length <= TEXT_CHARS_MAX) continue;
    throw invalidField(field, `${field} has ${text.length} characters; the limit is ${TEXT_CHARS_MAX}`);
  }
}

/** Which keys lie inside which range. */
function group(routes: readonly Route[], keys: readonly Uint8Array[]): Map<Route, Uint8Array[]> {
  const groups = new Map<Route, Uint8Array[]>();
  for (const key of keys) {
    const route = routes.find(({ descriptor }) => {
      if (descriptor === undefined || compareKeys(descriptor.startKey, key) > 0) return false;
      return descriptor.endKey.length === 0 || compareKeys(key, descriptor.endKey) < 0;
    });
    if (route === undefined) continue;
    const inside = groups.get(route);
    if (inside === undefined) groups.set(route, [key]);
    else inside.push(key);
  }
  return groups;
}

function nodeOf(node: NodeStatus): Node {
  const { kind, publicAddress, address, state, build, ...rest } = node;
  return {
    ...rest,
    release: build?.release ?? '',
    clusterVersionMin: build?.clusterVersionMin ?? 0,
    clusterVersionMax: build?.clusterVersionMax ?? 0,
    state: STATES[state],
    kind: KINDS[kind] ?? NodeKind.UNSPECIFIED,
    address: kind === 'router' ? publicAddress : address,
  };
}

/** The first ranges, as many as fit into a page, and at least one. */
function withinBytes(ranges: RangeInfo[]): RangeInfo[] {
  let bytes = 0;
  const count = ranges.findIndex(({ start, end }, at) => {
    bytes += RANGE_BYTES + start.length + end.length;
    return at > 0 && bytes > PAGE_BYTES_MAX;
  });
  return count < 0 ? ranges : ranges.slice(0, count);
}
