import { NO_BYTES } from '@cairn/base';

/** Unsigned byte order. A loop, because keys are short and mostly differ early: a native call costs more. */
export function compareKeys(left: Uint8Array, right: Uint8Array): number {
  const shared = left.length < right.length ? left.length : right.length;
  for (let at = 0; at < shared; at += 1) {
    const difference = (left[at] as number) - (right[at] as number);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** True when `key` is below the exclusive end `end`, where an empty end is the end of the key space. */
export function isBelowEnd(key: Uint8Array, end: Uint8Array): boolean {
  return end.length === 0 || compareKeys(key, end) < 0;
}

/** First key past all keys with the prefix; empty when there is none. */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1;
  if (length === 0) return NO_BYTES;
  const end = Uint8Array.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] as number) + 1;
  return end;
}

/** Longer than any range boundary: those are keys, and no setting lets keys be longer than 32 KiB. */
const PADDED_BYTES = 32 * 1024 + 1;

/**
 * A key that lies in the range just below the exclusive end: what to ask a directory that only finds ranges
 * by keys they hold. Exact for ends whose last byte is 0; otherwise above every boundary below `end`.
 */
export function keyBelow(end: Uint8Array): Uint8Array {
  if (end.length === 0) return new Uint8Array(PADDED_BYTES).fill(0xff);
  const last = end[end.length - 1] as number;
  if (last === 0) return end.subarray(0, end.length - 1);
  const key = new Uint8Array(Math.max(PADDED_BYTES, end.length)).fill(0xff);
  key.set(end);
  key[end.length - 1] = last - 1;
  return key;
}
