import { describe, expect, it } from '@jest/globals';

import { MemoryEngine } from './memory-engine.js';
import { crashChecks, restartChecks, type KvEngineFactory } from './testing-restarts.js';
import type { KvEngine } from './types.js';

type Row = readonly [key: Buffer, value: Buffer];

interface Places extends KvEngineFactory {
  crash(): Promise<KvEngine>;
}

/** What its places hold in this process stands for files; `kept` says what of the rows gets there. */
function placesOf(kept: (rows: readonly Row[]) => readonly Row[]): Places {
  let files: readonly Row[] = [];
  const openAt = async (rows: readonly Row[]): Promise<KvEngine> => {
    const engine = new MemoryEngine();
    const batch = engine.newBatch();
    for (const row of rows) batch.put(...row);
    await engine.write(batch);
    const flush = engine.flush.bind(engine);
    engine.flush = async () => {
      await flush();
      const iterator = engine.iterate({ start: Buffer.alloc(0), end: Buffer.alloc(64, 0xff) });
      const found: Row[] = [];
      for (let page = await iterator.next(1_000); page.length > 0; page = await iterator.next(1_000)) {
        found.push(...page);
      }
      await iterator.close();
      files = kept(found);
    };
    return engine;
  };
  return {
    open: () => {
      files = [];
      return openAt(files);
    },
    reopen: () => openAt(files),
    crash: () => openAt(files),
  };
}

const SPOILT: readonly (readonly [string, KvEngineFactory])[] = [
  ['loses everything', placesOf(() => [])],
  ['loses its last row', placesOf((rows) => rows.slice(0, -1))],
  [
    'gives values back that are shorter',
    placesOf((rows) => rows.map(([key, value]) => [key, value.subarray(1)])),
  ],
];

const failuresOf = async (factory: KvEngineFactory): Promise<string[]> => {
  const failed: string[] = [];
  for (const { title, check } of [...restartChecks, ...crashChecks]) {
    await check(factory).catch(() => failed.push(title));
  }
  return failed;
};

describe('the part of the suite about lives', () => {
  it('passes an engine that keeps what is flushed', async () => {
    expect(await failuresOf(placesOf((rows) => rows))).toEqual([]);
  });

  it.each(SPOILT)('fails an engine that %s', async (_, factory) => {
    const failed = await failuresOf(factory);
    expect(failed).toContain(restartChecks[0]?.title);
    expect(failed).toContain(crashChecks[0]?.title);
  });

  it('fails an engine that brings back what was deleted', async () => {
    let before: readonly Row[] = [];
    const neverGone = placesOf((rows) => {
      const all = new Map([...before, ...rows].map((row) => [row[0].toString('hex'), row] as const));
      before = [...all.values()];
      return before;
    });
    expect(await failuresOf(neverGone)).toContain(restartChecks[0]?.title);
  });

  it('fails an engine that keeps a part of a batch', async () => {
    const half = placesOf((rows) => rows);
    const torn: KvEngineFactory = {
      ...half,
      crash: async () => {
        const engine = await half.crash();
        const batch = engine.newBatch();
        batch.put(Buffer.from('two7'), Buffer.from('torn'));
        await engine.write(batch);
        return engine;
      },
    };
    expect(await failuresOf(torn)).toContain(crashChecks[1]?.title);
  });
});
