import type { CairnError } from '@cairn/base';
import type { Logger } from '@cairn/ports';
import { engineClosed } from './engine-errors.js';

/**
 * The one line in which writes, flushes and deletions of spans take effect, in the order of the calls.
 * The first that fails ends all of it: what follows might build on what was lost, so everything later
 * meets the same error until the engine is reopened.
 */
export class WriteQueue {
  readonly #logger: Logger;
  readonly #toCairnError: (error: unknown) => CairnError;
  /** Ends when everything accepted has ended; undefined = nothing is under way. */
  #tail: Promise<void> | undefined = undefined;
  #failure: CairnError | undefined = undefined;
  #isClosed = false;

  constructor(logger: Logger, toCairnError: (error: unknown) => CairnError) {
    this.#logger = logger;
    this.#toCairnError = toCairnError;
  }

  /** Runs `effect` after everything accepted before; at once when nothing is under way. */
  run(effect: () => Promise<void>): Promise<void> {
    if (this.#isClosed) return Promise.reject(engineClosed());
    const previous = this.#tail;
    const done = previous === undefined ? this.#attempt(effect) : previous.then(() => this.#attempt(effect));
    const tail: Promise<void> = done.then(
      () => this.#endOf(tail),
      () => this.#endOf(tail),
    );
    this.#tail = tail;
    return done;
  }

  /** Accepts nothing more; resolves when what was accepted has ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#tail;
  }

  #endOf(tail: Promise<void>): void {
    if (this.#tail === tail) this.#tail = undefined;
  }

  async #attempt(effect: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await effect();
    } catch (error) {
      this.#failure = this.#toCairnError(error);
      this.#logger.error('engine write failed', { code: this.#failure.code, error: this.#failure.message });
      throw this.#failure;
    }
  }
}
