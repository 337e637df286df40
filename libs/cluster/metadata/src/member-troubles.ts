import { messageOf } from '@cairn/base';
import type { Clock, Logger } from '@cairn/ports';

import type { MetadataMember } from './leadership.js';

/** The log says what keeps a member away, and not with every try. */
const TROUBLE_EVERY_MS = 10_000;

/** Writes why members are not reached: at most one line for each member and interval. */
export class MemberTroubles {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #saidMs = new Map<string, number>();

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  failed({ name, address }: MetadataMember, error: Error | undefined): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs - (this.#saidMs.get(name) ?? -Infinity) < TROUBLE_EVERY_MS) return;
    // Members that start together wait for each other: only what lasts is trouble.
    const level = this.#saidMs.has(name) ? 'warn' : 'info';
    this.#saidMs.set(name, nowMs);
    this.#logger[level]('metadata member not reached', {
      member: name,
      address,
      reason: messageOf(error ?? 'the connection closed'),
    });
  }
}
