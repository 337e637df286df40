import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { FRAME_BYTES_MAX } from '@cairn/ports';

import { FRAME_CUT_BYTES, FRAME_MESSAGES_MAX, MESSAGE_BYTES_MAX } from './frame-limits.js';
import { newKvRequest, newKvResponse } from './kv-factories.js';
import { KvOp } from './kv-messages.js';
import { decodeKvCancel, decodeKvRequests, encodeKvCancel, KvRequestEncoder } from './kv-request-codec.js';
import { decodeKvResponses, KvResponseEncoder } from './kv-response-codec.js';

const MIB = 1024 * 1024;
function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

describe('frames of many messages', () => {
  it('leave room for one message of any allowed size behind the cut', () => {
    expect(FRAME_CUT_BYTES + MESSAGE_BYTES_MAX).toBeLessThan(FRAME_BYTES_MAX - MIB);
  });

  it('of responses are full before they come near the longest frame', () => {
    const encoder = new KvResponseEncoder();
    const value = Buffer.alloc(MIB);
    const frames: number[] = [];
    for (let sequence = 1; sequence <= 100; sequence += 1) {
      encoder.add({ ...newKvResponse(sequence, KvOp.get), found: true, value });
      if (!encoder.isFull) continue;
      const announced = encoder.bytes;
      frames.push(lengthOf(encoder.take(timestamp(1))));
      expect(frames.at(-1)).toBe(announced + 8);
    }
    expect(frames).toHaveLength(25);
    expect(Math.max(...frames)).toBeLessThanOrEqual(FRAME_CUT_BYTES + MIB);
    expect(encoder.bytes).toBe(0);
  });

  it('of tiny responses and requests are full by their number', () => {
    const responses = new KvResponseEncoder();
    const requests = new KvRequestEncoder();
    while (!responses.isFull) responses.add(newKvResponse(1, KvOp.get));
    while (!requests.isFull) requests.add({ ...newKvRequest(), sequence: 1 });
    expect([responses.count, requests.count]).toEqual([8_192, 8_192]);
  });

  it('are garbled when they hold more messages than any sender puts there', () => {
    const requests = new KvRequestEncoder();
    const responses = new KvResponseEncoder();
    for (let at = 0; at <= FRAME_MESSAGES_MAX; at += 1) {
      requests.add({ ...newKvRequest(), sequence: 1 });
      responses.add(newKvResponse(1, KvOp.get));
    }
    const corruption = expect.objectContaining({ code: 'CORRUPTION' });
    expect(() => decodeKvRequests(Buffer.concat(requests.take()))).toThrow(corruption);
    expect(() => decodeKvResponses(Buffer.concat(responses.take(timestamp(1))))).toThrow(corruption);
    const sequences = Array.from({ length: FRAME_MESSAGES_MAX + 1 }, (_, at) => at);
    expect(() => decodeKvCancel(Buffer.concat(encodeKvCancel(sequences)))).toThrow(corruption);
  });
});
