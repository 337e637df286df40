import {
  CairnError,
  type RangeDescriptor,
  type RangeId,
  type ReplicaDescriptor,
  type ReplicaId,
  type ReplicaRole,
  type StoreId,
} from '@cairn/base';
import type { ByteReader, ByteWriter } from '@cairn/codec';

/** On disk and on the wire: append only. */
const ROLES: readonly ReplicaRole[] = ['voter', 'learner', 'incoming', 'outgoing'];

/** Members of one range: far more than any has. A count is believed before anything else is checked. */
export const RANGE_MEMBERS_MAX = 64;

/** Throws CORRUPTION for more members than a range can have. */
export function checkMemberCount(count: number): void {
  if (count <= RANGE_MEMBERS_MAX) return;
  throw new CairnError('CORRUPTION', `a range of ${count} members; ${RANGE_MEMBERS_MAX} is the most`);
}

/** Writes a descriptor in the form that frames, snapshots and the log share. */
export function writeDescriptor(writer: ByteWriter, descriptor: RangeDescriptor): void {
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
}

/** Keys are copied out of the input: descriptors live long, frames and log buffers must not. */
export function readDescriptor(reader: ByteReader): RangeDescriptor {
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
    if (role === undefined) throw new CairnError('CORRUPTION', 'unknown replica role in a descriptor');
    replicas.push({ replicaId, storeId, role });
  }
  return { rangeId, startKey, endKey, epoch: { version, confVersion }, replicas };
}
