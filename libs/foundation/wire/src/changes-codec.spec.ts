import { describe, expect, it } from '@jest/globals';
import { NO_BYTES, timestamp } from '@cairn/base';
import fc from 'fast-check';

import {
  changeBytesOf,
  decodeChangesReply,
  decodeChangesRequest,
  encodeChangesReply,
  encodeChangesRequest,
} from './changes-codec.js';
import {
  CHANGES_COUNT_MAX,
  type Change,
  type ChangesReply,
  type ChangesRequest,
} from './changes-messages.js';

const bytes = fc.uint8Array({ maxLength: 12 }).map((found) => Buffer.from(found));
const time = fc.maxSafeNat().map(timestamp);
const id = fc.nat(2 ** 30);

const request: fc.Arbitrary<ChangesRequest> = fc.record({
  ...{ start: bytes, end: bytes, after: time, index: id, rangeId: id, resume: bytes },
  ...{ withPrevious: fc.boolean(), waitMs: fc.nat(20_000), bytesMax: fc.nat() },
});

const change: fc.Arbitrary<Change> = fc
  .record({
    ...{ key: bytes, timestamp: time, sequence: fc.nat(2 ** 31 - 1), start: time, kind: fc.nat(255) },
    ...{ type: fc.constantFrom('put' as const, 'delete' as const), value: bytes, expiresAt: time },
    previous: fc.option(fc.record({ value: bytes, timestamp: time, expiresAt: time }), { nil: undefined }),
  })
  .map((one) => {
    if (one.type === 'put') return one;
    return { ...one, kind: 0, value: NO_BYTES, expiresAt: timestamp(0) };
  });

const reply: fc.Arbitrary<ChangesReply> = fc.oneof(
  fc.record({
    type: fc.constant('page' as const),
    ...{ rangeId: id, index: id, resolved: time, resume: bytes, changes: fc.array(change, { maxLength: 4 }) },
  }),
  fc.record({ type: fc.constant('reset' as const), oldest: time }),
  fc.constant<ChangesReply>({ type: 'regroup' }),
);

describe('questions for changes and their answers', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(request, reply, (question, answer) => {
        expect(decodeChangesRequest(encodeChangesRequest(question))).toEqual(question);
        expect(decodeChangesReply(encodeChangesReply(answer))).toEqual(answer);
      }),
      { numRuns: 300 },
    );
  });

  it('answer garbled input with CORRUPTION, or with something whole, never with another error', () => {
    const encoded = fc.oneof(request.map(encodeChangesRequest), reply.map(encodeChangesReply));
    fc.assert(
      fc.property(encoded, fc.nat(), fc.nat(255), (body, at, flip) => {
        const flipped = Buffer.from(body);
        flipped[at % body.length] = flip;
        for (const garbled of [flipped, body.subarray(0, at % body.length)]) {
          for (const decode of [decodeChangesRequest, decodeChangesReply]) {
            try {
              decode(garbled);
            } catch (thrown) {
              expect(thrown).toMatchObject({ code: 'CORRUPTION' });
            }
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it('refuse what is left over, lists that cannot be, and flags that say nothing', () => {
    const empty: ChangesReply = {
      ...{ type: 'page', rangeId: 1, index: 1, resolved: timestamp(1), resume: NO_BYTES, changes: [] },
    };
    const body = encodeChangesReply(empty);
    expect(() => decodeChangesReply(Buffer.concat([body, Buffer.of(0)]))).toThrow('1 bytes left over');
    const head = body.subarray(0, -1);
    expect(() => decodeChangesReply(Buffer.concat([head, Buffer.of(1), Buffer.alloc(13)]))).toThrow(
      'a list of 1',
    );
    const tooMany = Buffer.concat([head, Buffer.from('818001', 'hex'), Buffer.alloc(CHANGES_COUNT_MAX * 20)]);
    expect(() => decodeChangesReply(tooMany)).toThrow(`a list of ${CHANGES_COUNT_MAX + 1}`);
    for (const flags of [64, 32, 1 | 8, 1 | 4]) {
      const garbled = Buffer.concat([head, Buffer.of(1, flags), Buffer.alloc(40)]);
      expect(() => decodeChangesReply(garbled)).toThrow(`with flags ${flags}`);
    }
  });

  it('are never longer than was reckoned', () => {
    fc.assert(
      fc.property(change, (one) => {
        const page = (changes: readonly Change[]): ChangesReply => ({
          ...{ type: 'page', rangeId: 1, index: 1, resolved: timestamp(1), resume: NO_BYTES, changes },
        });
        const taken = encodeChangesReply(page([one])).length - encodeChangesReply(page([])).length;
        expect(taken).toBeLessThanOrEqual(changeBytesOf(one));
      }),
    );
  });

  it('keep their layout', () => {
    const text = (characters: string): Buffer => Buffer.from(characters);
    expect(
      encodeChangesRequest({
        ...{ start: text('a'), end: text('b'), after: timestamp(5), index: 300, rangeId: 7 },
        ...{ resume: NO_BYTES, withPrevious: true, waitMs: 10, bytesMax: 1 },
      }).toString('hex'),
    ).toBe('01' + '0161' + '0162' + '0500000000000000' + 'ac02' + '07' + '00' + '01' + '0a' + '01');
    const put: Change = {
      ...{ key: text('k'), timestamp: timestamp(6), sequence: 2, start: timestamp(4), kind: 3, type: 'put' },
      ...{ value: text('v'), expiresAt: timestamp(9) },
      previous: { value: text('w'), timestamp: timestamp(1), expiresAt: timestamp(8) },
    };
    const page: ChangesReply = {
      ...{ type: 'page', rangeId: 7, index: 1, resolved: timestamp(5), resume: text('r'), changes: [put] },
    };
    expect(encodeChangesReply(page).toString('hex')).toBe(
      '01' +
        '07' +
        '01' +
        '0500000000000000' +
        '0172' +
        '01' +
        ('3e' + '016b' + '0600000000000000' + '02000000' + '0400000000000000' + '03') +
        ('0900000000000000' + '0176' + '0177' + '0100000000000000' + '0800000000000000'),
    );
    expect(encodeChangesReply({ type: 'reset', oldest: timestamp(3) }).toString('hex')).toBe(
      '02' + '0300000000000000',
    );
  });
});
