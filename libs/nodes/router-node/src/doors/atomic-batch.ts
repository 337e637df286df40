import { CairnError, NO_BYTES, timestamp } from '@cairn/base';
import { invalidField, type SpanTimes } from '@cairn/routing';
import type { OneShotOutcome, TransactionWrite } from '@cairn/transactions';
import {
  ConditionKind,
  errorDetailOf,
  EXECUTE_OPERATIONS_MAX,
  ExecuteOp,
  Expectation,
  TRANSACTION_KEYS_MAX,
  type Condition,
  type ExecuteOperation,
  type ExecuteResult,
  type KvRequest,
} from '@cairn/wire';
import { Ordering, type WriteOperation, type WriteResult } from '@cairn/wire/gen/cairn/v1/kv.js';

import { asBuffer, compareAndSetRequest, deleteRequest, incrementRequest, putRequest } from './convert.js';
import type { DoorContext } from './door-context.js';
import { tooLarge, writtenOnce } from './transaction-convert.js';

/** One operation of the batch, checked. */
interface Checked {
  readonly asked: NonNullable<WriteOperation['operation']>;
  readonly key: Uint8Array;
  readonly request: KvRequest;
}

const NOTHING_HAPPENED = errorDetailOf(
  new CairnError(
    'FAILED_PRECONDITION',
    'a compare_and_set of the batch found its key otherwise: nothing of the batch happened',
  ),
);

/**
 * Carries out all operations or none. Throws INVALID_ARGUMENT, naming the operation, for what cannot be part
 * of it, and what a transaction rejects with.
 */
export async function atomicBatch(
  context: DoorContext,
  operations: readonly WriteOperation[],
  times: SpanTimes,
): Promise<WriteResult[]> {
  const { coordinator } = context.transactions;
  const checked = writtenOnce(operations.map((each, index) => checkedOf(context, each, index)));
  if (checked.length === 0) return [];
  if (checked.every(({ asked }) => asked.$case === 'put' || asked.$case === 'delete')) {
    const writes = checked.map((each) => writeOf(each));
    if (writes.length > TRANSACTION_KEYS_MAX)
      throw tooLarge(`${writes.length} keys`, String(TRANSACTION_KEYS_MAX));
    const request = { start: timestamp(0), isolation: 'serializable', reads: [], spans: [], writes } as const;
    const { commit } = await coordinator.commit(request, times);
    return checked.map(({ asked }) => writtenResult(asked.$case, commit));
  }
  const compared = checked.filter(({ asked }) => asked.$case === 'compareAndSet');
  const count = checked.length + 2 * compared.length;
  if (count > EXECUTE_OPERATIONS_MAX)
    throw tooLarge(
      `${count} operations, a compare_and_set being three`,
      `${EXECUTE_OPERATIONS_MAX} where something is compared or counted`,
    );
  const outcome = await coordinator.execute(
    {
      conditions: compared.map((each) => conditionOf(each)),
      then: checked.map((each) => operationOf(each)),
      otherwise: compared.map(({ key }) => ({
        op: ExecuteOp.get,
        key,
        value: NO_BYTES,
        ttlMs: 0,
        delta: '0',
      })),
    },
    times,
  );
  return resultsOf(checked, outcome);
}

function checkedOf(context: DoorContext, { operation }: WriteOperation, index: number): Checked {
  if (operation === undefined) throw refused(index, 'says nothing');
  if (operation.$case === 'expire')
    throw refused(index, 'is an expire, which cannot be part of an atomic batch');
  if (operation.value.requestId !== undefined)
    throw refused(index, 'has a request_id: an atomic batch is sent again only as a whole');
  if (operation.value.ordering === Ordering.STRICT)
    throw refused(index, 'asks for ORDERING_STRICT: an atomic batch is ordered as a whole');
  const request = requestOf(context, operation);
  return { asked: operation, key: request.key, request };
}

function requestOf(
  { limits }: DoorContext,
  operation: Exclude<Checked['asked'], { $case: 'expire' }>,
): KvRequest {
  switch (operation.$case) {
    case 'put':
      return putRequest(operation.value, limits);
    case 'delete':
      return deleteRequest(operation.value);
    case 'compareAndSet':
      return compareAndSetRequest(operation.value, limits);
    case 'increment':
      return incrementRequest(operation.value, limits);
  }
}

function refused(index: number, why: string): CairnError {
  return invalidField('operations', `operation ${index} ${why}`);
}

function writeOf({ key, request }: Checked): TransactionWrite {
  return request.value === undefined
    ? { type: 'delete', key }
    : { type: 'put', key, value: request.value, ttlMs: request.ttlMs };
}

function conditionOf({ key, request }: Checked): Condition {
  const operand = request.expected;
  switch (request.expectation) {
    case Expectation.value:
      return { key, kind: ConditionKind.valueEquals, operand };
    case Expectation.version:
      return { key, kind: ConditionKind.versionEquals, operand };
    case Expectation.absent:
    case Expectation.none:
      return { key, kind: ConditionKind.absent, operand: NO_BYTES };
  }
}

function operationOf({ asked, key, request }: Checked): ExecuteOperation {
  const { ttlMs, delta, value } = request;
  if (asked.$case === 'increment') return { op: ExecuteOp.increment, key, value: NO_BYTES, ttlMs: 0, delta };
  return value === undefined
    ? { op: ExecuteOp.delete, key, value: NO_BYTES, ttlMs: 0, delta: '0' }
    : { op: ExecuteOp.put, key, value, ttlMs, delta: '0' };
}

function resultsOf(checked: readonly Checked[], outcome: OneShotOutcome): WriteResult[] {
  const { commit, succeeded, results, isForgotten } = outcome;
  if (isForgotten && succeeded && checked.some(({ asked }) => asked.$case === 'increment')) {
    throw new CairnError(
      'OUTCOME_UNKNOWN',
      'the batch happened; what its increments came to is not known any more',
    );
  }
  if (succeeded) return checked.map(({ asked }, index) => doneResult(asked.$case, results[index], commit));
  let found = 0;
  return checked.map(({ asked }) => {
    if (asked.$case !== 'compareAndSet') return { result: { $case: 'error', value: NOTHING_HAPPENED } };
    found += 1;
    return foundResult(results[found - 1], commit);
  });
}

/** Of a batch of puts and deletes alone, which tells no versions. */
function writtenResult($case: Checked['asked']['$case'], at: number): WriteResult {
  return $case === 'put'
    ? { result: { $case, value: { version: NO_BYTES, timestamp: at } } }
    : { result: { $case: 'delete', value: { existed: false, version: NO_BYTES, timestamp: at } } };
}

function doneResult(
  $case: Checked['asked']['$case'],
  result: ExecuteResult | undefined,
  at: number,
): WriteResult {
  const version = result === undefined || !('version' in result) ? NO_BYTES : asBuffer(result.version);
  switch ($case) {
    case 'increment': {
      const value = result?.op === ExecuteOp.increment ? result.number : '0';
      return { result: { $case, value: { value, version, timestamp: at } } };
    }
    case 'delete': {
      const existed = result?.op === ExecuteOp.delete && result.existed;
      return { result: { $case, value: { existed, version, timestamp: at } } };
    }
    case 'compareAndSet': {
      const none = { found: false, value: NO_BYTES, valueOmitted: false, kind: 0 };
      return { result: { $case, value: { succeeded: true, version, timestamp: at, ...none } } };
    }
    case 'put':
    case 'expire':
      return { result: { $case: 'put', value: { version, timestamp: at } } };
  }
}

/** What is there in place of what a compare_and_set expected, or would have found as it did. */
function foundResult(result: ExecuteResult | undefined, at: number): WriteResult {
  const row = result?.op === ExecuteOp.get ? result.row : undefined;
  const value = {
    succeeded: false,
    version: row === undefined ? NO_BYTES : asBuffer(row.version),
    timestamp: at,
    found: row?.found ?? false,
    value: row === undefined ? NO_BYTES : asBuffer(row.value),
    valueOmitted: false,
    kind: row?.kind ?? 0,
  };
  return { result: { $case: 'compareAndSet', value } };
}
