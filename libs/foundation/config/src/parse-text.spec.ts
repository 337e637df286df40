import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseAddress, showBytes } from './fields.js';
import { parseText } from './parse-text.js';

describe('parseText', () => {
  it.each([
    ['bytes', '64MiB', 64 * 2 ** 20],
    ['bytes', '1 gib', 2 ** 30],
    ['bytes', '12', 12],
    ['bytes', '12MB', '12MB'],
    ['milliseconds', '2s', 2_000],
    ['milliseconds', '20ms', 20],
    ['milliseconds', '1h', '1h'],
    ['integer', '-3', -3],
    ['integer', '1e3', '1e3'],
    ['ratio', '0.25', 0.25],
    ['boolean', 'false', false],
    ['boolean', 'no', 'no'],
    ['address-list', ' a:1, b:2,', ['a:1', 'b:2']],
  ] as const)('reads %s %j', (kind, text, expected) => {
    expect(parseText(kind, text)).toEqual(expected);
  });

  it('reads back any number of bytes it shows', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(1, 2 ** 10, 2 ** 20, 2 ** 30), (count, unit) => {
        const bytes = (count % 4096) * unit;
        expect(parseText('bytes', showBytes(bytes).replace(' bytes', ''))).toBe(bytes);
      }),
    );
  });
});

describe('parseAddress', () => {
  it.each([
    ['localhost:80', { host: 'localhost', port: 80 }],
    ['[::1]:7100', { host: '::1', port: 7100 }],
    ['a:65536', undefined],
    ['::1:80', undefined],
    [':80', undefined],
    ['host', undefined],
  ])('reads %j', (text, expected) => {
    expect(parseAddress(text)).toEqual(expected);
  });
});
