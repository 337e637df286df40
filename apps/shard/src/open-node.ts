import { MemoryEngine, type KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import type { Readiness } from '@cairn/observability';
import { lockDirectory } from '@cairn/runtime-node';
import { openShardNode, type ShardNodeContext, type ShardNodePorts } from '@cairn/shard-node';

export interface RunningNode {
  readonly address: string;
  readiness(): Readiness;
  close(): Promise<void>;
}

export type OpenNode = (context: ShardNodeContext) => Promise<RunningNode>;

/** How this process opens its node: lock, then everything else. */
export function nodeOpener(ports: Omit<ShardNodePorts, 'openEngine'>): OpenNode {
  return async (context) => {
    const { dataDirectory } = context.config;
    await ports.disk.makeDirectory(dataDirectory);
    const lock = await lockDirectory(dataDirectory);
    try {
      const node = await openShardNode({ ...ports, openEngine: () => openEngine(context) }, context);
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
  };
}

function openEngine({ config, logger, metrics }: ShardNodeContext): Promise<KvEngine> {
  if (config.engine === 'memory') return Promise.resolve(new MemoryEngine());
  return openClassicLevelEngine({
    path: `${config.dataDirectory}/engine`,
    blockCacheBytes: config.blockCacheBytes,
    writeBufferBytes: config.writeBufferBytes,
    logger,
    metrics,
  });
}
