import { rethrowInvariant } from '@cairn/base';
import type { Clock, Disk } from '@cairn/ports';

/** Who asks waits this long; a file system that hangs does not answer at all. */
const ANSWER_MS_MAX = 1_000;

export interface FreeSpaceParts {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly directory: string;
}

/** What is free on the disk of the data directory, in bounded time. One question at a time. */
export class FreeSpace {
  readonly #parts: FreeSpaceParts;
  /** Until the first answer: nothing is known to be free. */
  #bytes = 0;
  #asking: Promise<number> | undefined;

  constructor(parts: FreeSpaceParts) {
    this.#parts = parts;
  }

  /** Rejects as the question does; when there is no answer in time, what was free the last time. */
  async look(): Promise<number> {
    const { clock, disk, directory } = this.#parts;
    const asking = (this.#asking ??= this.#ask(disk, directory));
    const late = Promise.withResolvers<number>();
    const timer = clock.setTimer(ANSWER_MS_MAX, () => {
      // Nobody waits for the answer any more, but a broken invariant in it must end the process.
      asking.catch(rethrowInvariant);
      late.resolve(this.#bytes);
    });
    try {
      return await Promise.race([asking, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  async #ask(disk: Disk, directory: string): Promise<number> {
    try {
      this.#bytes = await disk.freeBytes(directory);
      return this.#bytes;
    } finally {
      this.#asking = undefined;
    }
  }
}
