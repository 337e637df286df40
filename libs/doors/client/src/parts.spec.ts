/** Goal: the small parts keep their laws for any input. Method: properties against naive definitions. */
import { describe, expect, test } from '@jest/globals';
import { CairnError, type ErrorCode } from '@cairn/base';
import fc from 'fast-check';
import { evenRng, VirtualClock } from '../test/virtual.js';
import { backoffMs, RetryBudget } from './backoff.js';
import { keyAfter, prefixEnd } from './bytes.js';
import { connect } from './client.js';
import {
  decodeStatusDetails,
  detailFromError,
  encodeStatusDetails,
  errorFromDetail,
  errorFromGrpc,
} from './errors.js';
import { AnswerWindow, forEachWindowed } from './windowed.js';

const keys = fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes));

describe('a Node that is too old', () => {
  test('is refused by connect, in a sentence', () => {
    const { any } = AbortSignal;
    Reflect.deleteProperty(AbortSignal, 'any');
    try {
      expect(() => connect({ endpoints: ['127.0.0.1:1'] })).toThrow('@cairn/client needs Node 20.3 or newer');
    } finally {
      AbortSignal.any = any;
    }
  });
});

describe('the arithmetic of keys', () => {
  test('bounds exactly the keys with a prefix', () => {
    // Bytes near 0xff are where the carry happens.
    const nearTheTop = fc
      .array(fc.constantFrom(0x61, 0xfe, 0xff), { maxLength: 4 })
      .map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(keys, nearTheTop), fc.oneof(keys, nearTheTop), (prefix, key) => {
        const end = prefixEnd(prefix);
        const isInside =
          Buffer.compare(key, prefix) >= 0 && (end.length === 0 || Buffer.compare(key, end) < 0);
        expect(isInside).toBe(key.subarray(0, prefix.length).equals(prefix));
      }),
    );
  });

  test('takes text for its UTF-8 bytes, and nothing else', () => {
    expect(prefixEnd('städte/').toString()).toBe('städte0');
    expect(keyAfter('ö')).toEqual(Buffer.from([0xc3, 0xb6, 0]));
    expect(() => keyAfter('a\ud800')).toThrow('key is not text: half of a surrogate pair');
    expect(() => keyAfter(7 as unknown as string)).toThrow('key must be a string or a Uint8Array');
    expect(() => prefixEnd(undefined as unknown as string)).toThrow(
      'prefix must be a string or a Uint8Array',
    );
  });

  test('has nothing between a key and the one after it', () => {
    fc.assert(
      fc.property(keys, keys, (key, other) => {
        expect(Buffer.compare(other, key) > 0).toBe(Buffer.compare(other, keyAfter(key)) >= 0);
      }),
    );
  });
});

describe('errors', () => {
  const codes: ErrorCode[] = [
    'INVALID_ARGUMENT',
    'RESOURCE_EXHAUSTED',
    'UNAVAILABLE',
    'OUTCOME_UNKNOWN',
    'INTERNAL',
  ];

  test('say by name what a key holds that is of the wrong kind', () => {
    const detail = { ...detailFromError(new CairnError('WRONG_KIND', 'why')), kind: 4 };
    expect(errorFromDetail(detail)).toMatchObject({ code: 'WRONG_KIND', details: { kind: 'sorted set' } });
  });

  test('keep code, message, retry class, wait and field over the wire', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...codes),
        fc.string(),
        fc.nat(),
        fc.string(),
        (code, message, retryAfterMs, field) => {
          const error = new CairnError(code, message, { retryAfterMs, details: { field } });
          const detail = decodeStatusDetails(encodeStatusDetails(3, error));
          expect(detail).toEqual(detailFromError(error));
          if (detail === undefined) return;
          const back = errorFromDetail(detail);
          expect(back).toMatchObject({ code, retryClass: error.retryClass, retryAfterMs });
          if (message !== '') expect(back.message).toBe(message);
        },
      ),
    );
  });

  test('are made of the plain status where their details are garbled', () => {
    const good = encodeStatusDetails(3, new CairnError('INTERNAL', 'x'));
    fc.assert(
      fc.property(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
        const bad = Buffer.from(good);
        bad[at] = byte;
        expect(() => decodeStatusDetails(bad)).not.toThrow();
        expect(() => decodeStatusDetails(bad.subarray(0, at))).not.toThrow();
      }),
    );
  });

  test.each([
    [14, 'UNAVAILABLE'],
    [13, 'UNAVAILABLE'],
    [1, 'UNAVAILABLE'],
    [8, 'RESOURCE_EXHAUSTED'],
    [4, 'DEADLINE_EXCEEDED'],
    [3, 'INVALID_ARGUMENT'],
    [9, 'FAILED_PRECONDITION'],
    [12, 'INTERNAL'],
    [16, 'INTERNAL'],
  ])('a bare status %i is %s', (code, expected) => {
    expect(errorFromGrpc({ code, details: 'x', statusDetails: undefined }, 'r:1').code).toBe(expected);
  });

  test.each([
    ['Error: connect ECONNREFUSED 1.2.3.4:5', 'connection refused (ECONNREFUSED)'],
    [
      'Protocol error (2026-11-30T00:08:37.049Z)',
      'what answers there does not speak gRPC; is it the gRPC port of a router?',
    ],
    [
      'Failed to connect (2026-11-30T00:08:38.566Z)',
      'it closed the connection without a word of gRPC; is it the gRPC port of a router?',
    ],
    ['read ECONNRESET (2026-11-30T00:08:38.566Z)', 'read ECONNRESET'],
  ])('a connection that failed with %j is said in words', (last, words) => {
    const details = `No connection established. Last error: ${last}. Resolution note: `;
    expect(errorFromGrpc({ code: 14, details, statusDetails: undefined }, 'r:1').message).toBe(
      `r:1: ${words}`,
    );
  });
});

describe('retries', () => {
  test('have a budget that success and time earn, and that never exceeds its maximum', async () => {
    const clock = new VirtualClock();
    const budget = new RetryBudget(10, clock);
    const takeAll = (): number => {
      let taken = 0;
      while (budget.take()) taken += 1;
      return taken;
    };
    expect(takeAll()).toBe(10);
    for (let index = 0; index < 25; index += 1) budget.onSuccess();
    expect(takeAll()).toBe(2);
    await clock.advance(3_000);
    expect(takeAll()).toBe(3);
    await clock.advance(3_600_000);
    expect(takeAll()).toBe(10);
  });

  test('wait longer each time, up to a maximum, and never not at all', () => {
    const shape = { firstMs: 20, maxMs: 1000 };
    const waits = Array.from({ length: 100 }, (_, attempt) => backoffMs(shape, attempt, evenRng));
    expect(waits[0]).toBe(15);
    expect(waits.every((wait, index) => wait >= (waits[index - 1] ?? 0) && wait > 0 && wait <= 1000)).toBe(
      true,
    );
    expect(waits.at(-1)).toBe(750);
  });
});

/** How many reads are open at first, and at most once those were answered with so many bytes each. */
async function openReads(count: number, bytes: number): Promise<readonly [first: number, later: number]> {
  const window = new AnswerWindow(1_024);
  const open: (() => void)[] = [];
  const reads = forEachWindowed(count, window, async () => {
    await new Promise<void>((resolve) => open.push(resolve));
    window.answered(bytes);
  });
  const first = open.length;
  let later = 0;
  for (let answered = 1; open.length > 0; answered += 1) {
    open.shift()?.();
    for (let step = 0; step < 6; step += 1) await Promise.resolve();
    if (answered >= first) later = Math.max(later, open.length);
  }
  await reads;
  return [first, later];
}

test('reads of many keys keep as many open as their answers are small: some megabytes', async () => {
  expect(await openReads(1_000, 2 ** 20)).toEqual([64, 7]);
  expect(await openReads(1_000, 64 * 2 ** 20)).toEqual([64, 1]);
  expect(await openReads(4_000, 30)).toEqual([64, 1_024]);
});

test('the first large answer after many small ones ends the opening of more for a while', () => {
  const window = new AnswerWindow(256);
  for (let answer = 0; answer < 500; answer += 1) window.answered(30);
  expect(window.size).toBe(256);
  window.answered(2 ** 20);
  expect(window.size).toBe(7);
  // The sizes are trusted again when some more have come, and what is open then grows by two with each.
  for (let answer = 0; answer < 20; answer += 1) {
    const before = window.size;
    window.answered(30);
    expect(window.size).toBeLessThanOrEqual(before + 2);
  }
});

test('forEachWindowed runs everything once, within its window, and stops after a failure', async () => {
  let open = 0;
  let most = 0;
  const seen: number[] = [];
  await forEachWindowed(50, { size: 7 }, async (index) => {
    open += 1;
    most = Math.max(most, open);
    await Promise.resolve();
    seen.push(index);
    open -= 1;
  });
  expect(most).toBe(7);
  expect(seen.toSorted((left, right) => left - right)).toEqual(
    Array.from({ length: 50 }, (_, index) => index),
  );
  const started: number[] = [];
  const failing = forEachWindowed(50, { size: 1 }, (index) => {
    started.push(index);
    return index === 3 ? Promise.reject(new Error('third')) : Promise.resolve();
  });
  await expect(failing).rejects.toThrow('third');
  expect(started).toEqual([0, 1, 2, 3]);
});
