import { claimForEngine, type KvEngine } from '@cairn/engine';
import { LsmEngine } from '@cairn/lsm';
import { ThreadJobs } from '@cairn/lsm/thread';
import { openMember, type MemberContext, type MemberPorts } from '@cairn/metadata';
import { openDataDirectory } from '@cairn/runtime-node';

import type { OpenMember } from './member.js';

/** How this process opens its member: lock, then everything else. */
export function memberOpener(ports: Omit<MemberPorts, 'openEngine'>): OpenMember {
  return async (context) => {
    const { dataDirectory } = context.config;
    const lock = await openDataDirectory(ports, dataDirectory);
    try {
      const member = await openMember({ ...ports, openEngine: () => openEngine(ports, context) }, context);
      return {
        address: member.address,
        readiness: () => {
          const reasons = member.readiness();
          return { ready: reasons.length === 0, reasons };
        },
        close: async () => {
          await member.close();
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
  { clock, disk }: Pick<MemberPorts, 'clock' | 'disk'>,
  { config, logger, metrics }: MemberContext,
): Promise<KvEngine> {
  await claimForEngine(disk, config.dataDirectory, 'lsm');
  return LsmEngine.open({
    ...{ path: `${config.dataDirectory}/engine`, disk, clock, logger, metrics },
    runner: new ThreadJobs(),
    memtableBytes: config.writeBufferBytes,
    blockCacheBytes: config.blockCacheBytes,
    metaCacheBytes: config.indexCacheBytes,
  });
}
