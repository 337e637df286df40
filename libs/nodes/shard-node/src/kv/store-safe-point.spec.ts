import { expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { crc32, sealEnd } from '@cairn/codec';
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
    const bytes = engine.get(Buffer.from(KEY, 'hex')) as Buffer;
    expect(bytes.subarray(0, 9).toString('hex')).toBe(written);
    expect(bytes.readUInt32LE(9)).toBe(crc32(bytes.subarray(0, 9)));
    expect(new StoreSafePoint(engine).max).toBe(point.max);
  }
});

it('takes neither what a later release wrote nor damage for a safe point', async () => {
  const later = await engineWith(sealEnd(Buffer.from('020000000000000001ff00000000', 'hex')).toString('hex'));
  expect(() => new StoreSafePoint(later)).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
  const corruption = expect.objectContaining({ code: 'CORRUPTION' });
  for (const value of ['', '00', '0100', sealEnd(Buffer.from('0100000000', 'hex')).toString('hex')]) {
    const damaged = await engineWith(value);
    expect(() => new StoreSafePoint(damaged)).toThrow(corruption);
  }
  const intact = sealEnd(Buffer.from('01000000000000010200000000', 'hex'));
  expect(new StoreSafePoint(await engineWith(intact.toString('hex'))).max).toBe(258);
  for (let bit = 0; bit < intact.length * 8; bit += 1) {
    const flipped = Buffer.from(intact);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    const engine = await engineWith(flipped.toString('hex'));
    expect(() => new StoreSafePoint(engine)).toThrow(corruption);
  }
});
