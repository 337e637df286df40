import type { KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { openMember, type MemberContext, type MemberPorts } from '@cairn/metadata';
import { lockDirectory } from '@cairn/runtime-node';

import type { OpenMember } from './member.js';

/** How this process opens its member: lock, then everything else. */
export function memberOpener(ports: Omit<MemberPorts, 'openEngine'>): OpenMember {
  return async (context) => {
    const { dataDirectory } = context.config;
    await ports.disk.makeDirectory(dataDirectory);
    const lock = await lockDirectory(dataDirectory);
    try {
      const member = await openMember({ ...ports, openEngine: () => openEngine(context) }, context);
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

function openEngine({ config, logger, metrics }: MemberContext): Promise<KvEngine> {
  return openClassicLevelEngine({
    path: `${config.dataDirectory}/engine`,
    blockCacheBytes: config.blockCacheBytes,
    writeBufferBytes: config.writeBufferBytes,
    logger,
    metrics,
  });
}
