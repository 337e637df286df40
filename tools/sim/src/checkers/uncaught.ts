import type { Observer } from '../observer.js';

/** Who hears of what nobody caught: the process. */
export interface UncaughtSource {
  on(event: 'uncaughtException' | 'unhandledRejection', listener: (error: unknown) => void): unknown;
  off(event: 'uncaughtException' | 'unhandledRejection', listener: (error: unknown) => void): unknown;
}

/**
 * An assertion of the product is thrown where nobody catches it, and ends a real process. All simulated ones
 * share this process, so it is a violation of the run instead. To be called back when the run is over.
 */
export function watchUncaught(observer: Observer, source: UncaughtSource): () => void {
  const told = new WeakSet();
  const tell = (error: unknown): void => {
    const object = error instanceof Error ? error : new Error(String(error));
    if (told.has(object)) return;
    told.add(object);
    observer.violate('assertion', object.stack ?? object.message);
  };
  source.on('uncaughtException', tell);
  source.on('unhandledRejection', tell);
  return () => {
    source.off('uncaughtException', tell);
    source.off('unhandledRejection', tell);
  };
}
