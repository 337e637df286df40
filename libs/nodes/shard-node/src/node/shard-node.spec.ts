import { CairnError, timestamp } from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';
import { noopLogger, noopMetrics, noopTracer, type Metrics, type Transport } from '@cairn/ports';
import { SimDisk, SimNetwork, SimRng, SimScheduler } from '@cairn/runtime-sim';
import { DEFAULT_STORE_CONFIG } from '@cairn/store';
import { THIS_BUILD } from '@cairn/wire';
import {
  RangeDescriptor as RangeDescriptorMessage,
  type HeartbeatResponse,
} from '@cairn/wire/gen/cairn/internal/v1/metadata.js';
import { beforeEach, describe, expect, it } from '@jest/globals';

import { DEFAULT_KV_LIMITS } from '../kv/kv-limits.js';
import type { MetadataAccess } from './metadata-access.js';
import type { ShardNodeOptions } from './node-options.js';
import { startShardNode, type ShardNode } from './shard-node.js';

const JOINED = {
  clusterId: 'c',
  storeId: 1,
  timestamp: 4_096_000,
  stores: [],
  clusterVersion: 1,
  gcSafePoint: 0,
};
const HEARD = {
  ...{ timestamp: 4_096_000, commands: [], stores: [], settings: [] },
  wantFull: false,
  clusterVersion: 1,
  gcSafePoint: 0,
  lockFreeBelow: 0,
  oldLockStoreIds: [],
};

describe('a shard node', () => {
  let scheduler: SimScheduler;
  let network: SimNetwork;
  let disk: SimDisk;
  let closed: string[];
  /** What it holds is there at the next start. */
  let engine: MemoryEngine;

  beforeEach(() => {
    scheduler = new SimScheduler();
    network = new SimNetwork(scheduler, new SimRng(1));
    disk = new SimDisk(new SimRng(2));
    closed = [];
    engine = new MemoryEngine();
    engine.close = () => {
      closed.push('engine');
      return Promise.resolve();
    };
  });

  /** The first client is that of joining; the node's own is the second. */
  function metadataAccess(name: string, more: Partial<MetadataAccess>): MetadataAccess {
    return {
      join: () => Promise.resolve(JOINED),
      heartbeat: () =>
        Promise.resolve({ ...HEARD, storesVersion: 1, settingsVersion: 1 } as HeartbeatResponse),
      allocateIds: () => Promise.resolve(1),
      timestamp: () => Promise.resolve(timestamp(4_096_000)),
      close: () => void closed.push(name),
      ...more,
    };
  }

  function start(
    more: Partial<ShardNodeOptions> = {},
    access: Partial<MetadataAccess> = {},
  ): Promise<ShardNode> {
    const life = scheduler.startProcess('shard-1');
    const inner = network.attach(life);
    const transport: Transport = {
      connect: (...given) => inner.connect(...given),
      listen: async (...given) => {
        const listener = await inner.listen(...given);
        const close = (): Promise<void> => {
          closed.push('listener');
          return listener.close();
        };
        return { address: listener.address, close };
      },
    };
    const names = ['joining', 'metadata'];
    const starting = startShardNode({
      build: THIS_BUILD,
      ...{ name: 'shard-1', directory: '/data', listen: 'shard-1:7100', publicAddress: '' },
      ...{ clock: life.clock, rng: new SimRng(3), disk: disk.attach(life), transport },
      ...{ logger: noopLogger, metrics: noopMetrics, tracer: noopTracer },
      ...{ storeConfig: DEFAULT_STORE_CONFIG, kvLimits: DEFAULT_KV_LIMITS, rowCacheBytes: 1024 },
      ...{ diskReserveBytes: 0, replacesStoreId: 0 },
      engineName: 'memory',
      openEngine: () => Promise.resolve(engine),
      metadata: () => metadataAccess(names.shift() ?? '', access),
      onFatal: (error) => {
        throw error;
      },
      ...more,
    });
    return scheduler.settle(starting, 60_000);
  }

  it('closes everything in order when it stops, once', async () => {
    const node = await start();
    closed = [];
    await scheduler.settle(Promise.all([node.stop(), node.stop()]), 60_000);
    expect(closed).toEqual(['listener', 'engine', 'metadata']);
  });

  it('does nothing of what a heartbeat brings that is answered after it has stopped', async () => {
    const messages: string[] = [];
    const note = (message: string): void => void messages.push(message);
    const answers: ((response: HeartbeatResponse) => void)[] = [];
    const node = await start(
      {
        logger: { ...noopLogger, info: note, warn: note },
      },
      { heartbeat: () => new Promise((resolve) => answers.push(resolve)) },
    );
    await scheduler.runFor(100);
    await scheduler.settle(node.stop(), 60_000);
    const create = {
      $case: 'createReplica',
      value: RangeDescriptorMessage.fromPartial({ rangeId: 7 }),
    } as const;
    const response = { ...HEARD, storesVersion: 1, settingsVersion: 1, commands: [{ command: create }] };
    messages.length = 0;
    answers[0]?.(response);
    await scheduler.runFor(5_000);
    expect([answers.length, messages]).toEqual([1, []]);
  });

  it('goes by the safe point that it was told last, says so, and never goes back', async () => {
    const heard: (readonly [number, number])[] = [];
    const told = [2_000, 1_500, 3_000];
    const node = await start(
      {},
      {
        join: () => Promise.resolve({ ...JOINED, gcSafePoint: 1_000 }),
        heartbeat: ({ heardGcSafePoint, oldestLock }) => {
          heard.push([heardGcSafePoint, oldestLock]);
          const gcSafePoint = told[heard.length - 1] ?? 0;
          return Promise.resolve({ ...HEARD, storesVersion: 1, settingsVersion: 1, gcSafePoint });
        },
      },
    );
    await scheduler.runFor(4_000);
    await scheduler.settle(node.stop(), 60_000);
    expect(heard.slice(0, 4)).toEqual([
      [1_000, 0],
      [2_000, 0],
      [2_000, 0],
      [3_000, 0],
    ]);
  });

  it.each<[string, Partial<ShardNodeOptions>, Partial<MetadataAccess>, string[]]>([
    [
      'it is not taken in',
      {},
      { join: () => Promise.reject(new CairnError('CLUSTER_MISMATCH', 'another cluster')) },
      ['joining', 'listener'],
    ],
    [
      'its engine does not open',
      { openEngine: () => Promise.reject(new Error('no engine')) },
      {},
      ['joining', 'metadata', 'listener'],
    ],
    [
      'its store does not open',
      { storeConfig: { ...DEFAULT_STORE_CONFIG, leaseDurationMs: -1 } },
      {},
      ['joining', 'engine', 'metadata', 'listener'],
    ],
    [
      'what comes after the store fails',
      { metrics: metricsWithout('cairn_shard_replicas') },
      {},
      ['joining', 'engine', 'metadata', 'listener'],
    ],
  ])('closes what was opened, the last first, when %s', async (_, options, access, order) => {
    await expect(start(options, access)).rejects.toThrow();
    expect(closed).toEqual(order);
    // Nothing of it is in the way of the next start.
    const node = await start();
    await scheduler.settle(node.stop(), 60_000);
  });

  it('tells why it did not start, also when what was opened cannot be closed', async () => {
    const engine = new MemoryEngine();
    engine.close = () => Promise.reject(new Error('the engine does not close'));
    const options = {
      engineName: 'memory',
      openEngine: () => Promise.resolve(engine),
      metrics: metricsWithout('cairn_shard_replicas'),
    };
    await expect(start(options)).rejects.toThrow('no gauge cairn_shard_replicas');
    expect(closed).toEqual(['joining', 'metadata', 'listener']);
  });
});

/** Metrics that throw when something asks for this gauge. */
function metricsWithout(name: string): Metrics {
  return {
    ...noopMetrics,
    gauge: (asked, ...rest) => {
      if (asked === name) throw new Error(`no gauge ${name}`);
      return noopMetrics.gauge(asked, ...rest);
    },
  };
}
