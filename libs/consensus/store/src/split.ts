// Timeline: docs/timelines/split.md
import { CairnError, type RangeDescriptor, type RangeId, type ReplicaId } from '@cairn/base';

import { notLeader } from './not-leader.js';
import type { Replica } from './replica.js';
import { encodeSplitCommand, type SplitCommand } from './store-commands.js';

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
  if (replica?.isReadyLeader !== true) throw notLeader(replica);
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
    throw notLeader(replica);
  }
  replica.freeze();
  await replica.untilThawed();
  if (replica.descriptor.epoch.version !== command.left.epoch.version) {
    throw new CairnError('NOT_LEADER', 'leadership was lost before the split was applied');
  }
}
