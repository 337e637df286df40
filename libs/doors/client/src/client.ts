import { setMaxListeners } from 'node:events';

import { CairnError, messageOf } from '@cairn/base';
import { noopLogger, type Clock, type Logger, type Rng } from '@cairn/ports';
import { NodeClock, NodeRng } from '@cairn/runtime-node';
import { callAdmin } from './admin-caller.js';
import { atomicOperation, type AtomicReceipt } from './atomic-writes.js';
import { RetryBudget } from './backoff.js';
import { invalidArgument, toBuffer, type BytesInput } from './bytes.js';
import { Election, type ElectionOptions } from './coordination/election.js';
import type { Lock, LockOptions } from './coordination/lock.js';
import { acquireLock, coordinationParts } from './coordination/open.js';
import { Dispatcher, KeepAlive } from './dispatcher.js';
import type { Entry } from './entry.js';
import { executeOperation, executeOutcome, type ExecuteInput, type ExecuteOutcome } from './execute.js';
import { grpcConnector } from './grpc-connector.js';
import * as operations from './operations.js';
import {
  checkTimeout,
  newClientStats,
  resolveLimits,
  type CallOptions,
  type ClientOptions,
  type ClientStats,
  type CompareAndSetOptions,
  type CompareAndSetResult,
  type DeleteReceipt,
  type HoldOptions,
  type Holds,
  type PutOptions,
  type ReadOptions,
  type ResolvedLimits,
  type ScanOptions,
  type Span,
  type WriteOperationInput,
  type WriteOptions,
  type WriteOutcome,
  type WriteReceipt,
} from './options.js';
import type { RouterConnector, UnaryMethod } from './router-link.js';
import { closedError } from './router-pool.js';
import { Scan, scanPages } from './scan.js';
import { Snapshot, timestampAt } from './snapshot.js';
import { Watch } from './watch.js';
import { outageMsOf, tokenBytesOf, watchRequest, type WatchOptions } from './watch-options.js';
import type { Transaction } from './transaction.js';
import {
  attemptsMaxOf,
  isolationOf,
  type ExecuteOperationInput,
  type SnapshotOptions,
  type TransactionOptions,
} from './transaction-options.js';
import { runTransaction } from './transaction-runner.js';
import type { ViewCodecs } from './codecs.js';
import { TypedView } from './typed-view.js';
import { AnswerWindow, forEachWindowed } from './windowed.js';
import {
  ClusterService,
  KVService,
  type Engine,
  type Hold,
  type ExecuteResponse,
  type Node,
  type RangeInfo,
  type Setting,
  type StatusResponse,
} from './wire-binding.js';

/** Of a `writeMany`, at most this many operations are open at a time. */
const MANY_WINDOW = 1024;
/** And of a `getMany`: nobody knows how large their answers are before they come. */
const MANY_READS_WINDOW = 256;
/** Ranges per page of `ranges()`. */
const RANGES_PAGE = 1000;

/** What a router says of itself and its cluster when it is connected. */
export interface ServerInfo {
  readonly endpoint: string;
  readonly clusterId: string;
  readonly serverVersion: string;
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
}

/**
 * A connection to a cluster, through one router at a time. Made by `connect`. Safe to share; one per process
 * is right. It keeps the process alive while calls are open or a router is connected, so close it in the end.
 *
 * Every call rejects with `CairnError`. `code` says what happened, `retryClass` what may be done about it;
 * refusals for the moment are retried here until the deadline. OUTCOME_UNKNOWN means that a write may or may
 * not have been applied: read before deciding what to do.
 */
export class CairnClient {
  readonly #limits: ResolvedLimits;
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #stats: ClientStats = newClientStats();
  readonly #keepAlive: KeepAlive;
  readonly #dispatcher: Dispatcher;
  readonly #scanBudget: RetryBudget;
  readonly #restartBudget: RetryBudget;
  readonly #scans = { count: 0 };
  readonly #watches = { count: 0 };
  readonly #closing = new AbortController();

  /** Callers use `connect`. */
  constructor(options: ClientOptions) {
    this.#limits = resolveLimits(options);
    this.#clock = options.clock ?? new NodeClock();
    this.#rng = options.rng ?? new NodeRng();
    const logger: Logger = options.logger ?? noopLogger;
    const connector: RouterConnector = options.connector ?? grpcConnector();
    this.#keepAlive = new KeepAlive(connector);
    // Each scan and each administrative call listens to it.
    setMaxListeners(0, this.#closing.signal);
    this.#scanBudget = new RetryBudget(this.#limits.retryBudgetMax, this.#clock);
    this.#restartBudget = new RetryBudget(this.#limits.retryBudgetMax, this.#clock);
    this.#dispatcher = new Dispatcher({
      limits: this.#limits,
      connector,
      clock: this.#clock,
      rng: this.#rng,
      logger,
      stats: this.#stats,
      keepAlive: this.#keepAlive,
    });
  }

  /**
   * Connects now instead of with the first call, and tells whom it reached. Rejects with UNAVAILABLE as soon
   * as every endpoint has been tried in vain.
   */
  async ready(options: CallOptions = {}): Promise<ServerInfo> {
    const pool = this.#dispatcher.pool;
    this.#keepAlive.hold();
    try {
      await pool.link({ timeoutMs: this.#timeoutOf(options), failFast: true, signal: options.signal });
    } finally {
      this.#keepAlive.release();
    }
    const { endpoint, hello } = pool;
    if (endpoint === undefined || hello === undefined) throw pool.unreachableError();
    const { clusterId, serverVersion, keyBytesMax, valueBytesMax } = hello;
    return { endpoint, clusterId, serverVersion, keyBytesMax, valueBytesMax };
  }

  /** The entry of the key; undefined when there is none. */
  get(key: BytesInput, options: ReadOptions = {}): Promise<Entry | undefined> {
    // As `#start`, without its closure: this and `put` are the paths that are counted in microseconds.
    let sized;
    try {
      if (options.timeoutMs !== undefined) checkTimeout(options.timeoutMs);
      sized = operations.getOperation(key, options);
    } catch (error) {
      return Promise.reject(asError(error));
    }
    return this.#dispatcher.start(sized.operation, sized.byteLength, options) as Promise<Entry | undefined>;
  }

  /**
   * Writes the key, whatever it held; a time to live that it had goes with it, unless the options name one.
   */
  put(key: BytesInput, value: BytesInput, options: PutOptions = {}): Promise<WriteReceipt> {
    // Without a closure, as in `get`.
    let sized;
    try {
      if (options.timeoutMs !== undefined) checkTimeout(options.timeoutMs);
      sized = operations.putOperation(this.#dispatcher.sizes, key, value, options);
    } catch (error) {
      return Promise.reject(asError(error));
    }
    return this.#dispatcher.start(sized.operation, sized.byteLength, options) as Promise<WriteReceipt>;
  }

  /** Removes the key; removing what is not there succeeds and says so. */
  delete(key: BytesInput, options: WriteOptions = {}): Promise<DeleteReceipt> {
    return this.#start(() => operations.deleteOperation(key, options), options) as Promise<DeleteReceipt>;
  }

  /**
   * Lets a key that is there disappear after so many milliseconds, whatever time to live it had. What is not
   * there stays so, and the receipt says it.
   */
  expire(key: BytesInput, ttlMs: number, options: WriteOptions = {}): Promise<DeleteReceipt> {
    return this.#start(() => {
      if (!(ttlMs > 0)) throw invalidArgument('ttlMs', 'ttlMs must be above 0; persist keeps a key for good');
      return operations.expireOperation(key, ttlMs, options);
    }, options) as Promise<DeleteReceipt>;
  }

  /** Takes a key its time to live: it stays until somebody deletes it. */
  persist(key: BytesInput, options: WriteOptions = {}): Promise<DeleteReceipt> {
    return this.#start(() => operations.expireOperation(key, 0, options), options) as Promise<DeleteReceipt>;
  }

  /**
   * Writes (or, without `value`, deletes) the key if it is as expected; tells what is there if it is not. As
   * with `put`, a time to live that the key had goes, unless the options name one.
   */
  compareAndSet(key: BytesInput, options: CompareAndSetOptions): Promise<CompareAndSetResult> {
    return this.#start(
      () => operations.compareAndSetOperation(this.#dispatcher.sizes, key, options),
      options,
    ) as Promise<CompareAndSetResult>;
  }

  /**
   * Adds to the decimal integer that the key holds (none counts as 0) and returns the sum; a time to live
   * that it has goes on. A value that is no integer, or a sum beyond 64 bits: FAILED_PRECONDITION, nothing
   * changed.
   */
  increment(key: BytesInput, delta: number | bigint = 1, options: WriteOptions = {}): Promise<bigint> {
    return this.#start(
      () => operations.incrementOperation(this.#dispatcher.sizes, key, delta, options),
      options,
    ) as Promise<bigint>;
  }

  /**
   * Removes every key of the span and returns how many there were; not atomic across keys. An empty span is
   * refused, whether it names nothing or an empty prefix: everything is `{ all: true }`. A connection lost
   * midway is OUTCOME_UNKNOWN; running it again is the cure.
   */
  deleteRange(span: Span & { readonly all?: true }, options: CallOptions = {}): Promise<number> {
    return this.#start(() => {
      const isGiven = span.start !== undefined || span.end !== undefined || span.prefix !== undefined;
      const isBounded = operations.isNonEmpty(span.start, span.end, span.prefix);
      if (span.all === true ? isGiven : !isBounded) {
        throw invalidArgument(
          'span',
          'deleteRange takes a prefix, a start or an end that is not empty, or all: true for everything',
        );
      }
      const bounds = operations.boundsOf(span);
      return operations.deleteRangeOperation(bounds, span.all === true);
    }, options) as Promise<number>;
  }

  /**
   * Reads many keys, answers in their order. Each is linearizable by itself; for one instant pass a
   * timestamp, from `timestamp()`. Rejects with the first error.
   */
  async getMany(keys: readonly BytesInput[], options: ReadOptions = {}): Promise<(Entry | undefined)[]> {
    const entries = new Array<Entry | undefined>(keys.length);
    const window = new AnswerWindow(Math.min(MANY_READS_WINDOW, this.#limits.outstandingMax));
    await forEachWindowed(keys.length, window, async (index) => {
      const entry = await this.get(keys[index] ?? '', options);
      window.answered(entry?.value.length ?? 0);
      entries[index] = entry;
    });
    return entries;
  }

  /**
   * Writes many keys. With `atomic` all of them or none, at one timestamp: puts and deletes, each key once;
   * it rejects when nothing happened, and with OUTCOME_UNKNOWN. Without, it says for each what happened, in
   * their order, and never rejects: some may have happened and others not.
   */
  writeMany(
    inputs: readonly WriteOperationInput[],
    options: CallOptions & { readonly atomic: true },
  ): Promise<AtomicReceipt>;
  writeMany(inputs: readonly WriteOperationInput[], options?: CallOptions): Promise<WriteOutcome[]>;
  async writeMany(
    inputs: readonly WriteOperationInput[],
    options: CallOptions & { readonly atomic?: true } = {},
  ): Promise<WriteOutcome[] | AtomicReceipt> {
    if (options.atomic === true) {
      const start = this.#start(() => atomicOperation(this.#dispatcher.sizes, inputs), options);
      return { timestamp: (await start) as number };
    }
    const outcomes = new Array<WriteOutcome>(inputs.length);
    await forEachWindowed(inputs.length, { size: this.#writeWindow(inputs) }, async (index) => {
      const input = inputs[index];
      try {
        if (input === undefined) throw invalidArgument('operations', 'operations must not have holes');
        outcomes[index] = await this.#writeOne(input, options);
      } catch (error) {
        if (!CairnError.is(error)) throw error;
        outcomes[index] = { kind: 'error', error };
      }
    });
    return outcomes;
  }

  /**
   * A transaction as a closure: what it reads is of one instant, and what it writes takes effect when it has
   * returned, all of it or nothing. Resolves to what the closure returns.
   *
   * When others come in between the closure runs again from its beginning, with a pause, as often as the
   * time allows: it must not do what cannot be done twice. In the end that is TRANSACTION_ABORTED, with the
   * number of attempts. What the closure throws rejects as it is, and nothing happened. OUTCOME_UNKNOWN is
   * never tried again: the transaction may have happened.
   */
  async transaction<Result>(
    work: (transaction: Transaction) => Promise<Result> | Result,
    options: TransactionOptions = {},
  ): Promise<Result> {
    const context = {
      dispatcher: this.#dispatcher,
      clock: this.#clock,
      rng: this.#rng,
      keepAlive: this.#keepAlive,
      stats: this.#stats,
      budget: this.#restartBudget,
      scan: (scanOptions: ScanOptions): Scan => this.scan(scanOptions),
    };
    return runTransaction(context, work, {
      isolation: isolationOf(options.isolation),
      timeoutMs: this.#timeoutOf(options),
      attemptsMax: attemptsMaxOf(options.attemptsMax),
      signal: this.#untilClosed(options.signal),
      traceparent: options.traceparent,
    });
  }

  /**
   * A whole transaction in one call: if all conditions hold `then` is carried out, else `else`; at one
   * instant, all or nothing. Results are in the order of the list that was carried out, and have its types.
   * At most 128 conditions and operations together. It has no request id: a connection that breaks is
   * OUTCOME_UNKNOWN.
   */
  async execute<
    const Then extends readonly ExecuteOperationInput[] = readonly [],
    const Else extends readonly ExecuteOperationInput[] = readonly [],
  >(input: ExecuteInput<Then, Else>, options: CallOptions = {}): Promise<ExecuteOutcome<Then, Else>> {
    const answer = await this.#start(() => executeOperation(this.#dispatcher.sizes, input), options);
    return executeOutcome(input, answer as ExecuteResponse);
  }

  /**
   * Acquires a lock, waiting for it if somebody else has it, and renews it until it is released or lost.
   * Rejects with LOCKED when it was held by others for as long as was waited, with CANCELLED after the
   * signal. A name is text of 1 to 512 bytes without `/` and control characters.
   */
  lock(name: string, options: LockOptions = {}): Promise<Lock> {
    return acquireLock(coordinationParts(this, this.#clock, this.#rng), name, options);
  }

  /**
   * An election of one leader among all who campaign under a name. Throws INVALID_ARGUMENT for what cannot
   * be.
   */
  election(name: string, options: ElectionOptions = {}): Election {
    return new Election(coordinationParts(this, this.#clock, this.#rng), name, options);
  }

  /** The cluster as of one instant, now or before: any number of reads that agree with each other. */
  async snapshot(options: SnapshotOptions = {}): Promise<Snapshot> {
    return new Snapshot(this, await timestampAt(options.at, () => this.timestamp(options)));
  }

  /** As many writes at a time as half of what may be open holds, were all as large as the largest. */
  #writeWindow(inputs: readonly WriteOperationInput[]): number {
    let largest = 1;
    for (const input of inputs as readonly (WriteOperationInput | undefined)[]) {
      if (input === undefined) continue;
      const value =
        'put' in input ? input.put.value : 'compareAndSet' in input ? input.compareAndSet.value : undefined;
      // A character of text has at most three bytes.
      const bytes = typeof value === 'string' ? 3 * value.length : (value?.length ?? 0);
      if (bytes > largest) largest = bytes;
    }
    const { outstandingMax, outstandingBytesMax } = this.#limits;
    const byBytes = Math.max(1, Math.floor(outstandingBytesMax / 2 / largest));
    return Math.min(MANY_WINDOW, outstandingMax, byBytes);
  }

  async #writeOne(input: WriteOperationInput, options: CallOptions): Promise<WriteOutcome> {
    if ('put' in input) {
      const receipt = await this.put(input.put.key, input.put.value, { ...options, ...input.put });
      return { kind: 'put', receipt };
    }
    if ('delete' in input) {
      return {
        kind: 'delete',
        receipt: await this.delete(input.delete.key, { ...options, ...input.delete }),
      };
    }
    if ('compareAndSet' in input) {
      const result = await this.compareAndSet(input.compareAndSet.key, {
        ...options,
        ...input.compareAndSet,
      });
      return { kind: 'compareAndSet', result };
    }
    if ('expire' in input) {
      const { key, ttlMs } = input.expire;
      return { kind: 'expire', receipt: await this.expire(key, ttlMs, { ...options, ...input.expire }) };
    }
    if ('persist' in input) {
      const { key } = input.persist;
      return { kind: 'persist', receipt: await this.persist(key, { ...options, ...input.persist }) };
    }
    const { key, delta } = input.increment;
    return { kind: 'increment', value: await this.increment(key, delta, { ...options, ...input.increment }) };
  }

  /**
   * The rows of a span in key order, as one consistent snapshot, fetched as they are consumed. Survives the
   * loss of a router. Nothing happens before the first row or page is asked for.
   */
  scan(options: ScanOptions = {}): Scan {
    const request = operations.scanRequest(options);
    const timeoutMs = this.#timeoutOf(options);
    return new Scan(() => {
      const context = {
        pool: this.#dispatcher.pool,
        clock: this.#clock,
        rng: this.#rng,
        stats: this.#stats,
        keepAlive: this.#keepAlive,
        budget: this.#scanBudget,
        timeoutMs,
        signal: this.#untilClosed(options.signal),
        open: this.#scans,
      };
      return scanPages(context, { ...request });
    });
  }

  /**
   * What is changed in a key, a prefix or a span, as it happens: iterate over it. Each change comes once,
   * in the one order of the cluster, also over the loss of routers: a watch goes on with its token by
   * itself. Rejects with WATCH_RESET when changes that should have come may be forgotten, with UNAVAILABLE
   * when no router is to be had for `outageMsMax`, CANCELLED by the signal. Begins with `start()`, or when
   * the first change is asked for.
   */
  watch(options: WatchOptions = {}): Watch {
    const request = watchRequest(options);
    const { from } = options;
    const context = {
      pool: this.#dispatcher.pool,
      clock: this.#clock,
      rng: this.#rng,
      stats: this.#stats,
      keepAlive: this.#keepAlive,
      signal: this.#untilClosed(options.signal),
      open: this.#watches,
      outageMsMax: outageMsOf(options),
    };
    return new Watch(context, request, async () => {
      if (from === undefined) return undefined;
      if (typeof from === 'string') return { $case: 'token', value: tokenBytesOf(from) };
      const timeoutMs = this.#limits.timeoutMs;
      const now = (): Promise<number> => this.timestamp({ timeoutMs });
      return { $case: 'timestamp', value: await timestampAt(from, now, 'from') };
    });
  }

  /** Pages of a scan; the same as `scan(options).pages()`. */
  pages(options: ScanOptions = {}): ReturnType<Scan['pages']> {
    return this.scan(options).pages();
  }

  /**
   * A fresh timestamp, for reads and scans of one instant: `{ consistency: { timestamp } }`. They see every
   * write that was acknowledged before this call, and perhaps plain ones made shortly after it; strict ones
   * they do not. It stays readable for the cluster's `gc.life_seconds`.
   */
  async timestamp(options: CallOptions = {}): Promise<number> {
    return (await this.#admin(KVService.getTimestamp, {}, options)).timestamp;
  }

  /** Health and numbers of the whole cluster. */
  status(options: CallOptions = {}): Promise<StatusResponse> {
    return this.#admin(ClusterService.status, {}, options);
  }

  /** Every process of the cluster. */
  async nodes(options: CallOptions = {}): Promise<Node[]> {
    return (await this.#admin(ClusterService.listNodes, {}, options)).nodes;
  }

  /** Ranges in key order, from `start`, at most `limit` (0 = all). */
  async ranges(
    options: CallOptions & { readonly start?: BytesInput; readonly limit?: number } = {},
  ): Promise<RangeInfo[]> {
    const ranges: RangeInfo[] = [];
    const most = options.limit === undefined || options.limit === 0 ? Infinity : options.limit;
    let start = toBuffer(options.start ?? '', 'start');
    while (ranges.length < most) {
      const limit = Math.min(RANGES_PAGE, most - ranges.length);
      const page = await this.#admin(ClusterService.listRanges, { start, limit }, options);
      for (const range of page.ranges) ranges.push(range);
      if (page.nextStart.length === 0) break;
      if (Buffer.compare(page.nextStart, start) <= 0)
        throw new CairnError('INTERNAL', 'the router sent a page of ranges that goes on where it began');
      start = page.nextStart;
    }
    return ranges;
  }

  /** Makes each key the first of a range; returns how many ranges that made. */
  async splitRanges(keys: readonly BytesInput[], options: CallOptions = {}): Promise<number> {
    const buffers = keys.map((key) => toBuffer(key, 'keys'));
    return (await this.#admin(ClusterService.splitRanges, { keys: buffers }, options)).created;
  }

  /** What the storage engine of one shard node holds, or of all; of a node that does not answer, why. */
  async engines(options: CallOptions & { readonly storeId?: number } = {}): Promise<Engine[]> {
    const request = { storeId: options.storeId ?? 0 };
    return (await this.#admin(ClusterService.listEngines, request, options)).engines;
  }

  /**
   * Has the engine of one shard node merge what it holds of [start, end), an empty end = to the last key.
   * Resolves when that has begun; `engines` tells when it is done. FAILED_PRECONDITION while one runs
   * there.
   */
  async compactEngine(
    storeId: number,
    options: CallOptions & { readonly start?: BytesInput; readonly end?: BytesInput } = {},
  ): Promise<void> {
    const start = toBuffer(options.start ?? '', 'start');
    const end = toBuffer(options.end ?? '', 'end');
    await this.#admin(ClusterService.compactEngine, { storeId, start, end }, options);
  }

  /**
   * What a shard node knows at this moment of its replicas and of other stores, or of one range, in words for
   * people: no program may rest on their form. FAILED_PRECONDITION when it has no replica of the range.
   */
  async debug(storeId: number, options: CallOptions & { readonly rangeId?: number } = {}): Promise<string> {
    const request = { storeId, rangeId: options.rangeId ?? 0 };
    return (await this.#admin(ClusterService.debug, request, options)).text;
  }

  async settings(options: CallOptions = {}): Promise<Setting[]> {
    return (await this.#admin(ClusterService.listSettings, {}, options)).settings;
  }

  /** Changes a cluster setting; unknown names and bad values are INVALID_ARGUMENT. Empty = the default. */
  putSetting(name: string, value: string, options: CallOptions = {}): Promise<void> {
    return this.putSettings([{ name, value }], options);
  }

  /** Changes several settings together: all of them, or none. They are judged together, too. */
  async putSettings(
    changes: readonly { readonly name: string; readonly value: string }[],
    options: CallOptions = {},
  ): Promise<void> {
    const [first, ...more] = changes;
    if (first === undefined) return;
    await this.#admin(ClusterService.putSetting, { ...first, more }, options);
  }

  /** What keeps old versions from being collected: holds, and what the safe point waits for. */
  holds(options: CallOptions = {}): Promise<Holds> {
    return this.#admin(ClusterService.listHolds, {}, options);
  }

  /**
   * Keeps everything that a read at a timestamp sees, for a time, under a name; or prolongs that. Renew it
   * well before `ttlMs` is over. FAILED_PRECONDITION when what it should keep may be gone already,
   * INVALID_ARGUMENT for a time that is too long and for a timestamp that was not issued.
   */
  async putHold(name: string, { ttlMs, timestamp = 0, reason = '', ...options }: HoldOptions): Promise<Hold> {
    const { hold } = await this.#admin(ClusterService.putHold, { name, timestamp, ttlMs, reason }, options);
    if (hold === undefined) throw new CairnError('INTERNAL', 'the router answered no hold');
    return hold;
  }

  /** Ends a hold at once; answers whether there was one. A repeated call may say that there was none. */
  async deleteHold(name: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.#admin(ClusterService.deleteHold, { name }, options)).deleted;
  }

  /** The same client with typed keys and values, for example `client.withCodec({ value: json<City>() })`. */
  withCodec<Key = string, Value = string>(codecs: ViewCodecs<Key, Value>): TypedView<Key, Value> {
    return new TypedView(this, codecs);
  }

  /** Copies the counters of this client. */
  stats(): ClientStats {
    return { ...this.#stats };
  }

  /**
   * Ends the connection. Open calls reject: with CANCELLED, or OUTCOME_UNKNOWN for writes that were sent.
   * Idempotent.
   */
  close(): void {
    this.#closing.abort(closedError());
    this.#dispatcher.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Turns what `make` throws into a rejection: a call never throws in its caller's face. */
  #start(make: () => operations.SizedOperation, options: CallOptions): Promise<unknown> {
    try {
      if (options.timeoutMs !== undefined) checkTimeout(options.timeoutMs);
      const { operation, byteLength } = make();
      return this.#dispatcher.start(operation, byteLength, options);
    } catch (error) {
      return Promise.reject(asError(error));
    }
  }

  /** Scans and administrative calls end with the client, not at their deadlines. */
  #untilClosed(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
  }

  #timeoutOf(options: CallOptions): number {
    return options.timeoutMs === undefined ? this.#limits.timeoutMs : checkTimeout(options.timeoutMs);
  }

  async #admin<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    const context = {
      pool: this.#dispatcher.pool,
      clock: this.#clock,
      rng: this.#rng,
      keepAlive: this.#keepAlive,
      timeoutMs: this.#timeoutOf(options),
    };
    return callAdmin(context, method, request, { ...options, signal: this.#untilClosed(options.signal) });
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(messageOf(error));
}

/**
 * A client of the cluster behind these endpoints. Does not wait for a connection; see `ready`. Throws
 * INVALID_ARGUMENT for options that cannot be, FAILED_PRECONDITION on a Node before 20.3.
 */
export function connect(options: ClientOptions): CairnClient {
  // The youngest of what is used here; without it calls would fail one by one, in words about functions.
  if (!('any' in AbortSignal))
    throw new CairnError('FAILED_PRECONDITION', '@cairn/client needs Node 20.3 or newer');
  return new CairnClient(options);
}
