import {
  MemoryEngine,
  claimForEngine,
  isOwnEngine,
  openForeignEngine,
  type KvEngine,
  type OwnEngine,
} from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { LsmEngine } from '@cairn/lsm';
import { ThreadJobs } from '@cairn/lsm/thread';
import { VERSIONED_KEYS } from '@cairn/mvcc';
import type { ProcessPorts } from '@cairn/process-shell';
import type { ShardNodeContext } from '@cairn/shard-node';
import { loadEngineFactory } from './engine-module.js';

/** What of a process an engine is opened with. */
export type EngineContext = Pick<ShardNodeContext, 'config' | 'logger' | 'metrics'>;
export type EnginePorts = Pick<ProcessPorts, 'clock' | 'disk' | 'rng'>;

/** An engine that can be opened. */
export interface PreparedEngine {
  /** As it stands in the directories that it makes. */
  readonly engineName: string;
  openEngine(): Promise<KvEngine>;
}

/**
 * How the engine that the configuration names is opened. Its module is loaded and looked at by now: a node
 * without an engine must not join, because no command takes it out of the cluster again. Rejects
 * INVALID_ARGUMENT with a sentence. Nothing is written before the engine is opened, and then not into a
 * directory that another one made.
 */
export async function prepareEngine(context: EngineContext, ports: EnginePorts): Promise<PreparedEngine> {
  const { engine, dataDirectory, blockCacheBytes, writeBufferBytes } = context.config;
  const { clock, disk } = ports;
  if (isOwnEngine(engine)) {
    return {
      engineName: engine,
      openEngine: async () => {
        await claimForEngine(disk, dataDirectory, engine);
        return openOwnEngine(engine, context, ports);
      },
    };
  }
  const factory = await loadEngineFactory(engine);
  const { logger, metrics } = context;
  const path = `${dataDirectory}/engine`;
  return {
    engineName: factory.name,
    openEngine: async () => {
      await claimForEngine(disk, dataDirectory, factory.name);
      const opened = await openForeignEngine(factory, engine, {
        ...{ path, disk, clock, versioned: VERSIONED_KEYS },
        ...{ logger, metrics, blockCacheBytes, writeBufferBytes },
      });
      logger.info('engine opened', { engine: factory.name, module: engine, path });
      return opened;
    },
  };
}

async function openOwnEngine(
  engine: OwnEngine,
  { config, logger, metrics }: EngineContext,
  { clock, disk, rng }: EnginePorts,
): Promise<KvEngine> {
  const path = `${config.dataDirectory}/engine`;
  const { blockCacheBytes, writeBufferBytes } = config;
  switch (engine) {
    case 'memory':
      return new MemoryEngine();
    case 'classic-level':
      return openClassicLevelEngine({ path, blockCacheBytes, writeBufferBytes, logger, metrics });
    case 'lsm':
      return LsmEngine.open({
        ...{ path, disk, clock, rng, logger, metrics, blockCacheBytes },
        runner: new ThreadJobs(),
        versioned: VERSIONED_KEYS,
        memtableBytes: writeBufferBytes,
        metaCacheBytes: config.indexCacheBytes,
        compression: config.tableCompression,
        compressedFromLevel: config.tableCompressionFromLevel,
      });
  }
}
