import { messageOf, rethrowInvariant } from '@cairn/base';
import type { Clock, Logger } from '@cairn/ports';

import type { Replica } from './replica.js';
import type { StateMachine } from './state-machine.js';

const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 10_000;

/**
 * Opens the machines of replicas that are being created. An engine that fails to read for a moment must not
 * leave a replica that votes and never applies: what failed is tried again, at growing distances, until it
 * succeeds or the replica is gone. One timer per such replica.
 */
export class MachineOpener {
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** `opened` runs once, now or later. Rejects with what the first try threw. */
  async open(replica: Replica, machine: StateMachine, opened: () => void): Promise<void> {
    try {
      await machine.open();
    } catch (error) {
      rethrowInvariant(error);
      this.#retryLater(replica, machine, { opened, error, delayMs: RETRY_FIRST_MS });
      throw error;
    }
    if (!replica.isClosed) opened();
  }

  #retryLater(
    replica: Replica,
    machine: StateMachine,
    failed: { readonly opened: () => void; readonly error: unknown; readonly delayMs: number },
  ): void {
    if (replica.isClosed) return;
    const { opened, delayMs } = failed;
    this.#logger.warn('the machine of a replica did not open, trying again', {
      range: replica.rangeId,
      reason: messageOf(failed.error),
      retryAfterMs: delayMs,
    });
    this.#clock.setTimer(delayMs, () => {
      if (replica.isClosed) return;
      machine.open().then(
        () => {
          if (!replica.isClosed) opened();
        },
        (error: unknown) => {
          rethrowInvariant(error);
          const next = { opened, error, delayMs: Math.min(delayMs * 2, RETRY_MAX_MS) };
          this.#retryLater(replica, machine, next);
        },
      );
    });
  }
}
