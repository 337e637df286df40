import { shardConfig, type ShardConfig, type shardConfigSchema } from '@cairn/config';
import { MemoryEngine, claimForEngine, type KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { openLmdbEngine } from '@cairn/engine/lmdb';
import { LsmEngine } from '@cairn/lsm';
import { ThreadJobs } from '@cairn/lsm/thread';
import { VERSIONED_KEYS } from '@cairn/mvcc';
import { holdDirectory, type ProcessKind, type ProcessPorts, type ShellContext } from '@cairn/process-shell';
import { openShardNode } from '@cairn/shard-node';

/** One shard node as a process. */
export const shardProcess: ProcessKind<typeof shardConfigSchema> = {
  config: shardConfig,
  what: 'shard node',
  open: (context, ports) =>
    holdDirectory(ports, context.config.dataDirectory, async () => {
      const node = await openShardNode({ ...ports, openEngine: () => openEngine(context, ports) }, context);
      return {
        listens: { address: node.address },
        readiness: () => node.readiness(),
        close: () => node.stop(),
      };
    }),
};

async function openEngine(
  { config, logger, metrics }: ShellContext<ShardConfig>,
  { clock, disk }: ProcessPorts,
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
