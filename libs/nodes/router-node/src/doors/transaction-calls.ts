import { timestamp, type Timestamp } from '@cairn/base';
import { invalidField, WIDEST_KEY_VALUE_LIMITS, type SpanTimes } from '@cairn/routing';
import type { ReadRow } from '@cairn/wire';
import type {
  BatchGetResult,
  CommitRequest,
  CommitResponse,
  ExecuteRequest,
  ExecuteResponse,
  SnapshotGetRequest,
  SnapshotGetResponse,
} from '@cairn/wire/gen/cairn/v1/kv.js';

import { assertKey } from './convert.js';
import type { DoorContext } from './door-context.js';
import { ANSWERS_HELD } from './open-call.js';
import { FIRST_WINDOW, RESULT_BYTES, windowAfter, windowOf, WINDOW_MAX } from './read-window.js';
import {
  ANSWER_BYTES_MAX,
  commitWork,
  executeResponse,
  oneShotBytes,
  oneShotOf,
  rowResult,
} from './transaction-convert.js';

/** Of one call: the values of a full answer, and one that passes it. */
const READ_BYTES_MAX = 4 * 1024 * 1024;

/** What a call takes here, for the share of its caller. */
export interface CallWeight {
  readonly ops: number;
  readonly bytes: number;
}

/** Of a call that reads so many keys; how large values are is learnt from those before. */
export function readWeight(context: DoorContext, keys: number): CallWeight {
  const bytes = Math.min(READ_BYTES_MAX, Math.ceil(keys * context.transactions.meanValueBytes));
  return { ops: Math.max(1, Math.min(keys, WINDOW_MAX)), bytes };
}

export function executeWeight(context: DoorContext, request: ExecuteRequest): CallWeight {
  const lists = [request.then, request.otherwise];
  const gets = Math.max(
    ...lists.map((list) => list.filter(({ operation }) => operation?.$case === 'get').length),
  );
  return { ops: 1, bytes: oneShotBytes(request) + readWeight(context, gets).bytes };
}

/** Where the room for values of an answer comes from; false = there is none now. */
export interface AnswerAccount {
  takeAnswer(bytes: number): boolean;
}

/** Rows of some of the keys, in their order. */
export type ReadKeys = (keys: readonly Uint8Array[]) => Promise<readonly ReadRow[]>;

/**
 * Reads keys in their order, as far as the answer has room. Throws INVALID_ARGUMENT, and RESOURCE_EXHAUSTED
 * when there is no room for one value.
 */
export async function readInWindows(
  context: DoorContext,
  keys: readonly Uint8Array[],
  read: ReadKeys,
  account: AnswerAccount,
): Promise<{ readonly results: BatchGetResult[]; readonly partial: boolean }> {
  if (keys.length === 0) throw invalidField('keys', 'keys must not be empty');
  for (const key of keys) assertKey(key, WIDEST_KEY_VALUE_LIMITS, 'keys');
  const windowMax = windowOf(context);
  const results: BatchGetResult[] = [];
  let bytes = 0;
  let window = Math.min(FIRST_WINDOW, windowMax);
  for (let at = 0; at < keys.length; at += window) {
    if (at > 0) window = windowAfter(results.length, bytes, windowMax);
    const rows = await read(keys.slice(at, at + window));
    context.transactions.learn(rows);
    for (const row of rows) {
      const size = RESULT_BYTES + row.value.length;
      if (results.length > 0 && bytes + size > ANSWER_BYTES_MAX) return { results, partial: true };
      if (!account.takeAnswer(row.value.length)) {
        if (results.length === 0) throw ANSWERS_HELD;
        return { results, partial: true };
      }
      results.push(rowResult(row));
      bytes += size;
    }
  }
  return { results, partial: false };
}

export function snapshotGet(
  context: DoorContext,
  { keys, at }: SnapshotGetRequest,
  times: SpanTimes,
  account: AnswerAccount,
): Promise<SnapshotGetResponse> {
  return context.counted('snapshot_get', async () => {
    const { coordinator } = context.transactions;
    let snapshot = snapshotOf(at);
    const read: ReadKeys = async (part) => {
      const found = await coordinator.snapshotGet(part, snapshot, times);
      snapshot = found.timestamp;
      return found.rows;
    };
    const { results, partial } = await readInWindows(context, keys, read, account);
    return { timestamp: snapshot ?? 0, results, partial };
  });
}

/** undefined: a fresh one. */
function snapshotOf(at: SnapshotGetRequest['at']): Timestamp | undefined {
  switch (at?.$case) {
    case 'timestamp':
      if (at.value === 0) throw invalidField('timestamp', 'timestamp must be above 0, or fresh be asked for');
      return timestamp(at.value);
    case 'fresh':
      if (!at.value) throw invalidField('fresh', 'fresh must be true where it is given');
      return undefined;
    case undefined:
      throw invalidField('at', 'at must be one of timestamp, fresh');
  }
}

export function commit(
  context: DoorContext,
  request: CommitRequest,
  times: SpanTimes,
): Promise<CommitResponse> {
  return context.counted('commit', async () => {
    const { coordinator } = context.transactions;
    const work = commitWork(request, context.limits, context.router.latestTimestamp);
    return { timestamp: (await coordinator.commit(work, times)).commit };
  });
}

export function execute(
  context: DoorContext,
  request: ExecuteRequest,
  times: SpanTimes,
): Promise<ExecuteResponse> {
  return context.counted('execute', async () => {
    const { coordinator } = context.transactions;
    return executeResponse(await coordinator.execute(oneShotOf(request, context.limits), times));
  });
}
