import {
  CairnError,
  expiryAfter,
  NO_BYTES,
  RowKind,
  rowKindName,
  sumOfCounter,
  timestampToUnixMs,
  type Timestamp,
} from '@cairn/base';
import { encodeVersionToken } from '@cairn/codec';
import {
  COMMIT_SEQUENCE,
  comparesBytes,
  conditionHolds,
  EXECUTE_ANSWER_BYTES_MAX,
  EXECUTE_ANSWER_TOO_LARGE,
  ExecuteOp,
  NO_READ_ROW,
  type Condition,
  type ExecuteOperation,
  type ExecuteResult,
  type ReadRow,
} from '@cairn/wire';

import { distinctKeys, mapKey } from './keys.js';
import type { OneShot, TransactionWrite } from './types.js';

const ANSWERS_TOO_LARGE = new CairnError('TRANSACTION_TOO_LARGE', EXECUTE_ANSWER_TOO_LARGE, {
  details: { limit: EXECUTE_ANSWER_BYTES_MAX },
});

/*
 * The same rules as the leader of a range has for a transaction in it, on rows that were read at a snapshot.
 */

export interface EvaluatedOneShot {
  readonly succeeded: boolean;
  /**
   * Keys whose rows it depends on, each once; without those that are written and whose rows had no expiry, or
   * that were put without a look: that they are as they were is checked by writing them.
   */
  readonly reads: readonly Uint8Array[];
  /** Each key once. */
  readonly writes: readonly TransactionWrite[];
  /** Of the list that was carried out, once it is known when. */
  readonly resultsAt: (commit: Timestamp) => readonly ExecuteResult[];
}

/** What a key holds while a list is carried out. */
interface Cell {
  readonly row: ReadRow;
  /** Written here, so it has the version of the commit. */
  readonly write: TransactionWrite | undefined;
}

/** Keys whose rows the evaluation needs: a put replaces whatever is there. */
export function keysToRead({ conditions, otherwise, then }: OneShot): readonly Uint8Array[] {
  const looking = [...then, ...otherwise].filter(({ op }) => op !== ExecuteOp.put);
  return distinctKeys([...conditions, ...looking].map(({ key }) => key));
}

/**
 * Evaluates a one-shot transaction on the rows of `keysToRead` as of a snapshot. Throws WRONG_KIND and
 * FAILED_PRECONDITION as the operations do on their own, TRANSACTION_TOO_LARGE for answers of too many bytes:
 * then nothing of it happens.
 */
export function evaluateOneShot(
  oneShot: OneShot,
  rows: ReadonlyMap<string, ReadRow>,
  asOf: Timestamp,
): EvaluatedOneShot {
  const cells = new Map<string, Cell>();
  const cellOf = (key: Uint8Array): Cell =>
    cells.get(mapKey(key)) ?? { row: rows.get(mapKey(key)) ?? NO_READ_ROW, write: undefined };
  const succeeded = oneShot.conditions.every((condition) => holds(condition, cellOf(condition.key).row));
  const operations = succeeded ? oneShot.then : oneShot.otherwise;
  let answerBytes = 0;
  const later = operations.map((operation) => {
    const before = cellOf(operation.key);
    if (operation.op === ExecuteOp.get) answerBytes += before.row.value.length;
    if (answerBytes > EXECUTE_ANSWER_BYTES_MAX) throw ANSWERS_TOO_LARGE;
    const { cell, result } = carryOut(operation, before, asOf);
    if (cell !== undefined) cells.set(mapKey(operation.key), cell);
    return result;
  });
  const writes = [...cells.values()].flatMap(({ write }) => (write === undefined ? [] : [write]));
  const used = distinctKeys([...oneShot.conditions, ...operations].map(({ key }) => key));
  const reads = used.filter((key) => {
    const isWritten = cells.get(mapKey(key))?.write !== undefined;
    return !isWritten || (rows.get(mapKey(key))?.expiresUnixMs ?? 0) > 0;
  });
  return { succeeded, reads, writes, resultsAt: (commit) => later.map((result) => result(commit)) };
}

/** Throws WRONG_KIND. */
function holds(condition: Condition, row: ReadRow): boolean {
  const compared = comparesBytes(condition.kind) ? bytesOf(row) : row;
  return conditionHolds(condition, compared.found ? compared : undefined);
}

/** The row, which must be one of bytes. */
function bytesOf(row: ReadRow): ReadRow {
  if (!row.found || row.kind === RowKind.bytes) return row;
  const { kind } = row;
  throw new CairnError('WRONG_KIND', `the key holds a ${rowKindName(kind)}, not bytes`, {
    details: { kind },
  });
}

/** The version of the rows that a two-phase commit leaves. */
function committedVersion(commit: Timestamp): Buffer {
  return encodeVersionToken(commit, COMMIT_SEQUENCE);
}

type LaterResult = (commit: Timestamp) => ExecuteResult;

function carryOut(
  operation: ExecuteOperation,
  before: Cell,
  asOf: Timestamp,
): { readonly cell: Cell | undefined; readonly result: LaterResult } {
  const { op, key } = operation;
  switch (op) {
    case ExecuteOp.get:
      return { cell: undefined, result: (commit) => ({ op, row: rowAt(before, commit) }) };
    case ExecuteOp.put: {
      const { value, ttlMs } = operation;
      return {
        cell: putCell(key, value, ttlMs),
        result: (commit) => ({ op, version: committedVersion(commit) }),
      };
    }
    case ExecuteOp.delete:
      if (!before.row.found)
        return { cell: undefined, result: () => ({ op, existed: false, version: NO_BYTES }) };
      return {
        cell: { row: NO_READ_ROW, write: { type: 'delete', key } },
        result: (commit) => ({ op, existed: true, version: committedVersion(commit) }),
      };
    case ExecuteOp.increment: {
      const number = incremented(before.row, BigInt(operation.delta)).toString();
      return {
        cell: putCell(key, Buffer.from(number, 'latin1'), ttlLeft(before, asOf)),
        result: (commit) => ({ op, number, version: committedVersion(commit) }),
      };
    }
  }
}

/** Throws FAILED_PRECONDITION and WRONG_KIND as a plain increment does. */
export function incremented(row: ReadRow, delta: bigint): bigint {
  return sumOfCounter(row.found ? bytesOf(row).value : undefined, delta);
}

/**
 * What a row has left to live, counted from the snapshot: an increment keeps the time to live of its counter.
 */
export function ttlLeftOf({ found, expiresUnixMs }: ReadRow, asOf: Timestamp): number {
  return found && expiresUnixMs > 0 ? Math.max(1, expiresUnixMs - timestampToUnixMs(asOf)) : 0;
}

function ttlLeft({ row, write }: Cell, asOf: Timestamp): number {
  return write?.type === 'put' ? write.ttlMs : ttlLeftOf(row, asOf);
}

function putCell(key: Uint8Array, value: Uint8Array, ttlMs: number): Cell {
  return {
    row: { found: true, value, version: NO_BYTES, kind: RowKind.bytes, expiresUnixMs: 0 },
    write: { type: 'put', key, value, ttlMs },
  };
}

function rowAt({ row, write }: Cell, commit: Timestamp): ReadRow {
  if (write?.type !== 'put') return row;
  const { ttlMs } = write;
  const expiresUnixMs = ttlMs === 0 ? 0 : timestampToUnixMs(expiryAfter(commit, ttlMs));
  return { ...row, version: committedVersion(commit), expiresUnixMs };
}
