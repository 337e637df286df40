import type { Clock, Timer } from '@cairn/ports';

/** Node takes a longer delay for one millisecond, and writes a warning for each. */
const DELAY_MS_MAX = 2 ** 31 - 1;

/** Node's monotonic and wall clocks and timers. Timers never keep the process alive. */
export class NodeClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  unixMs(): number {
    return Date.now();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const handle = setTimeout(callback, Math.min(delayMs, DELAY_MS_MAX));
    handle.unref();
    return {
      cancel: () => {
        clearTimeout(handle);
      },
    };
  }

  defer(callback: () => void): void {
    setImmediate(callback);
  }
}
