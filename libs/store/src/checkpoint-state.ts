import { CairnError, replicaId, type RangeDescriptor, type ReplicaId } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

import { readDescriptor, writeDescriptor } from '@cairn/wire';

/**
 * What the log keeps of a replica with each checkpoint: who it is and which span it held. The log, not the
 * engine, says which replicas a store has, because a checkpoint record is written only after an engine flush
 * and whole or not at all.
 */
export interface CheckpointState {
  readonly replicaId: ReplicaId;
  /** undefined: the replica exists but has never had a state; it waits for a snapshot. */
  readonly descriptor: RangeDescriptor | undefined;
  /**
   * Set while a received snapshot replaces the rows of the span: the engine holds a mixture, and the
   * installation starts over from this spool file after a crash.
   */
  readonly installing: string | undefined;
}

const FORMAT = 1;
const HAS_DESCRIPTOR = 1;
const IS_INSTALLING = 2;

export function encodeCheckpointState(state: CheckpointState): Buffer {
  const writer = new ByteWriter(128);
  writer.u8(FORMAT);
  writer.u8(
    (state.descriptor === undefined ? 0 : HAS_DESCRIPTOR) |
      (state.installing === undefined ? 0 : IS_INSTALLING),
  );
  writer.varint(state.replicaId);
  if (state.descriptor !== undefined) writeDescriptor(writer, state.descriptor);
  if (state.installing !== undefined) writer.string(state.installing);
  return writer.take();
}

export function decodeCheckpointState(bytes: Uint8Array): CheckpointState {
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  if (format !== FORMAT) {
    throw new CairnError('FORMAT_TOO_NEW', `checkpoint format ${format} is not known to this version`);
  }
  const flags = reader.u8();
  const id = replicaId(reader.varint());
  const descriptor = (flags & HAS_DESCRIPTOR) === 0 ? undefined : readDescriptor(reader);
  const installing = (flags & IS_INSTALLING) === 0 ? undefined : reader.string();
  reader.expectEnd();
  return { replicaId: id, descriptor, installing };
}
