import {
  CairnError,
  messageOf,
  rethrowInvariant,
  type RangeDescriptor,
  type RangeId,
  type StoreId,
} from '@cairn/base';
import type { Clock, Logger } from '@cairn/ports';
import type { ReplicaChange, ReplicaHandle } from '@cairn/store';
import type { StoreInfo } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

/** After a change that did not work, the range is let alone for this long. */
const REST_MS = 5_000;
/**
 * A store that did not catch up in so many tries gives its place to another one, if there is one. A try takes
 * up to a minute, and the next goes on where it ended: a slow store has its time.
 */
const TRIES_PER_STORE = 5;
/** Ranges whose failures are remembered; the oldest is forgotten first, and counts as never tried. */
const FAILED_MAX = 1_024;

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

interface Failed {
  readonly tries: number;
  readonly restsUntilMs: number;
}

interface Candidate {
  readonly rangeId: RangeId;
  readonly descriptor: RangeDescriptor;
  readonly change: ReplicaChange;
  readonly tries: number;
}

/**
 * Puts live stores in the place of those that were declared lost, in ranges that are led here, one at a
 * time. Ranges that did not fail yet come first, so that one that cannot be mended holds no other up. A store
 * that is only silent keeps its replicas: it may come back.
 */
export class LostReplicas {
  readonly #parts: LostReplicasParts;
  readonly #failed = new Map<RangeId, Failed>();
  #isBusy = false;

  constructor(parts: LostReplicasParts) {
    this.#parts = parts;
  }

  /** Looks for a range with a lost member among these and begins to mend it. */
  poll(ranges: Iterable<LedRange>): void {
    if (this.#isBusy) return;
    const stores = this.#parts.stores();
    const lost = new Set(stores.filter((info) => info.lost).map(({ storeId }) => storeId));
    if (lost.size === 0) {
      this.#failed.clear();
      return;
    }
    const nowMs = this.#parts.clock.nowMs();
    let best: Candidate | undefined;
    for (const { replica } of ranges) {
      if (!replica.isReadyLeader || replica.isFrozen) continue;
      const { rangeId, descriptor } = replica;
      const { tries, restsUntilMs } = this.#failed.get(rangeId) ?? { tries: 0, restsUntilMs: 0 };
      if (nowMs < restsUntilMs || (best !== undefined && best.tries <= tries)) continue;
      const change = changeFor(descriptor, lost, stores, tries);
      if (change !== undefined) best = { rangeId, descriptor, change, tries };
    }
    if (best !== undefined) this.#begin(best);
  }

  #begin({ rangeId, descriptor, change, tries }: Candidate): void {
    const { clock, logger } = this.#parts;
    const fields = { range: rangeId, removed: change.removeStoreId, added: change.addStoreId };
    this.#isBusy = true;
    this.#parts
      .change(rangeId, descriptor.epoch.confVersion, change)
      .then(
        () => {
          // After the removal of a store that did not catch up it is another store's turn.
          if (change.addStoreId !== undefined) this.#failed.delete(rangeId);
          logger.info('lost replica replaced', fields);
        },
        (error: unknown) => {
          rethrowInvariant(error);
          this.#failed.delete(rangeId);
          for (const oldest of this.#failed.keys()) {
            if (this.#failed.size < FAILED_MAX) break;
            this.#failed.delete(oldest);
          }
          this.#failed.set(rangeId, { tries: tries + 1, restsUntilMs: clock.nowMs() + REST_MS });
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

/** Undefined when no member is lost, and while no store is there that could take the place. */
function changeFor(
  { rangeId, replicas }: RangeDescriptor,
  lost: ReadonlySet<number>,
  stores: readonly StoreInfo[],
  tries: number,
): ReplicaChange | undefined {
  const gone = replicas.filter(({ storeId }) => lost.has(storeId));
  // A learner that was lost in turn never catches up: nothing can be changed with it in the way.
  const learner = gone.find(({ role }) => role === 'learner');
  if (learner !== undefined) return { addStoreId: undefined, removeStoreId: learner.storeId };
  const [first] = gone;
  if (first === undefined) return undefined;
  const removeStoreId = first.storeId;
  const isLive = (id: StoreId): boolean =>
    stores.some((info) => info.storeId === id && info.live && !info.lost);
  const free = stores.filter(
    ({ live, storeId }) => live && !lost.has(storeId) && replicas.every((one) => one.storeId !== storeId),
  );
  // A change that was broken off has added its store already.
  const begun = replicas.find(({ role }) => role === 'learner' || role === 'incoming');
  if (begun !== undefined) {
    const isGivenUp = !isLive(begun.storeId) || (tries > 0 && tries % TRIES_PER_STORE === 0);
    return begun.role === 'learner' && isGivenUp && free.length > 0
      ? { addStoreId: undefined, removeStoreId: begun.storeId }
      : { addStoreId: begun.storeId, removeStoreId };
  }
  // Ranges spread over the free stores.
  const chosen = free[(rangeId + Math.floor(tries / TRIES_PER_STORE)) % Math.max(1, free.length)];
  return chosen === undefined ? undefined : { addStoreId: chosen.storeId as StoreId, removeStoreId };
}
