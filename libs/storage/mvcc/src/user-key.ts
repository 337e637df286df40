import { CairnError } from '@cairn/base';

/*
 * Order-preserving byte strings that know where they end. A zero byte becomes 00 FF, everything else
 * stands for itself, and 00 01 ends the key. Escaping maps each byte to a code word and keeps their
 * order, so the escaped forms sort like the keys; the terminator sorts below every code word, so a key
 * sorts before all its extensions, whatever follows it. A key without zero bytes costs two bytes and one
 * look at each byte.
 */

/** Bytes that `00 01` takes. */
export const TERMINATOR_BYTES = 2;
const ESCAPED_ZERO = 0xff;
const TERMINATOR = 0x01;

/** A Buffer over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Number of zero bytes: how much longer the escaped form is. */
export function countZeroBytes(bytes: Uint8Array): number {
  const length = bytes.length;
  let zeros = 0;
  for (let at = 0; at < length; at += 1) {
    if (bytes[at] === 0) zeros += 1;
  }
  return zeros;
}

/**
 * Writes the escaped key and its terminator at `at` and answers the position behind it. `zeros` is
 * `countZeroBytes(userKey)`: callers need it before, to size `target`.
 */
export function writeEscapedKey(target: Buffer, at: number, userKey: Uint8Array, zeros: number): number {
  let to = at;
  if (zeros === 0) {
    target.set(userKey, to);
    to += userKey.length;
  } else {
    for (let from = 0; from < userKey.length; from += 1) {
      const byte = userKey[from] as number;
      target[to++] = byte;
      if (byte === 0) target[to++] = ESCAPED_ZERO;
    }
  }
  target[to] = 0;
  target[to + 1] = TERMINATOR;
  return to + TERMINATOR_BYTES;
}

/**
 * The user key in `source[start, end)`, which must hold exactly one escaped key with its terminator. A
 * view when there is nothing to unescape, else a copy. Throws CORRUPTION for anything that
 * `writeEscapedKey` cannot have written.
 */
export function readEscapedKey(source: Buffer, start: number, end: number): Buffer {
  const length = unescapedLength(source, start, end);
  if (length === end - start - TERMINATOR_BYTES) return source.subarray(start, start + length);
  const key = Buffer.allocUnsafe(length);
  copyUnescaped(source, start, { target: key, at: 0, length });
  return key;
}

/**
 * Length of the user key in `source[start, end)`, an escaped key with its terminator. Throws CORRUPTION for
 * anything that `writeEscapedKey` cannot have written.
 */
export function unescapedLength(source: Buffer, start: number, end: number): number {
  const last = end - TERMINATOR_BYTES;
  if (last < start || source[last] !== 0 || source[last + 1] !== TERMINATOR) {
    throw new CairnError('CORRUPTION', `escaped key without terminator (${end - start} bytes)`);
  }
  let zeros = 0;
  for (let at = start; at < last; at += 1) {
    if (source[at] !== 0) continue;
    if (at + 1 >= last || source[at + 1] !== ESCAPED_ZERO) {
      throw new CairnError('CORRUPTION', `escaped key with a bare zero byte at ${at - start}`);
    }
    zeros += 1;
    at += 1;
  }
  return last - start - zeros;
}

/** The position behind the terminator of the escaped key that begins at `start`. Throws CORRUPTION. */
export function escapedKeyEnd(source: Uint8Array, start: number): number {
  for (let at = start; at + 1 < source.length; at += 1) {
    if (source[at] !== 0) continue;
    const next = source[at + 1];
    if (next === TERMINATOR) return at + TERMINATOR_BYTES;
    if (next !== ESCAPED_ZERO) break;
    at += 1;
  }
  throw new CairnError('CORRUPTION', `no escaped key in ${source.length - start} bytes`);
}

/** Writes `length` bytes of user key at `at`, from the escaped key that begins at `start`. */
export function copyUnescaped(
  source: Buffer,
  start: number,
  { target, at, length }: { readonly target: Buffer; readonly at: number; readonly length: number },
): void {
  let from = start;
  for (let to = at; to < at + length; to += 1) {
    const byte = source[from] as number;
    target[to] = byte;
    from += byte === 0 ? 2 : 1;
  }
}

/** The smallest user key above `userKey`: one zero byte longer. A copy. */
export function successorOf(userKey: Uint8Array): Buffer {
  const next = Buffer.allocUnsafe(userKey.length + 1);
  next.set(userKey, 0);
  next[userKey.length] = 0;
  return next;
}
