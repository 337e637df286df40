import { assert, BoundedBytes, CairnError, IdTable, isFinding } from '@cairn/base';
import type { Clock, Logger, Rng, Timer } from '@cairn/ports';
import { backoffMs, REFUSAL_BACKOFF, RetryBudget } from './backoff.js';
import { KEY_BYTES_CEILING, VALUE_BYTES_CEILING, type SizeLimits } from './bytes.js';
import { isRetriable } from './errors.js';
import type { ClientStats, ResolvedLimits } from './options.js';
import { outcomeOf, PendingCall, type CallOperation } from './pending-call.js';
import type { RouterConnector } from './router-link.js';
import { closedError, RouterPool } from './router-pool.js';
import { RouterSilence } from './silence.js';
import type { BatchHello, BatchOperation, BatchResponse } from './wire-binding.js';

/** Most operations and bytes of one message; a single larger operation goes alone. */
export const MESSAGE_OPERATIONS_MAX = 256;
export const MESSAGE_BYTES_MAX = 1024 * 1024;
/** Deadlines and rests are looked at no more often than this. */
const SWEEP_INTERVAL_MS_MIN = 5;
/**
 * A router is given so much less for a write than is left (at most a tenth): it knows whether the write was
 * sent anywhere, and its word should come before the deadline passes here, where nobody knows.
 */
const VERDICT_MS_MAX = 100;
const CALL_ID_MAX = 0xffff_ffff;
const SEQUENCE_MAX = 2 ** 48 - 1;

export interface DispatcherOptions {
  readonly limits: ResolvedLimits;
  readonly connector: RouterConnector;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly stats: ClientStats;
  readonly keepAlive: KeepAlive;
}

/**
 * Counts what keeps the host process needed: open point calls together, each page that is waited for and each
 * other call.
 */
export class KeepAlive {
  readonly #connector: RouterConnector;
  #holds = 0;

  constructor(connector: RouterConnector) {
    this.#connector = connector;
  }

  hold(): void {
    this.#holds += 1;
    if (this.#holds === 1) this.#connector.keepAlive?.(true);
  }

  release(): void {
    assert(this.#holds > 0, 'released more often than held');
    this.#holds -= 1;
    if (this.#holds === 0) this.#connector.keepAlive?.(false);
  }
}

/**
 * Carries point operations over the batch stream of whichever router is in use: one message per turn, answers
 * in any order. Owns deadlines, retries and request ids.
 *
 * Invariants: a call in `#open` is queued, sent or resting and its promise is pending; a call leaves `#open`
 * in the same step that settles it; a request id never changes once its operation was sent.
 */
export class Dispatcher {
  readonly pool: RouterPool;
  /** What this cluster accepts, as far as is known. */
  readonly sizes: SizeLimits = { keyBytesMax: KEY_BYTES_CEILING, valueBytesMax: VALUE_BYTES_CEILING };
  readonly #options: DispatcherOptions;
  readonly #clock: Clock;
  readonly #stats: ClientStats;
  readonly #budget: RetryBudget;
  readonly #silence = new RouterSilence();
  readonly #bytes: BoundedBytes;
  readonly #clientId: number;
  readonly #open = new IdTable<PendingCall>();
  /** Calls to send, from `#queueHead`; settled ones are skipped when their turn comes. */
  #queue: PendingCall[] = [];
  #queueHead = 0;
  /** Cancellations to send; only ever of calls that were sent on the current stream. */
  #cancels: number[] = [];
  #resting: PendingCall[] = [];
  #flushScheduled = false;
  /** The stream asked to wait for its drain. */
  #isBlocked = false;
  #isClosed = false;
  #nextCallId = 1;
  #nextSequence = 1;
  /** Newest cluster timestamp seen. */
  #stamp = 0;
  #sweepTimer: Timer | undefined;
  #sweepAtMs = Infinity;
  readonly #flush: () => void;
  readonly #sweep: () => void;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#stats = options.stats;
    this.#bytes = new BoundedBytes({
      name: 'open calls of this client (outstandingBytesMax)',
      limit: options.limits.outstandingBytesMax,
    });
    this.#budget = new RetryBudget(options.limits.retryBudgetMax, options.clock);
    this.#clientId = 1 + options.rng.integer(SEQUENCE_MAX);
    this.#flush = () => this.#flushQueue();
    this.#sweep = () => this.#sweepOpen();
    this.pool = new RouterPool(
      {
        endpoints: options.limits.endpoints,
        connectTimeoutMs: options.limits.connectTimeoutMs,
        connector: options.connector,
        clock: options.clock,
        rng: options.rng,
        logger: options.logger,
      },
      {
        onReady: (hello, timestamp) => this.#onReady(hello, timestamp),
        onMessage: (response) => this.#onMessage(response),
        onDrain: () => {
          this.#isBlocked = false;
          this.#scheduleFlush();
        },
        onLost: (error) => this.#onLost(error),
        needsRouter: () => this.#open.size > 0,
      },
    );
  }

  /**
   * Admits the call and returns its promise, or rejects at once when the client is full, closed or aborted.
   */
  start(operation: CallOperation, byteLength: number, timing: DispatchTiming): Promise<unknown> {
    const refusal = this.#refusal(timing.signal);
    if (refusal !== undefined) return Promise.reject(refusal);
    if (!this.#bytes.tryTakeOrAlone(byteLength)) return Promise.reject(this.#fullOfBytes(byteLength));
    const timeoutMs = timing.timeoutMs ?? this.#options.limits.timeoutMs;
    const call = new PendingCall(operation, byteLength, {
      timeoutMs,
      deadlineMs: this.#clock.nowMs() + timeoutMs,
      signal: timing.signal,
      traceparent: timing.traceparent ?? '',
    });
    call.id = this.#takeCallId();
    if (this.#open.size === 0) this.#options.keepAlive.hold();
    this.#open.set(call.id, call);
    this.#stats.callsStarted += 1;
    this.#stats.callsOpen = this.#open.size;
    if (call.signal !== undefined) this.#watchSignal(call, call.signal);
    if (call.deadlineMs < this.#sweepAtMs) this.#scheduleSweep(call.deadlineMs);
    this.#enqueue(call);
    if (!this.#flushScheduled) this.#scheduleFlush();
    return call.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#sweepTimer?.cancel();
    this.pool.close();
    for (const call of this.#open.sorted()) {
      this.#fail(
        call,
        this.#isPossiblyApplied(call) ? unknownOutcome('the client was closed') : closedError(),
      );
    }
    this.#queue = [];
    this.#queueHead = 0;
    this.#resting = [];
  }

  #enqueue(call: PendingCall): void {
    // Without a router nothing takes calls off the queue but this: settled ones must not pile up in it.
    if (this.#queue.length >= 2 * this.#options.limits.outstandingMax) {
      this.#queue = this.#queue.filter(
        (queued, index) => index >= this.#queueHead && queued.state === 'queued',
      );
      this.#queueHead = 0;
    }
    this.#queue.push(call);
  }

  #refusal(signal: AbortSignal | undefined): CairnError | undefined {
    if (this.#isClosed) return closedError();
    if (signal?.aborted === true) return cancelledError(signal, false);
    const most = this.#options.limits.outstandingMax;
    if (this.#open.size < most) return undefined;
    return new CairnError(
      'RESOURCE_EXHAUSTED',
      `${most} calls are already open in this client (outstandingMax); wait for some before starting more`,
      { retryAfterMs: 10, details: { local: true } },
    );
  }

  #fullOfBytes(bytes: number): CairnError {
    const { message } = this.#bytes.refusal(bytes);
    return new CairnError('RESOURCE_EXHAUSTED', message, { retryAfterMs: 10, details: { local: true } });
  }

  #takeCallId(): number {
    // Ids count up so that a late answer to a call given up long ago cannot meet another call.
    do {
      this.#nextCallId = this.#nextCallId === CALL_ID_MAX ? 1 : this.#nextCallId + 1;
    } while (this.#open.has(this.#nextCallId));
    return this.#nextCallId;
  }

  #watchSignal(call: PendingCall, signal: AbortSignal): void {
    call.onAbort = () => {
      if (call.state === 'done') return;
      const possiblyApplied = this.#isPossiblyApplied(call);
      this.#cancelOnWire(call);
      this.#fail(call, cancelledError(signal, possiblyApplied));
    };
    signal.addEventListener('abort', call.onAbort, { once: true });
  }

  #cancelOnWire(call: PendingCall): void {
    if (call.state !== 'sent') return;
    this.#cancels.push(call.id);
    this.#scheduleFlush();
  }

  /** True when a sending of this write may have taken effect, now or still to come. */
  #isPossiblyApplied(call: PendingCall): boolean {
    return call.isWrite && (call.isUnclear || call.state === 'sent');
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled || this.#isClosed) return;
    this.#flushScheduled = true;
    this.#clock.defer(this.#flush);
  }

  #flushQueue(): void {
    this.#flushScheduled = false;
    if (this.#isClosed) return;
    if (!this.pool.isReady) {
      if (this.#open.size > 0) this.pool.need();
      return;
    }
    if (this.#isBlocked) return;
    const operations = this.#takeOperations();
    if (operations.length > 0) {
      this.#stats.messagesSent += 1;
      this.#stats.operationsSent += operations.length;
      this.#isBlocked = !this.pool.send({ operations });
    }
    if (this.#queueHead < this.#queue.length || this.#cancels.length > 0) this.#scheduleFlush();
  }

  /** The next message: cancellations first, then calls in the order they came. */
  #takeOperations(): BatchOperation[] {
    const operations: BatchOperation[] = [];
    for (const call of this.#cancels.splice(0, MESSAGE_OPERATIONS_MAX)) {
      operations.push({ call, timeoutMs: 0, operation: { $case: 'cancel', value: true }, traceparent: '' });
    }
    const nowMs = this.#clock.nowMs();
    let bytes = 0;
    while (this.#queueHead < this.#queue.length && operations.length < MESSAGE_OPERATIONS_MAX) {
      const call = this.#queue[this.#queueHead];
      assert(call !== undefined, 'the queue has no holes');
      if (call.state === 'queued') {
        if (bytes > 0 && bytes + call.byteLength > MESSAGE_BYTES_MAX) break;
        bytes += call.byteLength;
        this.#prepare(call, nowMs);
        operations.push(call.message);
      }
      this.#queueHead += 1;
    }
    if (this.#queueHead === this.#queue.length) {
      this.#queue = [];
      this.#queueHead = 0;
    }
    return operations;
  }

  #prepare(call: PendingCall, nowMs: number): void {
    const id = call.requestId;
    if (id !== undefined) {
      if (id.sequence === 0) {
        assert(this.#nextSequence <= SEQUENCE_MAX, 'a client sends fewer than 2^48 writes');
        id.client = this.#clientId;
        id.sequence = this.#nextSequence;
        this.#nextSequence += 1;
      }
      // What was only refused before was not applied: this is its first sending as far as the cluster knows,
      // and its stamp says that it is made now.
      if (call.isUnclear) id.retry = true;
      else id.stamp = this.#stamp;
    }
    call.message.call = call.id;
    const leftMs = call.deadlineMs - nowMs;
    const verdictMs = call.isWrite ? Math.min(VERDICT_MS_MAX, leftMs / 10) : 0;
    call.message.timeoutMs = Math.max(1, Math.ceil(leftMs - verdictMs));
    call.sentAtMs = nowMs;
    call.state = 'sent';
  }

  #onReady(hello: BatchHello, timestamp: number): void {
    this.#stats.connections += 1;
    this.#silence.heard(this.#clock.nowMs());
    this.#takeLimits(hello);
    if (timestamp > this.#stamp) this.#stamp = timestamp;
    this.#isBlocked = false;
    this.#scheduleFlush();
  }

  /** What a router says of limits holds as far as it fits into messages at all. */
  #takeLimits({ keyBytesMax, valueBytesMax }: BatchHello): void {
    if (keyBytesMax > 0) this.sizes.keyBytesMax = Math.min(keyBytesMax, KEY_BYTES_CEILING);
    if (valueBytesMax > 0) this.sizes.valueBytesMax = Math.min(valueBytesMax, VALUE_BYTES_CEILING);
  }

  #onMessage(response: BatchResponse): void {
    if (response.timestamp > this.#stamp) this.#stamp = response.timestamp;
    this.#silence.heard(this.#clock.nowMs());
    // The settings of the cluster have changed.
    if (response.hello !== undefined) this.#takeLimits(response.hello);
    const results = response.results;
    for (let index = 0; index < results.length; index += 1) {
      const result = results[index];
      assert(result !== undefined, 'results have no holes');
      const call = this.#open.get(result.call);
      if (call === undefined || call.state !== 'sent') {
        this.#stats.answersLate += 1;
        continue;
      }
      const outcome = outcomeOf(call, result);
      if (outcome instanceof CairnError) this.#onError(call, outcome);
      else this.#succeed(call, outcome);
    }
    if (results.length > 0) this.pool.onAnswered();
  }

  #onError(call: PendingCall, error: CairnError): void {
    if (!isRetriable(error)) {
      // A router that says so speaks of this sending. Only what says what was found is true of all of them.
      const isDefinite = isFinding(error.code);
      const isUnknown = call.isUnclear && !isDefinite && error.code !== 'OUTCOME_UNKNOWN';
      this.#fail(call, isUnknown ? unknownOutcome(error.message, error) : error);
      return;
    }
    call.lastRefusal = error;
    const waitMs = Math.max(error.retryAfterMs, backoffMs(REFUSAL_BACKOFF, call.refusals, this.#options.rng));
    call.refusals += 1;
    const retryAtMs = this.#clock.nowMs() + waitMs;
    if (retryAtMs >= call.deadlineMs || !this.#budget.take()) {
      this.#fail(call, call.isUnclear ? unknownOutcome(error.message, error) : error);
      return;
    }
    this.#stats.refusalsRetried += 1;
    call.state = 'resting';
    call.retryAtMs = retryAtMs;
    this.#resting.push(call);
    if (retryAtMs < this.#sweepAtMs) this.#scheduleSweep(retryAtMs);
  }

  #onLost(error: CairnError): void {
    this.#stats.connectionsLost += 1;
    this.#isBlocked = false;
    this.#cancels = [];
    const again: PendingCall[] = [];
    for (const call of this.#open.sorted()) {
      if (call.state !== 'sent') continue;
      if (call.resend === 'unsafe') {
        this.#fail(call, unknownOutcome(`the connection broke: ${error.message}`, error));
        continue;
      }
      if (call.isWrite) call.isUnclear = true;
      call.state = 'queued';
      again.push(call);
    }
    this.#stats.operationsResent += again.length;
    // What was sent before goes out before what was not.
    this.#queue = again.concat(this.#queue.slice(this.#queueHead));
    this.#queueHead = 0;
  }

  #scheduleSweep(atMs: number): void {
    const delayMs = Math.max(SWEEP_INTERVAL_MS_MIN, atMs - this.#clock.nowMs());
    this.#sweepTimer?.cancel();
    this.#sweepAtMs = atMs;
    this.#sweepTimer = this.#clock.setTimer(delayMs, this.#sweep);
  }

  /**
   * One timer serves all deadlines and rests: it looks at every open call and sets itself to the next due
   * time.
   */
  #sweepOpen(): void {
    this.#sweepTimer = undefined;
    this.#sweepAtMs = Infinity;
    const nowMs = this.#clock.nowMs();
    let nextMs = Infinity;
    const overdue: PendingCall[] = [];
    this.#open.forEach((call) => {
      if (call.deadlineMs <= nowMs) overdue.push(call);
      else if (call.deadlineMs < nextMs) nextMs = call.deadlineMs;
    });
    for (const call of overdue) {
      if (call.state === 'sent') this.#silence.expired(call.sentAtMs);
      this.#expire(call);
    }
    const stillResting: PendingCall[] = [];
    for (const call of this.#resting) {
      if (call.state !== 'resting') continue;
      if (call.retryAtMs > nowMs) {
        stillResting.push(call);
        if (call.retryAtMs < nextMs) nextMs = call.retryAtMs;
        continue;
      }
      call.state = 'queued';
      this.#enqueue(call);
      this.#scheduleFlush();
    }
    this.#resting = stillResting;
    if (nextMs < Infinity && nextMs < this.#sweepAtMs) this.#scheduleSweep(nextMs);
    if (this.pool.isReady && this.#silence.isSilent(nowMs)) {
      this.#stats.routersGivenUp += 1;
      this.pool.giveUp();
    }
  }

  #expire(call: PendingCall): void {
    const within = `no outcome within ${call.timeoutMs} ms`;
    if (this.#isPossiblyApplied(call)) {
      this.#cancelOnWire(call);
      this.#fail(call, unknownOutcome(within, call.lastRefusal));
    } else if (call.state === 'sent' || this.pool.isReady) {
      this.#cancelOnWire(call);
      this.#fail(
        call,
        call.lastRefusal ?? new CairnError('DEADLINE_EXCEEDED', `no answer within ${call.timeoutMs} ms`),
      );
    } else {
      this.#fail(call, this.pool.unreachableError());
    }
  }

  #succeed(call: PendingCall, value: unknown): void {
    this.#forget(call);
    this.#stats.callsSucceeded += 1;
    this.#budget.onSuccess();
    call.resolve(value);
  }

  #fail(call: PendingCall, error: CairnError): void {
    this.#forget(call);
    this.#stats.callsFailed += 1;
    call.reject(error);
  }

  #forget(call: PendingCall): void {
    assert(call.state !== 'done', 'a call settles once');
    call.state = 'done';
    this.#open.delete(call.id);
    this.#bytes.give(call.byteLength);
    this.#stats.callsOpen = this.#open.size;
    if (call.onAbort !== undefined) call.signal?.removeEventListener('abort', call.onAbort);
    if (this.#open.size === 0) this.#options.keepAlive.release();
  }
}

/** How long and until when; what `start` reads of the call's options. */
export interface DispatchTiming {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly traceparent?: string | undefined;
}

function unknownOutcome(reason: string, cause?: CairnError): CairnError {
  return new CairnError('OUTCOME_UNKNOWN', `${reason}; the write may or may not have been applied`, {
    cause,
  });
}

function cancelledError(signal: AbortSignal, possiblyApplied: boolean): CairnError {
  const message = possiblyApplied
    ? 'cancelled by the caller; the write may or may not have been applied'
    : 'cancelled by the caller';
  return new CairnError('CANCELLED', message, { cause: signal.reason, details: { possiblyApplied } });
}
