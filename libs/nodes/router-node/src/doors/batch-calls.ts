import { CairnError, NO_BYTES } from '@cairn/base';
import { perform, type SpanTimes } from '@cairn/routing';
import { errorDetailOf, type KvRequest, type KvResponse } from '@cairn/wire';
import type {
  BatchGetRequest,
  BatchGetResponse,
  BatchGetResult,
  BatchWriteRequest,
  BatchWriteResponse,
  WriteOperation,
  WriteResult,
} from '@cairn/wire/gen/cairn/v1/kv.js';

import { atomicBatch } from './atomic-batch.js';
import * as convert from './convert.js';
import type { DoorContext } from './door-context.js';
import { ANSWERS_HELD, type OpenCall } from './open-call.js';
import { FIRST_WINDOW, RESULT_BYTES, windowAfter, windowOf } from './read-window.js';
import { ANSWER_BYTES_MAX } from './transaction-convert.js';

/**
 * Reads the keys of a call in their order, as far as the answer has room. Throws INVALID_ARGUMENT, and
 * RESOURCE_EXHAUSTED when there is no room for one value.
 */
export async function batchGet(
  context: DoorContext,
  { keys, consistency, timestamp }: BatchGetRequest,
  times: SpanTimes,
  open: OpenCall,
): Promise<BatchGetResponse> {
  const requests = keys.map((key) => convert.getRequest({ key, consistency, timestamp }));
  const windowMax = windowOf(context);
  const results: BatchGetResult[] = [];
  let bytes = 0;
  let window = Math.min(FIRST_WINDOW, windowMax);
  for (let at = 0; at < requests.length; at += window) {
    if (at > 0) {
      window = windowAfter(results.length, bytes, windowMax);
    }
    const part = requests.slice(at, at + window);
    for (const result of await Promise.all(part.map((request) => oneGet(context, request, times, open)))) {
      if (result === undefined) {
        if (results.length === 0) throw ANSWERS_HELD;
        return { results, partial: true };
      }
      const { result: answer } = result;
      const size = RESULT_BYTES + (answer?.$case === 'get' ? answer.value.value.length : 0);
      if (results.length > 0 && bytes + size > ANSWER_BYTES_MAX) return { results, partial: true };
      results.push(result);
      bytes += size;
    }
    window = part.length;
  }
  return { results, partial: false };
}

/** undefined: there is no room for its value now. */
async function oneGet(
  context: DoorContext,
  request: KvRequest,
  times: SpanTimes,
  open: OpenCall,
): Promise<BatchGetResult | undefined> {
  try {
    const response = await context.counted(request.op, () => perform(context.router, request, times));
    if (!open.takeAnswer(response.value?.length ?? 0)) return undefined;
    return { result: { $case: 'get', value: convert.getResponse(response) } };
  } catch (error) {
    return { result: { $case: 'error', value: errorDetailOf(error) } };
  }
}

/** Carries out the operations of a call: all or none where it says so, else a window of them at a time. */
export async function batchWrite(
  context: DoorContext,
  { operations, atomic }: BatchWriteRequest,
  times: SpanTimes,
): Promise<BatchWriteResponse> {
  if (atomic) {
    const results = await context.counted('atomic_batch', () => atomicBatch(context, operations, times));
    return { results: results.map(fitting()) };
  }
  const results: WriteResult[] = [];
  const window = windowOf(context);
  const fitted = fitting();
  for (let at = 0; at < operations.length; at += window) {
    const part = operations.slice(at, at + window);
    for (const result of await Promise.all(part.map((each) => oneWrite(context, each, times))))
      results.push(fitted(result));
  }
  return { results };
}

/** Results as they fit into one answer: values beyond are left out. */
function fitting(): (result: WriteResult) => WriteResult {
  let bytes = 0;
  return ({ result }) => {
    bytes += RESULT_BYTES;
    if (result?.$case !== 'compareAndSet' || result.value.value.length === 0) return { result };
    const isOmitted = bytes + result.value.value.length > ANSWER_BYTES_MAX;
    if (!isOmitted) bytes += result.value.value.length;
    return isOmitted
      ? {
          result: { $case: 'compareAndSet', value: { ...result.value, value: NO_BYTES, valueOmitted: true } },
        }
      : { result };
  };
}

async function oneWrite(
  context: DoorContext,
  operation: WriteOperation,
  times: SpanTimes,
): Promise<WriteResult> {
  const asked = operation.operation;
  const { limits } = context;
  const run = (request: KvRequest): Promise<KvResponse> =>
    context.counted(request.op, () => perform(context.router, request, times));
  try {
    switch (asked?.$case) {
      case 'put': {
        const response = await run(convert.putRequest(asked.value, limits));
        return { result: { $case: 'put', value: convert.putResponse(response) } };
      }
      case 'delete': {
        const response = await run(convert.deleteRequest(asked.value));
        return { result: { $case: 'delete', value: convert.deleteResponse(response) } };
      }
      case 'compareAndSet': {
        const response = await run(convert.compareAndSetRequest(asked.value, limits));
        return { result: { $case: 'compareAndSet', value: convert.compareAndSetResponse(response) } };
      }
      case 'increment': {
        const response = await run(convert.incrementRequest(asked.value, limits));
        return { result: { $case: 'increment', value: convert.incrementResponse(response) } };
      }
      case 'expire': {
        const response = await run(convert.expireRequest(asked.value));
        return { result: { $case: 'expire', value: convert.deleteResponse(response) } };
      }
      case undefined:
        throw new CairnError('INVALID_ARGUMENT', 'operation must be given', {
          details: { field: 'operation' },
        });
    }
  } catch (error) {
    return { result: { $case: 'error', value: errorDetailOf(error) } };
  }
}
