import type { ReplicaId } from '@cairn/base';
import { defaultRaftConfig, type RaftConfig } from '@cairn/raft';

/** What a store says about the timing of its replicas' cores. */
export type RaftTiming = Pick<
  RaftConfig,
  'electionTimeoutMs' | 'electionJitterMs' | 'heartbeatIntervalMs' | 'leaseDurationMs' | 'voteHoldMs'
>;

/** The core's configuration of one replica: the store's timing over the core's defaults. */
export function raftConfigFor(replicaId: ReplicaId, config: RaftTiming): RaftConfig {
  return {
    ...defaultRaftConfig(replicaId),
    electionTimeoutMs: config.electionTimeoutMs,
    electionJitterMs: config.electionJitterMs,
    heartbeatIntervalMs: config.heartbeatIntervalMs,
    leaseDurationMs: config.leaseDurationMs,
    voteHoldMs: config.voteHoldMs,
  };
}
