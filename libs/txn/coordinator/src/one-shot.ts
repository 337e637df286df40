import { NOTHING, timestamp, type Timestamp } from '@cairn/base';
import type { SpanTimes } from '@cairn/routing';
import type { ExecuteCommand } from '@cairn/wire';

import { invalidOneShot } from './one-shot-checks.js';
import { retried, type Committer } from './commit.js';
import { evaluateOneShot } from './evaluate-one-shot.js';
import { distinctKeys } from './keys.js';
import type { CoordinatorParts } from './parts.js';
import { readRowsAt } from './snapshot-get.js';
import type { OneShot, OneShotOutcome } from './types.js';

/** Carries out transactions that are known as a whole. */
export class OneShots {
  readonly #parts: CoordinatorParts;
  readonly #committer: Committer;

  constructor(parts: CoordinatorParts, committer: Committer) {
    this.#parts = parts;
    this.#committer = committer;
  }

  /** See `TransactionCoordinator.execute`. */
  async execute(oneShot: OneShot, times: SpanTimes): Promise<OneShotOutcome> {
    const problem = invalidOneShot(oneShot, this.#parts.limits);
    if (problem !== undefined) throw problem;
    const { conditions, otherwise, then } = oneShot;
    const keys = distinctKeys([...conditions, ...then, ...otherwise].map(({ key }) => key));
    const command: ExecuteCommand = {
      ...{ type: 'execute', start: timestamp(0), reads: NOTHING, checksWrites: false, owner: timestamp(0) },
      ...{ conditions, then, otherwise },
    };
    const reply = await this.#committer.measured('one-range', () =>
      this.#committer.oneRange(keys, command, times),
    );
    if (reply === undefined) return retried(this.#parts, times, () => this.#overRanges(oneShot, keys, times));
    const { commit, succeeded, results, isForgotten } = reply;
    return { commit, succeeded, results, isForgotten };
  }

  /** Reads a snapshot, evaluates here, and commits unless something of it has changed. */
  async #overRanges(
    oneShot: OneShot,
    keys: readonly Uint8Array[],
    times: SpanTimes,
  ): Promise<OneShotOutcome> {
    const start: Timestamp = await this.#parts.timestamps.timestamp();
    const rows = await readRowsAt(keys, start, this.#parts, times);
    const { succeeded, reads, writes, resultsAt } = evaluateOneShot(oneShot, rows, start);
    const { commit } = await this.#committer.commit(
      { start, isolation: 'serializable', reads, spans: NOTHING, writes },
      times,
    );
    return { commit, succeeded, results: resultsAt(commit), isForgotten: false };
  }
}
