import { describe, expect, it } from '@jest/globals';

import { addToCounter, isInt64, sumOfCounter } from './counters.js';

const MAX = 2n ** 63n - 1n;
const valueOf = (text: string): Uint8Array => Buffer.from(text, 'latin1');

describe('counters', () => {
  it('begin at 0 and hold signed numbers of 64 bits', () => {
    expect(sumOfCounter(undefined, 5n)).toBe(5n);
    expect(sumOfCounter(valueOf('+7'), -9n)).toBe(-2n);
    expect(sumOfCounter(valueOf(String(MAX - 1n)), 1n)).toBe(MAX);
    expect(addToCounter(valueOf('-007'), 7n)).toEqual({ type: 'number', number: 0n });
    expect([isInt64(MAX), isInt64(MAX + 1n), isInt64(-MAX - 1n), isInt64(-MAX - 2n)]).toEqual([
      ...[true, false, true, false],
    ]);
  });

  it('refuse what is no number, and sums beyond', () => {
    for (const text of ['', 'x', '1.5', ' 1', '1'.repeat(21), '\u00b2']) {
      expect(addToCounter(valueOf(text), 1n)).toMatchObject({ type: 'invalid' });
    }
    expect(() => sumOfCounter(valueOf('x'), 1n)).toThrow('not a decimal integer');
    const tooMuch = expect.objectContaining({ code: 'FAILED_PRECONDITION' });
    expect(() => sumOfCounter(valueOf(String(MAX)), 1n)).toThrow(tooMuch);
    expect(() => sumOfCounter(valueOf(String(-MAX)), -2n)).toThrow(tooMuch);
  });
});
