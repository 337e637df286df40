import { describe, expect, it } from '@jest/globals';

import { deletedSpanOf, spanOf } from './span-bounds.js';

const NONE = Buffer.alloc(0);
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const hexOf = ({ start, end }: ReturnType<typeof spanOf>): string =>
  `${Buffer.from(start).toString('hex')}..${Buffer.from(end).toString('hex')}`;

describe('the span of a request', () => {
  it.each([
    ['everything', NONE, NONE, NONE, '..ff'],
    ['from a key on', bytes('a'), NONE, NONE, '61..ff'],
    ['bounds', bytes('a'), bytes('b'), NONE, '61..62'],
    ['an end among the reserved keys', bytes('a'), bytes('\xff\x01'), NONE, '61..ff'],
    ['an end where they begin', bytes('a'), bytes('\xff'), NONE, '61..ff'],
    ['a prefix', NONE, NONE, bytes('ab'), '6162..6163'],
    ['the last prefix that is not reserved', NONE, NONE, bytes('\xfe'), 'fe..ff'],
  ])('that names %s ends before the reserved keys', (...row) => {
    const [, start, end, prefix, span] = row;
    expect(hexOf(spanOf({ start, end, prefix }))).toBe(span);
  });

  it.each(['start', 'prefix'])('is refused when its %s is reserved', (field) => {
    const message = { start: NONE, end: NONE, prefix: NONE, [field]: bytes('\xffq') };
    expect(() => spanOf(message)).toThrow(`${field} begins with the byte FF`);
  });

  it('of a deletion is everything only where that is said', () => {
    const message = { start: NONE, end: NONE, prefix: NONE };
    expect(() => deletedSpanOf({ ...message, all: false })).toThrow('says all for every key');
    expect(hexOf(deletedSpanOf({ ...message, all: true }))).toBe('..ff');
  });
});
