import { CairnError, messageOf, printable, printableLines, rethrowInvariant } from '@cairn/base';
import { checkBound, compareKeys, invalidField, WIDEST_KEY_VALUE_LIMITS } from '@cairn/routing';
import { ENGINE_NAME_CHARS_MAX, ShardRpc, type RpcPool } from '@cairn/wire';
import type { NodeStatus } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';
import type { EngineStatsResponse } from '@cairn/wire/gen/cairn/internal/v1/shard.js';
import type { CompactEngineRequest, DebugResponse, Engine } from '@cairn/wire/gen/cairn/v1/cluster.js';

/** A node that does not answer by then is listed with that. */
const STATS_TIMEOUT_MS = 3_000;
const COMPACT_TIMEOUT_MS = 10_000;
/** Nodes that are asked at the same time. */
const ASKED_AT_ONCE_MAX = 16;

/** A shard node, as far as it is asked for its engine. */
type ShardStatus = Pick<NodeStatus, 'storeId' | 'name' | 'address' | 'live'>;

const KIND = 'shard';

/**
 * The shard nodes among all; with a store id that one. Throws INVALID_ARGUMENT when there is none with the
 * id.
 */
export function shardsOf(nodes: readonly NodeStatus[], storeId: number): ShardStatus[] {
  const shards = nodes.filter(({ kind }) => kind === KIND);
  if (storeId === 0) return shards;
  const wanted = shards.filter((node) => node.storeId === storeId);
  if (wanted.length > 0) return wanted;
  throw invalidField('store_id', `there is no shard node with the store id ${storeId}`);
}

/** What the engines of these nodes hold, in their order; of a node that does not tell, why. */
export async function enginesOf(shards: RpcPool, nodes: readonly ShardStatus[]): Promise<Engine[]> {
  const engines: Engine[] = [];
  for (let at = 0; at < nodes.length; at += ASKED_AT_ONCE_MAX) {
    const part = nodes.slice(at, at + ASKED_AT_ONCE_MAX);
    engines.push(...(await Promise.all(part.map((node) => engineOf(shards, node)))));
  }
  return engines;
}

async function engineOf(shards: RpcPool, { storeId, name, address, live }: ShardStatus): Promise<Engine> {
  const silent = { storeId, name, engine: '', diskBytes: 0, levels: [], compaction: undefined };
  if (!live) return { ...silent, problem: 'the node is not heard from' };
  try {
    const stats = await shards
      .client(address)
      .call(ShardRpc.engineStats, {}, { timeoutMs: STATS_TIMEOUT_MS });
    return { ...stats, ...shown(stats), storeId, name, problem: '' };
  } catch (error) {
    rethrowInvariant(error);
    return { ...silent, problem: printable(messageOf(error)) };
  }
}

/** What a node says in words: any may have joined, and people read it on their terminals. */
function shown({ engine, compaction }: EngineStatsResponse): Pick<Engine, 'engine' | 'compaction'> {
  return {
    engine: printable(engine.slice(0, ENGINE_NAME_CHARS_MAX)),
    compaction:
      compaction === undefined ? undefined : { ...compaction, problem: printable(compaction.problem) },
  };
}

/** Has a node begin to compact; rejects with what it answers. */
export async function compactOn(
  shards: RpcPool,
  node: ShardStatus,
  { start, end }: Pick<CompactEngineRequest, 'start' | 'end'>,
): Promise<void> {
  if (!node.live) {
    throw new CairnError('UNAVAILABLE', `${node.name} is not heard from`, { retryAfterMs: 1_000 });
  }
  await shards
    .client(node.address)
    .call(ShardRpc.compactEngine, { start, end }, { timeoutMs: COMPACT_TIMEOUT_MS });
}

/** What a node knows at this moment, in words; rejects with what it answers. */
export async function debugTextOf(
  shards: RpcPool,
  node: ShardStatus,
  rangeId: number,
): Promise<DebugResponse> {
  if (!node.live) {
    throw new CairnError('UNAVAILABLE', `${node.name} is not heard from`, { retryAfterMs: 1_000 });
  }
  const { text } = await shards
    .client(node.address)
    .call(ShardRpc.debug, { rangeId }, { timeoutMs: STATS_TIMEOUT_MS });
  return { text: printableLines(text) };
}

/** Throws INVALID_ARGUMENT for what is no request. */
export function checkCompaction({ storeId, start, end }: CompactEngineRequest): void {
  if (storeId === 0) throw invalidField('store_id', 'store_id is missing: one node compacts at a time');
  for (const [field, key] of Object.entries({ start, end })) {
    const problem = checkBound(key, WIDEST_KEY_VALUE_LIMITS, field);
    if (problem !== undefined) throw problem;
  }
  if (end.length === 0) return;
  const order = compareKeys(start, end);
  if (order > 0) throw invalidField('end', 'end lies before start');
  if (order === 0) throw invalidField('end', 'end is start: no key lies between them');
}
