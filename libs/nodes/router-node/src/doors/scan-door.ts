import { Holder, type Timestamp } from '@cairn/base';
import { invalidField, scanPages, type SpanTimes } from '@cairn/routing';
import { KvOp, ReadConsistency, toServiceError, type PackedRows, type ScanPage } from '@cairn/wire';

import type { PageCall, ScanCall } from '../calls.js';
import type { Caller } from './callers.js';
import { asCairnError, readConsistencyOf, readTimestampOf } from './convert.js';
import type { DoorContext } from './door-context.js';
import { spanOf } from './span-bounds.js';

const PAGE_BYTES_DEFAULT = 256 * 1024;
/** With one value of the default limit behind it, such a page fits into what clients accept by default. */
const PAGE_BYTES_MAX = 2 * 1024 * 1024;
/** Pages of one scan that are in memory here: one that the client has not taken, and the next. */
const PAGES_HELD = 2;

/** What is used of the calls of scans, of either service. */
export type PagedCall = PageCall<{ readonly pageBytes: number }>;

/** A scan on the account of its caller, until it is over. Throws RESOURCE_EXHAUSTED when there is no room. */
export class OpenScan extends Holder {
  readonly caller: Caller;
  readonly #context: DoorContext;
  readonly #call: PagedCall;
  #isOver = false;

  constructor(context: DoorContext, call: PagedCall) {
    super();
    this.#context = context;
    this.#call = call;
    const { callers } = context;
    const bytes = pageBytesOf(call) * PAGES_HELD;
    this.caller = callers.enter(call.getPeer());
    try {
      this.caller.beginScan(bytes);
    } catch (error) {
      callers.leave(this.caller);
      throw error;
    }
    this.heldBytes = bytes;
    callers.scanHolders.add(this);
  }

  /** Resolves when the page has left for the client, or the caller gave up. */
  async write(page: ScanPage, signal: AbortSignal): Promise<void> {
    this.heldSinceMs = this.#context.clock.nowMs();
    await taken(this.#call, page, signal);
    this.heldSinceMs = Infinity;
  }

  cutOff(): void {
    this.end();
    this.#context.cutOff(this.#call);
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { callers } = this.#context;
    callers.scanHolders.remove(this);
    this.caller.endScan(this.heldBytes);
    callers.leave(this.caller);
  }
}

/**
 * Streams the pages of a scan as fast as the client takes them: while it takes none, nothing is asked of a
 * shard. The router asks each shard node for a few pages at a time, so that scans leave room for others
 * there, and callers take turns.
 */
export async function streamScan(context: DoorContext, call: ScanCall, times: SpanTimes): Promise<void> {
  const startedAtMs = context.clock.nowMs();
  let scan: OpenScan | undefined;
  try {
    scan = new OpenScan(context, call);
    const { pages, at } = await openScan(context, call, times);
    for await (const rows of pages) {
      if (times.signal.aborted) return;
      await scan.write({ rows, timestamp: at ?? 0 }, times.signal);
    }
    context.succeeded(KvOp.scan, startedAtMs);
    call.end();
  } catch (error) {
    context.failed(KvOp.scan, startedAtMs, asCairnError(error));
    if (!times.signal.aborted) call.emit('error', toServiceError(error));
  } finally {
    scan?.end();
  }
}

/** Throws INVALID_ARGUMENT above what a page may have. */
export function pageBytesOf({ request: { pageBytes } }: PagedCall): number {
  if (pageBytes > PAGE_BYTES_MAX)
    throw invalidField('page_bytes', `page_bytes is ${pageBytes}; the limit is ${PAGE_BYTES_MAX}`);
  return pageBytes === 0 ? PAGE_BYTES_DEFAULT : pageBytes;
}

/** `at`: the snapshot that the pages belong to; undefined for stale ones. */
async function openScan(
  context: DoorContext,
  call: ScanCall,
  times: SpanTimes,
): Promise<{ pages: AsyncGenerator<PackedRows>; at: Timestamp | undefined }> {
  const { request } = call;
  const { start, end } = spanOf(request);
  const consistency = readConsistencyOf(request.consistency, request.timestamp);
  const at = await snapshotOf(context, consistency, request.timestamp);
  const pages = scanPages(
    context.router,
    {
      start,
      end,
      reverse: request.reverse,
      keysOnly: request.keysOnly,
      limit: request.limit,
      pageBytes: pageBytesOf(call),
      pageTimeoutMs: context.requestTimeoutMs,
      timestamp: at,
    },
    times,
  );
  return { pages, at };
}

function snapshotOf(
  context: DoorContext,
  consistency: ReadConsistency,
  asked: number,
): Promise<Timestamp> | Timestamp | undefined {
  if (consistency === ReadConsistency.stale) return undefined;
  if (consistency === ReadConsistency.timestamp) return readTimestampOf(asked);
  return context.freshTimestamp();
}

/** Resolves when the page has left for the client, or the caller gave up. */
function taken(call: PagedCall, page: ScanPage, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener('abort', done);
      resolve();
    };
    signal.addEventListener('abort', done, { once: true });
    call.write(page, done);
  });
}
