import { newKvRequest, ReadConsistency } from '@cairn/wire';

import { RoutedOperation, type OperationSink } from './operation.js';
import type { RouteEntry } from './range-cache.js';

/** What a store that was given up is asked; that it stays silent counts after 800 ms. */
const PROBE_TIMEOUT_MS = 1_000;
const FIRST_KEY = Buffer.alloc(1);
/** Asks for the answer's sake, not for what it says. */
export const NOBODY: OperationSink = { complete: () => undefined, fail: () => undefined };

/** A question to a store that was given up: for a key of the range, which it may have or not. */
export function probeOf(entry: RouteEntry, nowMs: number): RoutedOperation {
  const request = newKvRequest();
  request.consistency = ReadConsistency.stale;
  // No key is empty: the first range has one behind it.
  request.key = entry.startKey.length === 0 ? FIRST_KEY : entry.startKey;
  request.rangeId = entry.rangeId;
  request.epochVersion = entry.epochVersion;
  const operation = new RoutedOperation(request, NOBODY, { tag: 0, timeoutMs: PROBE_TIMEOUT_MS }, nowMs);
  operation.entry = entry;
  return operation;
}
