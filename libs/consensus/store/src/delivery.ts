import { CairnError, type RangeId, type StoreId } from '@cairn/base';
import type { Clock, Logger } from '@cairn/ports';
import { isTermBelievable, type Message } from '@cairn/raft';

import { EarlyVotes } from './early-votes.js';
import { INITIAL_INDEX } from './initial-state.js';
import type { MessageStep } from './message-step.js';
import type { Occupancy } from './occupancy.js';
import type { RangeHint } from './peer-links.js';
import type { ReplicaMaker } from './replica-maker.js';
import type { ReplicaTable } from './replica-table.js';
import type { Replica } from './replica.js';
import type { StoreMetrics } from './store-metrics.js';
import { TOMBSTONE_PLACES } from './tombstones.js';

/**
 * Replicas without a state that messages may bring into existence at a store. Each waits for a snapshot, and
 * one snapshot is received at a time: more than this have no use, and hints can be invented.
 */
export const EMPTY_REPLICAS_MAX = 1_024;
/** When there are too many, those that no message came for within this long make room for others … */
const UNHEARD_MS = 60_000;
/**
 * … but no more than so many in the life of a process: what they promised stays in the log until the metadata
 * service says that they were made up, which it says of those that are here.
 */
export const FORGOTTEN_REPLICAS_MAX = 16_384;
/** … looked for this often at most: it takes a look at all replicas. */
const UNHEARD_LOOK_MS = 1_000;

const TERM_USUAL = 2 ** 31;

export interface DeliveryParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: StoreMetrics;
  readonly replicas: Pick<ReplicaTable, 'get' | 'emptyCount' | typeof Symbol.iterator>;
  readonly occupancy: Pick<Occupancy, 'isGone' | 'isCovered'>;
  readonly maker: Pick<ReplicaMaker, 'createEmpty' | 'forgetEmpty'>;
  readonly steps: Pick<MessageStep, 'step'>;
}

/**
 * Takes messages of other stores to the replicas they are for. A message is a claim, not a proof. It creates
 * at most an empty replica; it never removes one: that takes the range's own log, or the metadata service's
 * word (`Store.learnDescriptor`). What no member can have sent ends the session it came by.
 */
export class Delivery {
  readonly #parts: DeliveryParts;
  readonly #earlyVotes = new EarlyVotes();
  #looksAgainMs = 0;
  #forgotten = 0;

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
  }

  /** Answers what the sender's session must end with; undefined for a message that was taken, or dropped. */
  deliver(
    from: StoreId,
    rangeId: RangeId,
    message: Message,
    hint: RangeHint | undefined,
  ): CairnError | undefined {
    const { metrics } = this.#parts;
    let replica = this.#parts.replicas.get(rangeId);
    if (replica === undefined) {
      if (!(rangeId > 0 && rangeId < TOMBSTONE_PLACES && message.to > 0)) {
        return this.#refuse(from, rangeId, message, `replica ${message.to} of it cannot be`);
      }
      replica = this.#newReplica(from, rangeId, message, hint);
      if (replica === undefined) return undefined;
    }
    if (message.to !== replica.replicaId) {
      // An earlier replica of this store, or a later one: then metadata will say that this one was removed.
      metrics.droppedMessage('no-replica');
      return undefined;
    }
    const home = replica.memberStore(message.from);
    if (home !== from) {
      if (home !== 0) {
        return this.#refuse(from, rangeId, message, `replica ${message.from} lives on store ${home}`);
      }
      if (message.from === 0) {
        return this.#refuse(from, rangeId, message, `replica ${message.from} of it cannot be`);
      }
      if (isAnswer(message)) {
        metrics.droppedMessage('not-a-member');
        return undefined;
      }
    }
    const reason =
      this.#isTooEarly(message) ??
      entriesBeforeInitialState(message) ??
      this.#parts.steps.step(replica, message);
    if (reason !== undefined) return this.#refuse(from, rangeId, message, reason);
    if (home !== from) replica.noteCorrespondent(message.from, from);
    if (!replica.isInitialised) replica.heardMs = this.#parts.clock.nowMs();
    return undefined;
  }

  /** Requests for votes of before the range was created. */
  deliverEarly(rangeId: RangeId): void {
    for (const { from, message } of this.#earlyVotes.take(rangeId, this.#parts.clock.nowMs())) {
      this.deliver(from, rangeId, message, undefined);
    }
  }

  #isTooEarly({ term }: Message): string | undefined {
    // Of the usual terms the wall clock is not asked.
    if (term <= TERM_USUAL || isTermBelievable(term, this.#parts.clock.unixMs())) return undefined;
    return `term ${term}: there was no time for so many elections`;
  }

  #refuse(from: StoreId, rangeId: RangeId, message: Message, reason: string): CairnError {
    this.#parts.metrics.droppedMessage('implausible');
    return new CairnError(
      'CORRUPTION',
      `store ${from} sent range ${rangeId} a message that no member of it can have sent ` +
        `(${message.type} of term ${message.term}): ${reason}`,
      { details: { rangeId, storeId: from } },
    );
  }

  #newReplica(
    from: StoreId,
    rangeId: RangeId,
    message: Message,
    hint: RangeHint | undefined,
  ): Replica | undefined {
    const { clock, logger, metrics } = this.#parts;
    if (this.#parts.occupancy.isGone(rangeId, message.to)) {
      metrics.droppedMessage('removed');
      return undefined;
    }
    if (hint === undefined) {
      metrics.droppedMessage('no-replica');
      return undefined;
    }
    // A replica here that still covers the key will split soon, or get a snapshot that makes room.
    if (this.#parts.occupancy.isCovered(hint.startKey)) {
      if (message.type === 'pre-vote' || message.type === 'vote') {
        this.#earlyVotes.keep(from, rangeId, message, clock.nowMs());
      }
      metrics.droppedMessage('overlap');
      return undefined;
    }
    if (!this.#hasRoom()) {
      metrics.droppedMessage('too-many-empty');
      return undefined;
    }
    logger.info('replica created, waits for a snapshot', { range: rangeId, replicaId: message.to });
    return this.#parts.maker.createEmpty(rangeId, message.to, hint.confVersion);
  }

  #hasRoom(): boolean {
    if (this.#parts.replicas.emptyCount < EMPTY_REPLICAS_MAX) return true;
    const nowMs = this.#parts.clock.nowMs();
    if (nowMs < this.#looksAgainMs) return false;
    this.#looksAgainMs = nowMs + UNHEARD_LOOK_MS;
    // A member that waits for a snapshot hears of its leader all the time; what was invented, of nobody.
    for (const replica of this.#parts.replicas) {
      if (this.#forgotten >= FORGOTTEN_REPLICAS_MAX) break;
      if (!replica.isReplaceable || replica.heardMs >= nowMs - UNHEARD_MS) continue;
      this.#parts.maker.forgetEmpty(replica);
      this.#forgotten += 1;
    }
    return this.#parts.replicas.emptyCount < EMPTY_REPLICAS_MAX;
  }
}

/**
 * The log of every range begins with its initial state: a replica without a state gets one by a snapshot
 * only.
 */
function entriesBeforeInitialState(message: Message): string | undefined {
  if (message.type !== 'append' || message.previousIndex >= INITIAL_INDEX || message.entries.length === 0) {
    return undefined;
  }
  return `entries follow ${message.previousIndex}, and every log begins behind ${INITIAL_INDEX}`;
}

/**
 * What only a member is asked, and what only a leader's members ask it: of anybody else it is late. Whoever
 * leads or campaigns may have joined after the last change that this replica knows.
 */
function isAnswer({ type }: Message): boolean {
  switch (type) {
    case 'append-response':
    case 'heartbeat-response':
    case 'vote-response':
    case 'pre-vote-response':
    case 'read-index':
    case 'read-index-response':
      return true;
    default:
      return false;
  }
}
