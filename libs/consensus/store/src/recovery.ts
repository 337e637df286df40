import { assert, logIndex, type RangeDescriptor, type RangeId } from '@cairn/base';
import { EntryKind } from '@cairn/raft';
import type { RangeLog } from '@cairn/raft-log';

import { checkpointFrom, decodeCheckpointState, type CheckpointState } from './checkpoint-state.js';
import type { Replica } from './replica.js';
import type { ReplicaStart } from './replica-factory.js';
import type { StateMachine } from './state-machine.js';
import { Tombstones } from './tombstones.js';

const REMEMBER_BYTES_MAX = 4 * 1024 * 1024;

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
    if (Tombstones.isPlace(rangeId)) continue;
    const log = rangeLog(rangeId);
    if (log.checkpoint === undefined) continue;
    found.push({ rangeId, log, state: checkpointFrom(log, decodeCheckpointState) });
  }
  return found;
}

export interface OpeningParts {
  /** Rejects DISK_FULL while the rows of the snapshot have no room. */
  finishInstallation(log: RangeLog, state: CheckpointState): Promise<CheckpointState>;
  newReplica(start: ReplicaStart): Replica;
  machineFor(descriptor: RangeDescriptor): StateMachine;
  /** It takes part from now on: what was committed meanwhile may be applied. */
  opened(replica: Replica): void;
}

/**
 * Brings a replica back to where its log says that it was.
 *
 * Timeline: docs/timelines/restart.md
 */
export async function openRecovered(recovered: RecoveredReplica, parts: OpeningParts): Promise<void> {
  const { log, rangeId } = recovered;
  const state =
    recovered.state.installing === undefined
      ? recovered.state
      : await parts.finishInstallation(log, recovered.state);
  const { checkpoint } = log;
  assert(checkpoint !== undefined, 'recovered replicas have a checkpoint');
  const replica = parts.newReplica({
    rangeId,
    replicaId: state.replicaId,
    descriptor: state.descriptor,
    config: state.config,
    confVersionSeen: state.confVersionSeen,
    appliedIndex: checkpoint.index,
    appliedTerm: checkpoint.term,
    isInitial: false,
  });
  if (state.descriptor === undefined) return;
  const machine = parts.machineFor(state.descriptor);
  replica.isApplyBlocked = true;
  replica.machine = machine;
  machine.attach?.(replica);
  await machine.open();
  await rememberEntries(log, machine);
  replica.isMachineOpen = true;
  parts.opened(replica);
}

/** Shows the machine the commands that the engine already covers and the log still holds. */
export async function rememberEntries(log: RangeLog, machine: StateMachine): Promise<void> {
  if (machine.remember === undefined || log.checkpoint === undefined) return;
  const endExclusive = logIndex(log.checkpoint.index + 1);
  let next = log.firstIndex();
  /** Answers false when there is nothing in memory to go on with. */
  const goOn = (): boolean => {
    const entries = log.entries(next, endExclusive, REMEMBER_BYTES_MAX);
    if (typeof entries === 'string') return false;
    for (const entry of entries) if (entry.kind === EntryKind.command) machine.remember?.(entry);
    next = logIndex(next + entries.length);
    return true;
  };
  while (next < endExclusive) {
    if (goOn()) continue;
    await log.load(next, endExclusive, REMEMBER_BYTES_MAX, () => {
      goOn();
    });
  }
}
