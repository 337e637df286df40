import { CairnError, messageOf, rethrowInvariant, versionMisfit, type StoreId, type Term } from '@cairn/base';
import { sleep, type Clock, type Logger, type Rng } from '@cairn/ports';
import type { ReplicaGroup } from '@cairn/store';

import type { MetadataStateMachine } from './metadata-state-machine.js';
import type { MetadataView } from './metadata-state.js';
import type { Evaluation, Proposer } from './proposer.js';
import type { TimestampOracle } from './timestamp-oracle.js';
import type { BuildVersions } from './wire-binding.js';

/** A member of the metadata group. */
export interface MetadataMember {
  readonly name: string;
  /** Its id inside the metadata group; these ids are apart from those of shard nodes. */
  readonly storeId: StoreId;
  /** Where nodes reach it over the framed transport. */
  readonly address: string;
}

/**
 * - `following`: another member leads, or none.
 * - `preparing`: this one leads, and makes sure of a cluster id and of a window of timestamps in its own
 *   term.
 * - `serving`: answers requests.
 */
type Phase =
  | { readonly type: 'following' }
  | { readonly type: 'preparing'; readonly term: Term }
  | { readonly type: 'serving'; readonly term: Term };

export interface LeadershipOptions {
  readonly machine: MetadataStateMachine;
  readonly group: ReplicaGroup;
  readonly proposer: Proposer;
  readonly oracle: TimestampOracle;
  readonly self: MetadataMember;
  readonly members: readonly MetadataMember[];
  /** What this member runs: a cluster that it makes begins with the newest version of it. */
  readonly build: BuildVersions;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Memory of the leader must be forgotten: on every gain and every loss. */
  onReset(): void;
  /** Requests may be answered from now on. */
  onServing(term: Term): void;
}

const PREPARE_RETRY_MS = 100;

/** Takes a member from leadership of the Raft group to serving, and back. */
export class Leadership {
  readonly #options: LeadershipOptions;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  #phase: Phase = { type: 'following' };

  constructor(options: LeadershipOptions) {
    this.#options = options;
    this.#logger = options.logger;
  }

  /** Begins to follow the machine's leadership. */
  start(): void {
    this.#options.machine.setLeadershipListener({
      leadershipGained: (term) => {
        this.#gained(term);
      },
      leadershipLost: () => {
        this.#lost();
      },
    });
  }

  stop(): void {
    this.#stopping.abort(new CairnError('CANCELLED', 'the metadata service stops'));
    this.#lost();
  }

  get isServing(): boolean {
    return this.#phase.type === 'serving';
  }

  /** @throws CairnError NOT_LEADER, with name and address of the leader as far as known. */
  requireServing(): void {
    if (this.#phase.type !== 'serving') throw this.notLeader();
  }

  notLeader(): CairnError {
    const { group, members } = this.#options;
    const isPreparing = this.#phase.type === 'preparing';
    const known = members.find((member) => member.storeId === group.leaderStoreId);
    // A member that was replaced and has not heard by whom must not send anybody back to itself.
    const leader = known?.name === this.#options.self.name && !isPreparing ? undefined : known;
    const who = leader === undefined ? 'no leader is known' : `${leader.name} does`;
    const message = isPreparing
      ? 'this metadata member leads and is not ready yet'
      : `this metadata member does not lead; ${who}`;
    return new CairnError('NOT_LEADER', message, {
      retryAfterMs: 50,
      details: { leaderName: leader?.name ?? '', leaderAddress: leader?.address ?? '' },
    });
  }

  #gained(term: Term): void {
    if (this.#stopping.signal.aborted) return;
    this.#phase = { type: 'preparing', term };
    this.#options.onReset();
    this.#prepare(term).catch((error: unknown) => {
      rethrowInvariant(error);
      // The pause between two tries ends like this when the service stops.
      if (this.#stopping.signal.aborted) return;
      this.#logger.warn('metadata leader could not prepare', { term, error: messageOf(error) });
    });
  }

  #lost(): void {
    if (this.#phase.type === 'following') return;
    this.#logger.info('metadata leadership ended', { phase: this.#phase.type });
    this.#phase = { type: 'following' };
    this.#options.oracle.close();
    this.#options.onReset();
  }

  #isPreparing(term: Term): boolean {
    return this.#phase.type === 'preparing' && this.#phase.term === term;
  }

  /** Tries for as long as this term's leadership lasts. */
  async #prepare(term: Term): Promise<void> {
    const { proposer, oracle, clock, machine } = this.#options;
    while (this.#isPreparing(term)) {
      try {
        await proposer.run((state) => this.#evaluateCluster(state));
        await oracle.open(term);
        if (!this.#isPreparing(term)) return;
        this.#phase = { type: 'serving', term };
        this.#logger.info('metadata leader serves', { term, clusterId: machine.state.cluster?.clusterId });
        this.#options.onServing(term);
        return;
      } catch (error) {
        rethrowInvariant(error);
        if (!this.#isPreparing(term)) return;
        this.#logger.warn('metadata leader could not prepare, tries again', {
          term,
          error: messageOf(error),
        });
        await sleep(clock, PREPARE_RETRY_MS, this.#stopping.signal);
      }
    }
  }

  #evaluateCluster(state: MetadataView): Evaluation<undefined> {
    const { self, build } = this.#options;
    const misfit = versionMisfit({ who: `metadata member ${self.name}`, ...build }, state.clusterVersion);
    if (misfit !== undefined) throw misfit;
    if (state.cluster !== undefined) return { changes: [], result: undefined };
    const clusterId = Buffer.from(this.#options.rng.bytes(16)).toString('hex');
    const createdUnixMs = Math.max(0, Math.floor(this.#options.clock.unixMs()));
    return {
      changes: [
        { type: 'cluster', value: { clusterId, createdUnixMs } },
        { type: 'cluster-version', value: build.clusterVersions.max },
      ],
      result: undefined,
    };
  }
}
