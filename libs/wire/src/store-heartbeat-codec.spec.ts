import { logIndex, rangeId, term } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { decodeStoreHeartbeat, encodeStoreHeartbeat } from './store-heartbeat-codec.js';

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
  answers: fc.array(fc.record({ ...ask, isVouching: fc.boolean() })),
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
});
