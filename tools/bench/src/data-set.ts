import { assert } from '@cairn/base';

/** A key has 16 bytes, `k` and 15 digits, so that any generator can name the same keys. */
const KEY_DIGITS = 15;
export const KEYS_MAX = 10_000_000;
/** So many bytes of a value are new in every put. */
const FRESH_BYTES = 16;
export const VALUE_BYTES_MIN = FRESH_BYTES;

export function keyAt(index: number): Buffer {
  return Buffer.from(`k${String(index).padStart(KEY_DIGITS, '0')}`, 'latin1');
}

const KEY_BYTES = KEY_DIGITS + 1;
/** Up to so many keys there is a Buffer for each; beyond, those would take more memory than the rows. */
const KEY_OBJECTS_MAX = 1_000_000;

/** Keys by index. Shared by all operations: nobody changes them. */
export interface KeySet {
  readonly length: number;
  /** From 0 to `length` - 1. */
  at(index: number): Buffer;
}

/** All keys of the data set. */
export function makeKeys(count: number): KeySet {
  assert(count > 0 && count <= KEYS_MAX, 'a data set has between one key and the maximum', { count });
  if (count > KEY_OBJECTS_MAX) return packedKeys(count);
  const keys = Array.from({ length: count }, (_, index) => keyAt(index));
  return {
    length: count,
    at(index) {
      const key = keys[index];
      assert(key !== undefined, 'a key of the data set', { index });
      return key;
    },
  };
}

/** The same keys one behind the other in one buffer. */
function packedKeys(count: number): KeySet {
  const bytes = Buffer.allocUnsafe(count * KEY_BYTES);
  for (let index = 0; index < count; index += 1) keyAt(index).copy(bytes, index * KEY_BYTES);
  return {
    length: count,
    at(index) {
      assert(index >= 0 && index < count, 'a key of the data set', { index });
      return bytes.subarray(index * KEY_BYTES, (index + 1) * KEY_BYTES);
    },
  };
}

/**
 * Marsaglia's xorshift with 32 bits: fast enough not to be seen in a profile of the client, and repeatable,
 * so that both systems get the same keys in the same order.
 */
export class FastRandom {
  #state: number;

  constructor(seed: number) {
    // Spread: neighbouring seeds must not begin alike. Zero is the one state that never changes.
    this.#state = Math.imul(seed + 1, 0x9e37_79b1) | 0 || 1;
    for (let round = 0; round < 8; round += 1) this.next();
  }

  /** A signed 32-bit number. */
  next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state;
  }

  /** From 0 to less than 1. */
  fraction(): number {
    return (this.next() >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }
}

/** A value of so many bytes; only `freshen` makes it different from the others. */
export function makeValue(valueBytes: number): Buffer {
  assert(valueBytes >= VALUE_BYTES_MIN, 'a value has room for its random bytes', { valueBytes });
  return Buffer.alloc(valueBytes, 'v');
}

/** Puts new random bytes at the start of a value. */
export function freshen(value: Buffer, random: FastRandom): void {
  for (let at = 0; at < FRESH_BYTES; at += 4) value.writeInt32LE(random.next(), at);
}
