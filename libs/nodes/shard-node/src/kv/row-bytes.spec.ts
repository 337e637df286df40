import { describe, expect, it } from '@jest/globals';
import { MemoryEngine } from '@cairn/engine';

import { rowBytesOf } from './row-bytes.js';

describe('the bytes of a range', () => {
  it.each([NaN, -1, Infinity, 1e300, undefined])(
    'are refused when an engine says %p of a span',
    async (said) => {
      const engine = new MemoryEngine();
      engine.approximateBytes = () => Promise.resolve(said as number);
      await expect(rowBytesOf(engine, Buffer.from('a'), Buffer.from('b'))).rejects.toMatchObject({
        code: 'INTERNAL',
        message: expect.stringContaining(`the engine of this node says that a span has ${said} bytes`),
      });
    },
  );

  it('are those of all spans of its keys', async () => {
    const engine = new MemoryEngine();
    let spans = 0;
    engine.approximateBytes = () => Promise.resolve((spans += 1));
    const bytes = await rowBytesOf(engine, Buffer.from('a'), Buffer.from('b'));
    expect(bytes).toBe((spans * (spans + 1)) / 2);
  });
});
