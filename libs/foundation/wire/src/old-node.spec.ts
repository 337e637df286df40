/**
 * Goal: a program says that its Node is too old, and a client works on one that is old enough. Method: the
 * library is loaded where zlib has no CRC-32, as before Node 20.15.
 */
import { expect, it, jest } from '@jest/globals';

it('is loaded by a Node whose zlib has no CRC-32', async () => {
  jest.unstable_mockModule('node:zlib', () => ({ gunzip: () => undefined }));
  const { frameHead, FrameType } = {
    ...(await import('./frame-checksum.js')),
    ...(await import('./session-types.js')),
  };
  // Short frames do without: type, then the checksum of type and body.
  expect(frameHead(FrameType.ping, []).length).toBe(5);
});
