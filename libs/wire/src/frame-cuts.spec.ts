import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, term, timestamp } from '@cairn/base';
import { FRAME_BYTES_MAX } from '@cairn/ports';
import type { Message } from '@cairn/raft';

import { FRAME_CUT_BYTES, FRAME_MESSAGES_MAX, MESSAGE_BYTES_MAX } from './frame-limits.js';
import { newKvRequest, newKvResponse } from './kv-factories.js';
import { KvOp } from './kv-messages.js';
import { decodeKvCancel, decodeKvRequests, encodeKvCancel, KvRequestEncoder } from './kv-request-codec.js';
import { decodeKvResponses, KvResponseEncoder } from './kv-response-codec.js';
import { decodeRaftMessages, RaftMessageEncoder, type EntryFormat } from './raft-codec.js';

const MIB = 1024 * 1024;
const NO_ENTRIES = {
  headerBytes: 8,
  payloadLengthAt: 0,
  record: (_, entry) => Buffer.concat([Buffer.alloc(8), entry.payload]),
} as Partial<EntryFormat> as EntryFormat;

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

  it('of raft messages are full by bytes', () => {
    const encoder = new RaftMessageEncoder(NO_ENTRIES);
    const append: Message = {
      ...{ type: 'append', from: replicaId(1), to: replicaId(2), term: term(3), sentAtMs: 0 },
      ...{ previousIndex: logIndex(7), previousTerm: term(3), commit: logIndex(7) },
      entries: [{ index: logIndex(8), term: term(3), kind: 1, payload: Buffer.alloc(MIB) }],
    };
    let count = 0;
    for (; !encoder.isFull; count += 1) encoder.add(rangeId(7), append, undefined);
    expect(count).toBe(4);
    expect(lengthOf(encoder.take())).toBeLessThanOrEqual(FRAME_CUT_BYTES + MIB);
    expect(encoder.isFull).toBe(false);
  });

  it('are garbled when they hold more messages than any sender puts there', () => {
    const requests = new KvRequestEncoder();
    const responses = new KvResponseEncoder();
    const raft = new RaftMessageEncoder(NO_ENTRIES);
    const vote: Message = { type: 'timeout-now', from: replicaId(1), to: replicaId(2), term: term(3) };
    for (let at = 0; at <= FRAME_MESSAGES_MAX; at += 1) {
      requests.add({ ...newKvRequest(), sequence: 1 });
      responses.add(newKvResponse(1, KvOp.get));
      raft.add(rangeId(7), vote, undefined);
    }
    const corruption = expect.objectContaining({ code: 'CORRUPTION' });
    expect(() => decodeKvRequests(Buffer.concat(requests.take()))).toThrow(corruption);
    expect(() => decodeKvResponses(Buffer.concat(responses.take(timestamp(1))))).toThrow(corruption);
    expect(() => {
      decodeRaftMessages(Buffer.concat(raft.take()), NO_ENTRIES, () => undefined);
    }).toThrow(corruption);
    const sequences = Array.from({ length: FRAME_MESSAGES_MAX + 1 }, (_, at) => at);
    expect(() => decodeKvCancel(Buffer.concat(encodeKvCancel(sequences)))).toThrow(corruption);
  });

  it.each([
    ['an index above six bytes', (message: Message) => ({ ...message, commit: logIndex(2 ** 48) })],
    ['a term above six bytes', (message: Message) => ({ ...message, term: term(2 ** 48) })],
    ['a range above six bytes', (message: Message) => message, rangeId(2 ** 48)],
    ['an infinite time', (message: Message) => ({ ...message, sentAtMs: Infinity })],
    ['a negative time', (message: Message) => ({ ...message, sentAtMs: -1 })],
  ])('are garbled when a raft message names %s', (_, change, range = rangeId(7)) => {
    const heartbeat: Message = {
      ...{ type: 'heartbeat', from: replicaId(1), to: replicaId(2), term: term(3) },
      ...{ commit: logIndex(4), readContext: 5, sentAtMs: 0 },
    };
    const encoder = new RaftMessageEncoder(NO_ENTRIES);
    encoder.add(range, change(heartbeat), undefined);
    expect(() => {
      decodeRaftMessages(Buffer.concat(encoder.take()), NO_ENTRIES, () => undefined);
    }).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
  });
});
