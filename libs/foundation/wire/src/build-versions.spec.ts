import { describe, expect, it } from '@jest/globals';

import { buildFromMessage, buildToMessage, THIS_BUILD } from './build-versions.js';

const MESSAGE = buildToMessage(THIS_BUILD);

describe('what a node says of its release', () => {
  it('is taken as it is said', () => {
    expect(buildFromMessage(MESSAGE)).toEqual(THIS_BUILD);
    expect(buildFromMessage({ ...MESSAGE, clusterVersionMax: 1_000 }).clusterVersions.max).toBe(1_000);
  });

  it.each([
    ['cluster versions', { clusterVersionMax: 4_294_967_295 }, '1 to 4294967295'],
    ['cluster versions', { clusterVersionMax: 1_001 }, '1 to 1001'],
    ['cluster versions', { clusterVersionMin: 0 }, '0 to'],
    ['protocols', { protocolMax: 1_001 }, 'to 1001'],
    ['protocols', { protocolMin: 9, protocolMax: 8 }, '9 to 8'],
  ])('is refused with %s that no release knows: %j', (what, wrong, shown) => {
    expect(() => buildFromMessage({ ...MESSAGE, ...wrong })).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        message: expect.stringMatching(`a node says that it knows the ${what} .*${shown}`),
      }),
    );
  });
});
