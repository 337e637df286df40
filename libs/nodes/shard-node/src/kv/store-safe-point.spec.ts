import { expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';

import { StoreSafePoint } from './store-safe-point.js';

const KEY = '016b762e736166652d706f696e74';

async function engineWith(value: string): Promise<MemoryEngine> {
  const engine = new MemoryEngine();
  const batch = engine.newBatch();
  batch.put(Buffer.from(KEY, 'hex'), Buffer.from(value, 'hex'));
  await engine.write(batch);
  return engine;
}

it('keeps the largest safe point under the bytes that are written down', async () => {
  const engine = new MemoryEngine();
  const point = new StoreSafePoint(engine);
  expect(point.max).toBe(0);
  for (const [applied, written] of [
    [258, '010000000000000102'],
    [3, '010000000000000102'],
    [2 ** 52, '010010000000000000'],
  ] as const) {
    const batch = engine.newBatch();
    point.applied(timestamp(applied), batch);
    await engine.write(batch);
    expect(engine.get(Buffer.from(KEY, 'hex'))?.toString('hex')).toBe(written);
    expect(new StoreSafePoint(engine).max).toBe(point.max);
  }
});

it('takes neither what a later release wrote nor damage for a safe point of zero', async () => {
  const later = await engineWith('02');
  expect(() => new StoreSafePoint(later)).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
  for (const value of ['', '00', '0100']) {
    const damaged = await engineWith(value);
    expect(() => new StoreSafePoint(damaged)).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
  }
});
