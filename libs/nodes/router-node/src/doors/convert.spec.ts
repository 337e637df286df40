import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import type { KeyValueLimits } from '@cairn/routing';
import { Expectation, ReadConsistency } from '@cairn/wire';
import { Consistency, Ordering } from '@cairn/wire/gen/cairn/v1/kv.js';

import * as convert from './convert.js';
import { spanOf } from './span-bounds.js';

const limits: KeyValueLimits = { keyBytesMax: 8, valueBytesMax: 16 };
const key = Buffer.from('key');
const none = Buffer.alloc(0);
const put = { key, value: Buffer.from('value'), ttlMs: 0, ordering: Ordering.PLAIN, requestId: undefined };
const cas = { ...put, expected: undefined };
const id = { client: 1, sequence: 2, stamp: 3, retry: true };

/** Field and sentence of the INVALID_ARGUMENT that is thrown. */
function complaint(run: () => unknown): [unknown, string] {
  try {
    run();
  } catch (error) {
    if (CairnError.is(error) && error.code === 'INVALID_ARGUMENT')
      return [error.details['field'], error.message];
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('requests', () => {
  it('carry over every field', () => {
    expect(convert.getRequest({ key, consistency: Consistency.TIMESTAMP, timestamp: 9 })).toMatchObject({
      key,
      consistency: ReadConsistency.timestamp,
      readTimestamp: 9,
    });
    expect(
      convert.putRequest({ ...put, ttlMs: 5, ordering: Ordering.STRICT, requestId: id }, limits),
    ).toMatchObject({
      value: put.value,
      ttlMs: 5,
      strict: true,
      requestId: { client: 1, sequence: 2, stamp: 3, isRetry: true },
    });
    expect(
      convert.incrementRequest({ key, delta: '-7', ordering: 0, requestId: undefined }, limits).delta,
    ).toBe('-7');
    const deletes = convert.compareAndSetRequest(
      { ...cas, value: undefined, expected: { $case: 'expectedValue', value: Buffer.from('old') } },
      limits,
    );
    expect(deletes).toMatchObject({
      value: undefined,
      expectation: Expectation.value,
      expected: Buffer.from('old'),
    });
  });

  it.each<[string, string, RegExp, () => unknown]>([
    ['an empty key', 'key', /must not be empty/, () => convert.putRequest({ ...put, key: none }, limits)],
    [
      'a reserved key',
      'key',
      /begins with the byte FF: such keys are reserved/,
      () => convert.putRequest({ ...put, key: Buffer.of(0xff, 0x61) }, limits),
    ],
    [
      'a long key',
      'key',
      /9 bytes; the limit is 8/,
      () => convert.putRequest({ ...put, key: Buffer.alloc(9) }, limits),
    ],
    [
      'a long value',
      'value',
      /17 bytes; the limit is 16/,
      () => convert.putRequest({ ...put, value: Buffer.alloc(17) }, limits),
    ],
    [
      'a long time to live',
      'ttl_ms',
      /the limit is \d+/,
      () => convert.putRequest({ ...put, ttlMs: 2 ** 50 }, limits),
    ],
    [
      'an unknown ordering',
      'ordering',
      /not known/,
      () => convert.putRequest({ ...put, ordering: 9 as Ordering }, limits),
    ],
    [
      'client 0',
      'request_id.client',
      /1 to 2\^48/,
      () => convert.putRequest({ ...put, requestId: { ...id, client: 0 } }, limits),
    ],
    [
      'a huge sequence',
      'request_id.sequence',
      /1 to 2\^48/,
      () => convert.putRequest({ ...put, requestId: { ...id, sequence: 2 ** 48 } }, limits),
    ],
    [
      'a consistency of the future',
      'consistency',
      /not known/,
      () => convert.getRequest({ key, consistency: 7 as Consistency, timestamp: 0 }),
    ],
    [
      'no timestamp',
      'timestamp',
      /must be given/,
      () => convert.getRequest({ key, consistency: Consistency.TIMESTAMP, timestamp: 0 }),
    ],
    ['no expectation', 'expected', /one of/, () => convert.compareAndSetRequest(cas, limits)],
    [
      'absent = false',
      'absent',
      /must be true/,
      () => convert.compareAndSetRequest({ ...cas, expected: { $case: 'absent', value: false } }, limits),
    ],
    [
      'a long expected value',
      'expected_value',
      /the limit is 8388608/,
      () =>
        convert.compareAndSetRequest(
          { ...cas, expected: { $case: 'expectedValue', value: Buffer.alloc(8_388_609) } },
          limits,
        ),
    ],
    [
      'a short version',
      'expected_version',
      /12 bytes/,
      () =>
        convert.compareAndSetRequest({ ...cas, expected: { $case: 'expectedVersion', value: key } }, limits),
    ],
    [
      'a long bound',
      'end',
      /the limit is 32768/,
      () => spanOf({ start: none, end: Buffer.alloc(32_770, 120), prefix: none }),
    ],
    [
      'a long prefix',
      'prefix',
      /the limit is 32768/,
      () => spanOf({ start: none, end: none, prefix: Buffer.alloc(32_770, 120) }),
    ],
    [
      'bounds in disorder',
      'end',
      /before start/,
      () => spanOf({ start: Buffer.from('b'), end: Buffer.from('a'), prefix: none }),
    ],
    ['prefix and bounds', 'prefix', /together/, () => spanOf({ start: key, end: none, prefix: key })],
  ])('names the field and the limit for %s', (_what, field, message, run) => {
    const [named, sentence] = complaint(run);
    expect(named).toBe(field);
    expect(sentence).toMatch(message);
  });

  it('read, expect and delete what was stored before a limit was lowered, and do not write it anew', () => {
    const long = Buffer.alloc(4_096, 120);
    const value = Buffer.alloc(1_048_576);
    const read = { key: long, consistency: Consistency.LINEARIZABLE, timestamp: 0 };
    expect(convert.getRequest(read).key).toBe(long);
    expect(convert.deleteRequest({ key: long, ordering: 0, requestId: undefined }).key).toBe(long);
    const expected = { $case: 'expectedValue' as const, value };
    expect(convert.compareAndSetRequest({ ...cas, expected }, limits).expected).toBe(value);
    expect(spanOf({ start: long, end: none, prefix: none }).start).toBe(long);
    expect(complaint(() => convert.putRequest({ ...put, key: long }, limits))[0]).toBe('key');
    expect(complaint(() => convert.compareAndSetRequest({ ...cas, key: long, expected }, limits))[0]).toBe(
      'key',
    );
  });

  it('take a span that goes on at the key behind the longest one', () => {
    const behind = Buffer.concat([Buffer.alloc(8, 120), Buffer.of(0)]);
    expect(spanOf({ start: behind, end: none, prefix: none }).start).toBe(behind);
  });

  it('take keys and values of exactly the limit', () => {
    expect(() =>
      convert.putRequest({ ...put, key: Buffer.alloc(8, 1), value: Buffer.alloc(16) }, limits),
    ).not.toThrow();
  });
});
