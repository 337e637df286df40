import { describe, expect, it } from '@jest/globals';
import type { Rng } from '@cairn/ports';
import fc from 'fast-check';
import { MemoryEngine } from './memory-engine.js';
import { describeKvEngine } from './testing.js';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

/** A small linear congruential generator: enough chance for a crash. */
function seededRng(seed: number): Rng {
  let state = seed >>> 0;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
  return {
    next,
    integer: (bound) => Math.floor(next() * bound),
    bytes: (length) => Uint8Array.from({ length }, () => Math.floor(next() * 256)),
  };
}

async function put(engine: MemoryEngine, entries: Readonly<Record<string, string>>): Promise<void> {
  const batch = engine.newBatch();
  for (const [key, value] of Object.entries(entries)) batch.put(bytes(key), bytes(value));
  await engine.write(batch);
}

describeKvEngine('MemoryEngine', {
  open: () => Promise.resolve(new MemoryEngine()),
  reopen: 'keeps nothing',
});
describeKvEngine('MemoryEngine with delays', {
  open: () => Promise.resolve(new MemoryEngine({ delay: () => new Promise((done) => queueMicrotask(done)) })),
  reopen: 'keeps nothing',
});

describe('MemoryEngine.crash', () => {
  it('keeps all that was flushed and, of later batches, whole ones only', async () => {
    const survivors = new Set<string>();
    for (let seed = 0; seed < 60; seed += 1) {
      const engine = new MemoryEngine();
      await put(engine, { base: '1' });
      await engine.flush();
      await put(engine, { a1: 'x', a2: 'x' });
      await put(engine, { b1: 'x', b2: 'x', base: '2' });
      const found = engine.crash(seededRng(seed));
      const has = (key: string): boolean => found.get(bytes(key)) !== undefined;
      expect(has('base')).toBe(true);
      expect(has('a1')).toBe(has('a2'));
      expect(has('b1')).toBe(has('b2'));
      expect(found.get(bytes('base'))).toEqual(bytes(has('b1') ? '2' : '1'));
      survivors.add(`${has('a1')}/${has('b1')}`);
      expect(() => engine.get(bytes('base'))).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }));
      expect(found.size).toBe(1 + (has('a1') ? 2 : 0) + (has('b1') ? 2 : 0));
    }
    expect([...survivors].sort()).toEqual(['false/false', 'false/true', 'true/false', 'true/true']);
  });

  it('never applies a write that had not taken effect, and refuses it', async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((done) => {
      release = done;
    });
    const engine = new MemoryEngine({ delay: () => gate });
    const written = put(engine, { late: '1' });
    const refused = expect(written).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    const found = engine.crash(seededRng(1));
    release();
    await refused;
    expect(found.get(bytes('late'))).toBeUndefined();
  });

  it('counts old batches as durable once enough was written behind them', async () => {
    const engine = new MemoryEngine({ unflushedBytesMax: 100 });
    await put(engine, { a: 'x'.repeat(60) });
    expect(engine.unflushedBatches).toBe(1);
    await put(engine, { b: 'x'.repeat(60) });
    expect(engine.unflushedBatches).toBe(0);
    for (let seed = 0; seed < 10; seed += 1) {
      expect(engine.crash(seededRng(seed)).get(bytes('a'))).toBeDefined();
    }
  });

  it('crashes alike for one seed', async () => {
    const run = async (): Promise<string[]> => {
      const engine = new MemoryEngine();
      for (let key = 0; key < 50; key += 1) await put(engine, { [`k${key}`]: 'v' });
      const found = engine.crash(seededRng(5));
      return Array.from({ length: 50 }, (_, key) => `k${key}`).filter((key) => found.get(bytes(key)));
    };
    expect(await run()).toEqual(await run());
  });
});

describe('MemoryEngine on a full disk', () => {
  it('refuses the write and all later ones, and goes on reading', async () => {
    let room = 20;
    const engine = new MemoryEngine({
      beforeWrite: (size) => {
        room -= size;
        if (room < 0) throw new Error('full');
      },
    });
    await put(engine, { a: '1' });
    await expect(put(engine, { b: 'x'.repeat(30) })).rejects.toThrow('full');
    room = 1000;
    await expect(put(engine, { c: '1' })).rejects.toThrow('full');
    await expect(engine.flush()).rejects.toThrow('full');
    expect(engine.get(bytes('a'))).toEqual(bytes('1'));
    expect(engine.get(bytes('c'))).toBeUndefined();
    await engine.close();
  });
});

describe('MemoryEngine that cannot flush', () => {
  it('refuses everything later, and may lose what it had not flushed', async () => {
    let isBroken = false;
    const engine = new MemoryEngine({
      beforeFlush: () => {
        if (isBroken) throw new Error('broken');
      },
    });
    await put(engine, { a: '1' });
    await engine.flush();
    isBroken = true;
    await put(engine, { b: '1' });
    await expect(engine.flush()).rejects.toThrow('broken');
    isBroken = false;
    await expect(put(engine, { c: '1' })).rejects.toThrow('broken');
    const lost = [1, 2, 3, 4, 5, 6, 7, 8].map(
      (seed) => engine.crash(seededRng(seed)).get(bytes('b')) === undefined,
    );
    expect(new Set(lost).size).toBe(2);
    expect(engine.crash(seededRng(1)).get(bytes('a'))).toEqual(bytes('1'));
  });
});

describe('MemoryEngine at size', () => {
  it('keeps versions apart over many splits and removals', async () => {
    const property = fc.asyncProperty(fc.integer(), async (seed) => {
      const rng = seededRng(seed);
      const engine = new MemoryEngine();
      const model = new Map<string, string>();
      const views: [ReturnType<MemoryEngine['snapshot']>, Map<string, string>][] = [];
      for (let round = 0; round < 12; round += 1) {
        const batch = engine.newBatch();
        for (let operation = 0; operation < 800; operation += 1) {
          const key = String(rng.integer(4000));
          if (round % 3 === 2 && rng.next() < 0.9) {
            batch.delete(bytes(key));
            model.delete(key);
          } else {
            batch.put(bytes(key), bytes(String(round)));
            model.set(key, String(round));
          }
        }
        await engine.write(batch);
        views.push([engine.snapshot(), new Map(model)]);
      }
      await engine.deleteRange(bytes('1'), bytes('9'));
      for (const [snapshot, expected] of views) {
        const iterator = engine.iterate({ start: bytes(''), end: bytes('\xff') }, snapshot);
        const rows = await iterator.next(10_000);
        expect(rows.map(([key, value]) => [key.toString(), value.toString()])).toEqual(
          [...expected].sort(([one], [other]) => (one < other ? -1 : 1)),
        );
      }
    });
    await fc.assert(property, { numRuns: 4, seed: 7 });
  });
});
