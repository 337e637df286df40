import {
  assert,
  CairnError,
  checkFormat,
  formatTooNew,
  replicaId,
  type RangeDescriptor,
  type ReplicaId,
} from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import type { ConfigState } from '@cairn/raft';
import type { RangeLog } from '@cairn/raft-log';
import { readDescriptor, writeDescriptor } from '@cairn/wire';

import { readConfigState, writeConfigState } from './config-state-codec.js';

/**
 * What the log keeps of a replica with each checkpoint: who it is, which span it held, and who the members
 * were. The log, not the engine, says which replicas a store has, because a checkpoint record is written only
 * after an engine flush and whole or not at all.
 */
export interface CheckpointState {
  readonly replicaId: ReplicaId;
  /** undefined: the replica exists but has never had a state; it waits for a snapshot. */
  readonly descriptor: RangeDescriptor | undefined;
  /**
   * The core's configuration as of the checkpoint. Not derived from the roles in the descriptor: a joint
   * configuration that only adds learners looks like an ordinary one there.
   */
  readonly config: ConfigState;
  /** For a replica without a descriptor: a membership version that named it; 0 = not known. */
  readonly confVersionSeen: number;
  /**
   * Set while a received snapshot replaces the rows of the span: the engine holds a mixture, and the
   * installation starts over from this spool file after a crash.
   */
  readonly installing: string | undefined;
}

/** Read from `min` on, written as `max`. */
const FORMATS = { min: 3, max: 3 };
const HAS_DESCRIPTOR = 1;
const IS_INSTALLING = 2;
const FLAGS_KNOWN = 3;

export function encodeCheckpointState(state: CheckpointState): Buffer {
  const writer = new ByteWriter(128);
  writer.u8(FORMATS.max);
  writer.u8(
    (state.descriptor === undefined ? 0 : HAS_DESCRIPTOR) |
      (state.installing === undefined ? 0 : IS_INSTALLING),
  );
  writer.varint(state.replicaId);
  writer.varint(state.confVersionSeen);
  writeConfigState(writer, state.config);
  if (state.descriptor !== undefined) writeDescriptor(writer, state.descriptor);
  if (state.installing !== undefined) writer.string(state.installing);
  return writer.take();
}

/** Throws FORMAT_TOO_NEW for what a later release wrote, CORRUPTION. */
export function decodeCheckpointState(bytes: Uint8Array): CheckpointState {
  const reader = new ByteReader(bytes);
  checkFormat('a checkpoint', reader.u8(), FORMATS);
  const flags = reader.u8();
  if (flags > FLAGS_KNOWN) throw formatTooNew(`a checkpoint with flags ${flags}`);
  const id = replicaId(reader.varint());
  const confVersionSeen = reader.varint();
  const config = readConfigState(reader);
  const descriptor = (flags & HAS_DESCRIPTOR) === 0 ? undefined : readDescriptor(reader);
  const installing = (flags & IS_INSTALLING) === 0 ? undefined : reader.string();
  reader.expectEnd();
  return {
    replicaId: id,
    descriptor,
    config,
    confVersionSeen,
    installing,
  };
}

/**
 * Decodes the checkpoint of a range. Throws CORRUPTION naming the file and the place when it cannot be read.
 */
export function checkpointFrom<State>(log: RangeLog, decode: (bytes: Uint8Array) => State): State {
  assert(log.checkpoint !== undefined, 'the range has a checkpoint', { rangeId: log.rangeId });
  try {
    return decode(log.checkpoint.state);
  } catch (error) {
    if (!CairnError.is(error) || error.code !== 'CORRUPTION') throw error;
    const { path, offset } = log.checkpointPlace();
    throw new CairnError(
      'CORRUPTION',
      `raft log damaged: ${path} at offset ${offset}: the checkpoint of range ${log.rangeId} cannot be read ` +
        `(${error.message}). Keep a copy of the directory, then give the node an empty data directory and let its ` +
        'ranges be rebuilt from their other replicas.',
      { cause: error, details: { path, offset } },
    );
  }
}
