import type { DoorContext } from './door-context.js';
import { ANSWER_BYTES_MAX } from './transaction-convert.js';

/** What a result takes besides its value. */
export const RESULT_BYTES = 64;
/** Operations of one call that are under way at a time, and what their values may take together. */
export const WINDOW_MAX = 256;
const WINDOW_BYTES_MAX = 64 * 1024 * 1024;
/** Reads before anything is known of the sizes of values. */
export const FIRST_WINDOW = 16;

/** Values of so many operations fit into memory, whatever their sizes. */
export function windowOf({ limits }: DoorContext): number {
  return Math.max(1, Math.min(WINDOW_MAX, Math.floor(WINDOW_BYTES_MAX / limits.valueBytesMax)));
}

/** How many values are read next when so many were read that have so many bytes with what is around them. */
export function windowAfter(count: number, bytes: number, windowMax: number): number {
  const fitting = Math.ceil((ANSWER_BYTES_MAX - bytes) / (bytes / count));
  return Math.max(1, Math.min(windowMax, fitting));
}
