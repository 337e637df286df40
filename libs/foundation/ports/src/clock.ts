/** A pending timer; cancel is idempotent. */
export interface Timer {
  cancel(): void;
}

/** The only way time enters. Monotonic for durations; wall time only for oracles and for people. */
export interface Clock {
  /** Monotonic milliseconds with fraction; counts while the process is paused. Origin is arbitrary. */
  nowMs(): number;
  /** Unix milliseconds. May jump; nothing may depend on it for correctness. */
  unixMs(): number;
  /** Calls back once, not before `delayMs`. A timer never keeps the process alive by itself. */
  setTimer(delayMs: number, callback: () => void): Timer;
  /** Calls back in the next macrotask turn, after the I/O events that are already waiting. */
  defer(callback: () => void): void;
}

/** Waits on a clock; rejects with the signal's reason when aborted. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
