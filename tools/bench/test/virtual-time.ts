import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LoadTime } from '../src/closed-loop.js';

/** Time that passes only when nobody has anything left to do. */
export class VirtualTime implements LoadTime {
  #nowMs = 0;
  readonly #sleepers: { atMs: number; wake: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    signal?.addEventListener('abort', () => resolve());
    this.#sleepers.push({ atMs: this.#nowMs + ms, wake: resolve });
    this.#sleepers.sort((a, b) => a.atMs - b.atMs);
    return promise;
  }

  /** Lets time pass until the work is done. */
  async during<Value>(work: Promise<Value>): Promise<Value> {
    let isDone = false;
    const finish = (): void => {
      isDone = true;
    };
    work.then(finish, finish);
    for (;;) {
      await nextTurn();
      if (isDone) return work;
      const next = this.#sleepers.shift();
      if (next === undefined) throw new Error('everybody waits and nobody sleeps');
      this.#nowMs = next.atMs;
      next.wake();
    }
  }
}
