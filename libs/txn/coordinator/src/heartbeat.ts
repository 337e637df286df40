import { CairnError, rethrowInvariant, type Timestamp } from '@cairn/base';
import type { Clock, Timer } from '@cairn/ports';

import type { TransactionCalls } from './calls.js';
import { ownTimes } from './decisions.js';

export interface HeartbeatOptions {
  readonly clock: Clock;
  readonly calls: TransactionCalls;
  readonly start: Timestamp;
  readonly primary: Uint8Array;
  readonly intervalMs: number;
  readonly lockTtlMs: number;
  /** Somebody has rolled the transaction back. */
  readonly lost: () => void;
}

/** Says now and then that a transaction lives, from the second interval on: most never get there. */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** The primary has its lock. */
  start(): void {
    const { clock, intervalMs } = this.#options;
    if (this.#isStopped) return;
    this.#timer ??= clock.setTimer(intervalMs, () => {
      this.#timer = undefined;
      this.#beat().then(
        () => {
          this.start();
        },
        (error: unknown) => {
          rethrowInvariant(error);
          if (!CairnError.is(error)) throw error;
          // The locks have some time left; the next one may get through.
          this.start();
        },
      );
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async #beat(): Promise<void> {
    const { calls, clock, start, primary, lockTtlMs, lost } = this.#options;
    const reply = await calls.send(
      { type: 'heartbeat', start, primary, lockTtlMs },
      primary,
      ownTimes(clock, lockTtlMs),
    );
    if (reply.type === 'rolledBack' && !this.#isStopped) lost();
  }
}
