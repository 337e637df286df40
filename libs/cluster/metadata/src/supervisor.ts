import { messageOf, rethrowInvariant } from '@cairn/base';
import type { Clock, Logger, Timer } from '@cairn/ports';
import type { StoreCandidate } from '@cairn/placement';

import { evaluateBootstrap } from './bootstrap.js';
import type { LeaderMemory } from './leader-memory.js';
import type { MetadataMember } from './leadership.js';
import type { MetadataStateMachine } from './metadata-state-machine.js';
import type { Proposer } from './proposer.js';
import type { SafePointKeeper } from './safe-point-keeper.js';
import { settingOf } from './settings.js';
import { evaluateRise, upgradeOf } from './upgrade.js';
import type { BuildVersions } from './wire-binding.js';

const SWEEP_INTERVAL_MS = 1_000;

/** The key space is looked over on every so manieth sweep; what is wrong twice in a row is logged. */
const SWEEPS_PER_COVERAGE = 5;

export interface SupervisorParts {
  readonly machine: MetadataStateMachine;
  readonly proposer: Proposer;
  readonly safePoint: SafePointKeeper;
  readonly memory: LeaderMemory;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The first range is made when this many stores have joined, or `replication.factor` if that is less. */
  readonly expectedStores: number;
  readonly members: readonly MetadataMember[];
  /** What a member runs now, this one included; undefined while it is not connected. */
  memberBuild(member: MetadataMember): BuildVersions | undefined;
}

/**
 * What a serving leader does by itself: notices silence, makes the first range, raises the cluster version,
 * moves the safe point, watches the map for holes.
 */
export class Supervisor {
  readonly #parts: SupervisorParts;
  #timer: Timer | undefined;
  #sweeps = 0;
  #isBootstrapping = false;
  #isRaising = false;
  #waitingReason = '';
  #badLooks = 0;

  constructor(parts: SupervisorParts) {
    this.#parts = parts;
  }

  start(): void {
    this.stop();
    this.#sweeps = 0;
    this.#badLooks = 0;
    this.#waitingReason = '';
    this.#arm();
    this.tryBootstrap();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Why the first range was not made at the last look; empty = nothing is known. */
  get waitingReason(): string {
    return this.#waitingReason;
  }

  /** Makes the first range when its time has come. */
  tryBootstrap(): void {
    const { machine, proposer, memory, clock, logger } = this.#parts;
    if (this.#isBootstrapping || machine.state.bootstrap !== undefined) return;
    this.#isBootstrapping = true;
    proposer
      .run((state) => {
        const replicas = Math.min(
          settingOf(state.settings, 'replication.factor'),
          this.#parts.expectedStores,
        );
        return evaluateBootstrap(state, this.#candidates(), replicas);
      })
      .then(
        (outcome) => {
          if (outcome.type === 'waiting') this.#noteWaiting(outcome.code, outcome.reason);
          else if (outcome.descriptor !== undefined) {
            memory.firstRangeDecided(clock.nowMs());
            const stores = outcome.descriptor.replicas.map((replica) => replica.storeId).join(',');
            logger.info('first range decided', { range: outcome.descriptor.rangeId, stores });
          }
        },
        (error: unknown) => {
          rethrowInvariant(error);
          // The next sweep, or the next leader, tries again.
          logger.info('first range not decided', { error: messageOf(error) });
        },
      )
      .finally(() => (this.#isBootstrapping = false));
  }

  /** Raises the cluster version if nobody is left who could not read what that brings. */
  #tryRaise(): void {
    const { machine, proposer, logger } = this.#parts;
    const from = machine.state.clusterVersion;
    if (this.#isRaising || upgradeOf(machine.state, this.#parts).next <= from) return;
    this.#isRaising = true;
    proposer
      .run((state) => evaluateRise(state, this.#parts))
      .then(
        (to) => {
          if (to > from) logger.info('cluster version raised', { from, to });
        },
        (error: unknown) => {
          rethrowInvariant(error);
          // The next sweep, or the next leader, tries again.
          logger.info('cluster version not raised', { from, error: messageOf(error) });
        },
      )
      .finally(() => (this.#isRaising = false));
  }

  #candidates(): StoreCandidate[] {
    const { machine, memory } = this.#parts;
    const candidates: StoreCandidate[] = [];
    for (const [name, { storeId, isLost }] of machine.state.nodes) {
      if (isLost) continue;
      const contact = memory.nodes.get(name);
      candidates.push({
        storeId,
        isLive: contact?.isLive === true && contact.hasContact,
        replicas: contact?.numbers.replicas ?? 0,
        diskFreeBytes: contact?.numbers.diskFreeBytes ?? 0,
      });
    }
    return candidates;
  }

  #noteWaiting(code: string, reason: string): void {
    if (reason === this.#waitingReason) return;
    this.#waitingReason = reason;
    this.#parts.logger.info('first range waits for stores', { code, reason });
  }

  #arm(): void {
    this.#timer = this.#parts.clock.setTimer(SWEEP_INTERVAL_MS, () => {
      this.#arm();
      this.#sweep();
    });
  }

  #sweep(): void {
    const { memory, clock } = this.#parts;
    memory.nodes.sweep(clock.nowMs());
    this.tryBootstrap();
    this.#tryRaise();
    this.#parts.safePoint.look();
    this.#sweeps += 1;
    if (this.#sweeps % SWEEPS_PER_COVERAGE === 0) this.#lookOver();
  }

  #lookOver(): void {
    const { memory, machine, clock, logger } = this.#parts;
    const { state } = machine;
    if (state.bootstrap === undefined || memory.nodes.unheard(state).length > 0) return;
    const coverage = memory.look(clock.nowMs());
    memory.locks.look(state, memory);
    if (coverage.gaps === 0 && coverage.conflicts === 0) {
      if (this.#badLooks > 1) logger.info('range map is whole again');
      this.#badLooks = 0;
      return;
    }
    this.#badLooks += 1;
    // One bad look happens between the reports of the two sides of a split.
    if (this.#badLooks !== 2) return;
    const fields = {
      gaps: coverage.gaps,
      conflicts: coverage.conflicts,
      firstGapHex:
        coverage.firstGap === undefined ? undefined : Buffer.from(coverage.firstGap).toString('hex'),
    };
    if (coverage.conflicts > 0) logger.error('ranges of the same version overlap', fields);
    else logger.warn('range map has gaps', fields);
  }
}
