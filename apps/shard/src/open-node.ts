import { MemoryEngine, claimForEngine, type KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { openLmdbEngine } from '@cairn/engine/lmdb';
import type { Readiness } from '@cairn/observability';
import type { Disk } from '@cairn/ports';
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
      const node = await openShardNode(
        { ...ports, openEngine: () => openEngine(ports.disk, context) },
        context,
      );
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

async function openEngine(disk: Disk, { config, logger, metrics }: ShardNodeContext): Promise<KvEngine> {
  await claimForEngine(disk, config.dataDirectory, config.engine);
  const path = `${config.dataDirectory}/engine`;
  switch (config.engine) {
    case 'memory':
      return new MemoryEngine();
    case 'lmdb':
      return openLmdbEngine({ path, disk, logger, metrics });
    case 'classic-level': {
      const { blockCacheBytes, writeBufferBytes } = config;
      return openClassicLevelEngine({ path, blockCacheBytes, writeBufferBytes, logger, metrics });
    }
  }
}
