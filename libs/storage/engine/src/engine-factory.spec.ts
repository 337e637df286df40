import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { noopLogger, noopMetrics, type Clock, type Disk } from '@cairn/ports';

import { engineFactoryOf, openForeignEngine, OWN_ENGINES, type EngineFactory } from './engine-factory.js';
import { MemoryEngine } from './memory-engine.js';
import type { KvEngine } from './types.js';

const OPTIONS = {
  path: '/data/engine',
  disk: {} as Disk,
  clock: {} as Clock,
  logger: noopLogger,
  metrics: noopMetrics,
  versioned: { namespaces: [0x10], suffixBytes: 8 },
  blockCacheBytes: 1,
  writeBufferBytes: 1,
};
const open = (): Promise<KvEngine> => Promise.resolve(new MemoryEngine());
const refusal = (sentence: string): unknown =>
  expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(sentence) });

describe('an engine module', () => {
  it('exports its factory by name, or as its default', async () => {
    const factory: EngineFactory = { name: 'other', open };
    expect(engineFactoryOf({ engineFactory: factory }, './m.js')).toBe(factory);
    expect(engineFactoryOf({ default: factory }, './m.js')).toBe(factory);
    expect(engineFactoryOf({ default: { name: 'x', open: 1 }, engineFactory: factory }, './m.js')).toBe(
      factory,
    );
    expect(await openForeignEngine(factory, './m.js', OPTIONS)).toBeInstanceOf(MemoryEngine);
  });

  it.each([
    undefined,
    null,
    {},
    { default: open },
    { default: { name: 'x' } },
    { default: { name: 1, open } },
  ])('is refused without one: %j', (module) => {
    expect(() => engineFactoryOf(module, './m.js')).toThrow(
      refusal('the engine module "./m.js" cannot be used: it exports no engineFactory'),
    );
  });

  it.each([...OWN_ENGINES, '', 'Upper', 'a b', '-a', 'x'.repeat(64)])('is refused the name %j', (name) => {
    expect(() => engineFactoryOf({ default: { name, open } }, './m.js')).toThrow(
      refusal(`its name "${name}" is`),
    );
  });

  it('is refused a name that would move a cursor, or fill the screen, without either', () => {
    const name = `\u001b[2J${'x'.repeat(5_000)}`;
    expect(() => engineFactoryOf({ default: { name, open } }, './m.js')).toThrow(
      refusal(`its name "\\u{1b}[2J${'x'.repeat(76)}… (5004 characters)" is not`),
    );
  });

  it('is refused when reading it throws, by name', async () => {
    const throwing = (field: string): object =>
      Object.defineProperty({ name: 'other', open }, field, {
        get: () => {
          throw new Error('getter\u0007');
        },
      });
    expect(() => engineFactoryOf({ default: throwing('name') }, './m.js')).toThrow(
      refusal('the engine module "./m.js" cannot be used: reading its name fails: getter\\u{7}'),
    );
    const opened = Object.defineProperty(new MemoryEngine(), 'stats', {
      get: () => {
        throw new Error('no stats');
      },
    });
    const factory = { name: 'other', open: () => Promise.resolve(opened) };
    await expect(openForeignEngine(factory, './m.js', OPTIONS)).rejects.toEqual(
      refusal('reading its stats fails: no stats'),
    );
  });

  it.each([
    ['an error', new Error('nope'), 'INTERNAL', 'nope'],
    [
      'an error of ours',
      new CairnError('CORRUPTION', 'a table is damaged'),
      'CORRUPTION',
      'a table is damaged',
    ],
    ['a plain object', { code: 'CORRUPTION', message: 'x' }, 'INTERNAL', 'x'],
    ['a string', 'a\u001b[2J', 'INTERNAL', 'a\\u{1b}[2J'],
    ['nothing', undefined, 'INTERNAL', 'it gives no reason'],
    ['an object without a message', Object.create(null), 'INTERNAL', 'it gives no reason'],
  ])('is named when its open throws %s', async (_what, thrown, code, reason) => {
    const factory: EngineFactory = { name: 'other', open: () => Promise.reject(thrown as Error) };
    const opening = openForeignEngine(factory, './m.js', OPTIONS);
    await expect(opening).rejects.toThrow(`the engine module "./m.js" did not open its engine: ${reason}`);
    await expect(opening).rejects.toMatchObject({ code });
  });

  it('is refused an engine that lacks something, by name', async () => {
    const opened: Partial<KvEngine> = new MemoryEngine();
    Object.defineProperty(opened, 'stats', { value: undefined });
    const factory = { name: 'other', open: () => Promise.resolve(opened as KvEngine) };
    await expect(openForeignEngine(factory, './m.js', OPTIONS)).rejects.toEqual(
      refusal('what it opened is no engine: it has no stats'),
    );
    const nothing = { name: 'other', open: () => Promise.resolve(undefined as unknown as KvEngine) };
    await expect(openForeignEngine(nothing, './m.js', OPTIONS)).rejects.toEqual(
      refusal('it has no get, first'),
    );
  });
});
