import type {
  EngineBatch,
  EngineIterator,
  EngineRange,
  EngineRow,
  EngineSnapshot,
  KvEngine,
  MemoryEngine,
} from '@cairn/engine';

/**
 * An engine whose reads take virtual time. The view is taken when the iterator is made, as with every engine;
 * what happens until its rows arrive is what this is for.
 */
export class SlowEngine implements KvEngine {
  readonly #inner: MemoryEngine;
  readonly #delay: () => Promise<void>;

  constructor(inner: MemoryEngine, delay: () => Promise<void>) {
    this.#inner = inner;
    this.#delay = delay;
  }

  get(key: Uint8Array): Buffer | undefined {
    return this.#inner.get(key);
  }

  write(batch: EngineBatch): Promise<void> {
    return this.#inner.write(batch);
  }

  newBatch(): EngineBatch {
    return this.#inner.newBatch();
  }

  snapshot(): EngineSnapshot {
    return this.#inner.snapshot();
  }

  iterate(range: EngineRange, snapshot?: EngineSnapshot): EngineIterator {
    const inner = this.#inner.iterate(range, snapshot);
    return {
      next: async (countMax): Promise<readonly EngineRow[]> => {
        await this.#delay();
        return inner.next(countMax);
      },
      seek: (target) => {
        inner.seek(target);
      },
      close: () => inner.close(),
    };
  }

  flush(): Promise<void> {
    return this.#inner.flush();
  }

  deleteRange(start: Uint8Array, end: Uint8Array): Promise<void> {
    return this.#inner.deleteRange(start, end);
  }

  compactRange(start: Uint8Array, end: Uint8Array): Promise<void> {
    return this.#inner.compactRange(start, end);
  }

  approximateBytes(start: Uint8Array, end: Uint8Array): Promise<number> {
    return this.#inner.approximateBytes(start, end);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
