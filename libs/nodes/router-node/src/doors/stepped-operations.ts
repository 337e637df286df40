import { deleteSpan, type SpanTimes } from '@cairn/routing';
import { KvOp } from '@cairn/wire';
import type {
  BatchOperation,
  BatchResult,
  CommitRequest,
  DeleteRangeRequest,
  DeleteRangeResponse,
} from '@cairn/wire/gen/cairn/v1/kv.js';

import type { DoorContext } from './door-context.js';
import { release, reserve, reserveWeight } from './reservation-calls.js';
import { deletedSpanOf } from './span-bounds.js';
import {
  commit,
  execute,
  executeWeight,
  readWeight,
  snapshotGet,
  type CallWeight,
} from './transaction-calls.js';
import { valueBytesOf } from './transaction-convert.js';

type Asked = NonNullable<BatchOperation['operation']>;
/** What is carried out by several operations of the router. */
export type AskedInSteps = Extract<
  Asked,
  { $case: 'deleteRange' | 'snapshotGet' | 'getTimestamp' | 'commit' | 'execute' | 'reserve' | 'release' }
>;

export function isInSteps(asked: Asked | undefined): asked is AskedInSteps {
  switch (asked?.$case) {
    case 'deleteRange':
    case 'snapshotGet':
    case 'getTimestamp':
    case 'commit':
    case 'execute':
    case 'reserve':
    case 'release':
      return true;
    default:
      return false;
  }
}

/** What came of such an operation. */
export interface Done {
  readonly result: BatchResult['result'];
  /**
   * Of an operation that changed nothing: it may be asked for again. Otherwise it is told whatever room
   * there is.
   */
  readonly isRepeatable: boolean;
  /** Values in it. */
  readonly valueBytes: number;
}

/** Throws nothing; what an operation takes while it is under way. */
export function weightOf(context: DoorContext, asked: AskedInSteps): CallWeight {
  switch (asked.$case) {
    case 'deleteRange':
    case 'getTimestamp':
    case 'release':
      return { ops: 1, bytes: 0 };
    case 'reserve':
      return reserveWeight(asked.value);
    case 'snapshotGet':
      return readWeight(context, asked.value.keys.length);
    case 'commit':
      return { ops: 1, bytes: commitBytes(asked.value) };
    case 'execute':
      return executeWeight(context, asked.value);
  }
}

/** Rejects as what is asked for fails. */
export async function carryOut(context: DoorContext, asked: AskedInSteps, times: SpanTimes): Promise<Done> {
  switch (asked.$case) {
    case 'deleteRange':
      return small({ $case: 'deleteRange', value: await removeSpan(context, asked.value, times) });
    case 'getTimestamp': {
      const value = await context.counted('get_timestamp', () => context.freshTimestamp());
      return small({ $case: 'getTimestamp', value: { timestamp: value } });
    }
    case 'snapshotGet': {
      let valueBytes = 0;
      const account = { takeAnswer: (bytes: number) => (valueBytes += bytes) >= 0 };
      const value = await snapshotGet(context, asked.value, times, account);
      return { result: { $case: 'snapshotGet', value }, isRepeatable: true, valueBytes };
    }
    case 'commit':
      return small({ $case: 'commit', value: await commit(context, asked.value, times) });
    case 'reserve':
      return small({ $case: 'reserve', value: await reserve(context, asked.value, times) });
    case 'release':
      return small({ $case: 'release', value: await release(context, asked.value, times) });
    case 'execute': {
      const value = await execute(context, asked.value, times);
      return { result: { $case: 'execute', value }, isRepeatable: false, valueBytes: valueBytesOf(value) };
    }
  }
}

function removeSpan(
  context: DoorContext,
  message: DeleteRangeRequest,
  times: SpanTimes,
): Promise<DeleteRangeResponse> {
  return context.counted(KvOp.deleteRange, async () => ({
    deleted: await deleteSpan(context.router, deletedSpanOf(message), times),
  }));
}

/** An answer without values, of an operation that may have changed something. */
function small(result: NonNullable<BatchResult['result']>): Done {
  return { result, isRepeatable: false, valueBytes: 0 };
}

function commitBytes({ reads, reserved, spans, writes }: CommitRequest): number {
  let bytes = 0;
  for (const key of [...reads, ...reserved]) bytes += key.length;
  for (const { start, end } of spans) bytes += start.length + end.length;
  for (const { write } of writes)
    bytes += (write?.value.key.length ?? 0) + (write?.$case === 'put' ? write.value.value.length : 0);
  return bytes;
}
