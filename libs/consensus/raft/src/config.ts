import { CairnError, outlastsLease, type ReplicaId } from '@cairn/base';

import type { RaftConfig } from './types.js';

const MIB = 1024 * 1024;

/** The starting values of `RaftConfig` for one replica. */
export function defaultRaftConfig(id: ReplicaId): RaftConfig {
  return {
    id,
    electionTimeoutMs: 600,
    electionJitterMs: 600,
    heartbeatIntervalMs: 150,
    leaseDurationMs: 400,
    voteHoldMs: 500,
    appendBytesMax: MIB,
    inflightCountMax: 256,
    inflightBytesMax: 8 * MIB,
    uncommittedBytesMax: 64 * MIB,
    committedBytesPerReadyMax: 4 * MIB,
  };
}

function refuse(message: string): never {
  throw new CairnError('INVALID_ARGUMENT', message);
}

/** Throws CairnError INVALID_ARGUMENT, naming both values, when two settings contradict each other. */
export function validateRaftConfig(config: RaftConfig): void {
  for (const [name, value] of Object.entries(config)) {
    const lowest = name === 'electionJitterMs' ? 0 : 1;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < lowest) {
      refuse(`${name} must be at least ${lowest}, is ${String(value)}`);
    }
  }
  const { electionTimeoutMs, heartbeatIntervalMs, leaseDurationMs, voteHoldMs } = config;
  if (heartbeatIntervalMs * 2 >= electionTimeoutMs) {
    refuse(
      `heartbeatIntervalMs ${heartbeatIntervalMs} must be below half of electionTimeoutMs ${electionTimeoutMs}`,
    );
  }
  if (voteHoldMs > electionTimeoutMs) {
    refuse(`voteHoldMs ${voteHoldMs} must not exceed electionTimeoutMs ${electionTimeoutMs}`);
  }
  if (!outlastsLease(voteHoldMs, leaseDurationMs)) {
    refuse(`leaseDurationMs ${leaseDurationMs} must be 10 % below voteHoldMs ${voteHoldMs}`);
  }
  if (config.appendBytesMax > config.inflightBytesMax) {
    refuse(
      `appendBytesMax ${config.appendBytesMax} must not exceed inflightBytesMax ${config.inflightBytesMax}`,
    );
  }
}
