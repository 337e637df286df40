import { describe, expect, it } from '@jest/globals';
import { storeId } from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';
import type { Metrics } from '@cairn/ports';
import { noopLogger, noopMetrics, type Clock } from '@cairn/ports';
import { createRpcServer, ShardRpc, type RpcMethod, type SessionRpcServer } from '@cairn/wire';

import type { EngineStatsResponse } from '@cairn/wire/gen/cairn/internal/v1/shard.js';

import { EngineOperator } from './engine-operator.js';
import { handleShardRpc, type ShardRpcParts } from './shard-rpc.js';

type Handler = (request: unknown) => Promise<unknown>;

/** The handlers by method, and what was counted. */
function rig(parts: Partial<ShardRpcParts>): {
  ask(method: { name: string }, request: unknown): Promise<unknown>;
  counted: string[];
} {
  const counted: string[] = [];
  const metrics: Metrics = {
    ...noopMetrics,
    counter: () => ({
      add: (_: number, labels: unknown) => counted.push(Object.values(labels as object).join(' ')),
    }),
  };
  const handlers = new Map<string, Handler>();
  const server = createRpcServer();
  server.handle = ((method: RpcMethod<unknown, unknown>, handler: Handler) => {
    handlers.set(method.name, handler);
  }) as SessionRpcServer['handle'];
  handleShardRpc(server, {
    metrics,
    limits: () => ({ replicationFactor: 3, sizes: { keyBytesMax: 100 } }),
    ...parts,
  } as ShardRpcParts);
  return { ask: (method, request) => (handlers.get(method.name) as Handler)(request), counted };
}

const split = (keys: readonly Buffer[]): unknown => ({ rangeId: 1, version: 1, keys });

describe('a request of an operator', () => {
  it.each([
    ['no keys', [], '1 to 1000 keys'],
    ['too many keys', Array.from({ length: 1_001 }, (_, at) => Buffer.from(String(at))), '1 to 1000 keys'],
    ['an empty key', [Buffer.alloc(0)], 'a key of 0 bytes'],
    ['a key longer than any', [Buffer.alloc(101)], 'a key of 101 bytes'],
  ])('is refused before it begins, and counted: cuts at %s', async (_, keys, sentence) => {
    const { ask, counted } = rig({});
    await expect(ask(ShardRpc.splitRange, split(keys))).rejects.toThrow(sentence);
    expect(counted).toEqual(['SplitRange INVALID_ARGUMENT']);
  });

  it.each([
    ['a bound longer than any key', Buffer.alloc(70_000), Buffer.alloc(0), 'a bound of a span has at most'],
    [
      'an end before the start',
      Buffer.from('b'),
      Buffer.from('a'),
      'the end of the span is not behind its start',
    ],
    ['an empty span', Buffer.from('b'), Buffer.from('b'), 'the end of the span is not behind its start'],
  ])('is refused before it begins, and counted: a compaction of %s', async (_, start, end, sentence) => {
    const { ask, counted } = rig({});
    await expect(ask(ShardRpc.compactEngine, { start, end })).rejects.toThrow(sentence);
    expect(counted).toEqual(['CompactEngine INVALID_ARGUMENT']);
  });

  it('hears what the engine holds, as a frame can carry it, and has it compact a span once at a time', async () => {
    let nowMs = 1_000.25;
    const clock = { nowMs: () => (nowMs += 10.5), unixMs: () => 1_767_225_600_000 } as Clock;
    const gate = Promise.withResolvers<void>();
    const memory = new MemoryEngine();
    memory.compact = () => gate.promise;
    const { ask, counted } = rig({
      engine: new EngineOperator({ engine: memory, name: 'memory', clock, logger: noopLogger }),
    });
    const stats = async (): Promise<unknown> => {
      const { decodeResponse, encodeResponse } = ShardRpc.engineStats;
      return decodeResponse(encodeResponse((await ask(ShardRpc.engineStats, {})) as EngineStatsResponse));
    };
    expect(await stats()).toMatchObject({ engine: 'memory', diskBytes: 0, levels: [], memtableBytes: 0 });
    const span = { start: Buffer.from('a'), end: Buffer.alloc(0) };
    await ask(ShardRpc.compactEngine, span);
    await expect(ask(ShardRpc.compactEngine, span)).rejects.toThrow('a compaction runs on this node already');
    expect(await stats()).toMatchObject({ compaction: { running: true, durationMs: 11, problem: '' } });
    gate.resolve();
    await new Promise(setImmediate);
    expect(await stats()).toMatchObject({ compaction: { running: false, durationMs: 21, problem: '' } });
    expect(counted[1]).toBe('CompactEngine OK');
    expect(counted[2]).toBe('CompactEngine FAILED_PRECONDITION');
  });

  it('hears no more of an engine from elsewhere than an answer may have', async () => {
    const memory = new MemoryEngine();
    const level = { level: 1, runs: 1, tables: 1, bytes: 1 };
    memory.stats = () =>
      Promise.resolve({
        ...{ engine: 'memory', diskBytes: 1 },
        levels: Array.from({ length: 100_000 }, () => level),
      });
    const name = `\u001b[31m${'E'.repeat(5_000_000)}`;
    const { ask } = rig({
      engine: new EngineOperator({ engine: memory, name, clock: {} as Clock, logger: noopLogger }),
    });
    const { decodeResponse, encodeResponse } = ShardRpc.engineStats;
    const answer = (await ask(ShardRpc.engineStats, {})) as EngineStatsResponse;
    const { engine, levels } = decodeResponse(encodeResponse(answer));
    expect([engine.slice(0, 9), engine.length < 100, levels.length]).toEqual(['\\u{1b}[31', true, 64]);
  });

  it('waits for the settings of the cluster', async () => {
    const { ask } = rig({ limits: () => undefined });
    await expect(ask(ShardRpc.splitRange, split([Buffer.from('k')]))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
  });

  it.each([
    ['is not registered', undefined],
    ['was declared lost', { live: false, lost: true }],
    ['has not been heard from lately', { live: false, lost: false }],
  ])('is refused: a member on a store that %s', async (why, info) => {
    const { ask, counted } = rig({
      storeInfo: () =>
        info === undefined ? undefined : { storeId: 4, name: 'shard-4', address: '', ...info },
    });
    const request = { rangeId: 1, confVersion: 1, addStoreId: storeId(4), removeStoreId: 0 };
    await expect(ask(ShardRpc.changeReplicas, request)).rejects.toThrow(why);
    expect(counted).toEqual(['ChangeReplicas FAILED_PRECONDITION']);
  });
});
