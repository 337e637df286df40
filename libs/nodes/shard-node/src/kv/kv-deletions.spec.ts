import { MemoryEngine, type EngineIterator, type EngineRange, type EngineRow } from '@cairn/engine';
import { describe, expect, it } from '@jest/globals';
import { KvOp, type KvResponse } from '@cairn/wire';

import { bytes, KvRig, type RequestFields } from './kv-rig.testing.js';

/*
 * Goal: a page, or a chunk of a range deletion, ends when it has looked at enough, whatever it has found.
 * Method: an engine that, like a merge tree, passes over rows that are deleted and not merged away yet. Here
 * they are the rows with the value `gone`.
 */

class TreeWithDeletions extends MemoryEngine {
  /** Rows that the longest single step looked at. */
  longestStep = 0;

  override iterate(range: EngineRange): EngineIterator {
    const inner = super.iterate(range);
    let ahead: EngineRow | undefined;
    const pull = async (): Promise<EngineRow | undefined> => (await inner.next(1))[0];
    const iterator = {
      looked: 0,
      cutAt: undefined as Buffer | undefined,
      next: async (countMax: number, looksMax = Infinity): Promise<readonly EngineRow[]> => {
        const rows: EngineRow[] = [];
        const before = iterator.looked;
        iterator.cutAt = undefined;
        while (rows.length < countMax) {
          ahead ??= await pull();
          if (ahead === undefined) break;
          if (iterator.looked - before >= looksMax) {
            iterator.cutAt = ahead[0];
            break;
          }
          iterator.looked += 1;
          if (!ahead[1].includes('gone')) rows.push(ahead);
          ahead = undefined;
        }
        this.longestStep = Math.max(this.longestStep, iterator.looked - before);
        return rows;
      },
      seek: (target: Uint8Array): void => {
        ahead = undefined;
        inner.seek(target);
      },
      close: () => inner.close(),
    };
    return iterator;
  }
}

const LOOKS_MAX = 300;

async function rigWith(values: readonly [string, string][]): Promise<KvRig> {
  const rig = await KvRig.leading({
    engine: new TreeWithDeletions(),
    limits: { versionsPerPageMax: LOOKS_MAX, scanCacheBytesMax: 0 },
  });
  for (const [key, value] of values) rig.send({ op: KvOp.put, key: bytes(key), value: bytes(value) });
  await rig.run();
  rig.environment.rowCache.clear();
  return rig;
}

async function answer(rig: KvRig, fields: RequestFields): Promise<KvResponse> {
  const sent = rig.send(fields);
  for (let round = 0; round < 300 && sent.answers.length === 0; round += 1) await rig.run();
  return sent.answers[0] as KvResponse;
}

const numbered = (from: number, to: number, value: string): [string, string][] =>
  Array.from({ length: to - from }, (_, at) => [`k${String(from + at).padStart(5, '0')}`, value]);

describe('a range with very many deleted rows', () => {
  const values = [...numbered(0, 1, 'v'), ...numbered(1, 2_000, 'gone'), ...numbered(2_000, 2_001, 'v')];

  it.each([false, true])(
    'answers scans with pages without rows that say where to go on, reverse %s',
    async (reverse) => {
      const rig = await rigWith(values);
      const pages: number[] = [];
      const readTimestamp = rig.readNow;
      let bounds: { key: Uint8Array; endKey: Uint8Array } = { key: bytes(''), endKey: bytes('') };
      for (;;) {
        const page = await answer(rig, { op: KvOp.scan, ...bounds, reverse, readTimestamp });
        expect(page.error).toBeUndefined();
        pages.push(page.rows.count);
        if (page.resumeKey === undefined) break;
        bounds = reverse
          ? { key: bounds.key, endKey: page.resumeKey }
          : { key: page.resumeKey, endKey: bounds.endKey };
      }
      expect(pages.reduce((sum, count) => sum + count)).toBe(2);
      expect(pages.length).toBeGreaterThanOrEqual(2_000 / LOOKS_MAX);
      expect(pages.filter((count) => count === 0).length).toBeGreaterThan(3);
      expect((rig.engine as TreeWithDeletions).longestStep).toBeLessThanOrEqual(LOOKS_MAX);
    },
  );

  it('answers range deletions with chunks without keys that say where to go on', async () => {
    const rig = await rigWith(values);
    const counts: number[] = [];
    let key: Uint8Array = bytes('');
    for (;;) {
      const chunk = await answer(rig, { op: KvOp.deleteRange, key });
      counts.push(chunk.count);
      if (chunk.resumeKey === undefined) break;
      key = chunk.resumeKey;
    }
    expect(counts.reduce((sum, count) => sum + count)).toBe(2);
    expect(counts.length).toBeGreaterThanOrEqual(2_000 / LOOKS_MAX);
  });
});

describe('a page of very many rows', () => {
  it('is read in several turns of the event loop, also when the engine answers at once', async () => {
    const rig = await KvRig.leading({ limits: { scanCacheBytesMax: 0 } });
    for (const [key, value] of numbered(0, 9_000, '')) {
      rig.send({ op: KvOp.put, key: bytes(key), value: bytes(value) });
    }
    for (let round = 0; round < 2; round += 1) await rig.run();
    const largest = { limit: 100_000, pageBytes: 4 * 1024 * 1024, readTimestamp: rig.readNow };
    const sent = rig.send({ op: KvOp.scan, key: bytes(''), ...largest });
    let turns = 0;
    for (; turns < 10 && sent.answers.length === 0; turns += 1) {
      for (let round = 0; round < 3; round += 1) await rig.run();
      rig.clock.runDeferred();
      await rig.run();
    }
    expect(sent.answers[0]?.rows.count).toBe(9_000);
    expect(turns).toBe(2);
  });
});

describe('a key with more versions than a page looks at', () => {
  it.each([false, true])('is scanned to its end, and the scan ends, reverse %s', async (reverse) => {
    const rig = await rigWith([['a', 'v']]);
    const readTimestamp = rig.max;
    for (let round = 0; round < 3; round += 1) {
      for (let version = 0; version < LOOKS_MAX; version += 1) {
        rig.send({ op: KvOp.put, key: bytes('m'), value: bytes('w') });
      }
      await rig.run();
      await rig.environment.timestamps.fetch();
    }
    for (const time of [readTimestamp, rig.readNow]) {
      let rows = 0;
      let pages = 0;
      let bounds: { key: Uint8Array; endKey: Uint8Array } = { key: bytes('m'), endKey: bytes('n') };
      for (; pages < 10; pages += 1) {
        const page = await answer(rig, { op: KvOp.scan, ...bounds, reverse, readTimestamp: time });
        rows += page.rows.count;
        if (page.resumeKey === undefined) break;
        bounds = reverse
          ? { key: bounds.key, endKey: page.resumeKey }
          : { key: page.resumeKey, endKey: bounds.endKey };
      }
      expect(pages).toBeLessThan(10);
      expect(rows).toBe(time === readTimestamp ? 0 : 1);
    }
  });
});
