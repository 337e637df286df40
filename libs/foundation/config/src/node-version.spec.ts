import { describe, expect, it } from '@jest/globals';
import { assertNodeVersion } from './node-version.js';

describe('assertNodeVersion', () => {
  it('refuses an older Node with a way out', () => {
    expect(() => {
      assertNodeVersion('20.20.2');
    }).toThrow('needs Node 24 or newer and runs on 20.20.2: start it with node_modules/.bin/node');
  });

  it('accepts the oldest that will do, and newer ones', () => {
    expect(() => {
      assertNodeVersion('24.0.0');
      assertNodeVersion('26.10.0');
    }).not.toThrow();
  });
});
