import type { Clock } from '@cairn/ports';

/** Rows that all walks over an engine look at in one turn of the event loop: a few milliseconds. */
export const LOOKS_PER_TURN = 4096;
/** And bytes of rows that are found: each is copied several times on its way out. */
export const READ_BYTES_PER_TURN = 1024 * 1024;

/**
 * Keeps walks from holding up the event loop. Pages of rows are bounded by what is found, but what lies
 * between may be a million deletions, and a hundred pages of megabytes may be asked for at once. So rows are
 * counted when they are looked at and their bytes when they are found, of all walks together, and with
 * `LOOKS_PER_TURN` or `READ_BYTES_PER_TURN` of them everybody waits for the next turn.
 */
export class ReadTurns {
  readonly #clock: Clock;
  #looks = 0;
  #bytes = 0;
  #next: Promise<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a walk has to wait for `nextTurn` before it looks at the next row. */
  get isUsedUp(): boolean {
    return this.#looks >= LOOKS_PER_TURN || this.#bytes >= READ_BYTES_PER_TURN;
  }

  look(): void {
    this.#looks += 1;
  }

  found(bytes: number): void {
    this.#bytes += bytes;
  }

  nextTurn(): Promise<void> {
    this.#next ??= new Promise((resolve) => {
      this.#clock.defer(() => {
        this.#looks = 0;
        this.#bytes = 0;
        this.#next = undefined;
        resolve();
      });
    });
    return this.#next;
  }
}
