import { rangeId, timestamp, type RangeDescriptor } from '@cairn/base';
import { MemoryEngine, type KvEngine } from '@cairn/engine';
import { encodeVersionKey, keyPrefixIn, Namespace } from '@cairn/mvcc';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { between, sampleKeys } from './sample-keys.js';

const NONE = new Uint8Array(0);
const range = (startKey: Uint8Array = NONE, endKey: Uint8Array = NONE): RangeDescriptor => ({
  rangeId: rangeId(1),
  startKey,
  endKey,
  epoch: { version: 1, confVersion: 1 },
  replicas: [],
});

async function engineWith(
  rows: readonly { key: Uint8Array; bytes: number; versions?: number }[],
): Promise<KvEngine> {
  const engine = new MemoryEngine();
  const batch = engine.newBatch();
  for (const { key, bytes, versions } of rows) {
    for (let version = 1; version <= (versions ?? 1); version += 1)
      batch.put(encodeVersionKey(key, timestamp(version), 0), Buffer.alloc(bytes));
  }
  await engine.write(batch);
  return engine;
}

describe('sampleKeys', () => {
  it('finds keys a sixteenth of the bytes apart', async () => {
    const rows = Array.from({ length: 4000 }, (_, at) => ({
      key: Buffer.from(`key${String(at).padStart(13, '0')}`),
      bytes: 100,
    }));
    const samples = await sampleKeys(await engineWith(rows), range(), 1600);
    expect(samples).toHaveLength(16);
    for (const { bytes } of samples) expect(Math.abs(bytes - 100)).toBeLessThan(60);
    expect(samples.reduce((sum, { bytes }) => sum + bytes, 0)).toBeCloseTo(1600);
  });

  it('stays inside its range, and never between the versions of a key', async () => {
    const rows = ['a', 'b', 'c', 'd', 'e'].map((name) => ({
      key: Buffer.from(name),
      bytes: 50,
      versions: name === 'c' ? 500 : 1,
    }));
    const samples = await sampleKeys(await engineWith(rows), range(Buffer.from('b'), Buffer.from('e')), 100);
    expect(samples.map(({ key }) => Buffer.from(key).toString())).toEqual(expect.arrayContaining(['b', 'd']));
    for (const { key } of samples) expect(['b', 'c', 'd']).toContain(Buffer.from(key).toString());
  });

  it('counts what a key has in every namespace', async () => {
    const keys = Array.from({ length: 200 }, (_, at) => Buffer.from(`k${at + 1000}`));
    const engine = await engineWith(keys.map((key) => ({ key, bytes: 10 })));
    const batch = engine.newBatch();
    const heavy = keys[150] as Buffer;
    for (const namespace of [Namespace.locks, Namespace.transactions, Namespace.members]) {
      for (let row = 0; row < 10; row += 1)
        batch.put(Buffer.concat([keyPrefixIn(namespace, heavy), Buffer.of(row)]), Buffer.alloc(3_000));
    }
    await engine.write(batch);
    const samples = await sampleKeys(engine, range(), 1_000);
    const largest = samples.reduce((one, other) => (other.bytes > one.bytes ? other : one));
    expect(largest.key).toEqual(heavy);
    expect(largest.bytes).toBeGreaterThan(800);
  });

  it('gives no key a negative size when the engine grows while it looks', async () => {
    const rows = Array.from({ length: 400 }, (_, at) => ({ key: Buffer.from(`k${at + 1000}`), bytes: 100 }));
    const engine = await engineWith(rows);
    const bytesNow = engine.approximateBytes.bind(engine);
    let looks = 0;
    engine.approximateBytes = async (...span) => {
      looks += 1;
      return (await bytesNow(...span)) * (1 + looks / 40);
    };
    const samples = await sampleKeys(engine, range(), 1_600);
    expect(samples.length).toBeGreaterThan(3);
    for (const { bytes } of samples) expect(bytes).toBeGreaterThanOrEqual(0);
  });

  it('answers nothing for an empty range and one sample for a single key', async () => {
    expect(await sampleKeys(await engineWith([]), range(), 10)).toEqual([]);
    const one = await engineWith([{ key: Buffer.from('k'), bytes: 10, versions: 20 }]);
    expect(await sampleKeys(one, range(), 10)).toEqual([{ key: Buffer.from('k'), bytes: 10 }]);
  });

  it('answers existing keys in ascending order that share out all bytes, whatever the keys are', async () => {
    const key = fc.uint8Array({ minLength: 1, maxLength: 12 }).map((bytes) => Buffer.from(bytes));
    const row = fc.record({ key, bytes: fc.integer({ min: 0, max: 300 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(row, { maxLength: 60, selector: (each) => each.key.toString('hex') }),
        async (rows) => {
          const samples = await sampleKeys(await engineWith(rows), range(), 1000);
          const known = new Set(rows.map((each) => each.key.toString('hex')));
          let previous: Uint8Array = NONE;
          for (const sample of samples) {
            expect(known.has(Buffer.from(sample.key).toString('hex'))).toBe(true);
            expect(Buffer.compare(sample.key, previous)).toBe(1);
            expect(sample.bytes).toBeGreaterThanOrEqual(0);
            previous = sample.key;
          }
          if (rows.length > 0) expect(samples.reduce((sum, { bytes }) => sum + bytes, 0)).toBeCloseTo(1000);
        },
      ),
      { seed: 20_261_121, numRuns: 60 },
    );
  });
});

describe('between', () => {
  it('answers something strictly between, or nothing', () => {
    const bytes = fc
      .array(fc.constantFrom(0, 1, 97, 254, 255), { maxLength: 9 })
      .map((each) => Buffer.from(each));
    fc.assert(
      fc.property(bytes, bytes, (one, other) => {
        const [low, high] = Buffer.compare(one, other) < 0 ? [one, other] : [other, one];
        if (low.equals(high)) return;
        const middle = between(low, high);
        if (middle === undefined) return;
        expect(Buffer.compare(middle, low)).toBe(1);
        expect(Buffer.compare(middle, high)).toBe(-1);
      }),
      { seed: 1, numRuns: 3000 },
    );
  });
});
