import type { Clock, Logger, Timer, Transport } from '@cairn/ports';
import { openSession, type Hello } from '@cairn/wire';

import type { MetadataMember } from './leadership.js';
import type { MemberClocks } from './member-clocks.js';

/** How often members ask each other what their wall clocks show. */
const INTERVAL_MS = 10_000;

/**
 * And while no majority has said it. Members that start together do not answer at first, and a leader among
 * them goes on from where time stood when the last one ended, may be a night ago: it must hear them before
 * shard nodes serve (five seconds later), or what is written meanwhile is old when timestamps leap, and its
 * time to live over.
 */
const HASTE_MS = 500;

export interface ClockAsksOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly clocks: MemberClocks;
  /** Whom this member asks: all others. */
  readonly others: readonly MetadataMember[];
  hello(to: string): Hello;
}

/**
 * Every member tells what its wall clock shows when it is asked where the configuration says it is. What
 * comes in with the hello of whoever dials counts for nothing: anybody can dial.
 */
export class ClockAsks {
  readonly #options: ClockAsksOptions;
  #timer: Timer | undefined;

  constructor(options: ClockAsksOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, clocks, others } = this.#options;
    for (const member of others) this.#ask(member);
    this.#timer = clock.setTimer(clocks.isMajorityHeard ? INTERVAL_MS : HASTE_MS, () => {
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #ask({ name, address }: MetadataMember): void {
    const { transport, clock, logger, clocks } = this.#options;
    const session = openSession({
      ...{ transport, address, clock, logger, hello: this.#options.hello(name) },
      handlers: {
        onReady: () => {
          const { remote } = session;
          if (remote?.life !== undefined && remote.name === name) clocks.heard(name, remote.life.unixMs);
          session.close();
        },
        onFrame: () => undefined,
        // The next look is soon; until then the clock of this member counts as before, or not at all.
        onClose: () => undefined,
      },
    });
  }
}
