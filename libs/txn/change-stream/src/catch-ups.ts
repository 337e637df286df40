/**
 * How many watches read what was before at a time, each with a buffer of its own; the others wait in the
 * order of their coming.
 */
export class CatchUps {
  readonly #max: number;
  #running = 0;
  readonly #waiting = new Set<() => void>();

  constructor(max: number) {
    this.#max = max;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Carries it out when there is a place; `undefined` when the signal aborts before. */
  async run<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result | undefined> {
    if (this.#running >= this.#max) await this.#turn(signal);
    if (signal.aborted) {
      this.#next();
      return undefined;
    }
    this.#running += 1;
    try {
      return await work();
    } finally {
      this.#running -= 1;
      this.#next();
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    while (this.#running >= this.#max && !signal.aborted) {
      const turn = Promise.withResolvers<void>();
      this.#waiting.add(turn.resolve);
      signal.addEventListener('abort', () => turn.resolve(), { once: true });
      await turn.promise;
      this.#waiting.delete(turn.resolve);
    }
  }

  #next(): void {
    if (this.#running >= this.#max) return;
    for (const turn of this.#waiting) {
      this.#waiting.delete(turn);
      turn();
      return;
    }
  }
}
