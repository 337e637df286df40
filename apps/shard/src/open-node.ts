import { MemoryEngine, claimForEngine, type KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { openLmdbEngine } from '@cairn/engine/lmdb';
import { LsmEngine } from '@cairn/lsm';
import { ThreadJobs } from '@cairn/lsm/thread';
import { VERSIONED_KEYS } from '@cairn/mvcc';
import type { Readiness } from '@cairn/observability';
import { openDataDirectory } from '@cairn/runtime-node';
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
    const lock = await openDataDirectory(ports, dataDirectory);
    try {
      const node = await openShardNode({ ...ports, openEngine: () => openEngine(ports, context) }, context);
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

async function openEngine(
  { clock, disk }: Pick<ShardNodePorts, 'clock' | 'disk'>,
  { config, logger, metrics }: ShardNodeContext,
): Promise<KvEngine> {
  await claimForEngine(disk, config.dataDirectory, config.engine);
  const path = `${config.dataDirectory}/engine`;
  const { blockCacheBytes, writeBufferBytes } = config;
  switch (config.engine) {
    case 'memory':
      return new MemoryEngine();
    case 'lmdb':
      return openLmdbEngine({ path, disk, logger, metrics });
    case 'classic-level':
      return openClassicLevelEngine({ path, blockCacheBytes, writeBufferBytes, logger, metrics });
    case 'lsm':
      return LsmEngine.open({
        ...{ path, disk, clock, logger, metrics, blockCacheBytes },
        runner: new ThreadJobs(),
        versioned: VERSIONED_KEYS,
        memtableBytes: writeBufferBytes,
        metaCacheBytes: config.indexCacheBytes,
      });
  }
}
