import type { Clock, Logger, Timer, Transport } from '@cairn/ports';
import { openSession, type Hello } from '@cairn/wire';

import type { MetadataMember } from './leadership.js';
import type { MemberClocks, Offsets } from './member-clocks.js';

/** How often members ask each other what their wall clocks show. */
const INTERVAL_MS = 10_000;

/**
 * And while no majority has said it. Members that start together do not answer at first, and a leader among
 * them goes on from where time stood when the last one ended, may be a night ago: it must hear them before
 * shard nodes serve (five seconds later), or what is written meanwhile is old when timestamps leap, and its
 * time to live over.
 */
const HASTE_MS = 500;

/** Who has not answered by then has no say in a leap: what it said would be old. */
const CONFIRM_ANSWER_MS_MAX = 1_000;

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
    for (const member of others) void this.#ask(member);
    this.#timer = clock.setTimer(clocks.isMajorityHeard ? INTERVAL_MS : HASTE_MS, () => {
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /**
   * What a majority of the members shows at one moment; undefined = none does. Asks all others anew, and
   * once more when they have answered: whatever two clocks showed both times they showed together in between.
   * Takes at most two seconds, which is when a member does not answer.
   */
  async agreedUnixMs(): Promise<number | undefined> {
    const { clock, clocks } = this.#options;
    const before = await this.#askAll();
    const ownOffsetMs = clock.unixMs() - clock.nowMs();
    const after = await this.#askAll();
    return clocks.agreedUnixMs(before, ownOffsetMs, after);
  }

  async #askAll(): Promise<Offsets> {
    const offsets = new Map<string, number>();
    const asking = this.#options.others.map(async (member) => {
      const offsetMs = await this.#ask(member, CONFIRM_ANSWER_MS_MAX);
      if (offsetMs !== undefined) offsets.set(member.name, offsetMs);
    });
    await Promise.all(asking);
    return offsets;
  }

  /** Resolves to what `MemberClocks.heard` made of the answer; undefined when there is none. */
  #ask({ name, address }: MetadataMember, handshakeTimeoutMs?: number): Promise<number | undefined> {
    const { transport, clock, logger, clocks } = this.#options;
    return new Promise((resolve) => {
      const session = openSession({
        ...{ transport, address, clock, logger, hello: this.#options.hello(name) },
        ...(handshakeTimeoutMs === undefined ? {} : { handshakeTimeoutMs }),
        handlers: {
          onReady: () => {
            const { remote } = session;
            const isIt = remote?.life !== undefined && remote.name === name;
            resolve(isIt ? clocks.heard(name, remote.life.unixMs) : undefined);
            session.close();
          },
          onFrame: () => undefined,
          // The next look is soon; until then the clock of this member counts as before, or not at all.
          onClose: () => {
            resolve(undefined);
          },
        },
      });
    });
  }
}
