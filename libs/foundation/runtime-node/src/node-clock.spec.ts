import { describe, expect, it } from '@jest/globals';
import { NodeClock } from './node-clock.js';

describe('NodeClock', () => {
  it.each([2 ** 31, 2 ** 32 - 1, 2 ** 53, Infinity])(
    'a timer of %s ms does not fire at once',
    async (delayMs) => {
      const clock = new NodeClock();
      let hasFired = false;
      const timer = clock.setTimer(delayMs, () => {
        hasFired = true;
      });
      // A timer of one millisecond that was set later has fired, so an early one of the same length would
      // have.
      await new Promise<void>((resolve) => {
        clock.setTimer(5, resolve);
        setTimeout(() => undefined, 100);
      });
      timer.cancel();
      expect(hasFired).toBe(false);
    },
  );
});
