import { assert, CairnError, RowKind, type Timestamp } from '@cairn/base';
import { Namespace } from './namespace.js';
import { kindOfRecord, valueOfRecord } from './record.js';
import { countZeroBytes, TERMINATOR_BYTES, writeEscapedKey } from './user-key.js';
import { keyPrefixIn, userKeyEndOf, VERSION_SUFFIX_BYTES, writeVersionSuffix } from './version-key.js';

/*
 * Collections. The row of the key, its *header*, is all there is of a small one. A larger one has its parts
 * in rows of their own, its members:
 *
 *   engine key of a member   namespace 13 | escaped user key, terminator | incarnation 8 raw bytes | tag u8
 *                            | escaped sub key, terminator | version suffix, as of version keys
 *   value of every header    form u8: 0 no members | 1 members: incarnation 8 bytes, ...
 *                            What follows belongs to the kind.
 *
 * A key that is made anew has another incarnation, so what was left behind of it before is seen by nobody:
 * the members of an incarnation are there at a timestamp only if the header that is visible there names it.
 */

export const INCARNATION_BYTES = 8;
const TAG_BYTES = 1;
const FORM_INLINE = 0;
const FORM_MEMBERS = 1;
const FORM_BYTES = 1;

/** Which member of which collection. */
export interface MemberName {
  readonly userKey: Uint8Array;
  /** See `encodeIncarnation`. */
  readonly incarnation: Uint8Array;
  /** What the member is to its collection, 0 to 255; the kind's own affair, as is `sub`. */
  readonly tag: number;
  readonly sub: Uint8Array;
}

/**
 * Names the incarnation that a write makes: by its timestamp and step, which no later write of the key has.
 */
export function encodeIncarnation(ts: Timestamp, sequence: number): Buffer {
  const inverted = Buffer.allocUnsafe(INCARNATION_BYTES);
  writeVersionSuffix(inverted, 0, ts, sequence);
  for (let at = 0; at < INCARNATION_BYTES; at += 1) inverted[at] = ~(inverted[at] as number);
  return inverted;
}

/** The engine key of one version of a member, given the sequence of its record. */
export function encodeMemberKey(member: MemberName, ts: Timestamp, sequence: number): Buffer {
  const { userKey, incarnation, tag, sub } = member;
  assert(incarnation.length === INCARNATION_BYTES, 'an incarnation of another length');
  const prefix = keyPrefixIn(Namespace.members, userKey);
  const zeros = countZeroBytes(sub);
  const tail = sub.length + zeros + TERMINATOR_BYTES + VERSION_SUFFIX_BYTES;
  const key = Buffer.allocUnsafe(prefix.length + INCARNATION_BYTES + TAG_BYTES + tail);
  prefix.copy(key);
  key.set(incarnation, prefix.length);
  const tagAt = prefix.length + INCARNATION_BYTES;
  key[tagAt] = tag;
  writeVersionSuffix(key, writeEscapedKey(key, tagAt + TAG_BYTES, sub, zeros), ts, sequence);
  return key;
}

/** The incarnation that a member belongs to: a view. Throws CORRUPTION. */
export function incarnationOfMember(engineKey: Buffer): Buffer {
  const at = userKeyEndOf(engineKey);
  if (engineKey.length < at + INCARNATION_BYTES + TAG_BYTES + TERMINATOR_BYTES + VERSION_SUFFIX_BYTES) {
    throw new CairnError('CORRUPTION', `not the key of a member (${engineKey.length} bytes)`);
  }
  return engineKey.subarray(at, at + INCARNATION_BYTES);
}

/**
 * The incarnation whose members an engine value names, a view; `none`: it has no members; `unknown`: it was
 * written by a later release, which may. Throws CORRUPTION.
 */
export function incarnationNamedBy(record: Buffer): Buffer | 'none' | 'unknown' {
  if (kindOfRecord(record) === RowKind.bytes) return 'none';
  const value = valueOfRecord(record);
  switch (value[0]) {
    case FORM_INLINE:
      return 'none';
    case FORM_MEMBERS:
      if (value.length < FORM_BYTES + INCARNATION_BYTES) break;
      return value.subarray(FORM_BYTES, FORM_BYTES + INCARNATION_BYTES);
    case undefined:
      break;
    default:
      return 'unknown';
  }
  throw new CairnError('CORRUPTION', `the header of a collection in ${value.length} bytes`);
}

/** What the value of a header begins with that names an incarnation. */
export function encodeMembersForm(incarnation: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(FORM_MEMBERS), incarnation]);
}
