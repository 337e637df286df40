import { describe, expect, it } from '@jest/globals';

import { OpenShare } from './open-share.js';

describe('OpenShare', () => {
  it('divides among those that have something open, down to what everybody may have', () => {
    const share = new OpenShare(8_192);
    expect(share.perStream).toBe(8_192);
    share.join();
    expect(share.perStream).toBe(8_192);
    share.join();
    expect(share.perStream).toBe(4_096);
    for (let at = 0; at < 100; at += 1) share.join();
    expect(share.perStream).toBe(1_024);
    for (let at = 0; at < 101; at += 1) share.leave();
    expect(share.perStream).toBe(8_192);
  });

  it('holds that nobody leaves who has not joined', () => {
    expect(() => new OpenShare(1).leave()).toThrow('left more often than joined');
  });
});
