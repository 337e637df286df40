import { describe, expect, it } from '@jest/globals';
import { CairnError, logIndex, rangeId, replicaId, term, type RangeId } from '@cairn/base';
import type { Entry, EntryKind, Message } from '@cairn/raft';
import fc from 'fast-check';
import {
  decodeRaftMessages,
  RaftMessageEncoder,
  type EntryFormat,
  type RaftRangeHint,
} from './raft-codec.js';

/** A stand-in for the log's record format: index, term, kind and length without a checksum. */
const HEADER_BYTES = 18;
const format: EntryFormat = {
  headerBytes: HEADER_BYTES,
  payloadLengthAt: 14,
  record: (_range, entry) => {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUIntLE(entry.index, 0, 6);
    header.writeUIntLE(entry.term, 6, 6);
    header.writeUInt16LE(entry.kind, 12);
    header.writeUInt32LE(entry.payload.length, 14);
    return Buffer.concat([header, entry.payload]);
  },
  entry: (record) => {
    const bytes = Buffer.from(record);
    const kind = bytes.readUInt16LE(12);
    if (kind > 2) throw new CairnError('CORRUPTION', 'unknown kind');
    return {
      index: logIndex(bytes.readUIntLE(0, 6)),
      term: term(bytes.readUIntLE(6, 6)),
      kind: kind as EntryKind,
      payload: bytes.subarray(HEADER_BYTES),
    };
  },
};

const u48 = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const index = u48.map(logIndex);
const someTerm = u48.map(term);
const id = fc.integer({ min: 1 }).map(replicaId);
const base = { from: id, to: id, term: someTerm };
const time = fc.double({ min: 0, max: 1e15, noNaN: true });
const bytes = fc.uint8Array({ maxLength: 50 }).map((found) => Buffer.from(found));
const large = fc.integer({ min: 2000, max: 2100 }).map((size) => Buffer.alloc(size, size & 255));
const either = <T extends string>(...types: T[]): fc.Arbitrary<T> => fc.constantFrom(...types);

const entry: fc.Arbitrary<Entry> = fc.record({
  index,
  term: someTerm,
  kind: fc.integer({ min: 0, max: 2 }) as fc.Arbitrary<EntryKind>,
  payload: fc.oneof(bytes, large),
});

/** What a leader sends: entries that follow each other, of terms that do not fall. */
function inOrder(append: Message & { type: 'append' }): Message {
  const [previousTerm, ...terms] = [append.previousTerm, ...append.entries.map((one) => one.term)].sort(
    (one, other) => one - other,
  );
  return {
    ...append,
    previousTerm: previousTerm ?? append.previousTerm,
    term: term(Math.max(append.term, append.previousTerm, ...terms)),
    entries: append.entries.map((one, at) => ({
      ...one,
      index: logIndex(append.previousIndex + 1 + at),
      term: terms[at] ?? one.term,
    })),
  };
}

const message: fc.Arbitrary<Message> = fc.oneof<fc.Arbitrary<Message>[]>(
  fc.record({
    ...base,
    type: either('pre-vote', 'vote'),
    lastIndex: index,
    lastTerm: someTerm,
    transfer: fc.boolean(),
  }),
  fc.record({ ...base, type: either('pre-vote-response', 'vote-response'), granted: fc.boolean() }),
  fc
    .record({
      ...base,
      type: either('append'),
      previousIndex: fc.integer({ min: 0, max: 2 ** 48 - 10 }).map(logIndex),
      previousTerm: someTerm,
      commit: index,
      entries: fc.array(entry, { maxLength: 5 }),
      sentAtMs: time,
    })
    .map((append) => inOrder(append)),
  fc.record({
    ...base,
    type: either('append-response'),
    index,
    rejected: fc.boolean(),
    hintIndex: index,
    hintTerm: someTerm,
    sentAtMs: time,
  }),
  fc.record({ ...base, type: either('heartbeat'), commit: index, readContext: fc.nat(), sentAtMs: time }),
  fc.record({ ...base, type: either('heartbeat-response'), readContext: fc.nat(), sentAtMs: time }),
  fc.record({ ...base, type: either('timeout-now') }),
  fc.record({ ...base, type: either('read-index'), context: fc.nat() }),
  fc.record({
    ...base,
    type: either('read-index-response'),
    context: fc.nat(),
    index,
    refused: fc.boolean(),
  }),
);

interface Posted {
  readonly range: RangeId;
  readonly message: Message;
  readonly hint: RaftRangeHint | undefined;
}
const posted: fc.Arbitrary<Posted> = fc.record({
  range: u48.map(rangeId),
  message,
  hint: fc.option(fc.record({ startKey: bytes, confVersion: fc.maxSafeNat() }), { nil: undefined }),
});

function encode(list: readonly Posted[]): Buffer {
  const encoder = new RaftMessageEncoder(format);
  for (const one of list) encoder.add(one.range, one.message, one.hint);
  expect(encoder.count).toBe(list.length);
  const announced = encoder.bytes;
  const body = Buffer.concat(encoder.take());
  expect(body.length).toBe(announced);
  expect(encoder.count).toBe(0);
  return body;
}

function decode(body: Buffer): Posted[] {
  const list: Posted[] = [];
  decodeRaftMessages(body, format, (range, one, hint) => list.push({ range, message: one, hint }));
  return list;
}

describe('raft message frames', () => {
  it('bring every message back as it was', () => {
    fc.assert(
      fc.property(fc.array(posted, { maxLength: 8 }), (list) => {
        expect(decode(encode(list))).toEqual(list);
      }),
    );
  });

  it('answer garbled and cut frames with CORRUPTION, or with something whole', () => {
    fc.assert(
      fc.property(
        fc.array(posted, { minLength: 1, maxLength: 4 }),
        fc.nat(),
        fc.nat(255),
        (list, place, value) => {
          const body = encode(list);
          const at = place % body.length;
          const flipped = Buffer.from(body);
          flipped[at] = value;
          for (const garbled of [flipped, body.subarray(0, at)]) {
            try {
              decode(garbled);
            } catch (error) {
              expect(error).toMatchObject({ code: 'CORRUPTION' });
            }
          }
        },
      ),
    );
  });

  it('are garbled when entries do not follow each other, or are of terms that their sender cannot know', () => {
    const append = (indexes: readonly number[], terms: readonly number[]): Message => ({
      ...{ type: 'append', from: replicaId(1), to: replicaId(2), term: term(5), sentAtMs: 0 },
      ...{ previousIndex: logIndex(7), previousTerm: term(3), commit: logIndex(7) },
      entries: indexes.map((at, place) => ({
        index: logIndex(at),
        term: term(terms[place] ?? 5),
        kind: 1,
        payload: Buffer.alloc(0),
      })),
    });
    const codeOf = (one: Message): unknown => {
      try {
        decode(encode([{ range: rangeId(7), message: one, hint: undefined }]));
        return 'read';
      } catch (error) {
        return CairnError.is(error) ? error.code : error;
      }
    };
    expect(codeOf(append([8, 9], [3, 5]))).toBe('read');
    expect(codeOf(append([8, 10], [3, 5]))).toBe('CORRUPTION');
    expect(codeOf(append([9], [3]))).toBe('CORRUPTION');
    expect(codeOf(append([8, 9], [5, 4]))).toBe('CORRUPTION');
    expect(codeOf(append([8], [2]))).toBe('CORRUPTION');
    expect(codeOf(append([8], [6]))).toBe('CORRUPTION');
  });

  it('are garbled when there are millions of entries, in one append or in many', () => {
    const append = (entries: number): Message => ({
      ...{ type: 'append', from: replicaId(1), to: replicaId(2), term: term(1), sentAtMs: 0 },
      ...{ previousIndex: logIndex(0), previousTerm: term(1), commit: logIndex(0) },
      entries: Array.from({ length: entries }, (_, at) => ({
        ...{ index: logIndex(at + 1), term: term(1), kind: 0, payload: Buffer.alloc(0) },
      })),
    });
    const frameOf = (...messages: Message[]): Buffer => {
      const encoder = new RaftMessageEncoder(format);
      for (const message of messages) encoder.add(rangeId(1), message, undefined);
      return Buffer.concat(encoder.take());
    };
    let delivered = 0;
    const decode = (frame: Buffer): void => {
      decodeRaftMessages(frame, format, () => {
        delivered += 1;
      });
    };
    decode(frameOf(append(100_000), append(100_000)));
    expect(delivered).toBe(2);
    const refusal = expect.objectContaining({
      code: 'CORRUPTION',
      message: 'a frame of more than 262144 log entries',
    });
    expect(() => decode(frameOf(append(262_145)))).toThrow(refusal);
    const many = frameOf(append(100_000));
    expect(() => decode(Buffer.concat(Array.from({ length: 20 }, () => many)))).toThrow(refusal);
    expect(delivered).toBe(5);
  });

  it('have the bytes that are written down, whatever their type', () => {
    const base = { from: replicaId(1), to: replicaId(2), term: term(3) };
    const at = { index: logIndex(4), context: 5, sentAtMs: 1 };
    const entries: Entry[] = [{ index: logIndex(9), term: term(2), kind: 1, payload: Buffer.from('x') }];
    const oneMs = '000000000000f03f';
    const entryBytes = '090000000000' + '020000000000' + '0100' + '01000000' + '78';
    const golden: [Message, string][] = [
      [
        { ...base, type: 'pre-vote', lastIndex: at.index, lastTerm: term(2), transfer: false },
        '0000' + '0402',
      ],
      [{ ...base, type: 'pre-vote-response', granted: true }, '0102'],
      [{ ...base, type: 'vote', lastIndex: at.index, lastTerm: term(2), transfer: true }, '0202' + '0402'],
      [{ ...base, type: 'vote-response', granted: false }, '0300'],
      [
        {
          ...{ ...base, type: 'append', previousIndex: logIndex(8), previousTerm: term(1), commit: at.index },
          ...{ entries, sentAtMs: 1 },
        },
        '0400' + '080104' + oneMs + '01' + entryBytes,
      ],
      [
        {
          ...{ ...base, type: 'append-response', index: at.index, rejected: true, hintIndex: logIndex(6) },
          ...{ hintTerm: term(2), sentAtMs: 1 },
        },
        '0502' + '040602' + oneMs,
      ],
      [
        { ...base, type: 'heartbeat', commit: at.index, readContext: 5, sentAtMs: 1 },
        '0600' + '0405' + oneMs,
      ],
      [{ ...base, type: 'heartbeat-response', readContext: 5, sentAtMs: 1 }, '0700' + '05' + oneMs],
      [{ ...base, type: 'timeout-now' }, '0900'],
      [{ ...base, type: 'read-index', context: 5 }, '0a00' + '05'],
      [{ ...base, type: 'read-index-response', context: 5, index: at.index, refused: true }, '0b02' + '0504'],
    ];
    for (const [message, written] of golden) {
      // Behind type and flags: range, from, to and term.
      const bytes = written.slice(0, 4) + '07010203' + written.slice(4);
      expect(encode([{ range: rangeId(7), message, hint: undefined }]).toString('hex')).toBe(bytes);
      expect(decode(Buffer.from(bytes, 'hex'))).toEqual([{ range: rangeId(7), message, hint: undefined }]);
    }
  });

  it('have the bytes that are written down, with a hint of their range', () => {
    const heartbeat: Message = {
      type: 'heartbeat',
      from: replicaId(1),
      to: replicaId(2),
      term: term(3),
      commit: logIndex(4),
      readContext: 5,
      sentAtMs: 0,
    };
    const hint = { startKey: Buffer.from('k'), confVersion: 9 };
    expect(encode([{ range: rangeId(7), message: heartbeat, hint }]).toString('hex')).toBe(
      '0601' + '07010203' + '016b09' + '0405' + '0000000000000000',
    );
  });
});
