import type { RangeId } from '@cairn/base';
import type { RangeLog } from '@cairn/raft-log';

import { checkpointFrom, decodeCheckpointState, type CheckpointState } from './checkpoint-state.js';
import { isMarkPlace } from './store-mark.js';
import { Tombstones } from './tombstones.js';

/** What the log says about one replica after a restart. */
export interface RecoveredReplica {
  readonly rangeId: RangeId;
  readonly log: RangeLog;
  readonly state: CheckpointState;
}

/**
 * Every replica of the store, as the log remembers them. Ranges without a checkpoint were never created:
 * ignored.
 */
export function recoveredReplicas(
  rangeIds: readonly RangeId[],
  rangeLog: (id: RangeId) => RangeLog,
): RecoveredReplica[] {
  const found: RecoveredReplica[] = [];
  for (const rangeId of rangeIds) {
    if (Tombstones.isPlace(rangeId) || isMarkPlace(rangeId)) continue;
    const log = rangeLog(rangeId);
    if (log.checkpoint === undefined) continue;
    found.push({ rangeId, log, state: checkpointFrom(log, decodeCheckpointState) });
  }
  return found;
}
