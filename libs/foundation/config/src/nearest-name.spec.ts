import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { editDistance, nearestName } from './nearest-name.js';

describe('editDistance', () => {
  it('is a metric', () => {
    const word = fc.string({ maxLength: 12 });
    fc.assert(
      fc.property(word, word, word, (a, b, c) => {
        expect(editDistance(a, a)).toBe(0);
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, c)).toBeLessThanOrEqual(editDistance(a, b) + editDistance(b, c));
      }),
    );
  });

  it('counts insertions, removals and replacements', () => {
    expect(editDistance('range', 'orange')).toBe(1);
    expect(editDistance('leader', 'reader')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
  });
});

describe('nearestName', () => {
  it('prefers the closest and gives up when nothing is close', () => {
    expect(nearestName('lisen', ['name', 'listen', 'listens'])).toBe('listen');
    expect(nearestName('banana', ['name', 'listen'])).toBeUndefined();
  });
});
