import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from './brands.js';

/**
 * The first timestamp of the millisecond of oracle time in which as much has passed: what is shown and set in
 * milliseconds elsewhere is exactly that.
 */
export function expiryAfter(ts: Timestamp, ttlMs: number): Timestamp {
  const endMs = Math.ceil(ts / TIMESTAMP_LOGICAL_STEPS) + Math.ceil(ttlMs);
  return timestamp(endMs * TIMESTAMP_LOGICAL_STEPS);
}
