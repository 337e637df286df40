import { Holder, Holders } from '@cairn/base';
import type { Clock } from '@cairn/ports';

/** How often connections are looked at, while somebody finds no room. */
const MEASURE_INTERVAL_MS = 50;

/** A connection as its lag is seen. */
export abstract class MeasuredSession extends Holder {
  /** Sets what it holds and since when it is behind, as of now. */
  abstract measure(nowMs: number): void;
}

/**
 * The connections of a node, and which of them is ended where others find no room: one that does not take its
 * answers, and so keeps requests, scans and rows waiting for as long as it likes. See `FairShare`: floors are
 * for as many holders as there is room for, so whoever can hold what is shared out must be made to let go.
 *
 * Nothing is counted while there is room. Once somebody finds none, all are looked at now and then, and a
 * connection lags from the first look on after which it has not taken what had been written for it by then.
 */
export class LaggingSessions {
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #sessions = new Set<MeasuredSession>();
  readonly #holders: Holders;
  #measuredMs = -Infinity;

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock;
    this.#holders = new Holders(() => clock.nowMs());
  }

  /** How many were ended, for metrics. */
  get ended(): number {
    return this.#holders.ended;
  }

  add(session: MeasuredSession): void {
    this.#sessions.add(session);
    this.#holders.add(session);
  }

  remove(session: MeasuredSession): void {
    if (this.#sessions.delete(session)) this.#holders.remove(session);
  }

  /**
   * Ends the connection that lags most, not the one that asks; answers whether there was one. `isBelowFloor`:
   * who asks has less than everybody is to have.
   */
  makeRoom(asking: MeasuredSession | undefined, isBelowFloor: boolean): boolean {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#measuredMs >= MEASURE_INTERVAL_MS) {
      this.#measuredMs = nowMs;
      for (const session of this.#sessions) session.measure(nowMs);
    }
    return this.#holders.endLaggard(isBelowFloor, asking);
  }
}
