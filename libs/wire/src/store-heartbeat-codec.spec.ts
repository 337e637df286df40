import { logIndex, rangeId, term } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { decodeStoreHeartbeat, encodeStoreHeartbeat } from './store-heartbeat-codec.js';

const quietRange = fc.record({
  rangeId: fc.integer({ min: 1, max: 2 ** 40 }).map(rangeId),
  term: fc.integer({ min: 1, max: 2 ** 40 }).map(term),
  index: fc.integer({ min: 1, max: 2 ** 40 }).map(logIndex),
});
const heartbeat = fc.record({
  generation: fc.nat(),
  sentAtMs: fc.nat(),
  echoSentAtMs: fc.nat(),
  asks: fc.array(quietRange),
  answers: fc.array(fc.tuple(quietRange, fc.boolean()).map(([range, isQuiet]) => ({ ...range, isQuiet }))),
  woken: fc.array(fc.integer({ min: 1, max: 2 ** 40 }).map(rangeId)),
});

describe('heartbeats of stores', () => {
  it('arrive as they were sent', () => {
    fc.assert(
      fc.property(heartbeat, (sent) => {
        expect(decodeStoreHeartbeat(encodeStoreHeartbeat(sent))).toEqual(sent);
      }),
    );
  });

  it('are refused when cut short or continued', () => {
    const ask = { rangeId: rangeId(7), term: term(3), index: logIndex(11) };
    const whole = encodeStoreHeartbeat({
      generation: 5,
      sentAtMs: 10,
      echoSentAtMs: 0,
      asks: [ask],
      answers: [],
      woken: [],
    });
    expect(() => decodeStoreHeartbeat(whole.subarray(0, whole.length - 1))).toThrow();
    expect(() => decodeStoreHeartbeat(Buffer.concat([whole, Buffer.alloc(1)]))).toThrow();
  });
});
