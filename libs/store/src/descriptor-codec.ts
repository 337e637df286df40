import {
  CairnError,
  rangeId,
  replicaId,
  storeId,
  type RangeDescriptor,
  type ReplicaDescriptor,
  type ReplicaRole,
} from '@cairn/base';
import type { ByteReader, ByteWriter } from '@cairn/codec';

/** On disk: append only. */
const ROLES: readonly ReplicaRole[] = ['voter', 'learner', 'incoming', 'outgoing'];

/** Writes a descriptor in the form kept in the log. */
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

/** Keys are copied out of the input: descriptors live long, log buffers must not. */
export function readDescriptor(reader: ByteReader): RangeDescriptor {
  const id = rangeId(reader.varint());
  const startKey = Buffer.from(reader.bytes());
  const endKey = Buffer.from(reader.bytes());
  const version = reader.varint();
  const confVersion = reader.varint();
  const count = reader.varint();
  const replicas: ReplicaDescriptor[] = [];
  for (let i = 0; i < count; i += 1) {
    const replica = replicaId(reader.varint());
    const store = storeId(reader.varint());
    const role = ROLES[reader.u8()];
    if (role === undefined) throw new CairnError('CORRUPTION', 'unknown replica role in a descriptor');
    replicas.push({ replicaId: replica, storeId: store, role });
  }
  return { rangeId: id, startKey, endKey, epoch: { version, confVersion }, replicas };
}
