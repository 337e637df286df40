import fc from 'fast-check';
import type { EngineIterator, EngineRange, EngineRow, KvEngine } from './types.js';

export const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
export const EVERYTHING: EngineRange = { start: Buffer.alloc(0), end: Buffer.alloc(64, 0xff) };

export async function drain(iterator: EngineIterator, countMax = 7): Promise<EngineRow[]> {
  const rows: EngineRow[] = [];
  for (;;) {
    const page = await iterator.next(countMax);
    if (page.length === 0) return rows;
    rows.push(...page);
  }
}

export async function rowsOf(engine: KvEngine, range: EngineRange = EVERYTHING): Promise<[string, string][]> {
  const iterator = engine.iterate(range);
  const rows = await drain(iterator);
  await iterator.close();
  return rows.map(([key, value]) => [key.toString('latin1'), value.toString('latin1')]);
}

export async function keysOf(engine: KvEngine, range: EngineRange = EVERYTHING): Promise<string[]> {
  return (await rowsOf(engine, range)).map(([key]) => key);
}

/** Writes the keys in one batch, each with the value `=key`. */
export async function fill(engine: KvEngine, ...keys: string[]): Promise<void> {
  const batch = engine.newBatch();
  for (const key of keys) batch.put(bytes(key), bytes(`=${key}`));
  await engine.write(batch);
}

export type Step =
  | { readonly kind: 'write'; readonly operations: readonly (readonly [string, string | undefined])[] }
  | { readonly kind: 'deleteRange'; readonly start: string; readonly end: string }
  | { readonly kind: 'flush' };

export const keyArbitrary = fc.string({ unit: fc.constantFrom('\0', 'a', 'b', '\xff'), maxLength: 4 });
export const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      operations: fc.array(
        fc.tuple(keyArbitrary, fc.option(fc.string({ maxLength: 3 }), { nil: undefined })),
        {
          maxLength: 20,
        },
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('deleteRange' as const),
      start: keyArbitrary,
      end: keyArbitrary,
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'flush' as const }) },
);

/** Does a step to the engine and to a model of it. */
export async function applyStep(engine: KvEngine, model: Map<string, string>, step: Step): Promise<void> {
  switch (step.kind) {
    case 'write': {
      const batch = engine.newBatch();
      for (const [key, value] of step.operations) {
        if (value === undefined) {
          batch.delete(bytes(key));
          model.delete(key);
        } else {
          batch.put(bytes(key), bytes(value));
          model.set(key, bytes(value).toString('latin1'));
        }
      }
      return engine.write(batch);
    }
    case 'deleteRange':
      for (const key of model.keys()) if (key >= step.start && key < step.end) model.delete(key);
      return engine.deleteRange(bytes(step.start), bytes(step.end));
    case 'flush':
      return engine.flush();
  }
}
