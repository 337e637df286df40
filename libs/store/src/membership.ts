import { assert, type RangeDescriptor, type ReplicaDescriptor } from '@cairn/base';
import { ByteReader } from '@cairn/codec';
import type { ConfigState } from '@cairn/raft';

import { readDescriptor } from '@cairn/wire';

/** The core's view of a descriptor's members. */
export function configStateOf(descriptor: RangeDescriptor | undefined): ConfigState {
  const voters: ReplicaDescriptor['replicaId'][] = [];
  const outgoing: ReplicaDescriptor['replicaId'][] = [];
  const learners: ReplicaDescriptor['replicaId'][] = [];
  const learnersNext: ReplicaDescriptor['replicaId'][] = [];
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

/**
 * The descriptor after the core applied a membership change. A change that enters a joint configuration
 * carries the whole new descriptor in its context; leaving it carries nothing and follows from the roles:
 * incoming members vote, outgoing ones stay as learners until they are removed.
 */
export function descriptorAfterChange(descriptor: RangeDescriptor, context: Uint8Array): RangeDescriptor {
  if (context.length > 0) {
    const next = readDescriptor(new ByteReader(context));
    assert(next.rangeId === descriptor.rangeId, 'membership change of another range');
    // The span may have changed since the change was proposed; only the members come from it.
    return {
      ...descriptor,
      replicas: next.replicas,
      epoch: { version: descriptor.epoch.version, confVersion: descriptor.epoch.confVersion + 1 },
    };
  }
  const replicas = descriptor.replicas.map((member): ReplicaDescriptor => {
    if (member.role === 'incoming') return { ...member, role: 'voter' };
    if (member.role === 'outgoing') return { ...member, role: 'learner' };
    return member;
  });
  return {
    ...descriptor,
    replicas,
    epoch: { version: descriptor.epoch.version, confVersion: descriptor.epoch.confVersion + 1 },
  };
}
