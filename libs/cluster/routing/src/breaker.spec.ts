import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { Breaker } from './breaker.js';

const RULES = { failuresMax: 3, pauseMs: 100, pauseMsMax: 400 };

function opened(): Breaker {
  const breaker = new Breaker(RULES);
  expect([1, 2, 3].map(() => breaker.failed(1_000))).toEqual([false, false, true]);
  return breaker;
}

describe('the breaker of a store', () => {
  it('opens after failures in a row, and an answer in between begins the count anew', () => {
    const breaker = new Breaker(RULES);
    breaker.failed(0);
    breaker.failed(0);
    expect(breaker.succeeded()).toBe(false);
    expect([breaker.failed(0), breaker.failed(0), breaker.allows(0)]).toEqual([false, false, true]);
    expect(breaker.failed(0)).toBe(true);
    expect([breaker.state, breaker.allows(99), breaker.pauseLeftMs(40)]).toEqual(['open', false, 60]);
  });

  it('lets one probe through when the pause is over, and its answer closes it', () => {
    const breaker = opened();
    expect([breaker.allows(1_099), breaker.allows(1_100)]).toEqual([false, true]);
    breaker.sent(1_100);
    expect([breaker.state, breaker.allows(1_101)]).toEqual(['probing', false]);
    expect(breaker.succeeded()).toBe(true);
    expect([breaker.state, breaker.allows(1_102)]).toEqual(['closed', true]);
  });

  it('pauses twice as long after each probe that fails, up to a bound', () => {
    const breaker = opened();
    let nowMs = 1_000;
    const pauses: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      pauses.push(breaker.pauseLeftMs(nowMs));
      nowMs += breaker.pauseLeftMs(nowMs);
      breaker.sent(nowMs);
      expect(breaker.failed(nowMs)).toBe(true);
    }
    expect(pauses).toEqual([100, 200, 400, 400, 400]);
  });

  it('takes the late failures of what was sent before for no news', () => {
    const breaker = opened();
    for (let late = 0; late < 100; late += 1) expect(breaker.failed(1_050)).toBe(false);
    expect(breaker.pauseLeftMs(1_050)).toBe(50);
  });

  it('sends another probe when nobody waits for the last one any more', () => {
    const breaker = opened();
    breaker.sent(1_100);
    expect([breaker.allows(2_099), breaker.allows(2_100)]).toEqual([false, true]);
  });

  it('never opens when it is told so', () => {
    const breaker = new Breaker({ ...RULES, failuresMax: 0 });
    for (let at = 0; at < 100; at += 1) expect(breaker.failed(at)).toBe(false);
    expect(breaker.allows(100)).toBe(true);
  });

  it('always allows something again within its longest pause and the patience for a probe', () => {
    const step = fc.constantFrom('failed', 'succeeded', 'sent', 'wait');
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
        const breaker = new Breaker(RULES);
        let nowMs = 0;
        for (const kind of steps) {
          if (kind === 'failed') breaker.failed(nowMs);
          else if (kind === 'succeeded') breaker.succeeded();
          else if (kind === 'wait') nowMs += 60;
          else if (breaker.allows(nowMs)) breaker.sent(nowMs);
        }
        expect(breaker.allows(nowMs + 1_000)).toBe(true);
        breaker.succeeded();
        expect(breaker.allows(nowMs)).toBe(true);
      }),
    );
  });
});
