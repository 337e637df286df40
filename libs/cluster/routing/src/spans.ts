import { CairnError, messageOf, rethrowInvariant, type Timestamp } from '@cairn/base';
import {
  KvOp,
  newKvRequest,
  ReadConsistency,
  type KvRequest,
  type KvResponse,
  type PackedRows,
} from '@cairn/wire';

import { compareKeys } from './keys.js';
import type { OperationSink, RoutedOperation } from './operation.js';
import type { RequestRouter } from './request-router.js';

/** Keys that one step of a range deletion removes at most. */
const DELETE_CHUNK_KEYS = 1_000;
/** Rows one page holds at most, whatever their size. */
const PAGE_ROWS_MAX = 10_000;

/** Times of one caller's request that takes several operations. */
export interface SpanTimes {
  /** Of all operations together, on the router's clock; Infinity = none. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  /** Who asks, so that callers take turns. */
  readonly caller?: string | undefined;
  /** A store may keep an operation so long while there is nothing to answer; default 0. */
  readonly heldMs?: number;
  nowMs(): number;
}

class PromiseSink implements OperationSink {
  readonly #resolve: (response: KvResponse) => void;
  readonly #reject: (error: CairnError) => void;

  constructor(resolve: (response: KvResponse) => void, reject: (error: CairnError) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  complete(_operation: RoutedOperation, response: KvResponse): void {
    this.#resolve(response);
  }

  fail(_operation: RoutedOperation, error: CairnError): void {
    this.#reject(error);
  }
}

/** Carries out one operation; rejects CANCELLED when the signal aborts. */
export function perform(router: RequestRouter, request: KvRequest, times: SpanTimes): Promise<KvResponse> {
  return new Promise((resolve, reject) => {
    if (times.signal.aborted) {
      reject(new CairnError('CANCELLED', 'the caller gave up'));
      return;
    }
    const timeoutMs = times.deadlineMs - times.nowMs();
    if (timeoutMs <= 0) {
      reject(new CairnError('DEADLINE_EXCEEDED', 'the deadline passed'));
      return;
    }
    const onAbort = (): void => {
      router.cancel(operation);
      reject(new CairnError('CANCELLED', 'the caller gave up'));
    };
    const settle = (): void => {
      times.signal.removeEventListener('abort', onAbort);
    };
    const sink = new PromiseSink(
      (response) => {
        settle();
        resolve(response);
      },
      (error) => {
        settle();
        reject(error);
      },
    );
    const { caller, heldMs } = times;
    const operation = router.execute(request, sink, { tag: 0, timeoutMs, caller, heldMs });
    if (operation.state !== 'done') times.signal.addEventListener('abort', onAbort, { once: true });
  });
}

export interface ScanSpan {
  readonly start: Uint8Array;
  /** Empty = to the end. */
  readonly end: Uint8Array;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  /** 0 = all. */
  readonly limit: number;
  readonly pageBytes: number;
  /** What one page may take, from the moment that it is asked for: a long scan has many. */
  readonly pageTimeoutMs: number;
  /** undefined = stale reads of whatever is applied. */
  readonly timestamp: Timestamp | undefined;
}

/**
 * The pages of a span in key order, across ranges, all at one timestamp. One page is fetched ahead of the
 * reader.
 */
export async function* scanPages(
  router: RequestRouter,
  span: ScanSpan,
  times: SpanTimes,
): AsyncGenerator<PackedRows> {
  // Aborted too when the reader stops early: what is fetched ahead is freed here and at the shard.
  const stop = new AbortController();
  const onAbort = (): void => {
    stop.abort();
  };
  if (times.signal.aborted) stop.abort();
  times.signal.addEventListener('abort', onAbort, { once: true });
  const ofOnePage = (): SpanTimes => ({
    deadlineMs: Math.min(times.deadlineMs, times.nowMs() + span.pageTimeoutMs),
    signal: stop.signal,
    caller: times.caller,
    nowMs: () => times.nowMs(),
  });
  let left = span.limit === 0 ? Number.MAX_SAFE_INTEGER : span.limit;
  let { start, end } = span;
  const isOver = (): boolean => left <= 0 || (end.length > 0 && compareKeys(start, end) >= 0);
  const fetch = (): Promise<KvResponse> => {
    const page = perform(router, pageRequest(span, start, end, left), ofOnePage());
    // A page may fail long before a slow reader asks for it: it is thrown then, and must not count as
    // unhandled before.
    page.catch(rethrowInvariant);
    return page;
  };
  let ahead = isOver() ? undefined : fetch();
  try {
    while (ahead !== undefined) {
      const response: KvResponse = await ahead;
      ahead = undefined;
      left -= response.rows.count;
      const { next, isLast } = continuation(span, response, { start, end });
      start = next.start;
      end = next.end;
      if (!isLast && !isOver()) ahead = fetch();
      if (response.rows.count > 0) yield response.rows;
    }
  } finally {
    times.signal.removeEventListener('abort', onAbort);
    stop.abort();
  }
}

function pageRequest(span: ScanSpan, start: Uint8Array, end: Uint8Array, left: number): KvRequest {
  const request = newKvRequest();
  request.op = KvOp.scan;
  request.key = start;
  request.endKey = end;
  request.reverse = span.reverse;
  request.keysOnly = span.keysOnly;
  request.limit = Math.min(left, PAGE_ROWS_MAX);
  request.pageBytes = span.pageBytes;
  if (span.timestamp === undefined) {
    request.consistency = ReadConsistency.stale;
  } else {
    request.consistency = ReadConsistency.timestamp;
    request.readTimestamp = span.timestamp;
  }
  return request;
}

interface Bounds {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/** Where the scan goes on: inside the range where the page broke off, else in the neighbour. */
function continuation(
  span: ScanSpan,
  response: KvResponse,
  bounds: Bounds,
): { next: Bounds; isLast: boolean } {
  const edge = response.resumeKey;
  if (edge === undefined) return { next: bounds, isLast: true };
  if (span.reverse) return { next: { start: bounds.start, end: edge }, isLast: edge.length === 0 };
  return { next: { start: edge, end: bounds.end }, isLast: false };
}

/** Removes the keys of a span, chunk by chunk and range by range. Answers how many there were. */
export async function deleteSpan(
  router: RequestRouter,
  span: { readonly start: Uint8Array; readonly end: Uint8Array },
  times: SpanTimes,
): Promise<number> {
  let deleted = 0;
  let { start } = span;
  if (span.end.length > 0 && compareKeys(start, span.end) >= 0) return 0;
  for (;;) {
    const request = newKvRequest();
    request.op = KvOp.deleteRange;
    request.key = start;
    request.endKey = span.end;
    request.limit = DELETE_CHUNK_KEYS;
    const response = await perform(router, request, times).catch((error: unknown) => {
      rethrowInvariant(error);
      throw deleted > 0 ? partlyDeleted(error, deleted) : error;
    });
    deleted += response.count;
    if (response.resumeKey === undefined) return deleted;
    start = response.resumeKey;
    if (span.end.length > 0 && compareKeys(start, span.end) >= 0) return deleted;
  }
}

/** Codes that say "nothing happened" are true of the failed step only, once others have removed keys. */
function partlyDeleted(error: unknown, deleted: number): CairnError {
  return new CairnError('OUTCOME_UNKNOWN', `${deleted} keys were removed, then: ${messageOf(error)}`, {
    cause: error,
  });
}
