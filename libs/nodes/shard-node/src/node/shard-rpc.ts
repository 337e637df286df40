import { CairnError, printable, rethrowInvariant, type RangeId, type StoreId } from '@cairn/base';
import { asBuffer } from '@cairn/mvcc';
import type { Metrics } from '@cairn/ports';
import type { Store } from '@cairn/store';
import {
  ENGINE_LEVELS_MAX,
  ENGINE_NAME_CHARS_MAX,
  RPC_KEYS_MAX,
  ShardRpc,
  type LockInfo,
  type RpcMethod,
  type SessionRpcServer,
} from '@cairn/wire';
import type { StoreInfo } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';
import type { EngineStatsResponse } from '@cairn/wire/gen/cairn/internal/v1/shard.js';

import { WIDEST_SIZE_LIMITS } from '../kv/request-checks.js';
import { nodeDebugText, type ShownMachines } from './debug-text.js';
import type { EngineOperator } from './engine-operator.js';
import { ledReplica } from './led-replica.js';
import type { RangeSplitter } from './range-splitter.js';
import { changeOf, type ReplicaMover } from './replica-mover.js';

/** Settings of the cluster that bound what may be asked. */
export interface NodeLimits {
  readonly replicationFactor: number;
  readonly sizes: { readonly keyBytesMax: number };
}

export interface ShardRpcParts {
  readonly metrics: Metrics;
  readonly splitter: RangeSplitter;
  readonly mover: ReplicaMover;
  readonly engine: EngineOperator;
  readonly store: Store;
  readonly machines: ShownMachines;
  /** See `overdueLocksOf`. */
  overdueLocks(ignoredStarts: readonly number[]): readonly LockInfo[];
  /** A store, as the metadata service last told of it. */
  storeInfo(id: StoreId): StoreInfo | undefined;
  /** Undefined until they were heard. */
  limits(): NodeLimits | undefined;
}

/**
 * What routers and operators may ask of a node, checked before anything is begun: frames are not signed,
 * and a mistake must not cost a range its quorum.
 */
export function handleShardRpc(server: SessionRpcServer, parts: ShardRpcParts): void {
  const handle = countedHandlers(server, parts.metrics);
  handle(ShardRpc.splitRange, async ({ rangeId, version, keys }) => {
    checkCuts(parts, keys);
    return { created: await parts.splitter.splitAt(rangeId as RangeId, version, keys) };
  });
  handle(ShardRpc.transferLeader, (request) => {
    transferLeader(parts.store, request.rangeId as RangeId, request.toStoreId as StoreId);
    return {};
  });
  handle(ShardRpc.changeReplicas, async ({ rangeId, confVersion, addStoreId, removeStoreId }) => {
    const change = changeOf(addStoreId, removeStoreId);
    if (change.addStoreId !== undefined) checkNewMember(parts, change.addStoreId);
    else if (change.removeStoreId !== undefined)
      checkRemoval(parts, rangeId as RangeId, change.removeStoreId);
    const after = await parts.mover.change(rangeId as RangeId, confVersion, change);
    return { confVersion: after.epoch.confVersion };
  });
  handle(ShardRpc.engineStats, () => engineAnswer(parts.engine));
  handle(ShardRpc.overdueLocks, ({ ignoredStarts }) => ({
    locks: parts.overdueLocks(ignoredStarts).map(({ key, primary, start, deadline }) => ({
      ...{ key: asBuffer(key), primary: asBuffer(primary), start, deadline },
    })),
  }));
  handle(ShardRpc.debug, ({ rangeId }) => ({
    text: nodeDebugText(parts.store, parts.machines, rangeId as RangeId),
  }));
  handle(ShardRpc.compactEngine, ({ start, end }) => {
    checkSpan(start, end);
    parts.engine.compact(start, end);
    return {};
  });
}

type Handle = <Request, Response>(
  method: RpcMethod<Request, Response>,
  handler: (request: Request) => Promise<Response> | Response,
) => void;

/** Every request is counted, refused ones by their reason. */
function countedHandlers(server: SessionRpcServer, metrics: Metrics): Handle {
  const requests = metrics.counter(
    'cairn_shard_rpc_requests_total',
    'Requests of operators and routers besides keys and values, by method and outcome (OK or an error code)',
    ['method', 'outcome'],
  );
  return (method, handler) => {
    const label = method.name.slice(method.name.lastIndexOf('/') + 1);
    server.handle(method, async (request) => {
      try {
        const response = await handler(request);
        requests.add(1, { method: label, outcome: 'OK' });
        return response;
      } catch (error) {
        rethrowInvariant(error);
        requests.add(1, { method: label, outcome: CairnError.is(error) ? error.code : 'INTERNAL' });
        throw error;
      }
    });
  };
}

/** An engine from elsewhere may say anything, and who asks reads no more than what is said here. */
async function engineAnswer(operator: EngineOperator): Promise<EngineStatsResponse> {
  const { engine, levels, ...numbers } = await operator.stats();
  const { compaction } = operator;
  return {
    ...numbers,
    engine: printable(String(engine).slice(0, ENGINE_NAME_CHARS_MAX)),
    levels: levels.slice(0, ENGINE_LEVELS_MAX),
    compaction:
      compaction === undefined ? undefined : { ...compaction, problem: printable(compaction.problem) },
  };
}

function checkCuts(parts: ShardRpcParts, keys: readonly Uint8Array[]): void {
  const { keyBytesMax } = limitsOf(parts).sizes;
  if (keys.length === 0 || keys.length > RPC_KEYS_MAX) {
    throw new CairnError(
      'INVALID_ARGUMENT',
      `1 to ${RPC_KEYS_MAX} keys can be cut at in one call, not ${keys.length}`,
    );
  }
  for (const key of keys) {
    if (key.length > 0 && key.length <= keyBytesMax) continue;
    throw new CairnError(
      'INVALID_ARGUMENT',
      `a range cannot be cut at a key of ${key.length} bytes: keys have 1 to ${keyBytesMax} (key.max_bytes)`,
    );
  }
}

/**
 * Keys may be longer than new ones may be by now, and the key behind one of the largest size is a bound, too.
 */
const BOUND_BYTES_MAX = WIDEST_SIZE_LIMITS.keyBytesMax + 1;

function checkSpan(start: Uint8Array, end: Uint8Array): void {
  if (start.length > BOUND_BYTES_MAX || end.length > BOUND_BYTES_MAX) {
    throw new CairnError('INVALID_ARGUMENT', `a bound of a span has at most ${BOUND_BYTES_MAX} bytes`);
  }
  if (end.length === 0 || Buffer.compare(start, end) < 0) return;
  throw new CairnError('INVALID_ARGUMENT', 'the end of the span is not behind its start');
}

function transferLeader(store: Store, rangeId: RangeId, toStoreId: StoreId): void {
  const replica = ledReplica(store, rangeId);
  const target = replica.descriptor.replicas.find((member) => member.storeId === toStoreId);
  if (target === undefined) {
    throw new CairnError('FAILED_PRECONDITION', `store ${toStoreId} has no replica of range ${rangeId}`);
  }
  const result = replica.raft.transferLeader(target.replicaId);
  // Who leads already has what was asked for.
  if (result.type === 'refused' && result.reason !== 'already-leader') {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `store ${toStoreId} cannot lead range ${rangeId} now: ${result.reason}`,
    );
  }
  replica.wake();
}

function checkNewMember(parts: ShardRpcParts, id: StoreId): void {
  const info = parts.storeInfo(id);
  const why =
    info === undefined
      ? 'it is not registered'
      : info.lost
        ? 'it was declared lost'
        : info.live
          ? undefined
          : 'it has not been heard from lately';
  if (why === undefined) return;
  throw new CairnError('FAILED_PRECONDITION', `store ${id} cannot become a member: ${why}`);
}

/** Fewer voters than the cluster wants are what failures leave, not what anybody asks for. */
function checkRemoval(parts: ShardRpcParts, rangeId: RangeId, id: StoreId): void {
  const members = parts.store.replica(rangeId)?.descriptorOrUndefined?.replicas ?? [];
  const isVoter = members.some(({ storeId, role }) => storeId === id && role !== 'learner');
  if (!isVoter) return;
  const left = members.filter(({ storeId, role }) => storeId !== id && role !== 'learner').length;
  const { replicationFactor } = limitsOf(parts);
  if (left >= replicationFactor) return;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `range ${rangeId} would be left with ${left} voters; replication.factor is ${replicationFactor}: ` +
      'name a store to add as well',
  );
}

function limitsOf(parts: ShardRpcParts): NodeLimits {
  const limits = parts.limits();
  if (limits !== undefined) return limits;
  throw new CairnError('UNAVAILABLE', "the cluster's settings are not known here yet", { retryAfterMs: 200 });
}
