import { CairnError } from '@cairn/base';
import {
  deleteSpan,
  perform,
  scanPages,
  type OperationSink,
  type RoutedOperation,
  type SpanTimes,
} from '@cairn/routing';
import type { Span } from '@cairn/ports';
import { errorDetailOf, KvOp, toServiceError, type KvRequest, type KvResponse } from '@cairn/wire';
import {
  Consistency,
  type BatchGetRequest,
  type BatchGetResponse,
  type BatchGetResult,
  type BatchResponse,
  type BatchWriteRequest,
  type BatchWriteResponse,
  type CompareAndSetRequest,
  type CompareAndSetResponse,
  type DeleteRangeRequest,
  type DeleteRangeResponse,
  type DeleteRequest,
  type DeleteResponse,
  type GetRequest,
  type GetResponse,
  type GetTimestampRequest,
  type GetTimestampResponse,
  type IncrementRequest,
  type IncrementResponse,
  type PutRequest,
  type PutResponse,
  type WriteOperation,
  type WriteResult,
} from '@cairn/wire/gen/cairn/v1/kv.js';

import type { BatchCall, DoorCall, ScanCall, UnaryCallback, UnaryDoor } from '../calls.js';
import { BatchStream } from './batch-stream.js';
import * as convert from './convert.js';
import type { DoorContext } from './door-context.js';
import { deletedSpanOf, spanOf } from './span-bounds.js';

const PAGE_BYTES_DEFAULT = 256 * 1024;
const PAGE_BYTES_MAX = 4 * 1024 * 1024;

/** One unary call on its way through the router. */
class UnarySink<Response> implements OperationSink {
  readonly #context: DoorContext;
  readonly #callback: UnaryCallback<Response>;
  readonly #convert: (response: KvResponse) => Response;
  readonly #span: Span | undefined;

  constructor(
    context: DoorContext,
    callback: UnaryCallback<Response>,
    convertResponse: (response: KvResponse) => Response,
    span: Span | undefined,
  ) {
    this.#context = context;
    this.#callback = callback;
    this.#convert = convertResponse;
    this.#span = span;
  }

  complete(operation: RoutedOperation, response: KvResponse): void {
    this.#context.succeeded(operation.request.op, operation.startedAtMs);
    this.#span?.end();
    this.#callback(null, this.#convert(response));
  }

  fail(operation: RoutedOperation, error: CairnError): void {
    this.#context.failed(operation.request.op, operation.startedAtMs, error);
    this.#span?.end(error);
    this.#callback(toServiceError(error));
  }
}

/** Time the caller leaves, milliseconds; `unnamedMs` when it names none. */
function timeoutOf(context: DoorContext, call: DoorCall, unnamedMs = context.requestTimeoutMs): number {
  const deadline = call.getDeadline();
  if (deadline === Infinity) return unnamedMs;
  const unixMs = typeof deadline === 'number' ? deadline : deadline.getTime();
  return Math.max(1, unixMs - context.clock.unixMs());
}

/** Handlers of the `cairn.v1.KV` service; fit for `Server.addService` of grpc-js. */
export interface KvHandlers {
  readonly get: UnaryDoor<GetRequest, GetResponse>;
  readonly put: UnaryDoor<PutRequest, PutResponse>;
  readonly delete: UnaryDoor<DeleteRequest, DeleteResponse>;
  readonly compareAndSet: UnaryDoor<CompareAndSetRequest, CompareAndSetResponse>;
  readonly increment: UnaryDoor<IncrementRequest, IncrementResponse>;
  readonly deleteRange: UnaryDoor<DeleteRangeRequest, DeleteRangeResponse>;
  readonly batchGet: UnaryDoor<BatchGetRequest, BatchGetResponse>;
  readonly batchWrite: UnaryDoor<BatchWriteRequest, BatchWriteResponse>;
  readonly getTimestamp: UnaryDoor<GetTimestampRequest, GetTimestampResponse>;
  readonly scan: (call: ScanCall) => void;
  readonly batch: (call: BatchCall) => void;
}

/** The doors of one router and the streams that are open at them. */
export interface KvDoors {
  readonly handlers: KvHandlers;
  /** Batch streams that are open. */
  readonly openStreams: number;
  /** The limits of keys and values have changed: clients with a stream are told. */
  limitsChanged(): void;
  /**
   * Batch streams take on nothing more, and end when what they have is answered; new ones end after their
   * hello.
   */
  drain(): void;
  /** Gives up on what is left. */
  close(): void;
}

/** The `cairn.v1.KV` service over a router. */
export function createKvService(
  context: DoorContext,
  hello: () => NonNullable<BatchResponse['hello']>,
): KvDoors {
  let isDraining = false;
  const streams = new Set<BatchStream>();

  const unary =
    <Request, Response>(
      toKv: (message: Request, limits: DoorContext['limits']) => KvRequest,
      fromKv: (response: KvResponse) => Response,
    ) =>
    (call: Parameters<UnaryDoor<Request, Response>>[0], callback: UnaryCallback<Response>): void => {
      try {
        const request = toKv(call.request, context.limits);
        const span = context.trace(request, call.metadata.get('traceparent')[0]?.toString());
        const sink = new UnarySink(context, callback, fromKv, span);
        const operation = context.router.execute(request, sink, {
          tag: 0,
          timeoutMs: timeoutOf(context, call),
        });
        call.on('cancelled', () => {
          context.router.cancel(operation);
          span?.end(new CairnError('CANCELLED', 'the caller gave up'));
        });
      } catch (error) {
        callback(toServiceError(error));
      }
    };

  const handlers: KvHandlers = {
    get: unary(convert.getRequest, convert.getResponse),
    put: unary(convert.putRequest, convert.putResponse),
    delete: unary(convert.deleteRequest, convert.deleteResponse),
    compareAndSet: unary(convert.compareAndSetRequest, convert.compareAndSetResponse),
    increment: unary(convert.incrementRequest, convert.incrementResponse),
    deleteRange: (call, callback) => {
      answer(callback, async () => {
        const span = deletedSpanOf(call.request, context.limits);
        return { deleted: await deleteSpan(context.router, span, timesOf(context, call)) };
      });
    },
    batchGet: (call, callback) => {
      answer(callback, async () => {
        const { keys, consistency, timestamp } = call.request;
        const times = timesOf(context, call);
        const results = await Promise.all(
          keys.map((key) =>
            oneGet(context, convert.getRequest({ key, consistency, timestamp }, context.limits), times),
          ),
        );
        return { results };
      });
    },
    batchWrite: (call, callback) => {
      answer(callback, async () => {
        const { operations } = call.request;
        const times = timesOf(context, call);
        const results = await Promise.all(operations.map((operation) => oneWrite(context, operation, times)));
        return { results };
      });
    },
    getTimestamp: (_call, callback) => {
      answer(callback, async () => ({ timestamp: await context.freshTimestamp() }));
    },
    scan: (call) => {
      void streamScan(context, call, timesOf(context, call, Infinity));
    },
    batch: (call) => {
      const stream = new BatchStream(call, context, hello());
      streams.add(stream);
      call.on('close', () => {
        stream.close();
        streams.delete(stream);
      });
      if (isDraining) stream.drain();
    },
  };
  return {
    handlers,
    get openStreams() {
      return streams.size;
    },
    limitsChanged: () => {
      for (const stream of streams) stream.announce(hello());
    },
    drain: () => {
      isDraining = true;
      for (const stream of streams) stream.drain();
    },
    close: () => {
      for (const stream of streams) stream.close();
    },
  };
}

/** The time that a call of several operations has, and the signal that its caller gave up. */
function timesOf(context: DoorContext, call: DoorCall, unnamedMs?: number): SpanTimes {
  const abort = new AbortController();
  call.on('cancelled', () => {
    abort.abort();
  });
  return {
    deadlineMs: context.clock.nowMs() + timeoutOf(context, call, unnamedMs),
    signal: abort.signal,
    nowMs: () => context.clock.nowMs(),
  };
}

function answer<Response>(callback: UnaryCallback<Response>, work: () => Promise<Response>): void {
  work().then(
    (response) => {
      callback(null, response);
    },
    (error: unknown) => {
      callback(toServiceError(error));
    },
  );
}

async function oneGet(context: DoorContext, request: KvRequest, times: SpanTimes): Promise<BatchGetResult> {
  try {
    return {
      result: { $case: 'get', value: convert.getResponse(await perform(context.router, request, times)) },
    };
  } catch (error) {
    return { result: { $case: 'error', value: errorDetailOf(error) } };
  }
}

async function oneWrite(
  context: DoorContext,
  operation: WriteOperation,
  times: SpanTimes,
): Promise<WriteResult> {
  const asked = operation.operation;
  const { limits } = context;
  const run = (request: KvRequest): Promise<KvResponse> => perform(context.router, request, times);
  try {
    switch (asked?.$case) {
      case 'put':
        return {
          result: {
            $case: 'put',
            value: convert.putResponse(await run(convert.putRequest(asked.value, limits))),
          },
        };
      case 'delete':
        return {
          result: {
            $case: 'delete',
            value: convert.deleteResponse(await run(convert.deleteRequest(asked.value, limits))),
          },
        };
      case 'compareAndSet': {
        const response = await run(convert.compareAndSetRequest(asked.value, limits));
        return { result: { $case: 'compareAndSet', value: convert.compareAndSetResponse(response) } };
      }
      case 'increment': {
        const response = await run(convert.incrementRequest(asked.value, limits));
        return { result: { $case: 'increment', value: convert.incrementResponse(response) } };
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

/** Streams the pages of a scan as fast as the client takes them. */
async function streamScan(context: DoorContext, call: ScanCall, times: SpanTimes): Promise<void> {
  const startedAtMs = context.clock.nowMs();
  try {
    const { request } = call;
    const { start, end } = spanOf(request, context.limits);
    if (request.pageBytes > PAGE_BYTES_MAX) {
      throw new CairnError(
        'INVALID_ARGUMENT',
        `page_bytes is ${request.pageBytes}; the limit is ${PAGE_BYTES_MAX}`,
        {
          details: { field: 'page_bytes' },
        },
      );
    }
    convert.readConsistencyOf(request.consistency, request.timestamp);
    const isStale = request.consistency === Consistency.STALE;
    const isAt = request.consistency === Consistency.TIMESTAMP;
    const at = isStale ? undefined : isAt ? request.timestamp : await context.freshTimestamp();
    const pages = scanPages(
      context.router,
      {
        start,
        end,
        reverse: request.reverse,
        keysOnly: request.keysOnly,
        limit: request.limit,
        pageBytes: request.pageBytes === 0 ? PAGE_BYTES_DEFAULT : request.pageBytes,
        pageTimeoutMs: context.requestTimeoutMs,
        timestamp: at as Parameters<typeof scanPages>[1]['timestamp'],
      },
      times,
    );
    for await (const rows of pages) {
      if (times.signal.aborted) return;
      const isTaken = call.write({ rows, timestamp: at ?? 0 });
      if (!isTaken) await drained(call, times.signal);
    }
    context.succeeded(KvOp.scan, startedAtMs);
    call.end();
  } catch (error) {
    context.failed(KvOp.scan, startedAtMs, convert.asCairnError(error));
    if (!times.signal.aborted) call.emit('error', toServiceError(error));
  }
}

function drained(call: ScanCall, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      call.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.on('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}
