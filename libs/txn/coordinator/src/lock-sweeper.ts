import { CairnError, messageOf, rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import type { Clock, Logger } from '@cairn/ports';
import type { LockInfo } from '@cairn/wire';

import { ownTimes, type Decisions } from './decisions.js';
import type { LiveTransactions } from './live-transactions.js';
import { askedOf, metBy, type Met } from './lock-breaker.js';
import type { LockResolver } from './lock-resolver.js';

const RESOLVE_TIMEOUT_MS = 5_000;

export interface LockSweeperParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly live: LiveTransactions;
  readonly decisions: Decisions;
  readonly resolver: LockResolver;
}

/**
 * Looks into locks whose time is over and that nobody has met: as whoever meets one does, it asks the primary
 * of each transaction, and carries out what was decided. Bounded by the locks that it is given.
 */
export class LockSweeper {
  readonly #parts: LockSweeperParts;

  constructor(parts: LockSweeperParts) {
    this.#parts = parts;
  }

  /** Answers the transactions whose locks stay: they live, or cannot be asked about now. Never rejects. */
  async sweep(locks: readonly LockInfo[]): Promise<readonly Timestamp[]> {
    const all = metBy(locks);
    const gone = await Promise.all(all.map((met) => this.#settle(met)));
    return all.filter((_, at) => gone[at] !== true).map(({ start }) => start);
  }

  async #settle(met: Met): Promise<boolean> {
    const { clock, decisions, live, logger, resolver } = this.#parts;
    const { start, primary, keys } = met;
    if (live.get(start) !== undefined) return false;
    try {
      const state = await decisions.ask(askedOf(met, timestamp(0)));
      if (state.type === 'pending') return false;
      const commit = state.type === 'committed' ? state.commit : timestamp(0);
      // The lock of the primary goes with the decision.
      const left = commit > 0 ? keys.filter((key) => Buffer.compare(key, primary) !== 0) : keys;
      if (left.length > 0) {
        await resolver.resolveShared({ start, commit, keys: left }, ownTimes(clock, RESOLVE_TIMEOUT_MS));
      }
      return true;
    } catch (error) {
      rethrowInvariant(error);
      if (!CairnError.is(error)) throw error;
      logger.debug('locks that nobody came back for are left for later', { reason: messageOf(error) });
      return false;
    }
  }
}
