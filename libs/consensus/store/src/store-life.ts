import { CairnError, messageOf } from '@cairn/base';
import type { Logger } from '@cairn/ports';

/**
 * Whether a store works. Any part of it may end it, with the first failure that leaves memory and disk apart;
 * what has timers hears of the end, everything else asks `isOver` before it goes on.
 */
export class StoreLife {
  readonly #logger: Logger;
  readonly #onFatal: (error: CairnError) => void;
  readonly #listeners: (() => void)[] = [];
  #isOver = false;

  constructor(logger: Logger, onFatal: (error: CairnError) => void) {
    this.#logger = logger;
    this.#onFatal = onFatal;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  whenOver(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Nothing may be acknowledged any more: whoever hosts the store hears the first failure, once. */
  readonly fatal = (error: unknown): void => {
    if (this.#isOver) return;
    this.end();
    this.#logger.error('store stopped', { reason: messageOf(error) });
    this.#onFatal(
      CairnError.is(error) ? error : new CairnError('INTERNAL', messageOf(error), { cause: error }),
    );
  };

  /** The store is closed: nothing begins any more. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const listener of this.#listeners) listener();
  }
}
