import {
  assert,
  CairnError,
  unreachable,
  type RangeDescriptor,
  type ReplicaId,
  type StoreId,
} from '@cairn/base';
import { sleep, type Clock, type Logger } from '@cairn/ports';
import type { ConfigChange, ConfigChangeResult } from '@cairn/raft';

import { planChange, type ChangeStep, type ReplicaChange } from './change-plan.js';
import { encodeNewMembers, type NewMember } from './membership.js';
import { notLeader } from './not-leader.js';
import type { Replica } from './replica.js';

/** How often a step that is not possible yet is tried again. */
const RETRY_MS = 20;

export interface ChangeReplicasRequest extends ReplicaChange {
  /**
   * `confVersion` of the descriptor the caller decided on; any other refuses, unless nothing is to be done.
   */
  readonly confVersion: number;
  /** Given up after this long, wherever it is then. */
  readonly timeoutMs: number;
  /** An id that was never given to any replica; asked for only when one is needed. */
  newReplicaId(): Promise<ReplicaId>;
}

export interface ReplicaChangerParts {
  readonly storeId: StoreId;
  readonly clock: Clock;
  readonly logger: Logger;
}

type Refusal = (ConfigChangeResult & { type: 'refused' })['reason'];

/**
 * Carries out one change of the members of a range that is led here, step by step. Keeps nothing: what is to
 * be done next follows from the descriptor, so that whoever leads after a crash or a handover goes on when
 * the same change is asked for again.
 *
 * Timeline: docs/timelines/replica-move.md
 */
export class ReplicaChanger {
  readonly #parts: ReplicaChangerParts;

  constructor(parts: ReplicaChangerParts) {
    this.#parts = parts;
  }

  /** See `Store.changeReplicas`. */
  async change(replica: Replica, request: ChangeReplicasRequest): Promise<RangeDescriptor> {
    const { addStoreId, removeStoreId } = request;
    if (addStoreId === removeStoreId) {
      throw new CairnError('INVALID_ARGUMENT', 'name a store to add, one to remove, or two different ones');
    }
    this.#checkLeader(replica);
    if (planChange(replica.descriptor, request, this.#parts.storeId).type === 'done')
      return replica.descriptor;
    if (replica.descriptor.epoch.confVersion !== request.confVersion) {
      throw new CairnError('EPOCH_MISMATCH', 'the members of the range have changed meanwhile');
    }
    if (replica.isChangingMembers) {
      throw new CairnError('FAILED_PRECONDITION', 'another change of the members is under way');
    }
    replica.isChangingMembers = true;
    try {
      return await this.#run(replica, request);
    } finally {
      replica.isChangingMembers = false;
    }
  }

  async #run(replica: Replica, request: ChangeReplicasRequest): Promise<RangeDescriptor> {
    const { clock, logger, storeId } = this.#parts;
    const untilMs = clock.nowMs() + request.timeoutMs;
    for (;;) {
      this.#checkLeader(replica);
      const step = planChange(replica.descriptor, request, storeId);
      if (step.type === 'done') return replica.descriptor;
      if (clock.nowMs() >= untilMs) {
        throw new CairnError('UNAVAILABLE', `the change of the members did not get past: ${step.type}`, {
          retryAfterMs: 1_000,
        });
      }
      const isTaken = !replica.isFrozen && (await this.#take(replica, step, request));
      if (isTaken) logger.info('members changed', { range: replica.rangeId, step: step.type });
      else await sleep(clock, RETRY_MS);
    }
  }

  /** True when the step is applied; false: not possible yet. Throws when it never will be. */
  async #take(replica: Replica, step: ChangeStep, request: ChangeReplicasRequest): Promise<boolean> {
    switch (step.type) {
      case 'done':
      case 'wait':
        return false;
      case 'add-learner': {
        const { confVersion } = replica.descriptor.epoch;
        const id = await request.newReplicaId();
        // A newer id may have come and gone while this one was fetched: then it is too old for its store.
        if (replica.isClosed || replica.descriptor.epoch.confVersion !== confVersion) return false;
        const added = [{ replicaId: id, storeId: step.storeId }];
        return this.#propose(replica, [{ type: 'add-learner', replicaId: id }], added);
      }
      case 'change-voters':
        return this.#propose(replica, step.operations, []);
      case 'remove-learner':
        return this.#propose(replica, [{ type: 'remove', replicaId: step.replicaId }], []);
      case 'transfer':
        this.#handOver(replica);
        return false;
      case 'refuse':
        throw new CairnError('FAILED_PRECONDITION', step.reason);
      default:
        return unreachable(step);
    }
  }

  async #propose(
    replica: Replica,
    operations: ConfigChange['operations'],
    added: readonly NewMember[],
  ): Promise<boolean> {
    this.#checkLeader(replica);
    const result = replica.raft.proposeConfigChange({
      operations,
      leaveJoint: false,
      context: encodeNewMembers(added),
    });
    if (result.type === 'refused') return this.#refused(replica, result.reason);
    replica.wake();
    await new Promise<void>((resolve, reject) => {
      replica.waiters.set(result.index, {
        term: result.term,
        resolve: () => {
          resolve();
        },
        lost: () => {
          reject(notLeader(replica));
        },
      });
    });
    return true;
  }

  #refused(replica: Replica, reason: Refusal): false {
    switch (reason) {
      case 'transferring':
      case 'change-pending':
      case 'learner-behind':
        return false;
      case 'not-leader':
        throw notLeader(replica);
      case 'too-few-recent-voters':
        throw new CairnError('FAILED_PRECONDITION', 'too few of the voters it would leave were heard lately');
      case 'illegal-change':
        throw new CairnError('INTERNAL', 'the members do not allow a step that was planned from them');
      default:
        return unreachable(reason);
    }
  }

  /** The leader is to go: the most complete voter that answers takes over; the caller goes on there. */
  #handOver(replica: Replica): void {
    const candidates = replica.raft.status().peers.filter((peer) => !peer.isLearner && peer.recentlyActive);
    const [best] = candidates.toSorted((a, b) => b.match - a.match);
    if (best === undefined) {
      throw new CairnError('FAILED_PRECONDITION', 'no other voter answers that could lead');
    }
    replica.raft.transferLeader(best.replicaId);
    replica.wake();
  }

  #checkLeader(replica: Replica): void {
    if (replica.isClosed || !replica.isReadyLeader) throw notLeader(replica);
    assert(replica.isInitialised, 'a leader has a state', { rangeId: replica.rangeId });
  }
}
