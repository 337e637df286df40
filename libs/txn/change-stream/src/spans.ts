import { compareKeys } from '@cairn/routing';

import type { KeySpan } from './types.js';

/** Whether a key is below an exclusive end. */
export function isBelow(key: Uint8Array, end: Uint8Array): boolean {
  return end.length === 0 || compareKeys(key, end) < 0;
}

export function isWithin(key: Uint8Array, { start, end }: KeySpan): boolean {
  return compareKeys(key, start) >= 0 && isBelow(key, end);
}

/** What two spans share; undefined = nothing. */
export function sharedSpan(one: KeySpan, other: KeySpan): KeySpan | undefined {
  const start = compareKeys(one.start, other.start) >= 0 ? one.start : other.start;
  const end = isEndBelow(one.end, other.end) ? one.end : other.end;
  return isBelow(start, end) ? { start, end } : undefined;
}

function isEndBelow(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length === 0) return false;
  return other.length === 0 || compareKeys(one, other) < 0;
}

/** The key of a span that holds one key alone; undefined = it may hold more. */
export function onlyKeyOf({ start, end }: KeySpan): Uint8Array | undefined {
  const isOne = end.length === start.length + 1 && end[start.length] === 0 && isPrefix(start, end);
  return isOne ? start : undefined;
}

function isPrefix(key: Uint8Array, longer: Uint8Array): boolean {
  return key.every((byte, at) => byte === longer[at]);
}

/** The same text for the same bytes. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
