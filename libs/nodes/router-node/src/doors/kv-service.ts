import { CairnError } from '@cairn/base';
import { deleteSpan, type OperationSink, type RoutedOperation, type SpanTimes } from '@cairn/routing';
import type { Span } from '@cairn/ports';
import { KvOp, toServiceError, type KvRequest, type KvResponse } from '@cairn/wire';
import type {
  BatchGetRequest,
  BatchGetResponse,
  BatchResponse,
  BatchWriteRequest,
  BatchWriteResponse,
  CompareAndSetRequest,
  CompareAndSetResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  DeleteRequest,
  DeleteResponse,
  GetRequest,
  ExpireRequest,
  ExpireResponse,
  GetResponse,
  GetTimestampRequest,
  GetTimestampResponse,
  IncrementRequest,
  IncrementResponse,
  PutRequest,
  PutResponse,
} from '@cairn/wire/gen/cairn/v1/kv.js';

import type { BatchCall, ScanCall, UnaryCallback, UnaryDoor } from '../calls.js';
import { batchGet, batchWrite } from './batch-calls.js';
import { BatchStream } from './batch-stream.js';
import * as convert from './convert.js';
import type { DoorContext } from './door-context.js';
import { ANSWERS_HELD, OpenCall } from './open-call.js';
import { severalDoors, timeoutOf, timesOf } from './several-doors.js';
import { WINDOW_MAX } from './read-window.js';
import { streamScan } from './scan-door.js';
import { deletedSpanOf } from './span-bounds.js';

/** What an answer that holds many values may take here, at a time. */
const BATCH_ANSWER_BYTES = 4 * 1024 * 1024;

/** One unary call on its way through the router. */
class UnarySink<Response> implements OperationSink {
  readonly #context: DoorContext;
  readonly #callback: UnaryCallback<Response>;
  readonly #convert: (response: KvResponse) => Response;
  readonly #open: OpenCall;
  readonly #span: Span | undefined;

  constructor(
    context: DoorContext,
    callback: UnaryCallback<Response>,
    convertResponse: (response: KvResponse) => Response,
    { open, span }: { readonly open: OpenCall; readonly span: Span | undefined },
  ) {
    this.#context = context;
    this.#callback = callback;
    this.#convert = convertResponse;
    this.#open = open;
    this.#span = span;
  }

  complete(operation: RoutedOperation, response: KvResponse): void {
    // An answer with a value belongs to an operation that changed nothing: it may be asked for again.
    if (!this.#open.takeAnswer(response.value?.length ?? 0)) {
      this.fail(operation, ANSWERS_HELD);
      return;
    }
    this.#context.succeeded(operation.request.op, operation.startedAtMs);
    this.#span?.end();
    this.#open.answered();
    this.#callback(null, this.#convert(response));
  }

  fail(operation: RoutedOperation, error: CairnError): void {
    this.#context.failed(operation.request.op, operation.startedAtMs, error);
    this.#span?.end(error);
    this.#callback(toServiceError(error));
  }
}

/** Handlers of the `cairn.v1.KV` service; fit for `Server.addService` of grpc-js. */
export interface KvHandlers {
  readonly get: UnaryDoor<GetRequest, GetResponse>;
  readonly put: UnaryDoor<PutRequest, PutResponse>;
  readonly delete: UnaryDoor<DeleteRequest, DeleteResponse>;
  readonly compareAndSet: UnaryDoor<CompareAndSetRequest, CompareAndSetResponse>;
  readonly increment: UnaryDoor<IncrementRequest, IncrementResponse>;
  readonly expire: UnaryDoor<ExpireRequest, ExpireResponse>;
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
  /** Resolves when no batch stream is open. */
  streamsEnded(): Promise<void>;
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

/** Calls of one operation. */
function unaryDoors(context: DoorContext) {
  return <Request, Response>(
      op: KvOp,
      toKv: (message: Request, limits: DoorContext['limits']) => KvRequest,
      fromKv: (response: KvResponse) => Response,
    ) =>
    (call: Parameters<UnaryDoor<Request, Response>>[0], callback: UnaryCallback<Response>): void => {
      const startedAtMs = context.clock.nowMs();
      try {
        const request = toKv(call.request, context.limits);
        const bytes = request.key.length + (request.value?.length ?? 0);
        const open = new OpenCall(context, call, { ops: 1, bytes });
        const span = context.trace(request, call.metadata.get('traceparent')[0]?.toString());
        const sink = new UnarySink(context, callback, fromKv, { open, span });
        const operation = context.router.execute(request, sink, {
          tag: 0,
          timeoutMs: timeoutOf(context, call),
          caller: call.getPeer(),
        });
        call.on('cancelled', () => {
          context.router.cancel(operation);
          span?.end(new CairnError('CANCELLED', 'the caller gave up'));
        });
      } catch (error) {
        context.failed(op, startedAtMs, convert.asCairnError(error));
        callback(toServiceError(error));
      }
    };
}

/** The `cairn.v1.KV` service over a router. */
export function createKvService(
  context: DoorContext,
  hello: () => NonNullable<BatchResponse['hello']>,
): KvDoors {
  let isDraining = false;
  const streams = new Set<BatchStream>();
  let lastEnded: PromiseWithResolvers<void> | undefined;

  const unary = unaryDoors(context);
  const several = severalDoors(context);

  const handlers: KvHandlers = {
    get: unary(KvOp.get, convert.getRequest, convert.getResponse),
    put: unary(KvOp.put, convert.putRequest, convert.putResponse),
    delete: unary(KvOp.delete, convert.deleteRequest, convert.deleteResponse),
    compareAndSet: unary(KvOp.compareAndSet, convert.compareAndSetRequest, convert.compareAndSetResponse),
    increment: unary(KvOp.increment, convert.incrementRequest, convert.incrementResponse),
    expire: unary(KvOp.expire, convert.expireRequest, convert.deleteResponse),
    deleteRange: several(
      () => ({ ops: 1, bytes: 0 }),
      (request, times) => deleteRange(context, request, times),
    ),
    batchGet: several(
      ({ keys }) => ({ ops: Math.min(keys.length, WINDOW_MAX), bytes: BATCH_ANSWER_BYTES }),
      (request, times, open) => batchGet(context, request, times, open),
    ),
    batchWrite: several(
      ({ operations }) => ({ ops: Math.min(operations.length, WINDOW_MAX), bytes: BATCH_ANSWER_BYTES }),
      (request, times) => batchWrite(context, request, times),
    ),
    getTimestamp: several(
      () => ({ ops: 1, bytes: 0 }),
      () => context.counted('get_timestamp', async () => ({ timestamp: await context.freshTimestamp() })),
    ),
    scan: (call) => {
      void streamScan(context, call, timesOf(context, call, Infinity));
    },
    batch: (call) => {
      const stream = new BatchStream(call, context, hello());
      streams.add(stream);
      call.on('close', () => {
        stream.close();
        streams.delete(stream);
        if (streams.size > 0) return;
        lastEnded?.resolve();
        lastEnded = undefined;
      });
      if (isDraining) stream.drain();
    },
  };
  return {
    handlers,
    get openStreams() {
      return streams.size;
    },
    streamsEnded: async () => {
      if (streams.size === 0) return;
      lastEnded ??= Promise.withResolvers();
      await lastEnded.promise;
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

async function deleteRange(
  context: DoorContext,
  request: DeleteRangeRequest,
  times: SpanTimes,
): Promise<DeleteRangeResponse> {
  return context.counted(KvOp.deleteRange, async () => ({
    deleted: await deleteSpan(context.router, deletedSpanOf(request), times),
  }));
}
