import {
  firstByWalk,
  type EngineBatch,
  type EngineIterator,
  type EngineRange,
  type EngineRow,
  type EngineSnapshot,
  type EngineStats,
  type FirstRow,
  type KvEngine,
} from '@cairn/engine';

import type { EngineOperation } from './engine-faults.js';

/** What happens to operations. */
export interface EngineHooks {
  /** Awaited before rows come; undefined = they come at once. */
  delay(): Promise<void> | undefined;
  /** Whether a point read has to be waited for. */
  isSlow(): boolean;
  /** Awaited before a write or a flush begins; undefined = it begins at once. */
  linger(): Promise<void> | undefined;
  /** Throws when the operation, which takes so much room, has to fail. */
  check(operation: EngineOperation, bytes: number): void;
}

/**
 * An engine whose reads take virtual time, and whose operations may fail. The view is taken when the iterator
 * is made, as with every engine; what happens until its rows arrive is what this is for. As with every
 * engine, no write and no flush succeeds after one has failed.
 */
export class FaultyEngine implements KvEngine {
  readonly #inner: KvEngine;
  readonly #hooks: EngineHooks;
  #failure: Error | undefined;
  /** The last of the writes that wait for a slow device; undefined = none does. */
  #behind: Promise<void> | undefined;

  constructor(inner: KvEngine, hooks: EngineHooks) {
    this.#inner = inner;
    this.#hooks = hooks;
  }

  get(key: Uint8Array): Buffer | undefined {
    return this.#inner.get(key);
  }

  first(start: Uint8Array, end: Uint8Array): FirstRow | Promise<FirstRow> {
    if (this.#hooks.isSlow()) return firstByWalk(this.iterate({ start, end }));
    this.#hooks.check('read', 0);
    return this.#inner.first(start, end);
  }

  get isOutOfRoom(): boolean {
    return this.#inner.isOutOfRoom === true;
  }

  get gathersWrites(): boolean {
    return this.#inner.gathersWrites;
  }

  write(batch: EngineBatch): Promise<void> | undefined {
    const refused = this.#refuses('write', batch.bytes);
    if (refused !== undefined) return Promise.reject(refused);
    const slow = this.#hooks.linger();
    if (slow === undefined && this.#behind === undefined) return this.#inner.write(batch);
    return this.#inTurn(slow, async () => {
      await this.#inner.write(batch);
    });
  }

  /** What is written behind a slow write is not there before it. */
  async #inTurn(slow: Promise<void> | undefined, change: () => Promise<void>): Promise<void> {
    const before = this.#behind;
    const turn = (async (): Promise<void> => {
      await before?.catch(() => undefined);
      await slow;
      await change();
    })();
    this.#behind = turn;
    try {
      await turn;
    } finally {
      if (this.#behind === turn) this.#behind = undefined;
    }
  }

  newBatch(): EngineBatch {
    return this.#inner.newBatch();
  }

  snapshot(): EngineSnapshot {
    return this.#inner.snapshot();
  }

  iterate(range: EngineRange, snapshot?: EngineSnapshot): EngineIterator {
    const inner = this.#inner.iterate(range, snapshot);
    let failure: Error | undefined;
    return {
      get cutAt() {
        return inner.cutAt;
      },
      get looked() {
        return inner.looked;
      },
      next: async (countMax, looksMax): Promise<readonly EngineRow[]> => {
        await this.#hooks.delay();
        if (failure !== undefined) throw failure;
        try {
          this.#hooks.check('read', 0);
        } catch (error) {
          failure = error instanceof Error ? error : new Error(String(error));
          throw failure;
        }
        return inner.next(countMax, looksMax);
      },
      seek: (target) => {
        inner.seek(target);
      },
      close: () => inner.close(),
    };
  }

  flush(): Promise<void> {
    return this.#change('flush', () => this.#inner.flush());
  }

  deleteRange(start: Uint8Array, end: Uint8Array): Promise<void> {
    return this.#change('write', () => this.#inner.deleteRange(start, end));
  }

  async #change(operation: EngineOperation, change: () => Promise<void>): Promise<void> {
    const refused = this.#refuses(operation, 0);
    if (refused !== undefined) throw refused;
    await this.#inTurn(this.#hooks.linger(), change);
  }

  #refuses(operation: EngineOperation, bytes: number): Error | undefined {
    if (this.#failure !== undefined) return this.#failure;
    try {
      this.#hooks.check(operation, bytes);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    }
    return this.#failure;
  }

  stats(): Promise<EngineStats> {
    return this.#inner.stats();
  }

  compact(start: Uint8Array, end: Uint8Array): Promise<void> {
    return this.#inner.compact(start, end);
  }

  approximateBytes(start: Uint8Array, end: Uint8Array): Promise<number> {
    return this.#inner.approximateBytes(start, end);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
