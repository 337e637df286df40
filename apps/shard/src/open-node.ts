import { timingOf, type ShardConfig } from '@cairn/config';
import { MemoryEngine, type KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { MetadataClient, metadataConnector } from '@cairn/metadata';
import type { Readiness } from '@cairn/observability';
import type { Clock, Disk, Logger, Metrics, Rng, Tracer, Transport } from '@cairn/ports';
import { lockDirectory } from '@cairn/runtime-node';
import { DEFAULT_KV_LIMITS, ShardNode } from '@cairn/shard-node';
import { DEFAULT_STORE_CONFIG } from '@cairn/store';

/** What a node needs from its process. */
export interface NodeContext {
  readonly config: ShardConfig;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  /** Where /metrics is, for operators who list nodes. */
  readonly publicAddress: string;
  /** Log or engine failed: nothing may be acknowledged any more, the process ends. */
  onFatal(error: Error): void;
}

export interface RunningNode {
  readonly address: string;
  readiness(): Readiness;
  close(): Promise<void>;
}

export type OpenNode = (context: NodeContext) => Promise<RunningNode>;

export interface NodePorts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly disk: Disk;
  readonly transport: Transport;
}

/** How this process opens its node: lock, then everything else inside `ShardNode`. */
export function nodeOpener(ports: NodePorts): OpenNode {
  return async (context) => {
    const { config, logger, metrics } = context;
    await ports.disk.makeDirectory(config.dataDirectory);
    const lock = await lockDirectory(config.dataDirectory);
    try {
      const node = await startNode(ports, context);
      return {
        address: node.address,
        readiness: () => {
          const reasons = node.readiness();
          return { ready: reasons.length === 0, reasons };
        },
        close: async () => {
          await node.stop();
          await lock.release();
        },
      };
    } catch (error) {
      await lock.release();
      throw error;
    }

    function openEngine(): Promise<KvEngine> {
      if (config.engine === 'memory') return Promise.resolve(new MemoryEngine());
      return openClassicLevelEngine({
        path: `${config.dataDirectory}/engine`,
        blockCacheBytes: config.blockCacheBytes,
        writeBufferBytes: config.writeBufferBytes,
        logger,
        metrics,
      });
    }

    function startNode(on: NodePorts, within: NodeContext): Promise<ShardNode> {
      return ShardNode.start({
        ...on,
        name: config.name,
        directory: config.dataDirectory,
        listen: config.listen,
        ...(config.advertise === '' ? {} : { advertise: config.advertise }),
        publicAddress: within.publicAddress,
        logger,
        metrics,
        tracer: within.tracer,
        storeConfig: { ...DEFAULT_STORE_CONFIG, ...timingOf(config) },
        kvLimits: {
          ...DEFAULT_KV_LIMITS,
          callsMax: config.proposalQueueOpsMax,
          callBytesMax: config.proposalQueueBytesMax,
        },
        rowCacheBytes: config.rowCacheBytes,
        diskReserveBytes: config.diskReserveBytes,
        logSegmentBytes: config.raftLogSegmentBytes,
        logCacheBytes: config.raftLogCacheBytes,
        openEngine,
        metadata: (hello) =>
          new MetadataClient({
            addresses: config.metadataAddresses,
            connect: metadataConnector({ transport: on.transport, hello, clock: on.clock, logger }),
            clock: on.clock,
            rng: on.rng,
            logger,
            metrics,
          }),
        onFatal: (error) => {
          within.onFatal(error);
        },
      });
    }
  };
}
