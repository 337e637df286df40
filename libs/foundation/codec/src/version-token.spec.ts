import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import fc from 'fast-check';

import { compareVersionTokens, decodeVersionToken, encodeVersionToken } from './version-token.js';

const token = fc.record({ timestamp: fc.maxSafeNat().map(timestamp), sequence: fc.nat(2 ** 32 - 1) });

describe('version tokens', () => {
  it('come back as they were, and their bytes sort as they do', () => {
    fc.assert(
      fc.property(token, token, (one, other) => {
        const [first, second] = [one, other].map(({ timestamp: ts, sequence }) =>
          encodeVersionToken(ts, sequence),
        ) as [Buffer, Buffer];
        expect([decodeVersionToken(first), decodeVersionToken(second)]).toEqual([one, other]);
        expect(Math.sign(compareVersionTokens(one, other))).toBe(Buffer.compare(first, second));
      }),
    );
  });

  it('that cannot be are the fault of who sent them', () => {
    const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(11), Buffer.alloc(12, 0xff)])
      expect(() => decodeVersionToken(bytes)).toThrow(refused);
  });
});
