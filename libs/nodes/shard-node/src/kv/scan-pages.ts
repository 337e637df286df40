import type { Timestamp } from '@cairn/base';
import type { EngineIterator } from '@cairn/engine';
import {
  decodeRecord,
  rowCacheKey,
  rowCacheKeyOfVersionKey,
  timestampOfVersionKey,
  VisibleReader,
  versionSpanOf,
  type VersionRow,
} from '@cairn/mvcc';
import type { Clock } from '@cairn/ports';
import type { PackedRows } from '@cairn/wire';

import { readConfirmed } from './confirmed-view.js';
import { failRead } from './damage.js';
import type { KvCall } from './kv-call.js';
import type { KvEnvironment } from './kv-environment.js';
import { PackedRowSink } from './packed-row-sink.js';
import type { PublishWaiters } from './publish-waiters.js';
import type { RangeTime } from './range-time.js';
import type { ScanCache, ScanFill } from './scan-cache.js';
import type { ServedRange } from './served-range.js';
import { isStopped } from './txn/stopped-reads.js';
import type { TxnState } from './txn/txn-state.js';

export const ROWS_PER_STEP = 256;
/** Rows that one page looks at in one turn of the event loop. */
const LOOKS_PER_TURN = 4_096;
/**
 * Superseded versions of one key at the end of a step after which the rest of them is skipped by a seek: it
 * costs as much as reading some 30 rows.
 */
const SUPERSEDED_BEFORE_SEEK = 128;

/** What one page is read from: the part of the request's span that is looked at, in user keys. */
interface PageSpan {
  readonly start: Uint8Array;
  /** Exclusive; empty = the end of all keys. */
  readonly end: Uint8Array;
  /** Where the page goes on when it was read to `end`; undefined = nothing is left. */
  readonly rest: Buffer | undefined;
}

/** A page that is kept, as it answers a call. */
interface CachedPage {
  readonly rows: PackedRows;
  readonly resumeKey: Buffer | undefined;
}

/** A page on its way out of the engine. */
interface EngineRead {
  readonly span: PageSpan;
  readonly iterator: EngineIterator;
  /** Given when the page is worth keeping. */
  readonly fill: ScanFill | undefined;
}

/** What scans need of their range. */
export interface ScanPageParts {
  readonly range: Pick<
    ServedRange,
    'replica' | 'descriptor' | 'refusesAsMoved' | 'refusesAsTooOld' | 'refusesAsStale'
  >;
  readonly time: Pick<RangeTime, 'readNow'>;
  readonly scanCache: Pick<ScanCache, 'read' | 'begin' | 'nextPageStart' | 'abandon' | 'end'>;
  readonly waiters: Pick<PublishWaiters, 'whenPublished'>;
  readonly txn: Pick<TxnState, 'locks'>;
}

/** Serves pages of rows: at a timestamp from the leader, or of whatever is applied from any replica. */
export class ScanPages {
  readonly #environment: KvEnvironment;
  readonly #parts: ScanPageParts;

  constructor(environment: KvEnvironment, parts: ScanPageParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  /** A page at the request's timestamp, on the leader; see `PointReads` for why it waits. */
  add(call: KvCall): void {
    this.#parts.waiters.whenPublished(() => {
      // Pages that are kept cost no read, but wait for the connection like others.
      if (isCacheable(call) && this.#environment.scanSlots.isTaking(call)) this.#answerFromCache(call);
      else this.#occupy(call, () => this.#readConfirmed(call));
    });
  }

  addStale(call: KvCall): void {
    this.#occupy(call, async () => {
      // It may have waited for its slot: what holds for the view is asked where it is taken.
      if (this.#parts.range.refusesAsMoved(call) || this.#parts.range.refusesAsStale(call)) return;
      await this.#readPage(call, this.#open(call, undefined), this.#parts.time.readNow);
    });
  }

  /** From a page that is kept; without one, from the engine. */
  #answerFromCache(call: KvCall): void {
    const { replica } = this.#parts.range;
    readConfirmed<CachedPage>(replica, this.#environment.clock, 'this-leader', {
      take: () => {
        if (this.#isRefused(call)) return undefined;
        const found = this.#findKept(call);
        if (found === undefined) this.#occupy(call, () => this.#readConfirmed(call));
        return found;
      },
      use: ({ rows, resumeKey }) => {
        const response = call.newResponse();
        response.rows = rows;
        response.resumeKey = resumeKey;
        response.timestamp = call.request.readTimestamp;
        call.respond(response);
      },
      drop: () => undefined,
      refused: () => {
        call.failNotLeader(replica.leaderStoreId);
      },
    });
  }

  #findKept(call: KvCall): CachedPage | undefined {
    const { request } = call;
    const span = this.#spanOf(call);
    const found = this.#parts.scanCache.read(
      {
        key: span.start,
        endKey: span.end.length === 0 ? undefined : span.end,
        limit: request.limit,
        pageBytes: request.pageBytes,
      },
      request.readTimestamp,
    );
    return found === undefined ? undefined : { rows: found.rows, resumeKey: found.resumeKey ?? span.rest };
  }

  #occupy(call: KvCall, work: () => Promise<void>): void {
    const accepted = this.#environment.scanSlots.run(call, async () => {
      try {
        if (!call.isAbandoned(this.#environment.clock.nowMs())) await work();
        else call.fail('DEADLINE_EXCEEDED', 'the deadline passed while the scan waited its turn');
      } catch (error) {
        failRead(this.#environment, call, error);
      }
    });
    if (!accepted) call.fail('RESOURCE_EXHAUSTED', 'too many scans wait on this node', { retryAfterMs: 50 });
  }

  /** Settles when the call is answered; rejects with what the engine throws. */
  #readConfirmed(call: KvCall): Promise<void> {
    const { replica } = this.#parts.range;
    const { readTimestamp } = call.request;
    return new Promise((resolve, reject) => {
      readConfirmed<EngineRead>(replica, this.#environment.clock, 'this-leader', {
        take: () => {
          try {
            if (!this.#isRefused(call)) return this.#open(call, readTimestamp);
            resolve();
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
          return undefined;
        },
        use: (read) => {
          this.#readPage(call, read, readTimestamp).then(resolve, reject);
        },
        drop: (read) => {
          this.#giveUp(read);
          read.iterator.close().catch(reject);
        },
        refused: () => {
          call.failNotLeader(replica.leaderStoreId);
          resolve();
        },
      });
    });
  }

  /**
   * A range that was cut or closed while the page waited holds only part of the span, and one whose garbage
   * was collected only part of the versions; the answer must not look complete. What a lock of the span may
   * still become is part of it.
   */
  #isRefused(call: KvCall): boolean {
    const { range } = this.#parts;
    return range.refusesAsMoved(call) || range.refusesAsTooOld(call) || this.#isLocked(call);
  }

  #isLocked(call: KvCall): boolean {
    const { txn, waiters } = this.#parts;
    if (txn.locks.size === 0) return false;
    const { start, end } = this.#spanOf(call);
    const { ignoreLocks, readTimestamp } = call.request;
    const locks = txn.locks.stopsAtIn(rowCacheKey(start), end.length === 0 ? undefined : rowCacheKey(end), {
      at: readTimestamp,
      ignored: ignoreLocks,
    });
    return isStopped(call, locks, waiters, () => {
      this.add(call);
    });
  }

  /** The part of the request's span that lies in this range. */
  #spanOf(call: KvCall): PageSpan {
    const { descriptor } = this.#parts.range;
    const { startKey, endKey } = descriptor;
    const { request } = call;
    const start = Buffer.compare(request.key, startKey) > 0 ? request.key : startKey;
    const isEndInside =
      request.endKey.length > 0 && (endKey.length === 0 || Buffer.compare(request.endKey, endKey) < 0);
    const end = isEndInside ? request.endKey : endKey;
    return { start, end, rest: restOfSpan(request, descriptor) };
  }

  /**
   * The engine's view as of now. A page to be kept (one at a timestamp: `at`) ends where the next one begins
   * that is kept already.
   */
  #open(call: KvCall, at: Timestamp | undefined): EngineRead {
    const { scanCache } = this.#parts;
    const { reverse } = call.request;
    let span = this.#spanOf(call);
    const fill = at !== undefined && isCacheable(call) ? scanCache.begin(at) : undefined;
    const next = fill === undefined ? undefined : scanCache.nextPageStart(span.start);
    if (next !== undefined && (span.end.length === 0 || Buffer.compare(next, span.end) < 0)) {
      span = { start: span.start, end: next, rest: next };
    }
    const iterator = this.#environment.engine.iterate({ ...versionSpanOf(span.start, span.end), reverse });
    return { span, iterator, fill };
  }

  #giveUp({ fill }: EngineRead): void {
    if (fill !== undefined) this.#parts.scanCache.abandon(fill);
  }

  async #readPage(call: KvCall, read: EngineRead, readTimestamp: Timestamp): Promise<void> {
    const { request } = call;
    const { span, iterator, fill } = read;
    const sink = new PackedRowSink(request);
    const newer: VersionRow[] = [];
    const reader = new VisibleReader({
      readTimestamp,
      reverse: request.reverse,
      sink,
      ...(fill === undefined ? {} : { onNewer: (row) => newer.push(row) }),
      limit: request.limit,
      pageBytes: request.pageBytes,
    });
    const looksMax = this.#environment.limits.versionsPerPageMax;
    const turns = new PageTurns(this.#environment.clock, iterator);
    let resumeKey: Buffer | undefined;
    try {
      for (;;) {
        const pausing = turns.pause();
        if (pausing !== undefined) await pausing;
        if (call.isAbandoned(this.#environment.clock.nowMs())) {
          call.fail('DEADLINE_EXCEEDED', 'the deadline passed during the scan');
          this.#giveUp(read);
          return;
        }
        const rows = await iterator.next(ROWS_PER_STEP, looksLeft(iterator, looksMax));
        if (reader.push(rows)) {
          resumeKey = reader.resumeKey();
          break;
        }
        if (rows.length === 0 && iterator.cutAt === undefined) {
          reader.finish();
          resumeKey = span.rest;
          break;
        }
        if (iterator.looked >= looksMax) {
          resumeKey = resumeKeyAfterCut(reader, iterator, { ...span, reverse: request.reverse });
          if (resumeKey !== undefined) break;
        }
        if (reader.superseded >= SUPERSEDED_BEFORE_SEEK) reader.skipSuperseded(iterator);
      }
    } catch (error) {
      this.#giveUp(read);
      throw error;
    } finally {
      await iterator.close();
    }
    const response = call.newResponse();
    response.rows = sink.take();
    response.resumeKey = resumeKey;
    response.timestamp = readTimestamp;
    call.respond(response);
    if (fill !== undefined) this.#keep(fill, { span, resumeKey }, { sink, packed: response.rows, newer });
  }

  #keep(
    fill: ScanFill,
    { span, resumeKey }: { readonly span: PageSpan; readonly resumeKey: Buffer | undefined },
    found: {
      readonly sink: PackedRowSink;
      readonly packed: PackedRows;
      readonly newer: readonly VersionRow[];
    },
  ): void {
    for (const [key, record] of found.newer) {
      fill.note(rowCacheKeyOfVersionKey(key), decodeRecord(timestampOfVersionKey(key), record));
    }
    const end = resumeKey !== undefined && isBelow(resumeKey, span.end) ? resumeKey : span.end;
    this.#parts.scanCache.end(
      fill,
      { start: rowCacheKey(span.start), end: end.length === 0 ? undefined : rowCacheKey(end) },
      { packed: found.packed, firstExpiry: found.sink.firstExpiry },
    );
  }
}

/**
 * Resolves in the next turn of the event loop when a walk has looked at so much since it last waited. Engines
 * that read on the calling thread answer each step at once, and a page would be read in one turn.
 */
export class PageTurns {
  readonly #clock: Clock;
  readonly #iterator: EngineIterator;
  #lookedBefore = 0;

  constructor(clock: Clock, iterator: EngineIterator) {
    this.#clock = clock;
    this.#iterator = iterator;
  }

  /** undefined = go on. */
  pause(): Promise<void> | undefined {
    const { looked } = this.#iterator;
    if (looked - this.#lookedBefore < LOOKS_PER_TURN) return undefined;
    this.#lookedBefore = looked;
    return new Promise((resolve) => {
      this.#clock.defer(resolve);
    });
  }
}

/**
 * What one step may still look at: some rows always, or a page whose first key has more could never go on.
 */
export function looksLeft(iterator: EngineIterator, looksMax: number): number {
  return Math.max(ROWS_PER_STEP, looksMax - iterator.looked);
}

/**
 * Where the next page starts when enough was looked at for this one, found or not; undefined when that is
 * where this one began: a key with so many versions is looked at to its end.
 */
export function resumeKeyAfterCut(
  reader: VisibleReader,
  { cutAt }: EngineIterator,
  span: { readonly start: Uint8Array; readonly end: Uint8Array; readonly reverse: boolean },
): Buffer | undefined {
  const key = cutAt === undefined ? reader.resumeKey() : reader.cutBefore(cutAt);
  if (key === undefined) return undefined;
  const isProgress = span.reverse ? isBelow(key, span.end) : Buffer.compare(key, span.start) > 0;
  return isProgress ? key : undefined;
}

/** Pages are kept as they are asked for by those who read everything. */
function isCacheable({ request }: KvCall): boolean {
  return !request.reverse && !request.keysOnly;
}

function isBelow(key: Uint8Array, end: Uint8Array): boolean {
  return end.length === 0 || Buffer.compare(key, end) < 0;
}

/**
 * Where a span goes on that reaches beyond the range: forward at the range's end, backward below its start.
 */
export function restOfSpan(
  request: { readonly endKey: Uint8Array; readonly reverse: boolean },
  range: { readonly startKey: Uint8Array; readonly endKey: Uint8Array },
): Buffer | undefined {
  const { startKey, endKey } = range;
  if (request.reverse) return startKey.length === 0 ? undefined : Buffer.from(startKey);
  if (endKey.length === 0) return undefined;
  const reachesBeyond = request.endKey.length === 0 || Buffer.compare(request.endKey, endKey) > 0;
  return reachesBeyond ? Buffer.from(endKey) : undefined;
}
