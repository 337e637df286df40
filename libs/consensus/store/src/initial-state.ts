import { logIndex, term as toTerm, type RangeDescriptor, type ReplicaId } from '@cairn/base';
import type { HardState } from '@cairn/raft';
import type { RangeMarks } from '@cairn/raft-log';

import { encodeCheckpointState } from './checkpoint-state.js';
import { configStateOf } from './membership.js';

/**
 * Where the log of a new range begins: as if everything up to here had been truncated. Above 1, so that a
 * replica that was created empty (by a message, not by the split) can never be caught up from the log and
 * gets a snapshot.
 */
export const INITIAL_INDEX = logIndex(10);
export const INITIAL_TERM = toTerm(5);

/**
 * What the log of a replica that is being created begins with, for `RaftLog.setMarks`: in part it would be a
 * log that goes on behind entries that nobody has applied here. An empty replica may have been here before,
 * created by a message: the vote it gave stays given.
 */
export function initialMarks(
  promised: HardState | undefined,
  descriptor: RangeDescriptor,
  replicaId: ReplicaId,
): RangeMarks {
  const state = encodeCheckpointState({
    replicaId,
    descriptor,
    config: configStateOf(descriptor),
    confVersionSeen: 0,
    installing: undefined,
  });
  return {
    rangeId: descriptor.rangeId,
    reset: { index: INITIAL_INDEX, term: INITIAL_TERM },
    hardState:
      promised !== undefined && promised.term > INITIAL_TERM
        ? { term: promised.term, vote: promised.vote, commit: INITIAL_INDEX }
        : { term: INITIAL_TERM, vote: 0 as ReplicaId, commit: INITIAL_INDEX },
    checkpoint: { index: INITIAL_INDEX, term: INITIAL_TERM, state },
  };
}
