import type { RangeId } from '@cairn/base';
import type { Replica } from '@cairn/store';
import type { WaitingReplica } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import type { KvMachine } from '../kv/kv-machine.js';

/** Replicas looked at per beat. Stores with fewer look at all of them each time. */
const VISITS_PER_BEAT_MIN = 1_024;
/** A round of a larger store takes about as many beats. */
const BEATS_PER_ROUND = 10;

/** What the replicas of a store come to, as the last whole round found it. */
export interface RangeTotals {
  readonly replicas: number;
  readonly leaders: number;
  /** Without a state, or with one that a snapshot is replacing. */
  readonly catchingUp: number;
  readonly dataBytes: number;
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
}

/** What one beat looked at. */
export interface RangeVisit<Machine> {
  /** Machines whose load was sampled now. */
  readonly machines: readonly Machine[];
  /** Replicas that have no state to report yet; the metadata service knows when nobody will give them one. */
  readonly waiting: WaitingReplica[];
}

/** What is asked of a replica. */
export type VisitedReplica = Pick<
  Replica,
  'rangeId' | 'replicaId' | 'isReadyLeader' | 'isInitialised' | 'confVersionSeen' | 'installation'
>;
/** What is asked of the machine of a range. */
export type VisitedMachine = Pick<KvMachine, 'load'>;

type Sums = { -readonly [K in keyof RangeTotals]: RangeTotals[K] };

/**
 * Looks at the replicas of the store in rounds, a part of them with each beat: what is due about once a
 * second for busy ranges must not cost a tenth of that second when there are tens of thousands of idle ones.
 * Replicas that come or go within a round are met, or not, once.
 */
export class RangeRounds<Machine extends VisitedMachine> {
  readonly #replicas: () => Iterable<VisitedReplica>;
  readonly #machineOf: (rangeId: RangeId) => Machine | undefined;
  #rest: Iterator<VisitedReplica> | undefined;
  #sums: Sums = noSums();
  #totals: RangeTotals | undefined;

  /**
   * @param replicas An iterable that goes on while replicas come and go, as those of a `Map` do.
   * @param machineOf Of a replica that has one.
   */
  constructor(
    replicas: () => Iterable<VisitedReplica>,
    machineOf: (rangeId: RangeId) => Machine | undefined,
  ) {
    this.#replicas = replicas;
    this.#machineOf = machineOf;
  }

  /** The sums of the last whole round; until there was one, of the replicas looked at so far. */
  get totals(): RangeTotals {
    return this.#totals ?? this.#sums;
  }

  /** The next part of a round, and never more than the rest of it. The first round is one visit. */
  visit(nowMs: number): RangeVisit<Machine> {
    const visitsMax =
      this.#totals === undefined
        ? Number.POSITIVE_INFINITY
        : Math.max(VISITS_PER_BEAT_MIN, Math.ceil(this.#totals.replicas / BEATS_PER_ROUND));
    const machines: Machine[] = [];
    const waiting: WaitingReplica[] = [];
    this.#rest ??= this.#replicas()[Symbol.iterator]();
    for (let visits = 0; visits < visitsMax; visits += 1) {
      const next = this.#rest.next();
      if (next.done === true) {
        this.#endRound();
        break;
      }
      this.#look(next.value, nowMs, machines, waiting);
    }
    return { machines, waiting };
  }

  #look(replica: VisitedReplica, nowMs: number, machines: Machine[], waiting: WaitingReplica[]): void {
    const sums = this.#sums;
    sums.replicas += 1;
    if (replica.isReadyLeader) sums.leaders += 1;
    if (!replica.isInitialised || replica.installation !== undefined) sums.catchingUp += 1;
    if (!replica.isInitialised) {
      const { rangeId, replicaId, confVersionSeen: confVersion } = replica;
      waiting.push({ rangeId, replicaId, confVersion });
    }
    const machine = this.#machineOf(replica.rangeId);
    if (machine === undefined) return;
    machine.load.sample(nowMs);
    sums.dataBytes += machine.load.bytes;
    sums.readsPerSecond += machine.load.readsPerSecond;
    sums.writesPerSecond += machine.load.writesPerSecond;
    machines.push(machine);
  }

  #endRound(): void {
    this.#totals = this.#sums;
    this.#sums = noSums();
    this.#rest = undefined;
  }
}

function noSums(): Sums {
  return { replicas: 0, leaders: 0, catchingUp: 0, dataBytes: 0, readsPerSecond: 0, writesPerSecond: 0 };
}
