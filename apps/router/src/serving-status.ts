import type { Clock, Timer } from '@cairn/ports';

/** Readiness is looked at this often. */
const LOOK_INTERVAL_MS = 250;

/**
 * Lets the gRPC health service say what `/readyz` says, a moment later at most. Tells of changes only:
 * watchers are told each time.
 */
export class ServingStatus {
  readonly #clock: Pick<Clock, 'setTimer'>;
  readonly #isReady: () => boolean;
  readonly #tell: (isServing: boolean) => void;
  #isServing = false;
  #isStopped = false;
  #timer: Timer | undefined;

  constructor(clock: Pick<Clock, 'setTimer'>, isReady: () => boolean, tell: (isServing: boolean) => void) {
    this.#clock = clock;
    this.#isReady = isReady;
    this.#tell = tell;
    this.#look();
  }

  /** Not serving, from now on. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#say(false);
  }

  #look(): void {
    if (this.#isStopped) return;
    this.#say(this.#isReady());
    this.#timer = this.#clock.setTimer(LOOK_INTERVAL_MS, () => {
      this.#look();
    });
  }

  #say(isServing: boolean): void {
    if (isServing === this.#isServing) return;
    this.#isServing = isServing;
    this.#tell(isServing);
  }
}
