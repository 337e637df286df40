import type { Clock, Logger } from '@cairn/ports';

import type { Replica } from './replica.js';

const WINDOW_MS = 1_000;
/**
 * A store that is lost or comes back changes the leaders of thousands of ranges: nobody reads that many
 * lines.
 */
const LINES_PER_WINDOW_MAX = 100;

/** Logs changes of leaders, up to a hundred per second one by one, of the others how many there were. */
export class LeadershipLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #windowEndsMs = 0;
  #lines = 0;
  #left = 0;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  changed(replica: Replica): void {
    this.poll();
    this.#lines += 1;
    if (this.#lines > LINES_PER_WINDOW_MAX) {
      this.#left += 1;
      return;
    }
    this.#logger.info('leadership changed', {
      range: replica.rangeId,
      term: replica.term,
      // As `cairn ranges` names it.
      leaderStore: replica.leaderStoreId,
      leaderReplica: replica.leaderReplicaId,
      isLeader: replica.isLeader,
    });
  }

  /** Says what was left out, once its second is over. */
  poll(): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs < this.#windowEndsMs) return;
    if (this.#left > 0) this.#logger.info('leadership of more ranges changed', { changes: this.#left });
    this.#windowEndsMs = nowMs + WINDOW_MS;
    this.#lines = 0;
    this.#left = 0;
  }
}
