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

import * as convert from './convert.js';
import type { DoorContext } from './door-context.js';
import { ANSWERS_HELD, type OpenCall } from './open-call.js';

/** An answer grows no further: clients accept 4 MiB by default. */
const ANSWER_BYTES_MAX = 3 * 1024 * 1024;
/** What a result takes besides its value. */
const RESULT_BYTES = 64;
/** Operations of one call that are under way at a time, and what their values may take together. */
export const WINDOW_MAX = 256;
const WINDOW_BYTES_MAX = 64 * 1024 * 1024;
/** Reads before anything is known of the sizes of values. */
const FIRST_WINDOW = 16;

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
      const fitting = Math.ceil((ANSWER_BYTES_MAX - bytes) / (bytes / results.length));
      window = Math.max(1, Math.min(windowMax, fitting));
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

/** Values of so many operations fit into memory, whatever their sizes. */
function windowOf(context: DoorContext): number {
  return Math.max(1, Math.min(WINDOW_MAX, Math.floor(WINDOW_BYTES_MAX / context.limits.valueBytesMax)));
}

/** undefined: there is no room for its value now. */
async function oneGet(
  context: DoorContext,
  request: KvRequest,
  times: SpanTimes,
  open: OpenCall,
): Promise<BatchGetResult | undefined> {
  try {
    const response = await counted(context, request, times);
    if (!open.takeAnswer(response.value?.length ?? 0)) return undefined;
    return { result: { $case: 'get', value: convert.getResponse(response) } };
  } catch (error) {
    return { result: { $case: 'error', value: errorDetailOf(error) } };
  }
}

/** Carries out the operations of a call, a window of them at a time. */
export async function batchWrite(
  context: DoorContext,
  { operations }: BatchWriteRequest,
  times: SpanTimes,
): Promise<BatchWriteResponse> {
  const results: WriteResult[] = [];
  const window = windowOf(context);
  let bytes = 0;
  for (let at = 0; at < operations.length; at += window) {
    const part = operations.slice(at, at + window);
    for (const result of await Promise.all(part.map((each) => oneWrite(context, each, times)))) {
      const { result: answer } = result;
      bytes += RESULT_BYTES;
      if (answer?.$case === 'compareAndSet' && answer.value.value.length > 0) {
        if (bytes + answer.value.value.length > ANSWER_BYTES_MAX)
          answer.value = { ...answer.value, value: NO_BYTES, valueOmitted: true };
        bytes += answer.value.value.length;
      }
      results.push(result);
    }
  }
  return { results };
}

/** One operation among many, counted as what it is. */
async function counted(context: DoorContext, request: KvRequest, times: SpanTimes): Promise<KvResponse> {
  const startedAtMs = context.clock.nowMs();
  try {
    const response = await perform(context.router, request, times);
    context.succeeded(request.op, startedAtMs);
    return response;
  } catch (error) {
    context.failed(request.op, startedAtMs, convert.asCairnError(error));
    throw error;
  }
}

async function oneWrite(
  context: DoorContext,
  operation: WriteOperation,
  times: SpanTimes,
): Promise<WriteResult> {
  const asked = operation.operation;
  const { limits } = context;
  const run = (request: KvRequest): Promise<KvResponse> => counted(context, request, times);
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
