import { rethrowInvariant } from './assert.js';

/**
 * How what was opened, one thing after the other, is closed: in reverse order. Whoever opens adds a closer
 * right after each; when a later one cannot be opened, `close` undoes the earlier ones, and the same order
 * ends a life.
 */
export class Closers {
  readonly #closers = new Map<string, () => void | Promise<void>>();

  /**
   * The thing is open from now on. A name that is there already becomes the last opened, with the new closer:
   * what has to be closed sooner than its opening tells is added again.
   */
  add(name: string, close: () => void | Promise<void>): void {
    this.#closers.delete(name);
    this.#closers.set(name, close);
  }

  /**
   * Closes everything, the last opened first, each when the one before is closed; a second call finds
   * nothing. All are closed, whatever one says: rejects, at the end, with what the first said that could not
   * be.
   */
  async close(): Promise<void> {
    const closers = [...this.#closers.values()].reverse();
    this.#closers.clear();
    const failures: unknown[] = [];
    for (const close of closers) {
      try {
        await close();
      } catch (error) {
        rethrowInvariant(error);
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
