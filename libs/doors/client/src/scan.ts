import { assert, CairnError, messageOf, NO_BYTES } from '@cairn/base';
import { sleep, type Clock, type Rng } from '@cairn/ports';
import { backoffMs, REFUSAL_BACKOFF, type RetryBudget } from './backoff.js';
import { keyAfter } from './bytes.js';
import type { KeepAlive } from './dispatcher.js';
import { Row } from './entry.js';
import { isRetriable } from './errors.js';
import type { ClientStats } from './options.js';
import type { ScanStream } from './router-link.js';
import type { RouterPool } from './router-pool.js';
import { Consistency, PackedRowReader, type ScanPage, type ScanRequest } from './wire-binding.js';

/** Rows as one network message brought them. */
export interface Page {
  readonly rows: readonly Row[];
  /** The snapshot; 0 for stale scans. */
  readonly timestamp: number;
}

export interface ScanContext {
  readonly pool: RouterPool;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly stats: ClientStats;
  readonly keepAlive: KeepAlive;
  readonly budget: RetryBudget;
  /** Longest wait for one page, retries included. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Scans of this client that are under way. */
  readonly open: { count: number };
}

/** Scans of one client under way: each has a stream, and pages that were read ahead. */
const SCANS_MAX = 1_024;

/**
 * The pages of a span, one consistent snapshot. A stream that breaks is replaced, on whichever router is
 * there, from behind the last row at the snapshot's timestamp; the caller notices nothing but the wait. A
 * page is asked for only when the one before was taken. `request` has its span as start and end (no prefix)
 * and is changed.
 */
export async function* scanPages(
  context: ScanContext,
  request: ScanRequest,
): AsyncGenerator<Page, void, undefined> {
  assert(request.prefix.length === 0, 'prefixes are turned into bounds before');
  const { open } = context;
  if (open.count >= SCANS_MAX) {
    const message = `${SCANS_MAX} scans are under way in this client; finish some before starting more`;
    throw new CairnError('RESOURCE_EXHAUSTED', message, { retryAfterMs: 100, details: { local: true } });
  }
  open.count += 1;
  const run = new ScanRun(context, request);
  // Also when nobody asks for the next page: a stream that is not read holds its connection.
  const onAbort = (): void => run.stop();
  context.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      const page = await nextPage(run, context.keepAlive);
      if (page === undefined) return;
      if (page.rows.length > 0) yield page;
    }
  } finally {
    open.count -= 1;
    context.signal?.removeEventListener('abort', onAbort);
    run.stop();
  }
}

/** Only waiting keeps the host process: a caller that takes no further page holds nothing. */
async function nextPage(run: ScanRun, keepAlive: KeepAlive): Promise<Page | undefined> {
  keepAlive.hold();
  try {
    return await run.nextPage();
  } finally {
    keepAlive.release();
  }
}

class ScanRun {
  readonly #context: ScanContext;
  readonly #request: ScanRequest;
  readonly #hadLimit: boolean;
  #stream: ScanStream | undefined;
  #isDone = false;

  constructor(context: ScanContext, request: ScanRequest) {
    this.#context = context;
    this.#request = request;
    this.#hadLimit = request.limit > 0;
  }

  stop(): void {
    this.#stream?.cancel();
    this.#stream = undefined;
  }

  async nextPage(): Promise<Page | undefined> {
    const deadlineMs = this.#context.clock.nowMs() + this.#context.timeoutMs;
    let failures = 0;
    while (!this.#isDone) {
      try {
        return await this.#pull(deadlineMs);
      } catch (error) {
        this.stop();
        await this.#considerRetry(error, failures, deadlineMs);
        failures += 1;
      }
    }
    return undefined;
  }

  /** Returns when the scan should go on, throws when it should not. */
  async #considerRetry(error: unknown, failures: number, deadlineMs: number): Promise<void> {
    if (!CairnError.is(error) || !isRetriable(error)) throw error;
    if (error.details['unreachable'] === true || error.details['local'] === true) throw error;
    const { clock, rng, signal, budget } = this.#context;
    if (!budget.take()) throw error;
    // The first retry after a break is immediate: another router is probably there.
    const pause = failures === 0 ? error.retryAfterMs : backoffMs(REFUSAL_BACKOFF, failures, rng);
    const waitMs = Math.max(error.retryAfterMs, pause);
    if (clock.nowMs() + waitMs >= deadlineMs) throw error;
    this.#context.stats.scansResumed += 1;
    if (waitMs > 0) {
      await sleep(clock, waitMs, signal).catch(() => {
        throw cancelled(signal);
      });
    }
  }

  async #pull(deadlineMs: number): Promise<Page | undefined> {
    const { pool, clock, signal } = this.#context;
    if (signal?.aborted === true) throw cancelled(signal);
    if (this.#stream === undefined) {
      const timeoutMs = Math.max(1, deadlineMs - clock.nowMs());
      const link = await pool.link({ timeoutMs, failFast: false, signal });
      this.#stream = link.scan(this.#request);
    }
    const response = await this.#within(this.#stream, deadlineMs);
    if (response === undefined) {
      this.#isDone = true;
      return undefined;
    }
    const rows = rowsOf(response);
    this.#check(rows);
    this.#advance(rows, response.timestamp);
    return { rows, timestamp: response.timestamp };
  }

  /**
   * What a router sends is not believed blindly: a page outside of what is left would repeat or lose rows.
   */
  #check(rows: readonly Row[]): void {
    const [first, last] = [rows[0], rows.at(-1)];
    if (first === undefined || last === undefined) return;
    const { start, end, limit, reverse } = this.#request;
    if (this.#hadLimit && rows.length > limit) throw nonsense(`${rows.length} rows where ${limit} are left`);
    const [low, high] = reverse ? [last, first] : [first, last];
    const isInside =
      Buffer.compare(low.key, start) >= 0 &&
      Buffer.compare(low.key, high.key) <= 0 &&
      (end.length === 0 || Buffer.compare(high.key, end) < 0);
    if (!isInside) throw nonsense('rows outside of the span, or out of order');
  }

  /** Moves the request behind the rows, so that sending it again continues the scan. */
  #advance(rows: readonly Row[], timestamp: number): void {
    const request = this.#request;
    if (timestamp > 0) {
      request.consistency = Consistency.TIMESTAMP;
      request.timestamp = timestamp;
    }
    const last = rows.at(-1);
    if (last === undefined) return;
    if (request.reverse) request.end = Buffer.from(last.key);
    else request.start = keyAfter(last.key);
    if (this.#hadLimit) {
      request.limit -= rows.length;
      if (request.limit === 0) this.#isDone = true;
    }
    // A reverse scan that reached the empty bound would mean "to the end": there is nothing below it.
    if (request.reverse && request.end.length === 0) this.#isDone = true;
    if (request.end.length > 0 && Buffer.compare(request.start, request.end) >= 0) this.#isDone = true;
  }

  #within(stream: ScanStream, deadlineMs: number): ReturnType<ScanStream['next']> {
    const { clock, signal, timeoutMs } = this.#context;
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        finish();
        reject(cancelled(signal));
      };
      const timer = clock.setTimer(Math.max(0, deadlineMs - clock.nowMs()), () => {
        finish();
        reject(new CairnError('DEADLINE_EXCEEDED', `no page within ${timeoutMs} ms`));
      });
      signal?.addEventListener('abort', onAbort, { once: true });
      stream.next().then(
        (page) => {
          finish();
          resolve(page);
        },
        (error: unknown) => {
          finish();
          reject(error instanceof Error ? error : new CairnError('INTERNAL', messageOf(error)));
        },
      );
    });
  }
}

/** Views of the page's bytes. */
function rowsOf(page: ScanPage): Row[] {
  const { bytes, count } = page.rows;
  const rows: Row[] = [];
  const reader = new PackedRowReader(bytes);
  while (reader.next()) {
    rows.push(
      new Row(bytes.subarray(reader.keyStart, reader.keyEnd), {
        value: bytes.subarray(reader.valueStart, reader.valueEnd),
        version: bytes.subarray(reader.versionStart, reader.versionEnd),
        expiresUnixMs: reader.expiresUnixMs,
        kind: reader.kind,
      }),
    );
  }
  if (rows.length !== count) throw nonsense(`a page of ${rows.length} rows that says it has ${count}`);
  return rows;
}

function nonsense(what: string): CairnError {
  return new CairnError('INTERNAL', `the router sent ${what}`);
}

function cancelled(signal: AbortSignal | undefined): CairnError {
  // The client was closed.
  if (CairnError.is(signal?.reason) && signal.reason.code === 'CANCELLED') return signal.reason;
  return new CairnError('CANCELLED', 'cancelled by the caller', { cause: signal?.reason });
}

/** A scan as the caller sees it: rows to iterate, or pages. Iterating twice scans twice. */
export class Scan implements AsyncIterable<Row> {
  readonly #start: () => AsyncGenerator<Page, void, undefined>;

  constructor(start: () => AsyncGenerator<Page, void, undefined>) {
    this.#start = start;
  }

  /** Page by page: cheaper than row by row, and with the snapshot's timestamp. */
  pages(): AsyncGenerator<Page, void, undefined> {
    return this.#start();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Row, void, undefined> {
    for await (const page of this.#start()) yield* page.rows;
  }

  /** All rows at once; for spans that are known to be small. */
  async toArray(): Promise<Row[]> {
    const rows: Row[] = [];
    for await (const page of this.#start()) for (const row of page.rows) rows.push(row);
    return rows;
  }
}

/** A request with every field, as the generated encoder wants it. */
export function newScanRequest(): ScanRequest {
  return {
    start: NO_BYTES,
    end: NO_BYTES,
    prefix: NO_BYTES,
    limit: 0,
    reverse: false,
    keysOnly: false,
    consistency: Consistency.LINEARIZABLE,
    timestamp: 0,
    pageBytes: 0,
  };
}
