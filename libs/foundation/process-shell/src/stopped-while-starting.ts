/** The process was told to stop before its part was open. */
export class StoppedWhileStarting extends Error {
  readonly signal: string;

  constructor(signal: string) {
    super(`told to stop by ${signal} before it had started`);
    this.signal = signal;
  }
}

/** Rejects with `StoppedWhileStarting` once it is aborted; its reason is the name of the signal. */
export function stoppedBy(stopping: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => {
      reject(new StoppedWhileStarting(String(stopping.reason)));
    };
    if (stopping.aborted) stop();
    else stopping.addEventListener('abort', stop, { once: true });
  });
}
