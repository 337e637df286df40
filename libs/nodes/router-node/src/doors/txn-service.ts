import { CairnError, timestamp } from '@cairn/base';
import { invalidField, WIDEST_KEY_VALUE_LIMITS, type SpanTimes } from '@cairn/routing';
import type { OpenTransaction } from '@cairn/transactions';
import { packRows, toServiceError } from '@cairn/wire';
import type { ExecuteRequest, ExecuteResponse } from '@cairn/wire/gen/cairn/v1/kv.js';
import type {
  TxnBeginRequest,
  TxnBeginResponse,
  TxnCommitRequest,
  TxnCommitResponse,
  TxnDeleteRequest,
  TxnDeleteResponse,
  TxnGetForUpdateRequest,
  TxnGetForUpdateResponse,
  TxnGetRequest,
  TxnGetResponse,
  TxnIncrementRequest,
  TxnIncrementResponse,
  TxnPutRequest,
  TxnPutResponse,
  TxnRollbackRequest,
  TxnRollbackResponse,
  TxnRollbackToRequest,
  TxnRollbackToResponse,
  TxnSavepointRequest,
  TxnSavepointResponse,
  TxnScanRequest,
} from '@cairn/wire/gen/cairn/v1/txn.js';

import type { DoorCall, PageCall, UnaryDoor } from '../calls.js';
import { asCairnError, assertKey, assertValue, ttlOf } from './convert.js';
import type { DoorContext, TransactionOp } from './door-context.js';
import type { OpenCall } from './open-call.js';
import { OpenScan, pageBytesOf } from './scan-door.js';
import { getForUpdate } from './reservation-calls.js';
import { severalDoors, timesOf } from './several-doors.js';
import { spanOf } from './span-bounds.js';
import {
  execute,
  executeWeight,
  readInWindows,
  readWeight,
  type AnswerAccount,
  type CallWeight,
} from './transaction-calls.js';
import { isolationOf } from './transaction-convert.js';

const SAVEPOINT_NAME_BYTES_MAX = 128;
const ONE: CallWeight = { ops: 1, bytes: 0 };

/** Handlers of the `cairn.v1.Txn` service; fit for `Server.addService` of grpc-js. */
export interface TxnHandlers {
  readonly begin: UnaryDoor<TxnBeginRequest, TxnBeginResponse>;
  readonly get: UnaryDoor<TxnGetRequest, TxnGetResponse>;
  readonly getForUpdate: UnaryDoor<TxnGetForUpdateRequest, TxnGetForUpdateResponse>;
  readonly scan: (call: PageCall<TxnScanRequest>) => void;
  readonly put: UnaryDoor<TxnPutRequest, TxnPutResponse>;
  readonly delete: UnaryDoor<TxnDeleteRequest, TxnDeleteResponse>;
  readonly increment: UnaryDoor<TxnIncrementRequest, TxnIncrementResponse>;
  readonly savepoint: UnaryDoor<TxnSavepointRequest, TxnSavepointResponse>;
  readonly rollbackTo: UnaryDoor<TxnRollbackToRequest, TxnRollbackToResponse>;
  readonly commit: UnaryDoor<TxnCommitRequest, TxnCommitResponse>;
  readonly rollback: UnaryDoor<TxnRollbackRequest, TxnRollbackResponse>;
  readonly execute: UnaryDoor<ExecuteRequest, ExecuteResponse>;
}

/** The `cairn.v1.Txn` service: transactions that the router keeps for whoever began them. */
export function createTxnService(context: DoorContext): TxnHandlers {
  const several = severalDoors(context);
  const inOne = inOneDoors(context);
  const writing = <Request extends Named>(
    weightOf: (request: Request) => CallWeight,
    work: (transaction: OpenTransaction, request: Request) => void,
  ): UnaryDoor<Request, Record<string, never>> =>
    inOne('txn_write', weightOf, (transaction, request) => {
      work(transaction, request);
      return Promise.resolve({});
    });
  return {
    begin: several(
      () => ONE,
      (request, times) => context.counted('txn_begin', () => begin(context, request, times)),
    ),
    get: inOne(
      'txn_get',
      ({ keys }) => readWeight(context, keys.length),
      (transaction, { keys }, times, open) =>
        readInWindows(context, keys, (part) => transaction.get(part, times), open),
    ),
    getForUpdate: inOne(
      'txn_get_for_update',
      ({ keys }) => readWeight(context, keys.length),
      (transaction, request, times, open) => getForUpdate(context, { transaction, request }, times, open),
    ),
    scan: (call) => {
      void streamRows(context, call, timesOf(context, call, Infinity));
    },
    put: writing(
      ({ key, value }) => ({ ops: 1, bytes: key.length + value.length }),
      (transaction, { key, value, ttlMs }) => {
        assertKey(key, context.limits);
        assertValue(value, context.limits);
        transaction.put(key, value, ttlOf(ttlMs));
      },
    ),
    delete: writing(
      () => ONE,
      (transaction, { key }) => {
        assertKey(key, WIDEST_KEY_VALUE_LIMITS);
        transaction.delete(key);
      },
    ),
    increment: inOne(
      'txn_write',
      () => ONE,
      async (transaction, { key, delta }, times) => {
        assertKey(key, context.limits);
        return { value: String(await transaction.increment(key, BigInt(delta), times)) };
      },
    ),
    savepoint: writing(
      () => ONE,
      (transaction, { name }) => {
        transaction.savepoint(checkedName(name));
      },
    ),
    rollbackTo: writing(
      () => ONE,
      (transaction, { name }) => {
        transaction.rollbackTo(checkedName(name));
      },
    ),
    commit: inOne(
      'txn_commit',
      () => ONE,
      async (transaction, _request, times) => ({
        timestamp: (await transaction.commit(times)).commit,
      }),
    ),
    rollback: several(
      () => ONE,
      (request, times) => context.counted('txn_rollback', () => rollback(context, request, times)),
    ),
    execute: several(
      (request) => executeWeight(context, request),
      (request, times) => execute(context, request, times),
    ),
  };
}

/** What names a transaction. */
interface Named {
  readonly transaction: string;
}

/** Calls within a transaction, measured. */
function inOneDoors(context: DoorContext) {
  const several = severalDoors(context);
  return <Request extends Named, Response>(
    op: TransactionOp,
    weightOf: (request: Request) => CallWeight,
    work: (
      transaction: OpenTransaction,
      request: Request,
      times: SpanTimes,
      account: AnswerAccount,
    ) => Promise<Response>,
  ): UnaryDoor<Request, Response> =>
    several(weightOf, (request, times, open: OpenCall) =>
      context.counted(op, async () => work(foundFor(context, request, times.caller), request, times, open)),
    );
}

/** Throws TRANSACTION_NOT_FOUND. */
function foundFor(context: DoorContext, { transaction }: Named, caller = ''): OpenTransaction {
  return context.transactions.open.find(transaction, caller);
}

async function begin(
  context: DoorContext,
  { isolation, readOnly, at }: TxnBeginRequest,
  times: SpanTimes,
): Promise<TxnBeginResponse> {
  if (at !== undefined && !readOnly) throw invalidField('at', 'at is for transactions that are read_only');
  if (at === 0) throw invalidField('at', 'at must be above 0 where it is given');
  const { id, start } = await context.transactions.open.begin(
    {
      isolation: isolationOf(isolation),
      readOnly,
      at: at === undefined ? undefined : timestamp(at),
      caller: times.caller ?? '',
    },
    times,
  );
  return { transaction: id, timestamp: start };
}

/** Whoever gives a transaction up need not care whether it is still there. */
function rollback(
  context: DoorContext,
  request: TxnRollbackRequest,
  { caller }: SpanTimes,
): Promise<TxnRollbackResponse> {
  try {
    foundFor(context, request, caller).rollback();
  } catch (error) {
    if (!CairnError.is(error) || error.code !== 'TRANSACTION_NOT_FOUND') throw error;
  }
  return Promise.resolve({});
}

/** Throws INVALID_ARGUMENT for a name that is too short or too long. */
function checkedName(name: string): string {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0) throw invalidField('name', 'name must not be empty');
  if (bytes > SAVEPOINT_NAME_BYTES_MAX)
    throw invalidField('name', `name has ${bytes} bytes; the limit is ${SAVEPOINT_NAME_BYTES_MAX}`);
  return name;
}

/** As `streamScan`, with the writes of the transaction in place of the rows that they change. */
async function streamRows(
  context: DoorContext,
  call: PageCall<TxnScanRequest> & DoorCall,
  times: SpanTimes,
): Promise<void> {
  const startedAtMs = context.clock.nowMs();
  let scan: OpenScan | undefined;
  try {
    scan = new OpenScan(context, call);
    const { request } = call;
    const { start, end } = spanOf(request);
    const { reverse, keysOnly, limit } = request;
    const transaction = foundFor(context, request, times.caller);
    const pages = { pageBytes: pageBytesOf(call), pageTimeoutMs: context.requestTimeoutMs };
    const span = { start, end, reverse, keysOnly, limit, ...pages };
    for await (const rows of transaction.scan(span, times)) {
      if (times.signal.aborted) return;
      await scan.write({ rows: packRows(rows), timestamp: transaction.start }, times.signal);
    }
    context.succeeded('txn_scan', startedAtMs);
    call.end();
  } catch (error) {
    context.failed('txn_scan', startedAtMs, asCairnError(error));
    if (!times.signal.aborted) call.emit('error', toServiceError(error));
  } finally {
    scan?.end();
  }
}
