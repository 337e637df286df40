import { describe, expect, it } from '@jest/globals';

import { checkFormat } from './formats.js';
import { outlastsLease } from './lease-margin.js';

describe('a format', () => {
  const known = { min: 3, max: 5 };

  it.each([3, 4, 5])('%i is read by a release that knows 3 to 5', (found) => {
    expect(() => {
      checkFormat('a note', found, known);
    }).not.toThrow();
  });

  it('above what is known was written by a later release, and is no damage', () => {
    const tooNew = {
      code: 'FORMAT_TOO_NEW',
      message: 'a note of format 6: a later release of Cairn wrote it',
    };
    expect(() => {
      checkFormat('a note', 6, known);
    }).toThrow(expect.objectContaining(tooNew));
  });

  it.each([0, 2])('%i is none that this release reads', (found) => {
    expect(() => {
      checkFormat('a note', found, known);
    }).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
  });
});

it.each([
  [440, 400, true],
  [439, 400, false],
  [0, 0, true],
  [66_000, 60_000, true],
])('a vote that is held for %i ms outlasts a lease of %i ms by a tenth: %s', (hold, lease, outlasts) => {
  expect(outlastsLease(hold, lease)).toBe(outlasts);
});
