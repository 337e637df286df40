import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, storeId } from '@cairn/base';
import { MetadataClient, metadataConnector } from '@cairn/metadata';
import { noopMetrics } from '@cairn/ports';
import { SimNetwork, SimRng, SimScheduler } from '@cairn/runtime-sim';
import { debugText, debugView, DEFAULT_STORE_CONFIG, type StoreConfig } from '@cairn/store';
import { THIS_BUILD, type Hello } from '@cairn/wire';

import { SimMetadataNode } from './metadata-node.js';
import type { SimEngineKind } from './node-engine.js';
import { Observer } from './observer.js';
import { SimRouterNode } from './router-node.js';
import { SimShardNode } from './shard-node.js';
import type { SimNode, SimWorld } from './sim-node.js';

const KIB = 1024;
/** How often somebody looks whether a cluster is up. */
const LOOK_EVERY_MS = 5;
/** Of the product. */
const DEFAULT_REPLICATION_FACTOR = 3;

const SETUP_HELLO: Hello = {
  ...THIS_BUILD,
  purpose: 'rpc',
  clusterId: '',
  kind: 'tool',
  name: 'setup',
  storeId: storeId(0),
};

/** Everything that normally happens after megabytes and minutes happens after kilobytes and seconds. */
export const SMALL_STORE_CONFIG: StoreConfig = {
  ...DEFAULT_STORE_CONFIG,
  applyBatchBytesMax: 16 * KIB,
  applyBacklogBytesMax: 32 * KIB,
  checkpointBytes: 24 * KIB,
  checkpointIntervalMs: 2_000,
  logRetentionBytes: 4 * KIB,
  logForceTruncateBytes: 48 * KIB,
  snapshotChunkBytes: 2 * KIB,
};

export interface SimClusterOptions {
  readonly seed: string;
  /** 1 .. 7. Default 3. */
  readonly metadataMembers?: number;
  /** 1 .. 7. Default 3. */
  readonly shardNodes?: number;
  /** Replicas of each range, 1 .. 7; as many as there are shard nodes if that is less. Default 3. */
  readonly replicationFactor?: number;
  /** 1 .. 3. Default 1. */
  readonly routers?: number;
  /** Credit of each gRPC call and direction, as the windows of HTTP/2. Default 64 KiB. */
  readonly grpcWindowBytes?: number;
  readonly storeConfig?: Partial<StoreConfig>;
  /** Default 32 KiB. */
  readonly logSegmentBytes?: number;
  /** Newest log entries in memory; older ones are read back from the disk. Default 1 MiB. */
  readonly logCacheBytes?: number;
  /** Bytes that may wait for the log's disk before entries are refused. Default 32 KiB. */
  readonly logStagedBytesMax?: number;
  /** Default 1 MiB. */
  readonly rowCacheBytes?: number;
  /** Default 0: reads of engines come at once. */
  readonly engineReadMsMax?: number;
  /** Default `memory`. */
  readonly engine?: SimEngineKind;
}

/** A whole cluster in this process, on virtual time: real nodes on simulated disks, clocks and network. */
export class SimCluster {
  readonly seed: string;
  readonly scheduler = new SimScheduler();
  readonly rng: SimRng;
  readonly network: SimNetwork;
  readonly observer: Observer;
  readonly world: SimWorld;
  readonly metadata: readonly SimMetadataNode[];
  readonly shards: readonly SimShardNode[];
  readonly replicationFactor: number;
  readonly routers: readonly SimRouterNode[];
  readonly grpcWindowBytes: number;
  readonly storeConfig: StoreConfig;
  readonly logStagedBytesMax: number;

  constructor(options: SimClusterOptions) {
    this.seed = options.seed;
    this.rng = new SimRng(options.seed);
    this.network = new SimNetwork(this.scheduler, this.rng.fork('network'), {
      breakAfterMs: 1_500,
      connectTimeoutMs: 1_000,
    });
    this.observer = new Observer(
      () => this.scheduler.nowMs,
      () => this.#storeTexts(),
    );
    const { scheduler, network, observer } = this;
    const engine = options.engine ?? 'memory';
    this.world = {
      scheduler,
      network,
      observer,
      rng: this.rng.fork('world'),
      engineReadMsMax: options.engineReadMsMax ?? 0,
      engine,
      ...(engine === 'classic-level' ? { engineDirectory: mkdtempSync(join(tmpdir(), 'cairn-sim-')) } : {}),
    };
    this.storeConfig = { ...SMALL_STORE_CONFIG, ...options.storeConfig };
    const { storeConfig } = this;
    const logSegmentBytes = options.logSegmentBytes ?? 32 * KIB;
    this.logStagedBytesMax = options.logStagedBytesMax ?? 32 * KIB;
    const shardCount = options.shardNodes ?? 3;
    this.replicationFactor = Math.min(options.replicationFactor ?? DEFAULT_REPLICATION_FACTOR, shardCount);
    const members = Array.from({ length: options.metadataMembers ?? 3 }, (_, at) => ({
      name: `meta-${at + 1}`,
      storeId: storeId(at + 1),
      address: `meta-${at + 1}:7000`,
    }));
    this.metadata = members.map(
      (member) =>
        new SimMetadataNode(member, this.world, {
          members,
          expectedStores: shardCount,
          storeConfig,
          logSegmentBytes,
        }),
    );
    this.shards = Array.from(
      { length: shardCount },
      (_, at) =>
        new SimShardNode(`shard-${at + 1}`, this.world, {
          metadataAddresses: this.metadataAddresses,
          storeConfig,
          logSegmentBytes,
          logCacheBytes: options.logCacheBytes ?? KIB * KIB,
          logStagedBytesMax: this.logStagedBytesMax,
          rowCacheBytes: options.rowCacheBytes ?? KIB * KIB,
        }),
    );
    this.grpcWindowBytes = options.grpcWindowBytes ?? 64 * KIB;
    this.routers = Array.from(
      { length: options.routers ?? 1 },
      (_, at) =>
        new SimRouterNode(`router-${at + 1}`, this.world, {
          metadataAddresses: this.metadataAddresses,
          grpcWindowBytes: this.grpcWindowBytes,
        }),
    );
  }

  get metadataAddresses(): string[] {
    return this.metadata.map((node) => `${node.name}:7000`);
  }

  get nodes(): SimNode[] {
    return [...this.metadata, ...this.shards, ...this.routers];
  }

  /** Of engines with real files: ends all nodes, and removes the files. */
  async close(): Promise<void> {
    const { engineDirectory } = this.world;
    if (engineDirectory === undefined) return;
    for (const node of this.nodes) node.die('process');
    await this.scheduler.runFor(0);
    rmSync(engineDirectory, { recursive: true, force: true });
  }

  /** How every store that is open stands, a text each. */
  #storeTexts(): string[] {
    return [...this.metadata, ...this.shards].flatMap(({ name, store }) =>
      store === undefined ? [] : [`${name}: ${debugText(debugView(store))}`],
    );
  }

  /**
   * Starts all nodes and waits until a metadata member serves, every shard node is open with a led range, and
   * every router is ready.
   */
  async boot(limitMs = 30_000): Promise<void> {
    for (const node of this.metadata) node.start();
    if (this.replicationFactor !== Math.min(DEFAULT_REPLICATION_FACTOR, this.shards.length)) {
      await this.#setReplicationFactor(limitMs);
    }
    for (const node of this.nodes) if (!node.isAlive) node.start();
    await this.#until('the cluster is healthy', () => this.isHealthy, limitMs);
  }

  /** Looked at now and then, not with every event: what is asked for stays true for a while. */
  async #until(what: string, isTrue: () => boolean, limitMs: number): Promise<void> {
    const endMs = this.scheduler.nowMs + limitMs;
    while (!isTrue()) {
      assert(this.scheduler.nowMs < endMs, 'the cluster did not come up', { what, limitMs });
      await this.scheduler.runFor(LOOK_EVERY_MS);
    }
  }

  /** The setting has to be there before the stores are: the first of them get the first range. */
  async #setReplicationFactor(limitMs: number): Promise<void> {
    await this.#until('a member serves', () => this.metadata.some((node) => node.isServing), limitMs);
    const process = this.scheduler.startProcess('setup');
    const { clock } = process;
    const logger = this.observer.loggerFor('setup');
    const client = new MetadataClient({
      addresses: this.metadataAddresses,
      connect: metadataConnector({
        transport: this.network.attach(process),
        hello: () => SETUP_HELLO,
        clock,
        logger,
      }),
      clock,
      rng: this.rng.fork('setup'),
      logger,
      metrics: noopMetrics,
    });
    const value = String(this.replicationFactor);
    const done = client.putSettings([{ name: 'replication.factor', value }]);
    await this.scheduler.settle(done, limitMs);
    client.close();
    process.kill();
  }

  /**
   * Every range that any open node knows has a leader that is ready, there is at least one range, and routers
   * are ready.
   */
  get isHealthy(): boolean {
    if (!this.routers.every((node) => node.isReady)) return false;
    if (!this.metadata.some((node) => node.isServing)) return false;
    const ranges = new Map<number, boolean>();
    for (const node of this.shards) {
      if (node.isLost) continue;
      if (node.store === undefined) return false;
      for (const replica of node.store.replicas()) {
        if (!replica.isInitialised) return false;
        ranges.set(replica.rangeId, (ranges.get(replica.rangeId) ?? false) || replica.isReadyLeader);
      }
    }
    return ranges.size > 0 && [...ranges.values()].every((isLed) => isLed);
  }
}
