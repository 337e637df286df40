import { CairnError, NO_BYTES, RowKind, rowKindName, timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { invalidField, WIDEST_KEY_VALUE_LIMITS, type KeyValueLimits } from '@cairn/routing';
import type {
  CommitRequest as CommitWork,
  Isolation as IsolationLevel,
  OneShot,
  OneShotOutcome,
  TransactionWrite as Write,
} from '@cairn/transactions';
import {
  ConditionKind,
  errorDetailOf,
  EXECUTE_OPERATIONS_MAX,
  ExecuteOp,
  TRANSACTION_KEYS_MAX,
  type Condition as ConditionWork,
  type ExecuteOperation as ExecuteWork,
  type ExecuteResult as ExecuteFound,
  type ReadRow,
} from '@cairn/wire';
import {
  Isolation,
  type BatchGetResult,
  type CommitRequest,
  type Condition,
  type ExecuteOperation,
  type ExecuteRequest,
  type ExecuteResponse,
  type ExecuteResult,
  type GetResponse,
  type TransactionWrite,
} from '@cairn/wire/gen/cairn/v1/kv.js';

import { asBuffer, assertKey, assertValue, ttlOf, VERSION_BYTES } from './convert.js';
import { spanOf } from './span-bounds.js';

/** Keys and values of one transaction. */
const TRANSACTION_BYTES_MAX = 64 * 1024 * 1024;
/** Values of one answer: clients accept 4 MiB by default. */
export const ANSWER_BYTES_MAX = 3 * 1024 * 1024;
/** Age of one, from its first read to its end. */
const TRANSACTION_AGE_MS_MAX = 3_600_000;

/** Throws INVALID_ARGUMENT for one that is not known. */
export function isolationOf(isolation: Isolation): IsolationLevel {
  switch (isolation) {
    case Isolation.UNSPECIFIED:
    case Isolation.SERIALIZABLE:
      return 'serializable';
    case Isolation.SNAPSHOT:
      return 'snapshot';
    case Isolation.READ_COMMITTED:
      return 'read-committed';
    default:
      throw invalidField('isolation', `isolation ${String(isolation)} is not known`);
  }
}

/** TRANSACTION_TOO_LARGE, naming size and limit. */
export function tooLarge(size: string, limit: string): CairnError {
  return new CairnError('TRANSACTION_TOO_LARGE', `the transaction has ${size}; the limit is ${limit}`);
}

/**
 * Throws INVALID_ARGUMENT for what cannot be, TRANSACTION_TOO_LARGE for what is above a limit. `now`: the
 * newest timestamp that is known.
 */
export function commitWork(message: CommitRequest, limits: KeyValueLimits, now: number): CommitWork {
  const isolation = isolationOf(message.isolation);
  const { owner, start, reads, reserved, spans, writes } = message;
  if (owner > now) throw invalidField('owner', 'owner was not issued by this cluster');
  if (start === 0 && reads.length + reserved.length + spans.length > 0)
    throw invalidField('start', 'start must be given where something was read: the timestamp of the reads');
  const ageMs = (now - start) / TIMESTAMP_LOGICAL_STEPS;
  if (start > 0 && ageMs > TRANSACTION_AGE_MS_MAX)
    throw tooLarge(`begun ${Math.floor(ageMs / 1_000)} s ago`, `${TRANSACTION_AGE_MS_MAX / 1_000} s`);
  const count = reads.length + reserved.length + spans.length + writes.length;
  if (count > TRANSACTION_KEYS_MAX) throw tooLarge(`${count} keys and spans`, String(TRANSACTION_KEYS_MAX));
  const work = {
    start: timestamp(start),
    isolation,
    reads: readKeys(reads, 'reads'),
    reserved: readKeys(reserved, 'reserved'),
    owner: timestamp(owner),
    spans: spans.map(({ start: from, end }) => spanOf({ start: from, end, prefix: NO_BYTES })),
    writes: writtenOnce(writes.map((write) => writeOf(write, limits))),
  };
  const bytes = bytesOf(work);
  if (bytes > TRANSACTION_BYTES_MAX) throw tooLarge(`${bytes} bytes`, `${TRANSACTION_BYTES_MAX} bytes`);
  return work;
}

/** Each once. */
function readKeys(keys: readonly Buffer[], field: string): Buffer[] {
  const byName = new Map<string, Buffer>();
  for (const key of keys) {
    assertKey(key, WIDEST_KEY_VALUE_LIMITS, field);
    byName.set(key.toString('latin1'), key);
  }
  return [...byName.values()];
}

function writeOf({ write }: TransactionWrite, limits: KeyValueLimits): Write {
  switch (write?.$case) {
    case 'put': {
      const { key, value, ttlMs } = write.value;
      assertKey(key, limits);
      assertValue(value, limits);
      return { type: 'put', key, value, ttlMs: ttlOf(ttlMs) };
    }
    case 'delete':
      assertKey(write.value.key, WIDEST_KEY_VALUE_LIMITS);
      return { type: 'delete', key: write.value.key };
    case undefined:
      throw invalidField('writes', 'a write must be a put or a delete');
  }
}

/** Throws INVALID_ARGUMENT for a key that is written twice. */
export function writtenOnce<Each extends { readonly key: Uint8Array }>(writes: Each[]): Each[] {
  const names = new Set<string>();
  for (const [index, { key }] of writes.entries()) {
    const name = asBuffer(key).toString('latin1');
    if (names.has(name))
      throw invalidField('writes', `write ${index} is of a key that one before it writes: each key once`);
    names.add(name);
  }
  return writes;
}

function bytesOf(work: Pick<CommitWork, 'reads' | 'reserved' | 'spans' | 'writes'>): number {
  const { reads, reserved = [], spans, writes } = work;
  let bytes = 0;
  for (const key of [...reads, ...reserved]) bytes += key.length;
  for (const { start, end } of spans) bytes += start.length + end.length;
  for (const write of writes) bytes += write.key.length + (write.type === 'put' ? write.value.length : 0);
  return bytes;
}

/** As `commitWork`. */
export function oneShotOf(message: ExecuteRequest, limits: KeyValueLimits): OneShot {
  const count = message.conditions.length + message.then.length + message.otherwise.length;
  if (count > EXECUTE_OPERATIONS_MAX)
    throw tooLarge(`${count} conditions and operations`, String(EXECUTE_OPERATIONS_MAX));
  return {
    conditions: message.conditions.map((each) => conditionOf(each)),
    then: message.then.map((each) => operationOf(each, limits)),
    otherwise: message.otherwise.map((each) => operationOf(each, limits)),
  };
}

function conditionOf({ key, condition }: Condition): ConditionWork {
  assertKey(key, WIDEST_KEY_VALUE_LIMITS);
  switch (condition?.$case) {
    case 'exists':
      if (!condition.value) throw invalidField('exists', 'exists must be true where it is given');
      return { key, kind: ConditionKind.exists, operand: NO_BYTES };
    case 'absent':
      if (!condition.value) throw invalidField('absent', 'absent must be true where it is given');
      return { key, kind: ConditionKind.absent, operand: NO_BYTES };
    case 'valueEquals':
      assertValue(condition.value, WIDEST_KEY_VALUE_LIMITS, 'value_equals');
      return { key, kind: ConditionKind.valueEquals, operand: condition.value };
    case 'versionEquals':
      assertVersion(condition.value, 'version_equals');
      return { key, kind: ConditionKind.versionEquals, operand: condition.value };
    case undefined:
      throw invalidField(
        'condition',
        'condition must be one of exists, absent, value_equals, version_equals',
      );
  }
}

/** Throws INVALID_ARGUMENT for what is no version token. */
export function assertVersion(version: Uint8Array, field: string): void {
  if (version.length === VERSION_BYTES) return;
  throw invalidField(field, `${field} is not a version: ${VERSION_BYTES} bytes are wanted`);
}

const NOTHING = { value: NO_BYTES, ttlMs: 0, delta: '0' };

function operationOf({ operation }: ExecuteOperation, limits: KeyValueLimits): ExecuteWork {
  switch (operation?.$case) {
    case 'get':
      assertKey(operation.value.key, WIDEST_KEY_VALUE_LIMITS);
      return { ...NOTHING, op: ExecuteOp.get, key: operation.value.key };
    case 'put': {
      const { key, value, ttlMs } = operation.value;
      assertKey(key, limits);
      assertValue(value, limits);
      return { ...NOTHING, op: ExecuteOp.put, key, value, ttlMs: ttlOf(ttlMs) };
    }
    case 'delete':
      assertKey(operation.value.key, WIDEST_KEY_VALUE_LIMITS);
      return { ...NOTHING, op: ExecuteOp.delete, key: operation.value.key };
    case 'increment':
      assertKey(operation.value.key, limits);
      return { ...NOTHING, op: ExecuteOp.increment, key: operation.value.key, delta: operation.value.delta };
    case undefined:
      throw invalidField('operation', 'operation must be given');
  }
}

/** The bytes that are written and compared: those that wait here. */
export function oneShotBytes({ conditions, then, otherwise }: ExecuteRequest): number {
  let bytes = 0;
  for (const { key, condition } of conditions)
    bytes += key.length + (condition?.$case === 'valueEquals' ? condition.value.length : 0);
  for (const { operation } of [...then, ...otherwise])
    bytes +=
      (operation?.value.key.length ?? 0) + (operation?.$case === 'put' ? operation.value.value.length : 0);
  return bytes;
}

/** Values that do not fit into the answer are left out, but the first: what has happened is told whole. */
export function executeResponse(outcome: OneShotOutcome): ExecuteResponse {
  let bytes = 0;
  const results = outcome.results.map((each) => {
    const result = resultOf(each, outcome.commit);
    const valueBytes = result.result?.$case === 'get' ? result.result.value.value.length : 0;
    if (valueBytes > 0 && bytes > 0 && bytes + valueBytes > ANSWER_BYTES_MAX) return LEFT_OUT;
    bytes += valueBytes;
    return result;
  });
  const { succeeded, commit, isForgotten } = outcome;
  return { succeeded, timestamp: commit, results, resultsOmitted: isForgotten };
}

const LEFT_OUT: ExecuteResult = {
  result: {
    $case: 'error',
    value: errorDetailOf(
      tooLarge('values to answer that do not fit into one message', `${ANSWER_BYTES_MAX} bytes`),
    ),
  },
};

function resultOf(found: ExecuteFound, at: number): ExecuteResult {
  switch (found.op) {
    case ExecuteOp.get:
      return { result: rowResult(found.row).result };
    case ExecuteOp.put:
      return { result: { $case: 'put', value: { version: asBuffer(found.version), timestamp: at } } };
    case ExecuteOp.delete: {
      const { existed, version } = found;
      return { result: { $case: 'delete', value: { existed, version: asBuffer(version), timestamp: at } } };
    }
    case ExecuteOp.increment: {
      const value = { value: found.number, version: asBuffer(found.version), timestamp: at };
      return { result: { $case: 'increment', value } };
    }
  }
}

/** What a door for bytes shows of a row. */
export function rowResult(row: ReadRow): BatchGetResult {
  if (row.found && row.kind !== RowKind.bytes) {
    const message = `the key holds a ${rowKindName(row.kind)}, not bytes`;
    const error = new CairnError('WRONG_KIND', message, { details: { kind: row.kind } });
    return { result: { $case: 'error', value: errorDetailOf(error) } };
  }
  return { result: { $case: 'get', value: gotOf(row) } };
}

function gotOf({ found, value, version, expiresUnixMs }: ReadRow): GetResponse {
  return { found, value: asBuffer(value), version: asBuffer(version), expiresUnixMs };
}

/** Values that an answer carries. */
export function valueBytesOf({ results }: ExecuteResponse): number {
  let bytes = 0;
  for (const { result } of results) if (result?.$case === 'get') bytes += result.value.value.length;
  return bytes;
}
