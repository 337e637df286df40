/** Goal: a failure that the server explains is an answer, one that it does not explain is a violation. */
import { expect, it } from '@jest/globals';

import { isUnexplained } from '../src/grpc-fuzzer.js';

const [OK, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL] = [0, 2, 4, 13];

const [WRITE, READ] = ['/cairn.v1.KV/Put', '/cairn.v1.KV/Get'];

it.each([
  // A write whose deadline passed after it was sent.
  [UNKNOWN, true, false],
  [UNKNOWN, false, true],
  [INTERNAL, true, false],
  [INTERNAL, false, true],
  [DEADLINE_EXCEEDED, false, false],
  [OK, false, false],
  [undefined, false, false],
])('status %s, with a detail: %s, is unexplained: %s', (status, hasDetail, expected) => {
  expect(isUnexplained(WRITE, { status, hasDetail })).toBe(expected);
});

it('a read never has an unknown outcome', () => {
  expect(isUnexplained(READ, { status: UNKNOWN, hasDetail: true })).toBe(true);
});
