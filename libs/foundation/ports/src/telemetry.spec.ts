import { describe, expect, it } from '@jest/globals';

import { followCount } from './telemetry.js';

describe('a counter that follows a count', () => {
  it('rises by what was added, also where the count began anew', () => {
    const added: number[] = [];
    const follow = followCount({ add: (value) => added.push(value) });
    for (const count of [0, 3, 3, 10, 4, 5]) follow(count);
    expect(added).toEqual([0, 3, 0, 7, 4, 1]);
  });
});
