import type {
  EngineBatch,
  EngineIterator,
  EngineRange,
  EngineRow,
  EngineSnapshot,
  KvEngine,
  MemoryEngine,
} from '@cairn/engine';

/** What happens to reads. */
export interface EngineReads {
  /** Awaited before rows come; undefined = they come at once. */
  delay(): Promise<void> | undefined;
  /** Whether a point read cannot be had at once. */
  isSlow(): boolean;
  /** Throws when the read has to fail. */
  check(): void;
}

/**
 * An engine whose reads take virtual time, and may fail. The view is taken when the iterator is made, as with
 * every engine; what happens until its rows arrive is what this is for.
 */
export class SlowEngine implements KvEngine {
  readonly #inner: MemoryEngine;
  readonly #reads: EngineReads;

  constructor(inner: MemoryEngine, reads: EngineReads) {
    this.#inner = inner;
    this.#reads = reads;
  }

  get(key: Uint8Array): Buffer | undefined {
    return this.#inner.get(key);
  }

  first(start: Uint8Array, end: Uint8Array): EngineRow | undefined | 'waits' {
    if (this.#reads.isSlow()) return 'waits';
    this.#reads.check();
    return this.#inner.first(start, end);
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
        await this.#reads.delay();
        this.#reads.check();
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
