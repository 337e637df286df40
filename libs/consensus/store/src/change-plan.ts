import type { RangeDescriptor, ReplicaDescriptor, ReplicaId, StoreId } from '@cairn/base';
import type { ConfigOperation } from '@cairn/raft';

/** What is wanted of the members of a range: one more store, one less, or one for another. */
export interface ReplicaChange {
  readonly addStoreId: StoreId | undefined;
  readonly removeStoreId: StoreId | undefined;
}

/** The next thing to do for a change. */
export type ChangeStep =
  | { readonly type: 'done' }
  /** A joint configuration: its leader leaves it by itself. */
  | { readonly type: 'wait' }
  | { readonly type: 'add-learner'; readonly storeId: StoreId }
  /** One joint change: the learner begins to vote, the one that goes stops. */
  | { readonly type: 'change-voters'; readonly operations: readonly ConfigOperation[] }
  | { readonly type: 'remove-learner'; readonly replicaId: ReplicaId }
  /** The leader is the one that goes: another voter leads first. */
  | { readonly type: 'transfer' }
  /** No voter would be left. */
  | { readonly type: 'refuse'; readonly reason: string };

/**
 * Decides the next step from nothing but the members as they are, so that a change that was interrupted
 * anywhere goes on when it is asked for again, on any leader: learner first, then one joint change, then the
 * demoted replica goes. `self` is the leader's store.
 */
export function planChange(descriptor: RangeDescriptor, change: ReplicaChange, self: StoreId): ChangeStep {
  const { replicas } = descriptor;
  if (replicas.some(({ role }) => role === 'incoming' || role === 'outgoing')) return { type: 'wait' };
  const on = (store: StoreId | undefined): ReplicaDescriptor | undefined =>
    replicas.find((member) => member.storeId === store);
  const arriving = on(change.addStoreId);
  if (change.addStoreId !== undefined && arriving === undefined) {
    return { type: 'add-learner', storeId: change.addStoreId };
  }
  const promoted = arriving?.role === 'learner' ? arriving : undefined;
  const leaving = on(change.removeStoreId);
  let demoted = leaving?.role === 'voter' ? leaving : undefined;
  const others = replicas.filter((member) => member.role === 'voter' && member !== demoted).length;
  if (demoted !== undefined && others === 0 && promoted === undefined) {
    return { type: 'refuse', reason: 'the last voter of a range cannot be removed' };
  }
  if (demoted?.storeId === self) {
    if (others > 0) return { type: 'transfer' };
    // There is nobody to hand over to before the new one votes.
    demoted = undefined;
  }
  const operations: ConfigOperation[] = [];
  if (promoted !== undefined) operations.push({ type: 'add-voter', replicaId: promoted.replicaId });
  if (demoted !== undefined) operations.push({ type: 'add-learner', replicaId: demoted.replicaId });
  if (operations.length > 0) return { type: 'change-voters', operations };
  if (leaving !== undefined) return { type: 'remove-learner', replicaId: leaving.replicaId };
  return { type: 'done' };
}
