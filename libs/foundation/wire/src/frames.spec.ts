/** Goal: what carries every request between nodes has the bytes that are written down. */
import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { crc32 } from '@cairn/codec';

import { checkedBody, frameHead } from './frame-checksum.js';
import {
  decodeRpcRequest,
  decodeRpcResponse,
  encodeRpcCancel,
  encodeRpcFailure,
  encodeRpcRequest,
  encodeRpcSuccess,
} from './rpc-frames.js';
import { FrameType } from './session-types.js';

describe('a frame', () => {
  it('begins with its type and a checksum of type and body', () => {
    const body = Buffer.from('body');
    const head = frameHead(FrameType.kvRequests, [body.subarray(0, 1), body.subarray(1)]);
    expect([head.length, head[0]]).toEqual([5, 6]);
    expect(head.readUInt32LE(1)).toBe(crc32(Buffer.concat([Buffer.of(6), body])));
    expect(checkedBody(Buffer.concat([head, body]))).toEqual(body);
  });

  it('has the type that is written down', () => {
    expect(FrameType).toEqual({
      ...{ hello: 1, refusal: 2, rpcRequest: 3, rpcResponse: 4, rpcCancel: 5, kvRequests: 6, kvResponses: 7 },
      ...{ kvCancel: 8, raftMessages: 9, storeHeartbeat: 10, snapshotBegin: 12, snapshotChunk: 13 },
      ...{ snapshotEnd: 14, snapshotAnswer: 15, ping: 16, pong: 17 },
    });
  });
});

describe('a call', () => {
  it('has the bytes that are written down', () => {
    expect(encodeRpcRequest(1, 2.5, 's/M').toString('hex')).toBe('01000000' + '03000000' + '03732f4d');
    expect(decodeRpcRequest(Buffer.from('0100000003000000' + '03732f4d' + 'aabb', 'hex'))).toEqual({
      ...{ id: 1, timeoutMs: 3, method: 's/M' },
      body: Buffer.from('aabb', 'hex'),
    });
    expect(encodeRpcSuccess(258).toString('hex')).toBe('02010000' + '00');
    expect(decodeRpcResponse(Buffer.from('0201000000' + 'cc', 'hex'))).toEqual({
      ...{ id: 258, type: 'success' },
      body: Buffer.of(0xcc),
    });
    expect(encodeRpcCancel(258).toString('hex')).toBe('02010000');
  });

  it('that fails is answered with the bytes that are written down', () => {
    const error = new CairnError('NOT_LEADER', 'no', { retryAfterMs: 50, details: { a: 1 } });
    const hex = '01000000' + '01' + '0a4e4f545f4c4541444552' + '026e6f' + '32' + '077b2261223a317d';
    expect(encodeRpcFailure(1, error).toString('hex')).toBe(hex);
    expect(decodeRpcResponse(Buffer.from(hex, 'hex'))).toMatchObject({
      ...{ id: 1, type: 'failure' },
      error: { code: 'NOT_LEADER', message: 'no', retryAfterMs: 50, details: { a: 1 } },
    });
  });
});
