import {
  MemoryEngine,
  type EngineBatch,
  type EngineFactory,
  type EngineIterator,
  type EngineRange,
  type EngineSnapshot,
  type EngineStats,
  type FirstRow,
  type KvEngine,
} from '@cairn/engine';

/** An engine as somebody else may write it, as small as it gets: rows in memory, and its own name. */
class ForeignEngine implements KvEngine {
  readonly gathersWrites = true;
  readonly #rows = new MemoryEngine();

  get(key: Uint8Array): Buffer | undefined {
    return this.#rows.get(key);
  }

  first(start: Uint8Array, end: Uint8Array): FirstRow {
    return this.#rows.first(start, end);
  }

  newBatch(): EngineBatch {
    return this.#rows.newBatch();
  }

  write(batch: EngineBatch): Promise<void> | undefined {
    return this.#rows.write(batch);
  }

  snapshot(): EngineSnapshot {
    return this.#rows.snapshot();
  }

  iterate(range: EngineRange, snapshot?: EngineSnapshot): EngineIterator {
    return this.#rows.iterate(range, snapshot);
  }

  flush(): Promise<void> {
    return this.#rows.flush();
  }

  deleteRange(start: Uint8Array, end: Uint8Array): Promise<void> {
    return this.#rows.deleteRange(start, end);
  }

  compact(start: Uint8Array, end: Uint8Array): Promise<void> {
    return this.#rows.compact(start, end);
  }

  async stats(): Promise<EngineStats> {
    return { ...(await this.#rows.stats()), engine: 'foreign' };
  }

  approximateBytes(start: Uint8Array, end: Uint8Array): Promise<number> {
    return this.#rows.approximateBytes(start, end);
  }

  close(): Promise<void> {
    return this.#rows.close();
  }
}

export const engineFactory: EngineFactory = {
  name: 'foreign',
  open: () => Promise.resolve(new ForeignEngine()),
};
