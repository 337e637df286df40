import { CairnError, type ReplicaId } from '@cairn/base';
import { validateRaftConfig } from '@cairn/raft';

import { raftConfigFor } from './raft-config.js';

/** Bounds and rhythms of a store. One object, validated once at start. */
export interface StoreConfig {
  /** Raft time passes in steps of this. Default 50. */
  readonly tickIntervalMs: number;
  readonly electionTimeoutMs: number;
  readonly electionJitterMs: number;
  readonly heartbeatIntervalMs: number;
  readonly leaseDurationMs: number;
  readonly voteHoldMs: number;
  /** A turn works on at most this many replicas (default 256) … */
  readonly replicasPerTurnMax: number;
  /** … and stops taking new ones after this long. Default 8. */
  readonly turnBudgetMs: number;
  /** Payload bytes that one engine batch applies. Default 4 MiB. */
  readonly applyBatchBytesMax: number;
  /**
   * Payload bytes, of all ranges, that are committed and not applied yet. Above it nothing is proposed or
   * taken in from leaders until the engine has caught up. Default 64 MiB.
   */
  readonly applyBacklogBytesMax: number;
  /** A checkpoint (engine flush) is made after this many applied bytes, default 64 MiB … */
  readonly checkpointBytes: number;
  /** … or this long after the first change since the last one. Default 60,000. */
  readonly checkpointIntervalMs: number;
  /**
   * Payload bytes of applied entries that a truncation leaves for slow followers and request windows. Default
   * 4 MiB.
   */
  readonly logRetentionBytes: number;
  /**
   * A range whose log passes this is cut down to it, as far as its checkpoint allows, even if a live follower
   * needs more. Default 64 MiB.
   */
  readonly logForceTruncateBytes: number;
  /** Snapshots being sent at once (default 2) and being received at once (default 1). */
  readonly snapshotSendsMax: number;
  readonly snapshotReceivesMax: number;
  /** Rows of a snapshot travel in chunks of about this. Default 256 KiB. */
  readonly snapshotChunkBytes: number;
  /** Bytes per second that one store sends as snapshots. Default 64 MiB. */
  readonly snapshotBytesPerSecond: number;
  /** A snapshot that is larger is not received. Default 16 GiB. */
  readonly snapshotBytesMax: number;
  /**
   * Of the disk, so much stays free when a snapshot is received and its rows are installed beside the spool.
   * Default 64 MiB; of a shard node at least its disk reserve.
   */
  readonly snapshotFreeBytesMin: number;
  /** Within this time (default 30,000) … */
  readonly snapshotProgressMs: number;
  /** … so much of a snapshot must arrive, or the stream is given up. Default 4 MiB. */
  readonly snapshotProgressBytes: number;
  /**
   * Frames received and not yet worked on, bytes, per store. Beyond it raft frames are dropped. Default 128
   * MiB.
   */
  readonly inboundBytesMax: number;
  /** Bytes of them that one turn works off, so that ticks and heartbeats get their time. Default 8 MiB. */
  readonly inboundBytesPerTurn: number;
}

export const DEFAULT_STORE_CONFIG: StoreConfig = {
  tickIntervalMs: 50,
  electionTimeoutMs: 600,
  electionJitterMs: 600,
  heartbeatIntervalMs: 150,
  leaseDurationMs: 400,
  voteHoldMs: 500,
  replicasPerTurnMax: 256,
  turnBudgetMs: 8,
  applyBatchBytesMax: 4 * 1024 * 1024,
  applyBacklogBytesMax: 64 * 1024 * 1024,
  checkpointBytes: 64 * 1024 * 1024,
  checkpointIntervalMs: 60_000,
  logRetentionBytes: 4 * 1024 * 1024,
  logForceTruncateBytes: 64 * 1024 * 1024,
  snapshotSendsMax: 2,
  snapshotReceivesMax: 1,
  snapshotChunkBytes: 256 * 1024,
  snapshotBytesPerSecond: 64 * 1024 * 1024,
  snapshotBytesMax: 16 * 1024 * 1024 * 1024,
  snapshotFreeBytesMin: 64 * 1024 * 1024,
  snapshotProgressMs: 30_000,
  snapshotProgressBytes: 4 * 1024 * 1024,
  inboundBytesMax: 128 * 1024 * 1024,
  inboundBytesPerTurn: 8 * 1024 * 1024,
};

/** Throws INVALID_ARGUMENT naming both sides of the relation that does not hold. */
export function validateStoreConfig(config: StoreConfig): void {
  const check = (holds: boolean, sentence: string): void => {
    if (!holds) throw new CairnError('INVALID_ARGUMENT', sentence);
  };
  for (const [name, value] of Object.entries(config)) {
    check(Number.isFinite(value) && value > 0, `${name} must be a positive number, is ${String(value)}`);
  }
  check(
    config.tickIntervalMs * 2 <= config.heartbeatIntervalMs,
    `tickIntervalMs (${config.tickIntervalMs}) must be at most half of heartbeatIntervalMs (${config.heartbeatIntervalMs})`,
  );
  check(
    config.logRetentionBytes < config.logForceTruncateBytes,
    `logRetentionBytes (${config.logRetentionBytes}) must be below logForceTruncateBytes (${config.logForceTruncateBytes})`,
  );
  // Of any replica: else the first one that is opened would find out.
  validateRaftConfig(raftConfigFor(1 as ReplicaId, config));
}
