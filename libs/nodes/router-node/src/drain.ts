import { sleep, type Clock } from '@cairn/ports';
import type { RequestRouter } from '@cairn/routing';

/**
 * Waits until no operation is open. Whoever is answered may go on with another one at once, as a scan does
 * with its next page: so it is looked again when the turn has ended in which the last one was answered.
 */
export async function untilIdle(
  router: Pick<RequestRouter, 'openOperations' | 'whenIdle'>,
  clock: Clock,
): Promise<void> {
  while (router.openOperations > 0) {
    await router.whenIdle();
    await new Promise<void>((resolve) => {
      clock.defer(resolve);
    });
  }
}

/** Waits for the event, or until the time is up. Rejects as the event does. */
export async function orTimeUp(clock: Clock, timeoutMs: number, event: Promise<void>): Promise<void> {
  const ended = new AbortController();
  try {
    await Promise.race([event, sleep(clock, timeoutMs, ended.signal)]);
  } finally {
    ended.abort();
  }
}
