import type { ReplicaId } from '@cairn/base';
import { defaultRaftConfig, type RaftConfig } from '@cairn/raft';

import type { StoreConfig } from './store-config.js';

/** The core's configuration of one replica: the store's timing over the core's defaults. */
export function raftConfigFor(replicaId: ReplicaId, config: StoreConfig): RaftConfig {
  return {
    ...defaultRaftConfig(replicaId),
    electionTimeoutMs: config.electionTimeoutMs,
    electionJitterMs: config.electionJitterMs,
    heartbeatIntervalMs: config.heartbeatIntervalMs,
    leaseDurationMs: config.leaseDurationMs,
    voteHoldMs: config.voteHoldMs,
  };
}
