import { assert, CairnError, rethrowInvariant, type Term } from '@cairn/base';
import type { ReplicaGroup } from '@cairn/store';

import { encodeCommand } from './command.js';
import type { MetadataMetrics } from './metadata-metrics.js';
import type { MetadataStateMachine } from './metadata-state-machine.js';
import type { MetadataView } from './metadata-state.js';
import { encodeChange, type Change } from './records.js';

/** What an evaluation wants replicated, and what its caller gets once it is. */
export interface Evaluation<Result> {
  /** Empty = nothing to replicate. */
  readonly changes: readonly Change[];
  readonly result: Result;
}

export interface ProposerOptions {
  readonly machine: MetadataStateMachine;
  readonly group: ReplicaGroup;
  readonly metrics: MetadataMetrics;
  /** Evaluations waiting or under way; more are refused. Default 1,000. */
  readonly waitingMax?: number;
}

/**
 * The one way to change the replicated state: evaluations run one at a time, each against a state that holds
 * the outcome of the one before, and only while this member leads. The command they produce is bound to the
 * term of that state, so a command that slips into a later term is void everywhere instead of overwriting
 * what that term decided.
 */
export class Proposer {
  readonly #machine: MetadataStateMachine;
  readonly #group: ReplicaGroup;
  readonly #metrics: MetadataMetrics;
  readonly #waitingMax: number;
  #waiting = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: ProposerOptions) {
    this.#machine = options.machine;
    this.#group = options.group;
    this.#metrics = options.metrics;
    this.#waitingMax = options.waitingMax ?? 1_000;
  }

  /**
   * Rejects with what `evaluate` threw; NOT_LEADER or RESOURCE_EXHAUSTED (nothing happened); OUTCOME_UNKNOWN
   * (leadership was lost on the way).
   */
  run<Result>(evaluate: (state: MetadataView) => Evaluation<Result>): Promise<Result> {
    if (this.#waiting >= this.#waitingMax) {
      const message = `${this.#waiting} changes are waiting at the metadata leader`;
      return Promise.reject(new CairnError('RESOURCE_EXHAUSTED', message, { retryAfterMs: 100 }));
    }
    this.#waiting += 1;
    const outcome = this.#tail.then(() => this.#runNow(evaluate)).finally(() => (this.#waiting -= 1));
    // The next one starts whatever became of this one; its own caller hears the error.
    this.#tail = outcome.catch(rethrowInvariant);
    return outcome;
  }

  async #runNow<Result>(evaluate: (state: MetadataView) => Evaluation<Result>): Promise<Result> {
    const { term, changes, result } = await this.#evaluated(evaluate);
    if (changes.length === 0) return result;
    const command = encodeCommand({ term, rows: changes.map(encodeChange) });
    let applied: unknown;
    try {
      applied = await this.#group.propose(command);
    } catch (error) {
      rethrowInvariant(error);
      this.#metrics.proposal(CairnError.is(error) ? error.code : 'INTERNAL');
      throw error;
    }
    this.#metrics.proposal(applied === 'applied' ? 'OK' : 'VOID_TERM');
    if (applied === 'void-term') {
      throw new CairnError('NOT_LEADER', `the metadata leader of term ${term} was replaced`, {
        retryAfterMs: 50,
      });
    }
    assert(applied === 'applied', 'unexpected answer of the metadata state machine', { applied });
    return result;
  }

  /**
   * A refusal ends whoever is refused, and may come from an old state: a leader that was replaced and does
   * not know must not make one.
   */
  async #evaluated<Result>(
    evaluate: (state: MetadataView) => Evaluation<Result>,
  ): Promise<Evaluation<Result> & { readonly term: Term }> {
    const term = this.#requireLeadership();
    try {
      return { term, ...evaluate(this.#machine.state) };
    } catch (error) {
      if (!CairnError.is(error)) throw error;
      await this.#group.readBarrier();
      return { term: this.#requireLeadership(), ...evaluate(this.#machine.state) };
    }
  }

  #requireLeadership(): Term {
    const term = this.#machine.leadingTerm;
    if (term === undefined || !this.#group.isLeader || this.#group.term !== term) {
      throw new CairnError('NOT_LEADER', 'this metadata member does not lead', { retryAfterMs: 50 });
    }
    return term;
  }
}
