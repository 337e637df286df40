import { CairnError, RowKind, assert, formatTooNew, timestamp, type Timestamp } from '@cairn/base';
import { readU64, writeU64 } from '@cairn/codec';
import { Namespace } from './namespace.js';
import { encodeRow, NO_EXPIRY, recordLength, startOfRecord, valueOfRecord } from './record.js';
import { readEscapedKey } from './user-key.js';
import { keyPrefixIn } from './version-key.js';

/*
 * The lock of a user key: an open transaction will write it, or holds it.
 *
 *   engine key   namespace 11 | escaped user key, terminator: a user key has one lock at most
 *   value        a record with the start of the transaction, whose value is, big endian:
 *                format u8 = 1 | op u8 | minCommit u64 | deadline u64 | ttlMs u64
 *                | primaryBytes u32 | primary | value
 */

/** What becomes of the key when the transaction commits. On disk: append only. */
export const LockRowOp = {
  put: 1,
  delete: 2,
  /** It stays as it is: the lock only holds it. */
  none: 3,
} as const;
export type LockRowOp = (typeof LockRowOp)[keyof typeof LockRowOp];

const FORMAT = 1;
const MIN_COMMIT_AT = 2;
const DEADLINE_AT = MIN_COMMIT_AT + 8;
const TTL_AT = DEADLINE_AT + 8;
const PRIMARY_BYTES_AT = TTL_AT + 8;
const PRIMARY_AT = PRIMARY_BYTES_AT + 4;
const NO_BODY = Buffer.alloc(0);

/** A lock, as it is stored. */
export interface LockRow {
  /** The start timestamp of the transaction, which names it. */
  readonly start: Timestamp;
  readonly op: LockRowOp;
  /** The transaction commits at or above this. */
  readonly minCommit: Timestamp;
  /** The oracle timestamp from which on anybody may roll the transaction back. That of its primary counts. */
  readonly deadline: Timestamp;
  /** Of the value to come, counted from the commit; 0 = none. */
  readonly ttlMs: number;
  /** The key whose range has the decision. */
  readonly primary: Uint8Array;
  /** The value to come; empty unless the op is put. */
  readonly value: Uint8Array;
}

/** The engine key of the lock of a user key. */
export function lockKeyOf(userKey: Uint8Array): Buffer {
  return keyPrefixIn(Namespace.locks, userKey);
}

/** The user key that is locked: a view where possible. Throws CORRUPTION. */
export function userKeyOfLockKey(engineKey: Buffer): Buffer {
  if (engineKey[0] !== Namespace.locks) {
    throw new CairnError('CORRUPTION', `not the key of a lock (${engineKey.length} bytes)`);
  }
  return readEscapedKey(engineKey, 1, engineKey.length);
}

/** The engine row of a lock. */
export function encodeLockRow(userKey: Uint8Array, lock: LockRow): readonly [key: Buffer, record: Buffer] {
  assert(lock.start > 0, 'a lock is of a transaction');
  const body = Buffer.allocUnsafe(PRIMARY_AT + lock.primary.length + lock.value.length);
  body[0] = FORMAT;
  body[1] = lock.op;
  writeU64(body, MIN_COMMIT_AT, lock.minCommit);
  writeU64(body, DEADLINE_AT, lock.deadline);
  writeU64(body, TTL_AT, lock.ttlMs);
  body.writeUInt32BE(lock.primary.length, PRIMARY_BYTES_AT);
  body.set(lock.primary, PRIMARY_AT);
  body.set(lock.value, PRIMARY_AT + lock.primary.length);
  return encodeRow(lockKeyOf(userKey), recordWith(body), lock.start);
}

/** Bytes of the engine value of a lock. */
export function lockRecordLength({ primary, start, value }: LockRow): number {
  return recordLength(recordWith(NO_BODY), start) + PRIMARY_AT + primary.length + value.length;
}

/** Decodes the engine value of a lock; primary and value are views. Throws CORRUPTION, FORMAT_TOO_NEW. */
export function decodeLockRow(record: Buffer): LockRow {
  const start = startOfRecord(record);
  const body = valueOfRecord(record);
  const [format = 0, op = 0] = body;
  if (format > FORMAT) throw formatTooNew(`a lock of format ${format}`);
  if (start === 0 || format !== FORMAT || body.length < PRIMARY_AT) {
    throw new CairnError('CORRUPTION', `not a lock of this database (${body.length} bytes)`);
  }
  if (op > LockRowOp.none) throw formatTooNew(`a lock with the operation ${op}`);
  const valueAt = PRIMARY_AT + body.readUInt32BE(PRIMARY_BYTES_AT);
  if (op < LockRowOp.put || valueAt > body.length) {
    throw new CairnError('CORRUPTION', `a lock with the operation ${op} and ${body.length} bytes`);
  }
  return {
    start,
    op: op as LockRowOp,
    minCommit: timestamp(readU64(body, MIN_COMMIT_AT)),
    deadline: timestamp(readU64(body, DEADLINE_AT)),
    ttlMs: readU64(body, TTL_AT),
    primary: body.subarray(PRIMARY_AT, valueAt),
    value: body.subarray(valueAt),
  };
}

/** Rows of transactions are no versions: nothing but their value and the start says anything. */
export function recordWith(body: Buffer): Parameters<typeof encodeRow>[1] {
  return {
    timestamp: timestamp(0),
    sequence: 0,
    expiry: NO_EXPIRY,
    tombstone: false,
    kind: RowKind.bytes,
    value: body,
  };
}
