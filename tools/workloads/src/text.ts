import type { KeySpan } from './load-client.js';

const MARK = '|';

/** The value with up to so many more bytes, the same each time. */
export function padded(value: string, bytesMax: number): string {
  if (bytesMax === 0) return value;
  let hash = 0;
  for (let at = 0; at < value.length; at += 1) hash = (Math.imul(hash, 31) + value.charCodeAt(at)) >>> 0;
  return `${value}${MARK}${'x'.repeat(hash % (bytesMax + 1))}`;
}

/** The value without what `padded` put behind it. */
export function unpadded(text: string): string {
  const at = text.indexOf(MARK);
  return at < 0 ? text : text.slice(0, at);
}

export function unpaddedOrNone(text: string | undefined): string | undefined {
  return text === undefined ? undefined : unpadded(text);
}

/** All keys that begin with a prefix, which ends in a character below the last one. */
export function spanOf(prefix: string): KeySpan {
  const last = prefix.charCodeAt(prefix.length - 1);
  return { start: prefix, end: prefix.slice(0, -1) + String.fromCharCode(last + 1) };
}
