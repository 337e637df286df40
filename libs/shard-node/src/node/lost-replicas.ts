import { CairnError, messageOf, type RangeDescriptor, type RangeId, type StoreId } from '@cairn/base';
import type { Clock, Logger } from '@cairn/ports';
import type { ReplicaChange, ReplicaHandle } from '@cairn/store';
import type { StoreInfo } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

/** After a change that did not work, nothing is tried for this long. */
const REST_MS = 5_000;

/** A range that may be led here. */
export interface LedRange {
  readonly replica: Pick<ReplicaHandle, 'rangeId' | 'isReadyLeader' | 'isFrozen' | 'descriptor'>;
}

export interface LostReplicasParts {
  readonly clock: Clock;
  readonly logger: Logger;
  stores(): readonly StoreInfo[];
  change(rangeId: RangeId, confVersion: number, change: ReplicaChange): Promise<unknown>;
}

/**
 * Puts live stores in the place of those that were declared lost, in ranges that are led here, one at a
 * time. A store that is only silent keeps its replicas: it may come back.
 */
export class LostReplicas {
  readonly #parts: LostReplicasParts;
  #isBusy = false;
  #restUntilMs = 0;

  constructor(parts: LostReplicasParts) {
    this.#parts = parts;
  }

  /** Looks for a range with a lost member among these and begins to mend it. */
  poll(ranges: Iterable<LedRange>): void {
    const { clock } = this.#parts;
    const lost = this.#parts.stores().filter((info) => info.lost);
    if (lost.length === 0 || this.#isBusy || clock.nowMs() < this.#restUntilMs) return;
    for (const { replica } of ranges) {
      if (!replica.isReadyLeader || replica.isFrozen) continue;
      const { rangeId, descriptor } = replica;
      const gone = descriptor.replicas.find(({ storeId }) => lost.some((info) => info.storeId === storeId));
      if (gone === undefined) continue;
      const change = this.#replacementFor(descriptor, gone.storeId, gone.role === 'learner');
      if (change === undefined) continue;
      this.#begin(rangeId, descriptor, change);
      return;
    }
  }

  /** Undefined while no store is there that could take it. */
  #replacementFor(
    { rangeId, replicas }: RangeDescriptor,
    removeStoreId: StoreId,
    isLearner: boolean,
  ): ReplicaChange | undefined {
    if (isLearner) return { addStoreId: undefined, removeStoreId };
    // A change that was broken off has added its store already.
    const begun = replicas.find(({ role }) => role === 'learner' || role === 'incoming');
    if (begun !== undefined) return { addStoreId: begun.storeId, removeStoreId };
    const free = this.#parts
      .stores()
      .filter(({ live, lost, storeId }) => live && !lost && replicas.every((one) => one.storeId !== storeId));
    // Ranges spread over the free stores.
    const chosen = free[rangeId % Math.max(1, free.length)];
    return chosen === undefined ? undefined : { addStoreId: chosen.storeId as StoreId, removeStoreId };
  }

  #begin(rangeId: RangeId, { epoch }: RangeDescriptor, change: ReplicaChange): void {
    const { clock, logger } = this.#parts;
    const fields = { range: rangeId, lost: change.removeStoreId, added: change.addStoreId };
    this.#isBusy = true;
    this.#parts
      .change(rangeId, epoch.confVersion, change)
      .then(
        () => {
          logger.info('lost replica replaced', fields);
        },
        (error: unknown) => {
          this.#restUntilMs = clock.nowMs() + REST_MS;
          // A leader that is not any more, or members that changed: whoever leads now looks for itself.
          const reason = CairnError.is(error) ? error.code : messageOf(error);
          logger.info('lost replica not replaced yet', { ...fields, reason });
        },
      )
      .finally(() => {
        this.#isBusy = false;
      });
  }
}
