import { describe, expect, it } from '@jest/globals';

import { openFilesMax } from './open-files.js';
import { TcpTransport } from './tcp-transport.js';

describe('the files that may be open', () => {
  it('are known, and half of them may be connections', () => {
    const openFiles = openFilesMax();
    expect(openFiles === undefined || openFiles >= 64).toBe(true);
    expect(new TcpTransport({}, 1_024).connectionsMax).toBe(512);
    expect(new TcpTransport({}).connectionsMax).toBe(openFiles && Math.floor(openFiles / 2));
  });
});
