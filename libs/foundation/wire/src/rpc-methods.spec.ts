import { describe, expect, it } from '@jest/globals';

import {
  GetRoutesResponse,
  GetStatusResponse,
  HeartbeatRequest,
  HeartbeatResponse,
  JoinResponse,
  type RangeDescriptor,
  type RangeReport,
} from './gen/cairn/internal/v1/metadata.js';
import { EngineStatsResponse } from './gen/cairn/internal/v1/shard.js';
import {
  DEBUG_TEXT_CHARS_MAX,
  ENGINE_LEVELS_MAX,
  LOCK_OWNERS_MAX,
  LOCK_WAITS_MAX,
  MetadataRpc,
  REPORTED_RANGES_MAX,
  RPC_KEYS_MAX,
  ShardRpc,
} from './rpc-methods.js';

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

const membersOf = (rangeId: number): RangeDescriptor['replicas'] =>
  Array.from({ length: 7 }, (_, at) => ({ replicaId: rangeId + at, storeId: at + 1, role: 1 }));

const descriptorOf = (rangeId: number): RangeDescriptor => ({
  ...{ rangeId, startKey: Buffer.from('a'), endKey: Buffer.from('b'), version: 1, confVersion: 1 },
  replicas: membersOf(rangeId),
  tail: Buffer.alloc(0),
});

function report(rangeId: number): RangeReport {
  const ids = membersOf(rangeId).map(({ replicaId }) => replicaId);
  return {
    ...{ leaderTerm: 7, bytes: 1, readsPerSecond: 1, writesPerSecond: 1 },
    ...{ liveReplicaIds: ids, laggingReplicaIds: ids },
    descriptor: descriptorOf(rangeId),
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
    const holders = Array.from({ length: LOCK_OWNERS_MAX }, (_, at) => 2 ** 52 + at);
    const waits = Array.from({ length: LOCK_WAITS_MAX }, (_, at) => ({ waiter: 2 ** 52 + at, holders }));
    const reported = MetadataRpc.reportWaits.encodeRequest({ waits });
    expect(MetadataRpc.reportWaits.decodeRequest(reported)).toEqual({ waits });
    const split = ShardRpc.splitRange.encodeRequest({ rangeId: 1, version: 1, keys });
    expect(ShardRpc.splitRange.decodeRequest(split).keys).toHaveLength(RPC_KEYS_MAX);
  });
});

const MILLION = 1_000_000;

describe('answers between nodes', () => {
  it.each(METHODS)('%s is not decoded when it has millions of tiny fields', (_name, method) => {
    for (const tiny of TINY) {
      const body = Buffer.alloc(MILLION, tiny);
      expect(() => method.decodeResponse(body)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      );
    }
  });

  it.each([
    ['an engine', ShardRpc.engineStats, 3, 'levels'],
    ['the stores of a join', MetadataRpc.join, 4, 'stores'],
    ['the stores of a heartbeat', MetadataRpc.heartbeat, 2, 'stores'],
    ['the commands of a heartbeat', MetadataRpc.heartbeat, 3, 'commands'],
    ['the settings of a heartbeat', MetadataRpc.heartbeat, 5, 'settings'],
    ['routes', MetadataRpc.getRoutes, 1, 'routes'],
    ['the nodes of a status', MetadataRpc.getStatus, 2, 'nodes'],
    ['the problems of a status', MetadataRpc.getStatus, 7, 'problems'],
    ['settings', MetadataRpc.getSettings, 1, 'settings'],
    ['holds', MetadataRpc.listHolds, 1, 'holds'],
    ['victims of a deadlock', MetadataRpc.reportWaits, 1, 'victims'],
  ])('that tell of %s are not decoded when there are too many', (_what, method, number, name) => {
    // Below what any answer may have in bytes, so that it is the count that is refused.
    const body = Buffer.alloc(60_000, Buffer.from([number * 8 + 2, 0]));
    expect(() => method.decodeResponse(body)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { field: name } }),
    );
  });

  it.each([
    [
      'a descriptor of a route',
      MetadataRpc.getRoutes,
      inside(1, inside(1, Buffer.alloc(2_000, Buffer.from([50, 0])))),
    ],
    [
      'a descriptor of a command',
      MetadataRpc.heartbeat,
      inside(3, inside(2, Buffer.alloc(2_000, Buffer.from([50, 0])))),
    ],
  ])('are not decoded when %s has too many members', (_what, method, body) => {
    expect(() => method.decodeResponse(body)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { field: 'replicas' } }),
    );
  });

  it('are not decoded when a text in them is longer than any', () => {
    const longName = EngineStatsResponse.fromPartial({ engine: 'E'.repeat(70_000) });
    const { encodeResponse, decodeResponse } = ShardRpc.engineStats;
    expect(() => decodeResponse(encodeResponse(longName))).toThrow(/it has 7\d{4} bytes; the limit is 65536/);
    const { debug } = ShardRpc;
    const text = '€'.repeat(DEBUG_TEXT_CHARS_MAX);
    expect(debug.decodeResponse(debug.encodeResponse({ text }))).toEqual({ text });
    const longer = debug.encodeResponse({ text: text + text });
    expect(() => debug.decodeResponse(longer)).toThrow('the limit is');
  });

  it('are decoded with all that an honest node may say', () => {
    const stores = Array.from({ length: 4_096 }, (_, at) => ({
      ...{ storeId: at + 1, name: `shard-${at + 1}`, address: 'host:1', live: true, lost: false },
    }));
    const settings = Array.from({ length: 200 }, (_, at) => ({
      ...{ name: `s${at}`, value: '1', description: 'What it does.', isDefault: true },
    }));
    const descriptors = Array.from({ length: 1_000 }, (_, at) => descriptorOf(at + 1));
    const build = {
      release: '0.1.0',
      clusterVersionMin: 1,
      clusterVersionMax: 2,
      protocolMin: 7,
      protocolMax: 7,
    };
    const nodes = Array.from({ length: 8_201 }, (_, at) => ({
      name: `n${at}`,
      kind: 'router',
      live: true,
      build,
    }));
    const joined = JoinResponse.fromPartial({ stores });
    const heard = HeartbeatResponse.fromPartial({
      ...{ stores, settings },
      commands: descriptors.slice(0, 201).map((value) => ({ command: { $case: 'removeReplica', value } })),
    });
    const found = GetRoutesResponse.fromPartial({
      stores,
      routes: [...descriptors, ...descriptors].map((descriptor) => ({ descriptor, leaderStoreId: 1 })),
    });
    const status = GetStatusResponse.fromPartial({
      nodes,
      problems: Array<string>(20).fill('a problem'),
      upgradeWaits: nodes.slice(0, 8_000).map(({ name }) => `still Cairn ${name}`),
    });
    const level = { level: 1, runs: 1, tables: 2, bytes: 3 };
    const engine = EngineStatsResponse.fromPartial({
      ...{
        engine: 'e'.repeat(63),
        diskBytes: 1,
        memoryBytes: 2,
        levels: Array(ENGINE_LEVELS_MAX).fill(level),
      },
      compaction: { running: false, startedUnixMs: 1, durationMs: 2, problem: 'p'.repeat(1_000) },
    });
    const back = <T>(
      {
        encodeResponse,
        decodeResponse,
      }: { encodeResponse(m: T): Uint8Array; decodeResponse(b: Uint8Array): T },
      message: T,
    ): T => decodeResponse(Buffer.from(encodeResponse(message)));
    expect(back(MetadataRpc.join, joined)).toEqual(joined);
    expect(back(MetadataRpc.heartbeat, heard).commands).toHaveLength(201);
    expect(back(MetadataRpc.getRoutes, found).routes).toHaveLength(2_000);
    expect(back(MetadataRpc.getStatus, status)).toEqual(status);
    expect(back(MetadataRpc.getSettings, { settings })).toEqual({ settings });
    const holds = Array.from({ length: 1_000 }, (_, at) => ({
      ...{ name: `h${at}`.padEnd(128, 'x'), timestamp: at, expiresUnixMs: at, reason: 'r'.repeat(256) },
      capped: true,
    }));
    const listed = { holds, safePoint: 1, timestamp: 2, pinnedBy: 'a hold' };
    expect(back(MetadataRpc.listHolds, listed)).toEqual(listed);
    const [hold] = holds;
    expect(back(MetadataRpc.putHold, { hold })).toEqual({ hold });
    expect(back(ShardRpc.engineStats, engine)).toEqual(engine);
  });
});
