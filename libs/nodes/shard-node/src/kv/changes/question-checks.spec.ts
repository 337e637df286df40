import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import {
  CHANGES_BYTES_MAX,
  CHANGES_BYTES_MIN,
  CHANGES_WAIT_MS_MAX,
  KvOp,
  type ChangesRequest,
} from '@cairn/wire';
import fc from 'fast-check';

import { bytes, KvRig } from '../kv-rig.testing.js';
import { questionOf } from './changes-rig.testing.js';
import { faultOfChanges } from './question-checks.js';
import { decodeResumeToken, encodeResumeToken, type ResumeToken } from './resume-token.js';

const key = fc.uint8Array({ maxLength: 12 }).map((found) => Buffer.from(found));
const token: fc.Arbitrary<ResumeToken> = fc.oneof(
  fc.record({ type: fc.constant('key' as const), key }),
  fc.record({
    type: fc.constant('versions' as const),
    ...{ key, timestamp: fc.maxSafeNat().map(timestamp), sequence: fc.nat(2 ** 31 - 1) },
  }),
  fc.record({ type: fc.constant('entry' as const), rows: fc.nat(2 ** 31 - 1) }),
);

describe('a place where an answer goes on', () => {
  it('comes back as it was, and is CORRUPTION when it never was one', () => {
    fc.assert(
      fc.property(token, fc.uint8Array({ maxLength: 20 }), (one, garbage) => {
        expect(decodeResumeToken(encodeResumeToken(one))).toEqual(one);
        try {
          decodeResumeToken(garbage);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'CORRUPTION' });
        }
      }),
    );
    const entry = encodeResumeToken({ type: 'entry', rows: 1 });
    expect(() => decodeResumeToken(Buffer.concat([entry, bytes('x')]))).toThrow('left over');
  });
});

describe('questions that no router sends', () => {
  const rig = new KvRig();
  const faultIn = (fields: Partial<ChangesRequest>, more = {}): string | undefined =>
    faultOfChanges(rig.call(questionOf(fields, more)).call)?.message;

  it.each<[string, Partial<ChangesRequest>]>([
    ['a span ends above its start', { start: bytes('b'), end: bytes('b') }],
    ['a span with a key of 65537 bytes', { start: bytes('b'), end: Buffer.alloc(65_537, 0xff) }],
    ['waits 10001 ms', { waitMs: CHANGES_WAIT_MS_MAX + 1 }],
    ['asks for 65535 bytes', { bytesMax: CHANGES_BYTES_MIN - 1 }],
    ['asks for 4194305 bytes', { bytesMax: CHANGES_BYTES_MAX + 1 }],
    ['a place of tag 9', { resume: Buffer.of(9) }],
  ])('%s', (message, fields) => {
    expect(faultIn(fields)).toContain(message);
  });

  it('begin elsewhere than their request, or are garbage', () => {
    expect(faultIn({ start: bytes('a') }, { key: bytes('b') })).toContain('the key of a question');
    expect(faultIn({}, { value: bytes('x') })).toContain('a question of tag');
    expect(faultIn({}, { value: Buffer.alloc(400_000) })).toContain('question has 400000 bytes');
    expect(faultIn({ start: bytes('a'), end: bytes('b') })).toBeUndefined();
    expect(faultOfChanges(rig.call({ op: KvOp.get }).call)).toBeUndefined();
  });
});
