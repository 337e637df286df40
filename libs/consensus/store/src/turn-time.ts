import type { Clock } from '@cairn/ports';

/** The time for a core: of the beginning of the turn while one runs, so that a turn is one moment. */
export class TurnTime {
  readonly #clock: Clock;
  #isRunning = false;
  #startedMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A turn begins; answers its time. */
  begin(): number {
    this.#isRunning = true;
    this.#startedMs = this.#clock.nowMs();
    return this.#startedMs;
  }

  end(): void {
    this.#isRunning = false;
  }

  nowMs(): number {
    return this.#isRunning ? this.#startedMs : this.#clock.nowMs();
  }
}
