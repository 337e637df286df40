import {
  CairnError,
  type RangeDescriptor,
  type RangeId,
  type ReplicaDescriptor,
  type ReplicaId,
  type ReplicaRole,
  type StoreId,
} from '@cairn/base';
import { ByteReader, type ByteWriter } from '@cairn/codec';

/** On disk and on the wire: append only. */
const ROLES: readonly ReplicaRole[] = ['voter', 'learner', 'incoming', 'outgoing'];

/** Members of one range: far more than any has. A count is believed before anything else is checked. */
export const RANGE_MEMBERS_MAX = 64;

/** Throws CORRUPTION for more members than a range can have. */
export function checkMemberCount(count: number): void {
  if (count <= RANGE_MEMBERS_MAX) return;
  throw new CairnError('CORRUPTION', `a range of ${count} members; ${RANGE_MEMBERS_MAX} is the most`);
}

/** A tail is said back by every replica, with every change: it is no place for much. */
const TAIL_BYTES_MAX = 4 * 1024;

/**
 * Writes a descriptor in the form that frames, snapshots and the log share: its length, then its fields. What
 * a later release appends is the tail here, which is written back behind them.
 */
export function writeDescriptor(writer: ByteWriter, descriptor: RangeDescriptor): void {
  const lengthAt = writer.length;
  writer.u32(0);
  writer.varint(descriptor.rangeId);
  writer.bytes(descriptor.startKey);
  writer.bytes(descriptor.endKey);
  writer.varint(descriptor.epoch.version);
  writer.varint(descriptor.epoch.confVersion);
  writer.varint(descriptor.replicas.length);
  for (const replica of descriptor.replicas) {
    writer.varint(replica.replicaId);
    writer.varint(replica.storeId);
    writer.u8(ROLES.indexOf(replica.role));
  }
  if (descriptor.tail !== undefined) writer.raw(descriptor.tail);
  writer.patchU32(lengthAt, writer.length - lengthAt - 4);
}

/** Keys are copied out of the input: descriptors live long, frames and log buffers must not. */
export function readDescriptor(input: ByteReader): RangeDescriptor {
  const reader = new ByteReader(input.raw(input.u32()));
  const rangeId = reader.varint48() as RangeId;
  const startKey = Buffer.from(reader.bytes());
  const endKey = Buffer.from(reader.bytes());
  const version = reader.varint();
  const confVersion = reader.varint();
  const count = reader.varint();
  checkMemberCount(count);
  const replicas: ReplicaDescriptor[] = [];
  for (let i = 0; i < count; i += 1) {
    const replicaId = reader.varint48() as ReplicaId;
    const storeId = reader.varint48() as StoreId;
    const role = ROLES[reader.u8()];
    if (role === undefined) throw new CairnError('FORMAT_TOO_NEW', 'a replica has a role that is not known');
    replicas.push({ replicaId, storeId, role });
  }
  const descriptor = { rangeId, startKey, endKey, epoch: { version, confVersion }, replicas };
  return reader.remaining === 0
    ? descriptor
    : { ...descriptor, tail: checkedTail(reader.raw(reader.remaining)) };
}

/** A copy. Throws CORRUPTION for one that no release writes. */
export function checkedTail(tail: Uint8Array): Buffer {
  if (tail.length <= TAIL_BYTES_MAX) return Buffer.from(tail);
  throw new CairnError('CORRUPTION', `a descriptor with ${tail.length} bytes that are not known here`);
}
