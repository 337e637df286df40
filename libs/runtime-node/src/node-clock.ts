import type { Clock, Timer } from '@cairn/ports';

/** Node's monotonic and wall clocks and timers. Timers never keep the process alive. */
export class NodeClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  unixMs(): number {
    return Date.now();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const handle = setTimeout(callback, delayMs);
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
