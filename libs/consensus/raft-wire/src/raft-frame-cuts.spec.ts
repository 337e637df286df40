import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, term } from '@cairn/base';
import type { Message } from '@cairn/raft';
import { FRAME_CUT_BYTES, FRAME_MESSAGES_MAX } from '@cairn/wire';

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

describe('frames of many raft messages', () => {
  it('are full by bytes', () => {
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
    const encoder = new RaftMessageEncoder(NO_ENTRIES);
    const vote: Message = { type: 'timeout-now', from: replicaId(1), to: replicaId(2), term: term(3) };
    for (let at = 0; at <= FRAME_MESSAGES_MAX; at += 1) encoder.add(rangeId(7), vote, undefined);
    expect(() => {
      decodeRaftMessages(Buffer.concat(encoder.take()), NO_ENTRIES, () => undefined);
    }).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
  });

  it.each([
    ['an index above six bytes', (message: Message) => ({ ...message, commit: logIndex(2 ** 48) })],
    ['a term above six bytes', (message: Message) => ({ ...message, term: term(2 ** 48) })],
    ['a range above six bytes', (message: Message) => message, rangeId(2 ** 48)],
    ['an infinite time', (message: Message) => ({ ...message, sentAtMs: Infinity })],
    ['a negative time', (message: Message) => ({ ...message, sentAtMs: -1 })],
  ])('are garbled when one names %s', (_, change, range = rangeId(7)) => {
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
