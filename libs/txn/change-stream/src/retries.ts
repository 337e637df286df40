import { CairnError } from '@cairn/base';
import { sleep, type Clock, type Rng } from '@cairn/ports';
import { backoffMs, type BackoffRule } from '@cairn/routing';

/** Between questions that came to nothing. */
const FRUITLESS: BackoffRule = { baseMs: 10, capMs: 1_000 };

/** Whether asking again may help: what a store says of the question itself it would say again. */
export function isPassing(error: unknown): boolean {
  if (!CairnError.is(error)) return false;
  switch (error.code) {
    case 'INVALID_ARGUMENT':
    case 'FAILED_PRECONDITION':
    case 'CORRUPTION':
    case 'FORMAT_TOO_NEW':
    case 'INTERNAL':
      return false;
    default:
      return true;
  }
}

/** Waits longer the more often it was in vain; ends early when the signal aborts. */
export async function pauseBeforeRetry(
  { clock, rng }: { readonly clock: Clock; readonly rng: Rng },
  attempts: number,
  signal: AbortSignal,
): Promise<void> {
  try {
    await sleep(clock, backoffMs(FRUITLESS, attempts, rng), signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
