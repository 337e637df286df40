import { timingOf, type ShardConfig } from '@cairn/config';
import type { KvEngine } from '@cairn/engine';
import { MetadataClient, metadataConnector } from '@cairn/metadata';
import type { Clock, Disk, Logger, Metrics, Rng, Tracer, Transport } from '@cairn/ports';
import { DEFAULT_STORE_CONFIG, type StoreConfig } from '@cairn/store';
import { THIS_BUILD, type BuildVersions } from '@cairn/wire';

import { DEFAULT_KV_LIMITS, type KvLimits } from '../kv/kv-limits.js';
import { startShardNode, type ShardNode } from './shard-node.js';

export interface ShardNodePorts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly disk: Disk;
  readonly transport: Transport;
  /** The engine's name, as it stands in directories that it makes. */
  readonly engineName: string;
  /** Opens the engine of the node, below its directory. */
  openEngine(): Promise<KvEngine>;
}

/** What a node needs from its process. */
export interface ShardNodeContext {
  readonly config: ShardConfig;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  /** Where /metrics is, for operators who list nodes. */
  readonly publicAddress: string;
  /** What has no name in the configuration, for hosts that need it otherwise. */
  readonly storeConfig?: Partial<StoreConfig>;
  readonly kvLimits?: Partial<KvLimits>;
  readonly logStagedBytesMax?: number;
  /** What this process runs. Default: this build; others are for tests. */
  readonly build?: BuildVersions;
  /** Log or engine failed: nothing may be acknowledged any more, the process ends. */
  onFatal(error: Error): void;
}

/** Opens the node that a configuration describes, in a directory that the caller holds alone. */
export function openShardNode(ports: ShardNodePorts, context: ShardNodeContext): Promise<ShardNode> {
  const { config, logger, metrics } = context;
  const { clock, rng, transport } = ports;
  return startShardNode({
    ...ports,
    name: config.name,
    build: context.build ?? THIS_BUILD,
    directory: config.dataDirectory,
    listen: config.listen,
    ...(config.advertise === '' ? {} : { advertise: config.advertise }),
    publicAddress: context.publicAddress,
    logger,
    metrics,
    tracer: context.tracer,
    storeConfig: {
      ...DEFAULT_STORE_CONFIG,
      snapshotFreeBytesMin: Math.max(DEFAULT_STORE_CONFIG.snapshotFreeBytesMin, config.diskReserveBytes),
      ...timingOf(config),
      ...context.storeConfig,
    },
    kvLimits: {
      ...DEFAULT_KV_LIMITS,
      callsMax: config.proposalQueueOpsMax,
      callBytesMax: config.proposalQueueBytesMax,
      ...context.kvLimits,
    },
    rowCacheBytes: config.rowCacheBytes,
    diskReserveBytes: config.diskReserveBytes,
    replacesStoreId: config.replaceLostStore,
    logSegmentBytes: config.raftLogSegmentBytes,
    logCacheBytes: config.raftLogCacheBytes,
    ...(context.logStagedBytesMax === undefined ? {} : { logStagedBytesMax: context.logStagedBytesMax }),
    openEngine: () => ports.openEngine(),
    metadata: (hello) =>
      new MetadataClient({
        addresses: config.metadataAddresses,
        connect: metadataConnector({ transport, hello, clock, logger }),
        clock,
        rng,
        logger,
        metrics,
      }),
    onFatal: (error) => {
      context.onFatal(error);
    },
  });
}
