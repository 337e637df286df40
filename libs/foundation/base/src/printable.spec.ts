import { describe, expect, it } from '@jest/globals';

import { printable, printableLines } from './printable.js';

describe('text of others', () => {
  it('moves no cursor, and ends', () => {
    expect(printable('a\u001b[2J\n\ud800é')).toBe('a\\u{1b}[2J\\u{a}\\u{d800}é');
    expect(printable('x'.repeat(1_001))).toBe(`${'x'.repeat(1_000)}… (1001 characters)`);
    expect(printable('x'.repeat(1_000))).toBe('x'.repeat(1_000));
    expect(printable('abcd', 3)).toBe('abc… (4 characters)');
  });

  it('keeps its lines where it has lines', () => {
    expect(printableLines(`a\r\n\u0007${'x'.repeat(5_000)}`)).toBe(`a\\u{d}\n\\u{7}${'x'.repeat(5_000)}`);
  });
});
