import { assert, CairnError, formatTooNew, type ReplicaId } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

import type { ConfigChange, ConfigOperation, ConfigState } from './types.js';

const OPERATION_TYPES: readonly ConfigOperation['type'][] = ['add-voter', 'add-learner', 'remove'];
/** Most operations in one change. */
export const CONFIG_OPERATIONS_MAX = 64;

/** The payload of a config entry: flags, operations, then the host's context to the end. */
export function encodeConfigChange(change: ConfigChange): Uint8Array {
  const writer = new ByteWriter(32 + change.context.length);
  writer.u8(change.leaveJoint ? 1 : 0);
  writer.varint(change.operations.length);
  for (const operation of change.operations) {
    writer.u8(OPERATION_TYPES.indexOf(operation.type));
    writer.varint(operation.replicaId);
  }
  writer.bytes(change.context);
  return writer.take();
}

/**
 * Throws CairnError FORMAT_TOO_NEW for what a later release wrote, CORRUPTION for what none did. `context` is
 * a view of the payload.
 */
export function decodeConfigChange(payload: Uint8Array): ConfigChange {
  const reader = new ByteReader(payload);
  const flags = reader.u8();
  const count = reader.varint();
  if (flags > 1) throw formatTooNew(`a membership change with flags ${flags}`);
  if (count > CONFIG_OPERATIONS_MAX) throw new CairnError('CORRUPTION', 'unreadable membership change');
  const operations: ConfigOperation[] = [];
  for (let at = 0; at < count; at += 1) {
    const number = reader.u8();
    const type = OPERATION_TYPES[number];
    if (type === undefined) throw formatTooNew(`a membership change with an operation ${number}`);
    operations.push({ type, replicaId: reader.varint() as ReplicaId });
  }
  const context = reader.bytes();
  reader.expectEnd();
  return { operations, leaveJoint: flags === 1, context };
}

export function isJoint(config: ConfigState): boolean {
  return config.outgoing.length > 0;
}

/** One learner comes or goes: touches no majority. */
function isSimple(config: ConfigState, change: ConfigChange): boolean {
  const operation = change.operations[0];
  return (
    change.operations.length === 1 &&
    operation !== undefined &&
    operation.type !== 'add-voter' &&
    !config.voters.includes(operation.replicaId)
  );
}

/**
 * Whether the operations may be applied to a configuration that is not joint; leader-independent rules
 * only.
 */
export function isLegalChange(config: ConfigState, change: ConfigChange): boolean {
  const { operations } = change;
  if (change.leaveJoint || operations.length === 0 || operations.length > CONFIG_OPERATIONS_MAX) return false;
  const seen = new Set<ReplicaId>();
  let voters = config.voters.length;
  for (const { type, replicaId } of operations) {
    if (seen.has(replicaId) || replicaId <= 0) return false;
    seen.add(replicaId);
    const isVoter = config.voters.includes(replicaId);
    const isLearner = config.learners.includes(replicaId);
    if (type === 'add-voter' && !isLearner) return false;
    if (type === 'add-learner' && isLearner) return false;
    if (type === 'remove' && !isLearner) return false;
    if (type === 'add-voter') voters += 1;
    if (type === 'add-learner' && isVoter) voters -= 1;
  }
  return voters > 0;
}

/** The configuration after a change was applied; throws InvariantError where the change does not fit. */
export function configAfter(config: ConfigState, change: ConfigChange): ConfigState {
  if (change.leaveJoint) {
    assert(isJoint(config), 'left a joint configuration that was never entered');
    const learners = [...config.learners, ...config.learnersNext];
    return { voters: config.voters, outgoing: [], learners, learnersNext: [] };
  }
  assert(!isJoint(config), 'a membership change inside a joint configuration');
  assert(isLegalChange(config, change), 'an illegal membership change was committed');
  const joint = !isSimple(config, change);
  const voters = new Set(config.voters);
  const learners = new Set(config.learners);
  const learnersNext: ReplicaId[] = [];
  for (const { type, replicaId } of change.operations) {
    if (type === 'remove') learners.delete(replicaId);
    else if (type === 'add-voter') {
      learners.delete(replicaId);
      voters.add(replicaId);
    } else if (voters.delete(replicaId)) learnersNext.push(replicaId);
    else learners.add(replicaId);
  }
  return { voters: [...voters], outgoing: joint ? config.voters : [], learners: [...learners], learnersNext };
}
