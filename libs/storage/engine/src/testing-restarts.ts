import { expect } from '@jest/globals';
import fc from 'fast-check';
import { applyStep, bytes, EVERYTHING, fill, keysOf, rowsOf, stepArbitrary } from './testing-rows.js';
import type { KvEngine } from './types.js';

/** Makes engines for the suite. */
export interface KvEngineFactory {
  /** A fresh, empty engine, in a place that no other one had. The suite closes it. */
  open(): Promise<KvEngine>;
  /**
   * Opens the place of the last `open` again, as the next process does; the engine that was there is closed.
   * Nothing but files may go from one to the other. `'keeps nothing'`: an engine for tests, in memory alone.
   */
  readonly reopen: 'keeps nothing' | (() => Promise<KvEngine>);
  /**
   * Ends the engine at the place of the last `open` without closing it, as a loss of power does or the end
   * of its process, and opens what is left. For factories that can; the suite does not touch the old one
   * again.
   */
  crash?(): Promise<KvEngine>;
}

/** One thing that must hold from one life of an engine to the next. Rejects where it does not. */
export interface RestartCheck {
  readonly title: string;
  check(factory: KvEngineFactory): Promise<void>;
}

/** Rows of one batch, of which all are there or none. */
const BATCH_ROWS = 50;

function reopened({ reopen }: KvEngineFactory): Promise<KvEngine> {
  if (reopen === 'keeps nothing') throw new Error('an engine that keeps nothing has one life');
  return reopen();
}

async function crashed(factory: KvEngineFactory): Promise<KvEngine> {
  if (factory.crash === undefined) throw new Error('the factory has no crash');
  return factory.crash();
}

async function fillBatch(engine: KvEngine, name: string): Promise<void> {
  await fill(engine, ...Array.from({ length: BATCH_ROWS }, (_, at) => `${name}${at}`));
}

/** How many rows of such a batch are there. */
async function rowsOfBatch(engine: KvEngine, name: string): Promise<number> {
  const keys = await keysOf(engine);
  return keys.filter((key) => key.startsWith(name)).length;
}

/** Goes on with the engine of the next life, and closes it. */
async function inLife<T>(opening: Promise<KvEngine>, live: (engine: KvEngine) => Promise<T>): Promise<T> {
  const engine = await opening;
  try {
    return await live(engine);
  } finally {
    await engine.close();
  }
}

async function writeManyShapes(engine: KvEngine): Promise<void> {
  await fill(engine, 'a', 'b', 'c', 'd', 'e', '\0', '\xfe');
  await engine.flush();
  const batch = engine.newBatch();
  batch.put(bytes('a'), bytes('later'));
  batch.put(Buffer.alloc(0), bytes('of the empty key'));
  batch.put(bytes('empty'), Buffer.alloc(0));
  batch.put(bytes('big'), Buffer.alloc(3_000_000, 7));
  batch.delete(bytes('b'));
  await engine.write(batch);
  await engine.deleteRange(bytes('c'), bytes('e'));
}

async function expectManyShapes(engine: KvEngine): Promise<void> {
  expect(await keysOf(engine)).toEqual(['', '\0', 'a', 'big', 'e', 'empty', '\xfe']);
  expect(engine.get(bytes('a'))).toEqual(bytes('later'));
  expect(engine.get(Buffer.alloc(0))).toEqual(bytes('of the empty key'));
  expect(engine.get(bytes('empty'))).toEqual(Buffer.alloc(0));
  expect(engine.get(bytes('big'))?.equals(Buffer.alloc(3_000_000, 7))).toBe(true);
  expect((await engine.first(bytes('b'), bytes('z')))?.[0]).toEqual(bytes('big'));
  expect(await keysOf(engine, { ...EVERYTHING, reverse: true })).toHaveLength(7);
}

/** Over `flush`, `close` and the next `open`. */
export const restartChecks: readonly RestartCheck[] = [
  {
    title: 'it has what was put, deleted and deleted in spans before a flush, when it is opened again',
    async check(factory: KvEngineFactory): Promise<void> {
      await inLife(factory.open(), async (engine) => {
        await writeManyShapes(engine);
        await engine.flush();
      });
      await inLife(reopened(factory), expectManyShapes);
      // Reading alone changes nothing.
      await inLife(reopened(factory), expectManyShapes);
    },
  },
  {
    title: 'it has the same after a compaction',
    async check(factory: KvEngineFactory): Promise<void> {
      await inLife(factory.open(), async (engine) => {
        await writeManyShapes(engine);
        await engine.flush();
        await engine.compact(EVERYTHING.start, EVERYTHING.end);
      });
      await inLife(reopened(factory), expectManyShapes);
    },
  },
  {
    title: 'it is empty when nothing was written, and when all was deleted, before it is opened again',
    async check(factory: KvEngineFactory): Promise<void> {
      await inLife(factory.open(), () => Promise.resolve());
      await inLife(reopened(factory), async (engine) => {
        expect(await keysOf(engine)).toEqual([]);
        await fill(engine, 'a', 'b');
        await engine.flush();
        await engine.deleteRange(EVERYTHING.start, EVERYTHING.end);
        await engine.flush();
      });
      await inLife(reopened(factory), async (engine) => {
        expect(await keysOf(engine)).toEqual([]);
      });
    },
  },
  {
    title: 'it has what was flushed, and whole batches of the rest, when it was closed without a flush',
    async check(factory: KvEngineFactory): Promise<void> {
      await inLife(factory.open(), async (engine) => {
        await fillBatch(engine, 'flushed');
        await engine.flush();
        await fillBatch(engine, 'written');
      });
      await inLife(reopened(factory), async (engine) => {
        expect(await rowsOfBatch(engine, 'flushed')).toBe(BATCH_ROWS);
        expect([0, BATCH_ROWS]).toContain(await rowsOfBatch(engine, 'written'));
      });
    },
  },
  {
    title: 'it answers as a sorted map does, over as many lives as one wants',
    async check(factory: KvEngineFactory): Promise<void> {
      const life = fc.array(stepArbitrary, { maxLength: 6 });
      const property = fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 4 }), async (lives) => {
        const model = new Map<string, string>();
        const expectModel = async (engine: KvEngine): Promise<void> => {
          const expected = [...model].sort(([one], [other]) => (one < other ? -1 : 1));
          expect(await rowsOf(engine)).toEqual(expected);
        };
        let opening = factory.open();
        for (const steps of lives) {
          await inLife(opening, async (engine) => {
            await expectModel(engine);
            for (const step of steps) await applyStep(engine, model, step);
            await engine.flush();
          });
          opening = reopened(factory);
        }
        await inLife(opening, expectModel);
      });
      await fc.assert(property, { numRuns: 15, seed: 20_260_102 });
    },
  },
];

/** Over an end without `close`. */
export const crashChecks: readonly RestartCheck[] = [
  {
    title: 'it has what was flushed when it ends without a close',
    async check(factory: KvEngineFactory): Promise<void> {
      const engine = await factory.open();
      await writeManyShapes(engine);
      await engine.flush();
      await inLife(crashed(factory), expectManyShapes);
    },
  },
  {
    title: 'it has each batch that was not flushed whole or not at all when it ends without a close',
    async check(factory: KvEngineFactory): Promise<void> {
      const engine = await factory.open();
      await fillBatch(engine, 'flushed');
      await engine.flush();
      const names = ['one', 'two', 'three'];
      for (const name of names) await fillBatch(engine, name);
      await inLife(crashed(factory), async (next) => {
        expect(await rowsOfBatch(next, 'flushed')).toBe(BATCH_ROWS);
        for (const name of names) expect([0, BATCH_ROWS]).toContain(await rowsOfBatch(next, name));
      });
    },
  },
];
