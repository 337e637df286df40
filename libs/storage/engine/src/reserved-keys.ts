import { CairnError } from '@cairn/base';

import { ENGINE_KEY_BYTES_MAX } from './engine-errors.js';

/** Keys that start with this belong to the engine itself. */
export const RESERVED_PREFIX = Buffer.alloc(8, 0xff);
/** Above every key, the engine's own included. */
export const PAST_ALL_KEYS = Buffer.alloc(24, 0xff);

const MARKER_NUMBER_BYTES = 6;

/** Throws INVALID_ARGUMENT for a key that is too long to be put, or is the engine's own. */
export function checkKey(key: Uint8Array): void {
  if (key.length > ENGINE_KEY_BYTES_MAX) {
    throw new CairnError(
      'INVALID_ARGUMENT',
      `engine: a key of ${key.length} bytes is longer than ${ENGINE_KEY_BYTES_MAX}`,
    );
  }
  if (key[0] !== 0xff || key.length < RESERVED_PREFIX.length) return;
  if (RESERVED_PREFIX.equals(key.subarray(0, RESERVED_PREFIX.length))) {
    throw new CairnError('INVALID_ARGUMENT', 'keys of eight 0xff bytes and more are reserved');
  }
}

/** The end of a span, or where the engine's own keys begin if that is earlier. */
export function boundedEnd(end: Buffer): Buffer {
  return end[0] === 0xff && RESERVED_PREFIX.compare(end) < 0 ? RESERVED_PREFIX : end;
}

/** Key of a flush marker; higher numbers sort higher, all below `PAST_ALL_KEYS`. */
export function flushMarkerKey(number: number): Buffer {
  const key = Buffer.alloc(RESERVED_PREFIX.length + MARKER_NUMBER_BYTES, 0xff);
  key.writeUIntBE(number, RESERVED_PREFIX.length, MARKER_NUMBER_BYTES);
  return key;
}

/** The number of a flush marker's key. */
export function flushMarkerNumber(key: Buffer): number {
  if (key.length !== RESERVED_PREFIX.length + MARKER_NUMBER_BYTES) {
    throw new CairnError('CORRUPTION', `not a flush marker (${key.length} bytes)`);
  }
  return key.readUIntBE(RESERVED_PREFIX.length, MARKER_NUMBER_BYTES);
}
