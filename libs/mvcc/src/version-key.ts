import { CairnError, assert, timestamp, type Timestamp } from '@cairn/base';
import { Namespace } from './namespace.js';
import {
  TERMINATOR_BYTES,
  asBuffer,
  copyUnescaped,
  countZeroBytes,
  readEscapedKey,
  unescapedLength,
  writeEscapedKey,
} from './user-key.js';

/*
 * Engine key of a version: namespace byte, escaped user key, terminator, then the timestamp with all bits
 * inverted, big endian. Versions of one key are neighbours, newest first.
 */

export const TIMESTAMP_BYTES = 8;
const NAMESPACE_BYTES = 1;
/** What a version key has beside its escaped user key. */
export const VERSION_KEY_EXTRA_BYTES = NAMESPACE_BYTES + TERMINATOR_BYTES + TIMESTAMP_BYTES;
const KEY_BYTES_MIN = VERSION_KEY_EXTRA_BYTES;
/** Inverted high words are at least this, because timestamps stay below 2^53. */
const INVERTED_HIGH_MIN = 0xffe00000;

/** A span of engine keys, end exclusive. */
export interface KeySpan {
  readonly start: Buffer;
  readonly end: Buffer;
}

/** Bytes of the engine key of a version of `userKey`, given its zero bytes. */
export function versionKeyLength(userKey: Uint8Array, zeros: number): number {
  return KEY_BYTES_MIN + userKey.length + zeros;
}

/** What an engine may know about version keys: see `VersionedKeys` of the engine. */
export const VERSIONED_KEYS = { namespace: Namespace.versions, suffixBytes: TIMESTAMP_BYTES } as const;

/** Writes eight bytes that sort opposite to the timestamp. */
export function writeInvertedTimestamp(target: Buffer, at: number, ts: number): void {
  const high = 0xffffffff - Math.floor(ts / 4294967296);
  const low = ~ts;
  target[at] = high >>> 24;
  target[at + 1] = high >>> 16;
  target[at + 2] = high >>> 8;
  target[at + 3] = high;
  target[at + 4] = low >>> 24;
  target[at + 5] = low >>> 16;
  target[at + 6] = low >>> 8;
  target[at + 7] = low;
}

/** The engine key of one version; also the place to seek to for the newest version at or below `ts`. */
export function encodeVersionKey(userKey: Uint8Array, ts: Timestamp): Buffer {
  assert(ts >= 0 && ts <= Number.MAX_SAFE_INTEGER, 'timestamp out of range');
  const zeros = countZeroBytes(userKey);
  const key = Buffer.allocUnsafe(versionKeyLength(userKey, zeros));
  key[0] = Namespace.versions;
  writeInvertedTimestamp(key, writeEscapedKey(key, NAMESPACE_BYTES, userKey, zeros), ts);
  return key;
}

/**
 * What all versions of `userKey`, and nothing else, start with; sorts before them and after every smaller
 * key.
 */
export function encodeKeyPrefix(userKey: Uint8Array): Buffer {
  const zeros = countZeroBytes(userKey);
  const prefix = Buffer.allocUnsafe(NAMESPACE_BYTES + userKey.length + zeros + TERMINATOR_BYTES);
  prefix[0] = Namespace.versions;
  writeEscapedKey(prefix, NAMESPACE_BYTES, userKey, zeros);
  return prefix;
}

/**
 * Bytes of the key prefix inside an engine key. Throws CORRUPTION when it is too short or of another
 * namespace.
 */
export function prefixLengthOf(engineKey: Buffer): number {
  if (engineKey.length < KEY_BYTES_MIN || engineKey[0] !== Namespace.versions) {
    throw new CairnError('CORRUPTION', `not a version key (${engineKey.length} bytes)`);
  }
  return engineKey.length - TIMESTAMP_BYTES;
}

/** The timestamp of a version key, without looking at the rest. */
export function timestampOfVersionKey(engineKey: Buffer): Timestamp {
  const at = prefixLengthOf(engineKey);
  const high = engineKey.readUInt32BE(at);
  if (high < INVERTED_HIGH_MIN) throw new CairnError('CORRUPTION', 'version key with a timestamp above 2^53');
  return timestamp((0xffffffff - high) * 4294967296 + (0xffffffff - engineKey.readUInt32BE(at + 4)));
}

/** The user key of a version key: a view where possible. */
export function userKeyOfVersionKey(engineKey: Buffer): Buffer {
  return readEscapedKey(engineKey, NAMESPACE_BYTES, prefixLengthOf(engineKey));
}

/** Bytes of the user key of a version key. Throws CORRUPTION. */
export function userKeyLengthOf(engineKey: Buffer): number {
  return unescapedLength(engineKey, NAMESPACE_BYTES, prefixLengthOf(engineKey));
}

/** Writes the user key of a version key at `at`; `length` is its `userKeyLengthOf`. */
export function copyUserKeyOf(
  engineKey: Buffer,
  to: { readonly target: Buffer; readonly at: number; readonly length: number },
): void {
  copyUnescaped(engineKey, NAMESPACE_BYTES, to);
}

export interface DecodedVersionKey {
  /** A view of the engine key where possible. */
  readonly userKey: Buffer;
  readonly timestamp: Timestamp;
}

/** Throws CORRUPTION for anything that `encodeVersionKey` cannot have made. */
export function decodeVersionKey(engineKey: Uint8Array): DecodedVersionKey {
  const key = asBuffer(engineKey);
  return { userKey: userKeyOfVersionKey(key), timestamp: timestampOfVersionKey(key) };
}

/** Whether two version keys belong to one user key. Compares from the back, where neighbours differ. */
export function isSameUserKey(one: Buffer, other: Buffer): boolean {
  if (one.length !== other.length) return false;
  for (let at = one.length - TIMESTAMP_BYTES - 1; at >= 0; at -= 1) {
    if (one[at] !== other[at]) return false;
  }
  return true;
}

/** Whether a version key belongs to the user key of `encodeKeyPrefix`. */
export function hasKeyPrefix(engineKey: Buffer, prefix: Buffer): boolean {
  if (engineKey.length !== prefix.length + TIMESTAMP_BYTES) return false;
  for (let at = prefix.length - 1; at >= 0; at -= 1) {
    if (engineKey[at] !== prefix[at]) return false;
  }
  return true;
}

/**
 * The engine span of all versions of the user keys in [startKey, endKey); an empty endKey means to the
 * end.
 */
export function versionSpanOf(startKey: Uint8Array, endKey: Uint8Array): KeySpan {
  const end = endKey.length === 0 ? Buffer.of(Namespace.versions + 1) : encodeKeyPrefix(endKey);
  return { start: encodeKeyPrefix(startKey), end };
}
