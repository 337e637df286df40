import { timestampToUnixMs, type Timestamp } from '@cairn/base';
import type { Operation } from '@cairn/checkers';

/** By how much clocks of nodes are ahead from the start, at most, and what steps and drift add. */
const AHEAD_MS_MAX = 1_000_000 + 60_000;
const DRIFT = 1.05;

/** No write has a time that no clock but a lying one has shown. */
export function futureFaults(operations: readonly Operation[], unixOriginMs: number): string[] {
  const faults: string[] = [];
  for (const { key, timestamp, returnedMs } of operations) {
    if (timestamp === undefined || timestamp === 0 || returnedMs === Number.POSITIVE_INFINITY) continue;
    const aheadMs = timestampToUnixMs(timestamp as Timestamp) - unixOriginMs - returnedMs * DRIFT;
    if (aheadMs > AHEAD_MS_MAX)
      faults.push(`${key} at ${returnedMs} ms has a time ${Math.round(aheadMs)} ms ahead`);
  }
  return faults.slice(0, 3);
}
