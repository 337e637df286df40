import type { EngineRange } from './types.js';

export type KeySpan = Pick<EngineRange, 'start' | 'end'>;

/** Estimates how many bytes lie on disk of a span. */
export type BytesOf = (start: Uint8Array, end: Uint8Array) => Promise<number>;

/**
 * How often a search for one end halves at most. Each byte of a prefix that all keys share takes about eight,
 * so it gets past a prefix of a KiB.
 */
const HALVINGS_MAX = 8 * 1024;
/** Ends that were too far away for one piece, and are tried again for the next ones. */
const ENDS_MAX = 64;
const BASE = 257;

/**
 * Cuts a span into pieces of up to `pieceBytes`, and of half as much at least but for the last one. A piece
 * is larger where that much lies under one key, or under a prefix that is longer than a KiB. Ends are found
 * by halving the space of keys, which reads no row: where much was deleted, the next row may be far away.
 */
export async function* piecesOf(
  span: KeySpan,
  pieceBytes: number,
  bytesOf: BytesOf,
): AsyncGenerator<KeySpan, void> {
  const ends = [span.end];
  let { start } = span;
  while (ends.length > 0) {
    const end = await takeEnd(start, ends, pieceBytes, bytesOf);
    yield { start, end };
    start = end;
  }
}

/**
 * Where the piece ends that begins at `start`. `ends` are known ones, the nearest last; those it passes go.
 */
async function takeEnd(
  start: Uint8Array,
  ends: Uint8Array[],
  pieceBytes: number,
  bytesOf: BytesOf,
): Promise<Uint8Array> {
  let end = start;
  let bytes = 0;
  for (let halvings = 0; ; halvings += 1) {
    for (let next = ends.at(-1); ; next = ends.at(-1)) {
      if (next === undefined) return end;
      const nextBytes = await bytesOf(start, next);
      if (nextBytes > pieceBytes) break;
      end = next;
      bytes = nextBytes;
      ends.pop();
    }
    if (bytes >= pieceBytes / 2) return end;
    const middle = halvings < HALVINGS_MAX ? middleOf(end, ends.at(-1) as Uint8Array) : undefined;
    if (middle === undefined) return ends.pop() as Uint8Array;
    // All but the first of them only save halvings.
    if (ends.length === ENDS_MAX) ends.splice(1, 1);
    ends.push(middle);
  }
}

/**
 * A short key about halfway between two; undefined when there is none. Keys are taken as fractions in base
 * 257, whose digit 0 is the end of a key: so no two keys are one fraction.
 */
export function middleOf(low: Uint8Array, high: Uint8Array): Uint8Array | undefined {
  const lengthMax = Math.max(low.length, high.length) + 1;
  let gap = 0;
  for (let at = 0; at < lengthMax; at += 1) {
    gap = gap * BASE + digitAt(high, at) - digitAt(low, at);
    if (gap < 2) continue;
    const middle = Array.from({ length: at + 1 }, (_, digit) => digitAt(low, digit));
    let carry = gap >>> 1;
    for (let digit = at; carry > 0; digit -= 1) {
      const sum = (middle[digit] as number) + carry;
      middle[digit] = sum % BASE;
      carry = sum >= BASE ? 1 : 0;
    }
    const length = middle.indexOf(0);
    const key = Uint8Array.from(length < 0 ? middle : middle.slice(0, length), (digit) => digit - 1);
    if (Buffer.compare(low, key) < 0) return key;
    // The fraction lies below that of the next key, which may be between the two all the same.
    const next = new Uint8Array(low.length + 1);
    next.set(low);
    return Buffer.compare(next, high) < 0 ? next : undefined;
  }
  return undefined;
}

/** Of a key as a fraction. */
function digitAt(key: Uint8Array, at: number): number {
  const byte = key[at];
  return byte === undefined ? 0 : byte + 1;
}
