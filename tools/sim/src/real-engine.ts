import type {
  EngineBatch,
  EngineIterator,
  EngineRange,
  EngineRow,
  EngineSnapshot,
  EngineStats,
  FirstRow,
  KvEngine,
} from '@cairn/engine';
import { assert } from '@cairn/base';
import type { SimProcess, SimRng, SimScheduler } from '@cairn/runtime-sim';

/** Virtual time of a change and of a flush, milliseconds. */
const CHANGE_MS = { low: 0.01, high: 0.2 };
const FLUSH_MS = { low: 0.5, high: 5 };
const ROWS_PER_STEP = 1_000;

/** How a piece of real work ended. */
type Outcome<Value> =
  { readonly type: 'done'; readonly value: Value } | { readonly type: 'failed'; readonly error: Error };

/**
 * An engine of real files and real threads, for simulated code. Changes begin at a moment that the seed
 * decides, reads at once; either is done while virtual time stands still, and whoever asked hears of it by an
 * event: so the same seed gives the same run. A change that has not begun when its process dies never does.
 */
export class RealEngine implements KvEngine {
  readonly #inner: KvEngine;
  readonly #scheduler: SimScheduler;
  readonly #process: SimProcess;
  readonly #rng: SimRng;
  /** Begin the changes that were asked for, in that order. */
  readonly #changes: (() => void)[] = [];

  constructor(inner: KvEngine, scheduler: SimScheduler, process: SimProcess, rng: SimRng) {
    this.#inner = inner;
    this.#scheduler = scheduler;
    this.#process = process;
    this.#rng = rng;
  }

  get gathersWrites(): boolean {
    return this.#inner.gathersWrites;
  }

  get(key: Uint8Array): Buffer | undefined {
    return this.#inner.get(key);
  }

  first(start: Uint8Array, end: Uint8Array): Promise<FirstRow> {
    return this.#await(Promise.resolve(this.#inner.first(start, end)));
  }

  newBatch(): EngineBatch {
    return this.#inner.newBatch();
  }

  write(batch: EngineBatch): Promise<void> {
    return this.#change(async () => this.#inner.write(batch), CHANGE_MS);
  }

  snapshot(): EngineSnapshot {
    return this.#inner.snapshot();
  }

  iterate(range: EngineRange, snapshot?: EngineSnapshot): EngineIterator {
    const inner = this.#inner.iterate(range, snapshot);
    return {
      get cutAt() {
        return inner.cutAt;
      },
      get looked() {
        return inner.looked;
      },
      next: (countMax, looksMax): Promise<readonly EngineRow[]> =>
        this.#await(inner.next(countMax, looksMax)),
      seek: (target) => {
        inner.seek(target);
      },
      close: () => this.#await(inner.close()),
    };
  }

  flush(): Promise<void> {
    return this.#change(() => this.#inner.flush(), FLUSH_MS);
  }

  deleteRange(start: Uint8Array, end: Uint8Array): Promise<void> {
    return this.#change(() => this.#inner.deleteRange(start, end), CHANGE_MS);
  }

  compact(start: Uint8Array, end: Uint8Array): Promise<void> {
    return this.#await(this.#inner.compact(start, end));
  }

  stats(): Promise<EngineStats> {
    return this.#await(this.#inner.stats());
  }

  /** Counted: what tables take depends on merges, and these on real time. */
  approximateBytes(start: Uint8Array, end: Uint8Array): Promise<number> {
    return this.#await(this.#count(start, end));
  }

  /** Behind what was asked for before. */
  close(): Promise<void> {
    return this.#change(() => this.#inner.close(), CHANGE_MS);
  }

  async #count(start: Uint8Array, end: Uint8Array): Promise<number> {
    const iterator = this.#inner.iterate({ start, end });
    let bytes = 0;
    for (;;) {
      const rows = await iterator.next(ROWS_PER_STEP);
      if (rows.length === 0) break;
      for (const [key, value] of rows) bytes += key.length + value.length;
    }
    await iterator.close();
    return bytes;
  }

  #change(
    begin: () => Promise<void>,
    timeMs: { readonly low: number; readonly high: number },
  ): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#changes.push(() => resolve(this.#await(begin())));
    // As many events as changes; each begins the oldest, so that none overtakes another.
    this.#process.schedule(this.#rng.between(timeMs.low, timeMs.high), () => this.#changes.shift()?.());
    return promise;
  }

  /** Lets time wait for the work, and tells of it by an event. */
  #await<Value>(work: Promise<Value>): Promise<Value> {
    let outcome: Outcome<Value> | undefined;
    this.#scheduler.holdFor(
      work.then(
        (value) => {
          outcome = { type: 'done', value };
        },
        (error: unknown) => {
          outcome = { type: 'failed', error: error instanceof Error ? error : new Error(String(error)) };
        },
      ),
    );
    return new Promise((resolve, reject) => {
      this.#process.schedule(0, () => {
        assert(outcome !== undefined, 'time stood still until the work had ended');
        if (outcome.type === 'done') resolve(outcome.value);
        else reject(outcome.error);
      });
    });
  }
}
