import { CairnError, assert, timestamp, type Timestamp } from '@cairn/base';
import { Namespace, ROW_NAMESPACES, type RowNamespace } from './namespace.js';
import {
  TERMINATOR_BYTES,
  asBuffer,
  copyUnescaped,
  countZeroBytes,
  escapedKeyEnd,
  readEscapedKey,
  unescapedLength,
  writeEscapedKey,
} from './user-key.js';

/*
 * Engine key of a version: namespace byte, escaped user key, terminator, then a suffix of eight bytes, big
 * endian: `timestamp * 2048 + step` with all bits inverted. Versions of one key are neighbours, newest first.
 *
 * Timestamps have 53 bits, so eleven are left for a step within one: the top bits of the record's sequence.
 * Writes of one step replace each other, writes of different steps at one timestamp do not.
 */

export const VERSION_SUFFIX_BYTES = 8;
const STEP_BITS = 11;
/** The last step of a timestamp: reads as of a timestamp begin there. */
const STEP_MAX = (1 << STEP_BITS) - 1;
const SEQUENCE_BITS_WITHIN_STEP = 32 - STEP_BITS;
const NAMESPACE_BYTES = 1;
/** What a version key has beside its escaped user key. */
export const VERSION_KEY_EXTRA_BYTES = NAMESPACE_BYTES + TERMINATOR_BYTES + VERSION_SUFFIX_BYTES;
const KEY_BYTES_MIN = VERSION_KEY_EXTRA_BYTES;

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
export const VERSIONED_KEYS = {
  namespaces: [Namespace.versions, Namespace.members],
  suffixBytes: VERSION_SUFFIX_BYTES,
} as const;

/** The step of a write among those at its timestamp, 0 to 2047. */
function stepOfSequence(sequence: number): number {
  return sequence >>> SEQUENCE_BITS_WITHIN_STEP;
}

/** Writes the eight bytes of a version with this record sequence: they sort opposite to time. */
export function writeVersionSuffix(target: Buffer, at: number, ts: number, sequence: number): void {
  writeSuffix(target, at, ts, stepOfSequence(sequence));
}

function writeSuffix(target: Buffer, at: number, ts: number, step: number): void {
  const tsLow = ts >>> 0;
  const high = ~((Math.floor(ts / 4294967296) << STEP_BITS) | (tsLow >>> SEQUENCE_BITS_WITHIN_STEP));
  const low = ~((tsLow << STEP_BITS) | step);
  target[at] = high >>> 24;
  target[at + 1] = high >>> 16;
  target[at + 2] = high >>> 8;
  target[at + 3] = high;
  target[at + 4] = low >>> 24;
  target[at + 5] = low >>> 16;
  target[at + 6] = low >>> 8;
  target[at + 7] = low;
}

/**
 * Bytes of an engine key of any row namespace up to where its user key ends, terminator included. Throws
 * CORRUPTION.
 */
export function userKeyEndOf(engineKey: Uint8Array): number {
  return escapedKeyEnd(engineKey, NAMESPACE_BYTES);
}

/** The engine key of one version, given the sequence of its record. */
export function encodeVersionKey(userKey: Uint8Array, ts: Timestamp, sequence: number): Buffer {
  return keyAtStep(userKey, ts, stepOfSequence(sequence));
}

/** Where to seek for the newest version at or below `ts`, whatever its step. */
export function seekKeyOf(userKey: Uint8Array, ts: Timestamp): Buffer {
  return keyAtStep(userKey, ts, STEP_MAX);
}

function keyAtStep(userKey: Uint8Array, ts: Timestamp, step: number): Buffer {
  assert(ts >= 0 && ts <= Number.MAX_SAFE_INTEGER, 'timestamp out of range');
  const zeros = countZeroBytes(userKey);
  const key = Buffer.allocUnsafe(versionKeyLength(userKey, zeros));
  key[0] = Namespace.versions;
  writeSuffix(key, writeEscapedKey(key, NAMESPACE_BYTES, userKey, zeros), ts, step);
  return key;
}

/**
 * What all versions of `userKey`, and nothing else, start with; sorts before them and after every smaller
 * key.
 */
export function encodeKeyPrefix(userKey: Uint8Array): Buffer {
  return keyPrefixIn(Namespace.versions, userKey);
}

/** What all rows of a user key in a namespace, and nothing else, start with. */
export function keyPrefixIn(namespace: RowNamespace, userKey: Uint8Array): Buffer {
  const zeros = countZeroBytes(userKey);
  const prefix = Buffer.allocUnsafe(NAMESPACE_BYTES + userKey.length + zeros + TERMINATOR_BYTES);
  prefix[0] = namespace;
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
  return engineKey.length - VERSION_SUFFIX_BYTES;
}

/** The timestamp of a version key, without looking at the rest. */
export function timestampOfVersionKey(engineKey: Buffer): Timestamp {
  return timestampAt(engineKey, prefixLengthOf(engineKey));
}

/**
 * Whether rows under the key have a version suffix: those of a key and of its members. Transactions name
 * theirs otherwise.
 */
export function isVersioned(engineKey: Uint8Array): boolean {
  return engineKey[0] === Namespace.versions || engineKey[0] === Namespace.members;
}

/** The timestamp of a versioned key, without looking at the rest. Throws CORRUPTION for any other. */
export function timestampOfVersionedKey(engineKey: Buffer): Timestamp {
  if (engineKey.length < KEY_BYTES_MIN || !isVersioned(engineKey)) {
    throw new CairnError('CORRUPTION', `not a key with a version (${engineKey.length} bytes)`);
  }
  return timestampAt(engineKey, engineKey.length - VERSION_SUFFIX_BYTES);
}

function timestampAt(engineKey: Buffer, at: number): Timestamp {
  const high = ~engineKey.readUInt32BE(at);
  const low = ~engineKey.readUInt32BE(at + 4);
  return timestamp((high >>> STEP_BITS) * 4294967296 + timestampLowOf(high, low));
}

/** Bits 0 to 31 of the timestamp of a suffix that is no longer inverted. */
function timestampLowOf(high: number, low: number): number {
  return ((high << SEQUENCE_BITS_WITHIN_STEP) | (low >>> STEP_BITS)) >>> 0;
}

/** Whether the key is that of a version with this record sequence: both tell the step. */
export function isStepOf(engineKey: Buffer, sequence: number): boolean {
  const low = ~engineKey.readUInt32BE(engineKey.length - 4);
  return (low & STEP_MAX) === stepOfSequence(sequence);
}

/** Writes the timestamp of a version key at `at`, eight bytes big endian. The key was looked at before. */
export function copyTimestampOf(engineKey: Buffer, target: Buffer, at: number): void {
  const from = engineKey.length - VERSION_SUFFIX_BYTES;
  const high = ~engineKey.readUInt32BE(from);
  target.writeUInt32BE(high >>> STEP_BITS, at);
  target.writeUInt32BE(timestampLowOf(high, ~engineKey.readUInt32BE(from + 4)), at + 4);
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

/**
 * Whether two versioned keys are of one chain: of one user key, or of one member. Compares from the back,
 * where neighbours differ.
 */
export function isSameChain(one: Buffer, other: Buffer): boolean {
  if (one.length !== other.length) return false;
  for (let at = one.length - VERSION_SUFFIX_BYTES - 1; at >= 0; at -= 1) {
    if (one[at] !== other[at]) return false;
  }
  return true;
}

/** Whether a version key belongs to the user key of `encodeKeyPrefix`. */
export function hasKeyPrefix(engineKey: Buffer, prefix: Buffer): boolean {
  if (engineKey.length !== prefix.length + VERSION_SUFFIX_BYTES) return false;
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
  return rowSpanIn(Namespace.versions, startKey, endKey);
}

/**
 * The engine spans of all rows of the user keys in [startKey, endKey), one of each namespace: what a range
 * is made of. Splits, snapshots, deletions and sizes go through these and no others.
 */
export function rowSpansOf(startKey: Uint8Array, endKey: Uint8Array): KeySpan[] {
  return ROW_NAMESPACES.map((namespace) => rowSpanIn(namespace, startKey, endKey));
}

/** The engine span of the rows that these user keys have in one namespace. */
export function rowSpanIn(namespace: RowNamespace, startKey: Uint8Array, endKey: Uint8Array): KeySpan {
  const end = endKey.length === 0 ? Buffer.of(namespace + 1) : keyPrefixIn(namespace, endKey);
  return { start: keyPrefixIn(namespace, startKey), end };
}
