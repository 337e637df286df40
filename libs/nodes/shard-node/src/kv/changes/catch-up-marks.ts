import type { Timestamp } from '@cairn/base';

/** Catch-ups of more than one page that are known at a time, per range. */
export const CATCH_UPS_MAX = 64;

/**
 * How far the range was resolved when the first page of a catch-up was read, by the log index of that page:
 * whoever has read to the end has everything up to there, whatever the ring has dropped meanwhile. One that
 * is forgotten begins anew. Of one leadership.
 */
export class CatchUpMarks {
  readonly #resolved = new Map<number, Timestamp>();

  begun(index: number, resolved: Timestamp): void {
    this.#touch(index, this.#resolved.get(index) ?? resolved);
  }

  /** undefined = not known. */
  find(index: number): Timestamp | undefined {
    const resolved = this.#resolved.get(index);
    if (resolved !== undefined) this.#touch(index, resolved);
    return resolved;
  }

  /** Those used last stay. */
  #touch(index: number, resolved: Timestamp): void {
    this.#resolved.delete(index);
    this.#resolved.set(index, resolved);
    if (this.#resolved.size <= CATCH_UPS_MAX) return;
    for (const oldest of this.#resolved.keys()) {
      this.#resolved.delete(oldest);
      return;
    }
  }

  clear(): void {
    this.#resolved.clear();
  }
}
