import { CairnError, assert, formatTooNew, timestamp, type Timestamp } from '@cairn/base';
import { readU64, writeU64 } from '@cairn/codec';
import { recordWith } from './lock-row.js';
import { Namespace } from './namespace.js';
import { encodeRow, startOfRecord, valueOfRecord } from './record.js';
import { keyPrefixIn, userKeyEndOf } from './version-key.js';

/*
 * What became of a transaction: its record, under its primary, when it was committed; a mark under each key
 * where it was rolled back, by which a lock that comes late is refused.
 *
 *   engine key   namespace 12 | escaped user key, terminator | start u64
 *   value        a record with the start of the transaction, whose value is
 *                format u8 = 1 | outcome u8: 1 committed, 2 rolled back | commit u64, 0 when rolled back
 *
 * All integers big endian.
 */

const FORMAT = 1;
const Outcome = { committed: 1, rolledBack: 2 } as const;
const COMMIT_AT = 2;
const BODY_BYTES = COMMIT_AT + 8;
const START_BYTES = 8;

/** The engine key of the record or mark of the transaction that began at `start`. */
export function transactionKeyOf(userKey: Uint8Array, start: Timestamp): Buffer {
  const prefix = keyPrefixIn(Namespace.transactions, userKey);
  const key = Buffer.allocUnsafe(prefix.length + START_BYTES);
  prefix.copy(key);
  writeU64(key, prefix.length, start);
  return key;
}

/** When the transaction began that the row under this engine key tells of. Throws CORRUPTION. */
export function startOfTransactionKey(engineKey: Buffer): Timestamp {
  const at = engineKey.length - START_BYTES;
  if (engineKey[0] !== Namespace.transactions || userKeyEndOf(engineKey) !== at) {
    throw new CairnError('CORRUPTION', `not the key of a transaction (${engineKey.length} bytes)`);
  }
  return timestamp(readU64(engineKey, at));
}

/** The engine row that says what became of a transaction: `commit` is when, 0 = it was rolled back. */
export function encodeTransactionRow(
  userKey: Uint8Array,
  start: Timestamp,
  commit: Timestamp,
): readonly [key: Buffer, record: Buffer] {
  assert(start > 0, 'a record is of a transaction');
  const body = Buffer.allocUnsafe(BODY_BYTES);
  body[0] = FORMAT;
  body[1] = commit === 0 ? Outcome.rolledBack : Outcome.committed;
  writeU64(body, COMMIT_AT, commit);
  return encodeRow(transactionKeyOf(userKey, start), recordWith(body), start);
}

/** When the transaction committed; 0 = it was rolled back. Throws CORRUPTION, FORMAT_TOO_NEW. */
export function commitOfTransactionRow(record: Buffer): Timestamp {
  const body = valueOfRecord(record);
  const [format = 0, outcome = 0] = body;
  if (format > FORMAT) throw formatTooNew(`the record of a transaction of format ${format}`);
  if (format === FORMAT && body.length === BODY_BYTES && startOfRecord(record) > 0) {
    if (outcome > Outcome.rolledBack) throw formatTooNew(`the record of a transaction that is ${outcome}`);
    const commit = readU64(body, COMMIT_AT);
    const isSound =
      outcome === Outcome.committed ? commit > 0 : outcome === Outcome.rolledBack && commit === 0;
    if (isSound) return timestamp(commit);
  }
  throw new CairnError('CORRUPTION', `not the record of a transaction (${body.length} bytes)`);
}
