import {
  CairnError,
  NO_BYTES,
  rangeId,
  replicaId,
  storeId,
  type RangeDescriptor,
  type RangeEpoch,
  type ReplicaRole as BaseRole,
} from '@cairn/base';

import { checkedTail, ReplicaRole, type RangeDescriptorMessage } from './wire-binding.js';

const MESSAGE_BY_ROLE: Readonly<Record<BaseRole, ReplicaRole>> = {
  voter: ReplicaRole.VOTER,
  learner: ReplicaRole.LEARNER,
  incoming: ReplicaRole.INCOMING,
  outgoing: ReplicaRole.OUTGOING,
};

const ROLE_BY_MESSAGE = new Map<number, BaseRole>(
  (Object.keys(MESSAGE_BY_ROLE) as BaseRole[]).map((role) => [MESSAGE_BY_ROLE[role], role]),
);

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The message shares the key buffers. */
export function descriptorToMessage(descriptor: RangeDescriptor): RangeDescriptorMessage {
  return {
    rangeId: descriptor.rangeId,
    startKey: asBuffer(descriptor.startKey),
    endKey: asBuffer(descriptor.endKey),
    version: descriptor.epoch.version,
    confVersion: descriptor.epoch.confVersion,
    replicas: descriptor.replicas.map((replica) => ({
      replicaId: replica.replicaId,
      storeId: replica.storeId,
      role: MESSAGE_BY_ROLE[replica.role],
    })),
    tail: descriptor.tail === undefined ? NO_BYTES : asBuffer(descriptor.tail),
  };
}

/** Shares the key buffers. @throws CairnError INVALID_ARGUMENT, CORRUPTION for what no range can be. */
export function descriptorFromMessage(message: RangeDescriptorMessage | undefined): RangeDescriptor {
  if (message === undefined || message.rangeId === 0 || message.version === 0) {
    throw new CairnError('INVALID_ARGUMENT', 'a range report carries no descriptor');
  }
  const { startKey, endKey } = message;
  if (endKey.length > 0 && Buffer.compare(startKey, endKey) >= 0) {
    throw new CairnError('INVALID_ARGUMENT', `range ${message.rangeId} ends before it begins`);
  }
  return {
    rangeId: rangeId(message.rangeId),
    startKey,
    endKey,
    epoch: { version: message.version, confVersion: message.confVersion },
    replicas: message.replicas.map((replica) => {
      const role = ROLE_BY_MESSAGE.get(replica.role);
      if (role === undefined) {
        throw new CairnError(
          'INVALID_ARGUMENT',
          `replica ${replica.replicaId} has unknown role ${replica.role}`,
        );
      }
      return { replicaId: replicaId(replica.replicaId), storeId: storeId(replica.storeId), role };
    }),
    ...(message.tail.length === 0 ? {} : { tail: checkedTail(message.tail) }),
  };
}

/** Order of two states of one range: positive when `left` is newer. */
export function compareEpochs(left: RangeEpoch, right: RangeEpoch): number {
  return left.version - right.version || left.confVersion - right.confVersion;
}
