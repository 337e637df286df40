import { describe, expect, it } from '@jest/globals';

import { HeartbeatRequest, type RangeReport } from './gen/cairn/internal/v1/metadata.js';
import { MetadataRpc, REPORTED_RANGES_MAX, RPC_KEYS_MAX, ShardRpc } from './rpc-methods.js';

const METHODS = [...Object.values(MetadataRpc), ...Object.values(ShardRpc)].map(
  (method) => [method.name, method] as const,
);
/** Fields of two bytes each, of every kind that can be so short. */
const TINY = Array.from({ length: 15 }, (_, at) => at + 1).flatMap((field) => [
  Buffer.from([field * 8, 1]),
  Buffer.from([field * 8 + 2, 0]),
]);

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}
const inside = (field: number, body: Buffer): Buffer =>
  Buffer.concat([varint(field * 8 + 2), varint(body.length), body]);

function report(rangeId: number): RangeReport {
  const replicas = Array.from({ length: 7 }, (_, at) => ({
    replicaId: rangeId + at,
    storeId: at + 1,
    role: 1,
  }));
  const ids = replicas.map(({ replicaId }) => replicaId);
  return {
    ...{ leaderTerm: 7, bytes: 1, readsPerSecond: 1, writesPerSecond: 1 },
    ...{ liveReplicaIds: ids, laggingReplicaIds: ids },
    descriptor: {
      ...{ rangeId, startKey: Buffer.from('a'), endKey: Buffer.from('b'), version: 1, confVersion: 1 },
      replicas,
      tail: Buffer.alloc(0),
    },
  };
}

describe('requests between nodes', () => {
  it.each(METHODS)('%s is not decoded when it has millions of tiny fields', (_name, method) => {
    for (const tiny of TINY) {
      const body = Buffer.alloc(1_000_000, tiny);
      expect(() => method.decodeRequest(body)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    }
  });

  it.each([
    ['members of a range', inside(5, inside(1, Buffer.alloc(2_000, Buffer.from([50, 0])))), 'replicas'],
    ['live members', inside(5, inside(6, Buffer.alloc(2_000, 1))), 'live_replica_ids'],
    ['lagging members', inside(5, inside(7, Buffer.alloc(2_000, 1))), 'lagging_replica_ids'],
    ['removed ranges', inside(6, Buffer.alloc(10 * REPORTED_RANGES_MAX + 1, 1)), 'removed_range_ids'],
  ])('a heartbeat is not decoded when it has too many %s', (_what, body, field) => {
    expect(() => MetadataRpc.heartbeat.decodeRequest(body)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { field } }),
    );
  });

  it('are decoded with all that an honest node may say', () => {
    const ranges = Array.from({ length: 2_000 }, (_, at) => report(at + 1));
    const removedRangeIds = ranges.map((_, at) => 2 ** 40 + at);
    const waitingReplicas = removedRangeIds.map((rangeId) => ({
      rangeId,
      replicaId: rangeId,
      confVersion: 1,
    }));
    const heartbeat = HeartbeatRequest.fromPartial({
      name: 'shard-1',
      ranges,
      removedRangeIds,
      waitingReplicas,
    });
    const bytes = MetadataRpc.heartbeat.encodeRequest(heartbeat);
    expect(MetadataRpc.heartbeat.decodeRequest(bytes)).toEqual(HeartbeatRequest.decode(bytes));
    const keys = Array.from({ length: RPC_KEYS_MAX }, (_, at) => Buffer.from(`k${at}`));
    const routes = MetadataRpc.getRoutes.encodeRequest({ keys, fromKey: undefined, limit: 0 });
    expect(MetadataRpc.getRoutes.decodeRequest(routes).keys).toHaveLength(RPC_KEYS_MAX);
    const split = ShardRpc.splitRange.encodeRequest({ rangeId: 1, version: 1, keys });
    expect(ShardRpc.splitRange.decodeRequest(split).keys).toHaveLength(RPC_KEYS_MAX);
  });
});
