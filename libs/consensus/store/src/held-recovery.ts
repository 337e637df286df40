import { CairnError } from '@cairn/base';
import type { Clock, Logger, Timer } from '@cairn/ports';

import type { HeldReplicas } from './held-replicas.js';
import type { RecoveredReplica } from './recovered-replicas.js';
import type { StoreLife } from './store-life.js';

/** How often it is tried again whether the rows of a half-installed snapshot have room. */
const RETRY_MS = 5_000;
/** And how often that is logged at most. */
const LOG_INTERVAL_MS = 60_000;

export interface HeldRecoveryParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly held: HeldReplicas;
  readonly life: Pick<StoreLife, 'fatal' | 'whenOver'>;
  /** Finishes the installation and opens the replica. Rejects DISK_FULL while its rows have no room. */
  recover(replica: RecoveredReplica): Promise<void>;
}

/** Tries again and again to bring the held replicas back; the others do not wait for it. */
export class HeldRecovery {
  readonly #parts: HeldRecoveryParts;
  #retry: Timer | undefined;
  #loggedMs: number | undefined;
  #isStopped = false;

  constructor(parts: HeldRecoveryParts) {
    this.#parts = parts;
    parts.life.whenOver(() => {
      this.stop();
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#retry?.cancel();
  }

  /**
   * One try, of a replica that is held. Resolves when the replica is there, or when it has to wait. Rejects
   * with what is no lack of room.
   */
  async attempt(replica: RecoveredReplica): Promise<void> {
    const { clock, held, logger } = this.#parts;
    try {
      await this.#parts.recover(replica);
      held.delete(replica.rangeId);
    } catch (error) {
      if (!CairnError.is(error) || error.code !== 'DISK_FULL') throw error;
      const nowMs = clock.nowMs();
      if (this.#loggedMs === undefined || nowMs - this.#loggedMs >= LOG_INTERVAL_MS) {
        this.#loggedMs = nowMs;
        logger.warn('a replica waits for room', { range: replica.rangeId, reason: error.message });
      }
      this.#retryLater();
    }
  }

  #retryLater(): void {
    if (this.#isStopped) return;
    this.#retry ??= this.#parts.clock.setTimer(RETRY_MS, () => {
      this.#retry = undefined;
      this.#tryAll().catch(this.#parts.life.fatal);
    });
  }

  async #tryAll(): Promise<void> {
    for (const replica of this.#parts.held.replicas) {
      if (this.#isStopped) return;
      await this.attempt(replica);
    }
  }
}
