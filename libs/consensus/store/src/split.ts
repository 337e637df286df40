import {
  assert,
  CairnError,
  logIndex,
  term as toTerm,
  type RangeDescriptor,
  type RangeId,
  type ReplicaId,
} from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import type { Entry } from '@cairn/raft';
import type { RaftLog, RangeLog } from '@cairn/raft-log';

import { encodeCheckpointState } from './checkpoint-state.js';
import { configStateOf } from './membership.js';
import type { Replica } from './replica.js';
import { encodeSplitCommand, type SplitCommand } from './store-commands.js';

/**
 * Where the log of a new range begins: as if everything up to here had been truncated. Above 1, so that a
 * replica that was created empty (by a message, not by the split) can never be caught up from the log and
 * gets a snapshot.
 */
export const INITIAL_INDEX = logIndex(10);
export const BIRTH_TERM = toTerm(5);

/** Ids for the ranges a split makes; from the metadata service, never used before. */
export interface ChildIds {
  readonly rangeId: RangeId;
  /** One per replica of the parent, in the same order. */
  readonly replicaIds: readonly ReplicaId[];
}

/**
 * Builds the command that cuts `parent` at the keys. Throws INVALID_ARGUMENT for keys that are not inside and
 * ascending.
 */
export function planSplit(
  parent: RangeDescriptor,
  keys: readonly Uint8Array[],
  ids: readonly ChildIds[],
): SplitCommand {
  const fits = ids.every(({ replicaIds }) => replicaIds.length === parent.replicas.length);
  if (keys.length === 0 || keys.length !== ids.length || !fits) {
    throw new CairnError(
      'INVALID_ARGUMENT',
      `a split needs a range id per key (${keys.length} keys, ${ids.length} ids), and for each as many replica ` +
        `ids as the range has members (${parent.replicas.length})`,
    );
  }
  let previous: Uint8Array = parent.startKey;
  for (const key of keys) {
    const isInside =
      Buffer.compare(key, previous) > 0 &&
      (parent.endKey.length === 0 || Buffer.compare(key, parent.endKey) < 0);
    if (!isInside)
      throw new CairnError('INVALID_ARGUMENT', 'split keys must be inside the range and ascending');
    previous = key;
  }
  const version = parent.epoch.version + keys.length;
  const epoch = { version, confVersion: parent.epoch.confVersion };
  const children = keys.map((key, at): RangeDescriptor => {
    const { rangeId, replicaIds } = ids[at] as ChildIds;
    return {
      ...parent,
      rangeId,
      startKey: key,
      endKey: keys[at + 1] ?? parent.endKey,
      epoch,
      replicas: parent.replicas.map((replica, i) => ({ ...replica, replicaId: replicaIds[i] as ReplicaId })),
    };
  });
  return {
    baseVersion: parent.epoch.version,
    left: { ...parent, endKey: keys[0] as Uint8Array, epoch },
    children,
  };
}

export interface SplitRequest {
  /** Version of the range the keys were chosen in. */
  readonly version: number;
  readonly keys: readonly Uint8Array[];
  /** One per key. */
  readonly ids: readonly ChildIds[];
}

/** See `Store.splitRange`. From the proposal until it is applied the range is frozen on this leader. */
export async function cutRange(replica: Replica | undefined, request: SplitRequest): Promise<void> {
  if (replica?.isReadyLeader !== true) throw new CairnError('NOT_LEADER', 'the range is not led here');
  const { descriptor } = replica;
  const membersThen = request.ids[0]?.replicaIds.length;
  if (descriptor.epoch.version !== request.version || descriptor.replicas.length !== membersThen) {
    throw new CairnError('EPOCH_MISMATCH', 'the range has changed meanwhile');
  }
  if (replica.isFrozen) throw new CairnError('FAILED_PRECONDITION', 'a split of the range is under way');
  if (!replica.hasSettledMembers) {
    throw new CairnError('FAILED_PRECONDITION', 'a change of the members of the range is under way');
  }
  const command = planSplit(descriptor, request.keys, request.ids);
  const result = replica.propose(encodeSplitCommand(command));
  if (result.type === 'refused') {
    if (result.reason === 'too-many-uncommitted') {
      throw new CairnError('RESOURCE_EXHAUSTED', 'the range has too many writes under way', {
        retryAfterMs: 50,
      });
    }
    throw new CairnError('NOT_LEADER', 'the range is not led here');
  }
  replica.freeze();
  await replica.untilThawed();
  if (replica.descriptor.epoch.version !== command.left.epoch.version) {
    throw new CairnError('NOT_LEADER', 'leadership was lost before the split was applied');
  }
}

/**
 * Stages the log of a replica that is being created. An empty replica may have been here before, created by a
 * message: the vote it gave stays given.
 */
export function beginLogOfBirth(log: RangeLog, descriptor: RangeDescriptor, replicaId: ReplicaId): void {
  const promised = log.hardState;
  log.reset(INITIAL_INDEX, BIRTH_TERM);
  log.setHardState(
    promised !== undefined && promised.term > BIRTH_TERM
      ? { term: promised.term, vote: promised.vote, commit: INITIAL_INDEX }
      : { term: BIRTH_TERM, vote: 0 as ReplicaId, commit: INITIAL_INDEX },
  );
  log.setCheckpoint({
    index: INITIAL_INDEX,
    term: BIRTH_TERM,
    state: encodeCheckpointState({
      replicaId,
      descriptor,
      config: configStateOf(descriptor),
      confVersionSeen: 0,
      installing: undefined,
    }),
  });
}

export interface SplitApplication {
  readonly engine: KvEngine;
  readonly log: RaftLog;
  /** Whether the child may be created here; an empty replica that messages created gives way. */
  canCreate(rangeId: RangeId, replicaId: ReplicaId): boolean;
  /** Makes the replica of a child whose log was just created. */
  addChild(
    descriptor: RangeDescriptor,
    replicaId: ReplicaId,
    machine: NonNullable<Replica['machine']>,
  ): Replica;
  readonly storeId: number;
}

/**
 * Applies a split on one replica. The engine is flushed first, and the parent's new span, the children's
 * birth and everybody's checkpoint become durable with one log write: after a crash either the whole split is
 * there, and nothing from before it is applied again, or none of it. Answers the children that live here.
 *
 * Timeline: docs/timelines/split.md
 */
export async function applySplit(
  parts: SplitApplication,
  replica: Replica,
  entry: Pick<Entry, 'index' | 'term'>,
  command: SplitCommand,
): Promise<Replica[]> {
  const { epoch } = replica.descriptor;
  // The command names the members it was planned for: a change of them that came first makes it void, too.
  const isVoid =
    epoch.version !== command.baseVersion || epoch.confVersion !== command.left.epoch.confVersion;
  if (isVoid) {
    replica.thaw();
    return [];
  }
  await parts.engine.flush();
  assert(replica.machine?.split !== undefined, 'the state machine cannot be split', {
    rangeId: replica.rangeId,
  });
  const machines = replica.machine.split(command.left, command.children);
  const created: { descriptor: RangeDescriptor; replicaId: ReplicaId; machine: (typeof machines)[number] }[] =
    [];
  command.children.forEach((descriptor, at) => {
    const mine = descriptor.replicas.find((member) => member.storeId === parts.storeId);
    // The child may be here already, created later than this split by a message and fed by a snapshot.
    const machine = machines[at];
    assert(machine !== undefined, 'a machine per child');
    if (mine === undefined || !parts.canCreate(descriptor.rangeId, mine.replicaId)) return;
    beginLogOfBirth(parts.log.range(descriptor.rangeId), descriptor, mine.replicaId);
    created.push({ descriptor, replicaId: mine.replicaId, machine });
  });
  replica.log.setCheckpoint({
    index: entry.index,
    term: entry.term,
    state: encodeCheckpointState({
      replicaId: replica.replicaId,
      descriptor: command.left,
      config: replica.raft.configState,
      confVersionSeen: 0,
      installing: undefined,
    }),
  });
  await parts.log.sync();
  replica.setDescriptor(command.left);
  replica.thaw();
  return created.map(({ descriptor, replicaId, machine }) => parts.addChild(descriptor, replicaId, machine));
}
