import { metadataConfig, type MetadataConfig, type metadataConfigSchema } from '@cairn/config';
import { claimForEngine, type KvEngine } from '@cairn/engine';
import { LsmEngine } from '@cairn/lsm';
import { ThreadJobs } from '@cairn/lsm/thread';
import { openMember } from '@cairn/metadata';
import { holdDirectory, type ProcessKind, type ProcessPorts, type ShellContext } from '@cairn/process-shell';

/** One member of the metadata service as a process. */
export const metadataProcess: ProcessKind<typeof metadataConfigSchema> = {
  config: metadataConfig,
  what: 'metadata member',
  open: (context, ports) =>
    holdDirectory(context, ports, async () => {
      const member = await openMember({ ...ports, openEngine: () => openEngine(context, ports) }, context);
      return {
        listens: { address: member.address },
        readiness: () => member.readiness(),
        close: () => member.close(),
      };
    }),
};

async function openEngine(
  { config, logger, metrics }: ShellContext<MetadataConfig>,
  { clock, disk, rng }: ProcessPorts,
): Promise<KvEngine> {
  await claimForEngine(disk, config.dataDirectory, 'lsm');
  return LsmEngine.open({
    ...{ path: `${config.dataDirectory}/engine`, disk, clock, rng, logger, metrics },
    runner: new ThreadJobs(),
    memtableBytes: config.writeBufferBytes,
    blockCacheBytes: config.blockCacheBytes,
    metaCacheBytes: config.indexCacheBytes,
  });
}
