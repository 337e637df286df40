import { logIndex, rangeId, term, type Term } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FRAME_CUT_MESSAGES, FRAME_MESSAGES_MAX } from '@cairn/wire';

import { cutStoreHeartbeat, decodeStoreHeartbeat, encodeStoreHeartbeat } from './store-heartbeat-codec.js';

const led = {
  rangeId: fc.integer({ min: 1, max: 2 ** 40 }).map(rangeId),
  term: fc.integer({ min: 1, max: 2 ** 40 }).map(term),
};
const ask = { ...led, round: fc.nat() };
const heartbeat = fc.record({
  generation: fc.nat(),
  sentAtMs: fc.nat(),
  echoSentAtMs: fc.nat(),
  ended: fc.array(led.rangeId),
  answers: fc.array(fc.record({ ...ask, isSupporting: fc.boolean() })),
  released: fc.array(fc.record(led)),
  asks: fc.array(fc.record(ask)),
  commits: fc.array(fc.record({ ...led, commit: fc.integer({ min: 1, max: 2 ** 40 }).map(logIndex) })),
});

describe('heartbeats of stores', () => {
  it('arrive as they were sent', () => {
    fc.assert(
      fc.property(heartbeat, (sent) => {
        expect(decodeStoreHeartbeat(encodeStoreHeartbeat(sent))).toEqual(sent);
      }),
    );
  });

  it('have the bytes that are written down', () => {
    const of = (id: number): { readonly rangeId: ReturnType<typeof rangeId>; readonly term: Term } => ({
      rangeId: rangeId(id),
      term: term(3),
    });
    const sent = {
      generation: 1,
      sentAtMs: 300,
      echoSentAtMs: 2,
      ended: [rangeId(9)],
      answers: [{ ...of(10), round: 4, isSupporting: true }],
      released: [of(11)],
      asks: [{ ...of(12), round: 5 }],
      commits: [{ ...of(13), commit: logIndex(6) }],
    };
    const bytes = '01ac0202' + '0109' + '010a030401' + '010b03' + '010c0305' + '010d0306';
    expect(encodeStoreHeartbeat(sent).toString('hex')).toBe(bytes);
    expect(decodeStoreHeartbeat(Buffer.from(bytes, 'hex'))).toEqual(sent);
  });

  it('are refused when cut short or continued', () => {
    const whole = encodeStoreHeartbeat({
      generation: 5,
      sentAtMs: 10,
      echoSentAtMs: 0,
      ended: [],
      answers: [],
      released: [],
      asks: [{ rangeId: rangeId(7), term: term(3), round: 11 }],
      commits: [],
    });
    expect(() => decodeStoreHeartbeat(whole.subarray(0, whole.length - 1))).toThrow();
    expect(() => decodeStoreHeartbeat(Buffer.concat([whole, Buffer.alloc(1)]))).toThrow();
  });

  it('are cut into frames that are taken, what ended first and what begins last', () => {
    const one = { rangeId: rangeId(7), term: term(3) };
    const many = (count: number): (typeof one)[] => Array.from({ length: count }, () => one);
    const beat = {
      ...{ generation: 5, sentAtMs: 10, echoSentAtMs: 9 },
      ended: many(FRAME_CUT_MESSAGES + 1).map((each) => each.rangeId),
      answers: many(3).map((each) => ({ ...each, round: 1, isSupporting: true })),
      released: many(2),
      asks: many(FRAME_MESSAGES_MAX).map((each) => ({ ...each, round: 1 })),
      commits: [],
    };
    const parts = cutStoreHeartbeat(beat).map((part) => decodeStoreHeartbeat(encodeStoreHeartbeat(part)));
    const timed = parts.findIndex((part) => part.sentAtMs > 0);
    expect(parts.filter((part) => part.sentAtMs > 0 || part.echoSentAtMs > 0)).toHaveLength(1);
    expect(parts.slice(timed).every((part) => part.ended.length === 0 && part.answers.length === 0)).toBe(
      true,
    );
    expect(parts.slice(0, timed).every((part) => part.released.length + part.asks.length === 0)).toBe(true);
    expect(parts.flatMap((part) => part.ended)).toEqual(beat.ended);
    expect(parts.flatMap((part) => part.asks)).toEqual(beat.asks);
    const small = { ...beat, ended: [], asks: [] };
    expect(cutStoreHeartbeat(small)).toEqual([small]);
  });

  it('of more items than any sender puts in one frame are refused before they are read', () => {
    const asks = Array.from({ length: FRAME_MESSAGES_MAX + 1 }, () => ({
      rangeId: rangeId(7),
      term: term(3),
      round: 1,
    }));
    const times = { generation: 5, sentAtMs: 10, echoSentAtMs: 0 };
    const frame = encodeStoreHeartbeat({ ...times, ended: [], answers: [], released: [], asks, commits: [] });
    expect(() => decodeStoreHeartbeat(frame)).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
  });
});
