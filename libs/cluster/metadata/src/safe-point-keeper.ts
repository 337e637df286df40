import { messageOf, rethrowInvariant, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import type { Logger } from '@cairn/ports';

import type { LeaderMemory } from './leader-memory.js';
import type { MetadataMetrics, PinEnd, SafePointGauges } from './metadata-metrics.js';
import type { MetadataStateMachine } from './metadata-state-machine.js';
import type { Proposer } from './proposer.js';
import {
  evaluateSafePoint,
  pinsOf,
  pinText,
  wantedSafePoint,
  type RunningTransactions,
  type SafePointFacts,
} from './safe-point.js';
import type { TimestampOracle } from './timestamp-oracle.js';

export interface SafePointParts {
  readonly machine: MetadataStateMachine;
  readonly proposer: Proposer;
  readonly oracle: Pick<TimestampOracle, 'newest'>;
  readonly memory: LeaderMemory;
  readonly metrics: MetadataMetrics;
  readonly logger: Logger;
}

/** What is shown of the safe point. */
export interface SafePointView {
  readonly safePoint: Timestamp;
  readonly newest: Timestamp;
  /** What keeps it from following `gc.life_seconds`, in words; empty = nothing does. */
  readonly pinnedBy: string;
}

const NO_GAUGES: SafePointGauges = {
  gcSafePointLagSeconds: 0,
  gcHolds: 0,
  gcHoldAgeSeconds: 0,
  gcIsPinned: false,
};

/**
 * Moves the safe point of the cluster while this member leads: as far as time, holds and running transactions
 * let it. A leader that is new waits until every router that is there has been heard: transactions of theirs
 * may be all that needs old versions.
 */
export class SafePointKeeper {
  readonly #parts: SafePointParts;
  #isMoving = false;
  /** What held old versions longer than it may, or died, at the last look: counted once. */
  #noted = new Set<string>();

  constructor(parts: SafePointParts) {
    this.#parts = parts;
  }

  /** Rows of this kind may be written: every node of the cluster reads them. */
  get isOpen(): boolean {
    return this.#parts.machine.gates.isOpen('gcHolds');
  }

  /** A leadership begins or ends. */
  reset(): void {
    this.#noted.clear();
  }

  /** Called about once a second by a serving leader. */
  look(): void {
    if (!this.isOpen || !this.#parts.memory.nodes.hasListened) return;
    this.#note();
    this.#move();
  }

  view(): SafePointView {
    const { state } = this.#parts.machine;
    const facts = this.#facts();
    const { pin } = wantedSafePoint(state, facts);
    const pinnedBy = pin === undefined ? '' : pinText(state, pin, facts.newest);
    return { safePoint: state.gcSafePoint, newest: facts.newest, pinnedBy };
  }

  gauges(): SafePointGauges {
    const { state } = this.#parts.machine;
    const facts = this.#facts();
    if (facts.newest === 0) return NO_GAUGES;
    const secondsSince = (at: number): number =>
      Math.max(0, facts.newest - at) / (1_000 * TIMESTAMP_LOGICAL_STEPS);
    const holds = pinsOf(state, facts).filter(({ kind }) => kind === 'hold');
    const counting = holds.filter(({ isCapped }) => !isCapped).map(({ at }) => at);
    return {
      gcSafePointLagSeconds: state.gcSafePoint === 0 ? 0 : secondsSince(state.gcSafePoint),
      gcHolds: holds.length,
      gcHoldAgeSeconds: counting.length === 0 ? 0 : secondsSince(Math.min(...counting)),
      gcIsPinned: wantedSafePoint(state, facts).pin !== undefined,
    };
  }

  #facts(): SafePointFacts {
    const { memory, oracle } = this.#parts;
    const running: RunningTransactions[] = [];
    for (const { kind, name, isLive, numbers } of memory.nodes.contacts()) {
      const { oldestTransaction: oldest } = numbers;
      if (kind === 'router' && isLive && oldest > 0) running.push({ router: name, oldest });
    }
    return { newest: oracle.newest, running };
  }

  #move(): void {
    const { machine, proposer, logger } = this.#parts;
    if (this.#isMoving || evaluateSafePoint(machine.state, this.#facts()).changes.length === 0) return;
    this.#isMoving = true;
    proposer
      .run((state) => evaluateSafePoint(state, this.#facts()))
      .then(
        (ended) => {
          for (const name of ended) this.#ended('hold_expired', name);
        },
        (error: unknown) => {
          rethrowInvariant(error);
          // The next look, or the next leader, tries again.
          logger.info('safe point not moved', { error: messageOf(error) });
        },
      )
      .finally(() => (this.#isMoving = false));
  }

  /** Counts what is too old since this look, and routers that died with transactions under way. */
  #note(): void {
    const { machine, memory } = this.#parts;
    const found = new Map<string, readonly [PinEnd, string]>();
    const add = (end: PinEnd, name: string): unknown => found.set(`${end} ${name}`, [end, name]);
    for (const { kind, name, isCapped } of pinsOf(machine.state, this.#facts())) {
      if (isCapped) add(kind === 'hold' ? 'hold_capped' : 'transaction_capped', name);
    }
    for (const { kind, name, isLive, numbers } of memory.nodes.contacts()) {
      if (kind === 'router' && !isLive && numbers.oldestTransaction > 0) add('router_gone', name);
    }
    for (const [key, [end, name]] of found) if (!this.#noted.has(key)) this.#ended(end, name);
    this.#noted = new Set(found.keys());
  }

  #ended(end: PinEnd, name: string): void {
    const { logger, metrics } = this.#parts;
    metrics.pinEnded(end);
    logger.info('old versions are no longer kept', { cause: end, name });
  }
}
