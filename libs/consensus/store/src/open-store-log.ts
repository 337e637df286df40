import { openRaftLog, type RaftLog } from '@cairn/raft-log';

import type { StoreOptions } from './store-options.js';

/**
 * Makes the directories of a store where they are missing, and opens its log. Throws CORRUPTION when the log
 * is damaged.
 */
export async function openStoreLog(options: StoreOptions): Promise<RaftLog> {
  const { disk, directory, clock, rng, logger, metrics, logSegmentBytes, logCacheBytes, logStagedBytesMax } =
    options;
  await disk.makeDirectory(`${directory}/log`);
  await disk.makeDirectory(`${directory}/snapshots`);
  return openRaftLog({
    disk,
    directory: `${directory}/log`,
    clock,
    rng,
    logger,
    metrics,
    options: {
      ...(logSegmentBytes === undefined ? {} : { segmentBytes: logSegmentBytes }),
      ...(logCacheBytes === undefined ? {} : { cacheBytesMax: logCacheBytes }),
      ...(logStagedBytesMax === undefined ? {} : { stagedBytesMax: logStagedBytesMax }),
    },
  });
}
