import { describe, expect, it } from '@jest/globals';
import { KvOp, newKvRequest } from '@cairn/wire';

import { faultOf, WIDEST_SIZE_LIMITS } from './request-checks.js';

describe('a key that is longer than new ones may be by now', () => {
  const limits = { ...WIDEST_SIZE_LIMITS, keyBytesMax: 4_096 };
  const request = { ...newKvRequest(), key: Buffer.alloc(5_000, 'k'), sequence: 1 };

  it.each(['get', 'delete', 'expire'] as const)('can still be named by %s', (op) => {
    expect(faultOf({ ...request, op: KvOp[op] }, limits)).toBeUndefined();
  });

  it('gets no new row', () => {
    expect(faultOf({ ...request, op: KvOp.put, value: Buffer.alloc(1) }, limits)?.field).toBe('key');
  });
});
