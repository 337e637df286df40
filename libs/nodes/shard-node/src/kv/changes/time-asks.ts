import { rethrowInvariant, type Timestamp } from '@cairn/base';
import type { Clock } from '@cairn/ports';

/** After a timestamp could not be had. */
const RETRY_MS = 50;

/** A range whose changes are resolved only by a later timestamp. */
export interface AsksForTime {
  /** One was fetched after it was asked for, or could not be had. */
  timeTold(isTold: boolean): void;
}

/**
 * Fetches timestamps for ranges that have unresolved changes and somebody who waits: one at a time per store.
 */
export class TimeAsks {
  readonly #source: { fetch(): Promise<Timestamp> };
  readonly #clock: Pick<Clock, 'setTimer'>;
  #asking = new Set<AsksForTime>();
  #isFetching = false;

  constructor(source: { fetch(): Promise<Timestamp> }, clock: Pick<Clock, 'setTimer'>) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Tells the range when it is there; a range that asks again meanwhile is told once more after that. */
  ask(range: AsksForTime): void {
    this.#asking.add(range);
    if (!this.#isFetching) this.#fetch();
  }

  #fetch(): void {
    this.#isFetching = true;
    const ranges = this.#asking;
    this.#asking = new Set();
    this.#source.fetch().then(
      () => {
        this.#tell(ranges, true);
        this.#isFetching = false;
        if (this.#asking.size > 0) this.#fetch();
      },
      (error: unknown) => {
        rethrowInvariant(error);
        this.#tell(ranges, false);
        this.#clock.setTimer(RETRY_MS, () => {
          this.#isFetching = false;
          if (this.#asking.size > 0) this.#fetch();
        });
      },
    );
  }

  #tell(ranges: ReadonlySet<AsksForTime>, isTold: boolean): void {
    for (const range of ranges) range.timeTold(isTold);
  }
}
