import {
  assert,
  checkFormat,
  type RangeDescriptor,
  type ReplicaDescriptor,
  type ReplicaId,
  type ReplicaRole,
  type StoreId,
} from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import type { ConfigState } from '@cairn/raft';

/** Read from `min` on, written as `max`. */
const FORMATS = { min: 1, max: 1 };

/** Where a replica that a membership change adds is going to live. */
export interface NewMember {
  readonly replicaId: ReplicaId;
  readonly storeId: StoreId;
}

/**
 * The core's view of the members of a range that is created: there it follows from the roles. Later the
 * core's configuration is the truth, and the roles follow from it.
 */
export function configStateOf(descriptor: RangeDescriptor | undefined): ConfigState {
  const voters: ReplicaId[] = [];
  const outgoing: ReplicaId[] = [];
  const learners: ReplicaId[] = [];
  const learnersNext: ReplicaId[] = [];
  const members = descriptor?.replicas ?? [];
  const isJoint = members.some((member) => member.role === 'incoming' || member.role === 'outgoing');
  for (const member of members) {
    if (member.role === 'learner') learners.push(member.replicaId);
    if (member.role === 'voter' || member.role === 'incoming') voters.push(member.replicaId);
    if (isJoint && (member.role === 'voter' || member.role === 'outgoing')) outgoing.push(member.replicaId);
    if (member.role === 'outgoing') learnersNext.push(member.replicaId);
  }
  return { voters, outgoing, learners, learnersNext };
}

/** The context of a membership change: the stores of the members it adds, which the core knows nothing of. */
export function encodeNewMembers(added: readonly NewMember[]): Buffer {
  const writer = new ByteWriter(32);
  writer.u8(FORMATS.max);
  writer.varint(added.length);
  for (const member of added) {
    writer.varint(member.replicaId);
    writer.varint(member.storeId);
  }
  return writer.take();
}

/** Empty (what the core proposes by itself) adds nobody. Throws FORMAT_TOO_NEW, CORRUPTION. */
export function decodeNewMembers(context: Uint8Array): NewMember[] {
  if (context.length === 0) return [];
  const reader = new ByteReader(context);
  checkFormat('the members that a change adds', reader.u8(), FORMATS);
  const count = reader.varint();
  const added: NewMember[] = [];
  for (let at = 0; at < count; at += 1) {
    added.push({ replicaId: reader.varint() as ReplicaId, storeId: reader.varint() as StoreId });
  }
  reader.expectEnd();
  return added;
}

/** What a member is called in the descriptor; undefined when it is none. */
function roleIn(config: ConfigState, id: ReplicaId): ReplicaRole | undefined {
  const isNew = config.voters.includes(id);
  const isOld = config.outgoing.includes(id);
  if (isNew) return config.outgoing.length === 0 || isOld ? 'voter' : 'incoming';
  if (isOld) return 'outgoing';
  return config.learners.includes(id) || config.learnersNext.includes(id) ? 'learner' : undefined;
}

/**
 * The descriptor after the core adopted `config`: members keep their places, new ones come last, those the
 * configuration does not know are gone. Every change, also leaving a joint configuration, counts one epoch.
 */
export function descriptorAfterChange(
  descriptor: RangeDescriptor,
  config: ConfigState,
  added: readonly NewMember[],
): RangeDescriptor {
  const replicas: ReplicaDescriptor[] = [];
  for (const { replicaId, storeId } of [...descriptor.replicas, ...added]) {
    const role = roleIn(config, replicaId);
    if (role !== undefined) replicas.push({ replicaId, storeId, role });
  }
  const members = new Set([...config.voters, ...config.outgoing, ...config.learners, ...config.learnersNext]);
  assert(replicas.length === members.size, 'a member without a store, or named twice', {
    rangeId: descriptor.rangeId,
  });
  const { version, confVersion } = descriptor.epoch;
  return { ...descriptor, replicas, epoch: { version, confVersion: confVersion + 1 } };
}
