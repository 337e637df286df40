import type { LogIndex } from '@cairn/base';

/** Reads of one replica that wait for a read index; more are refused. */
const WAITING_READS_MAX = 4096;

interface WaitingRead {
  readonly callback: (confirmed: boolean) => void;
  /** Set once the group confirmed it: served when that much is applied. */
  index: LogIndex | undefined;
}

/**
 * Reads between their arrival and the moment the state machine has caught up with the confirmed index.
 * Bounded.
 */
export class ReadQueue {
  #nextContext = 1;
  readonly #waiting = new Map<number, WaitingRead>();

  /** Answers the context for the core, or undefined when the queue is full. */
  add(callback: (confirmed: boolean) => void): number | undefined {
    if (this.#waiting.size >= WAITING_READS_MAX) return undefined;
    const context = this.#nextContext;
    this.#nextContext += 1;
    this.#waiting.set(context, { callback, index: undefined });
    return context;
  }

  get size(): number {
    return this.#waiting.size;
  }

  refuse(context: number): void {
    const read = this.#waiting.get(context);
    if (read === undefined) return;
    this.#waiting.delete(context);
    read.callback(false);
  }

  refuseAll(): void {
    for (const context of [...this.#waiting.keys()]) this.refuse(context);
  }

  /** The group confirmed the read at `index`; it is served at once when that much is applied. */
  confirm(context: number, index: LogIndex, appliedIndex: LogIndex): void {
    const read = this.#waiting.get(context);
    if (read === undefined) return;
    if (appliedIndex < index) {
      read.index = index;
      return;
    }
    this.#waiting.delete(context);
    read.callback(true);
  }

  /** More is applied: serves what was waiting for it. */
  applied(appliedIndex: LogIndex): void {
    if (this.#waiting.size === 0) return;
    for (const [context, read] of this.#waiting) {
      if (read.index !== undefined && read.index <= appliedIndex) {
        this.#waiting.delete(context);
        read.callback(true);
      }
    }
  }
}
