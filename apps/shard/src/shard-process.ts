import { shardConfig, type shardConfigSchema } from '@cairn/config';
import { holdDirectory, type ProcessKind } from '@cairn/process-shell';
import { openShardNode } from '@cairn/shard-node';
import { prepareEngine } from './open-engine.js';

/** One shard node as a process. */
export const shardProcess: ProcessKind<typeof shardConfigSchema> = {
  config: shardConfig,
  what: 'shard node',
  open: (context, ports) =>
    holdDirectory(context, ports, async () => {
      const engine = await prepareEngine(context, ports);
      const node = await openShardNode({ ...ports, ...engine }, context);
      return {
        listens: { address: node.address },
        readiness: () => node.readiness(),
        close: () => node.stop(),
      };
    }),
};
