import { assert, CairnError, IdTable, type StoreId, type Timestamp } from '@cairn/base';
import type { Clock, Logger, Rng, Timer } from '@cairn/ports';
import { KvOp, type KvRequest, type KvResponse } from '@cairn/wire';
import { problemOf } from './answers.js';
import { BACKOFF, backoffMs } from './backoff.js';
import type { AnswersUnderWay } from './answers-under-way.js';
import { Breaker, type BreakerRules } from './breaker.js';
import { FairQueue } from './fair-queue.js';
import { LargeReads } from './large-reads.js';
import { isSpan, type RoutedOperation } from './operation.js';
import type { StoreConnector, StoreLink } from './store-link.js';

/** What a connection tells the router. */
export interface ConnectionEvents {
  /** The operations it had, sent and unsent; theirs to be routed again. */
  onLost(store: StoreConnection, sent: readonly RoutedOperation[], unsent: readonly RoutedOperation[]): void;
  onAnswer(operation: RoutedOperation, response: KvResponse): void;
  onTimestamp(seen: Timestamp): void;
  /** It answered what no store can; the connection is given up, `onLost` follows. */
  onNonsense(store: StoreConnection): void;
  /** It is left alone for a while, and gets nothing of what waited for it: theirs to be routed again. */
  onGivenUp(store: StoreConnection, unsent: readonly RoutedOperation[]): void;
}

export interface ConnectionOptions {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly connector: StoreConnector;
  readonly events: ConnectionEvents;
  /** Most operations sent and not answered. */
  readonly pendingMax: number;
  /** Most pages of scans among them. */
  readonly scansMax: number;
  readonly breaker: BreakerRules;
  /** Large answers that are under way, from all stores. */
  readonly answers: AnswersUnderWay;
}

type LinkState = 'connecting' | 'up' | 'down' | 'closed';

/** Small enough to be an immediate integer everywhere. */
const SEQUENCE_MAX = 0x3fff_ffff;
/**
 * A store that leaves an operation unanswered for so long may be hung; doubled each time that happened to it.
 */
const SLOW_AFTER_MS = 800;
/** Spans take longer than single keys. */
const SPAN_SLOW_FACTOR = 4;
const SLOW_DOUBLINGS_MAX = 4;
/** Whoever waited less than this for an answer says nothing about the store. */
const WAITED_MS_MIN = 100;
/** So many bytes of large answers within that time say that the store is busy with them and not hung. */
const PROGRESS_BYTES = 64 * 1024;
/**
 * A frame holds at most this many requests, so that the shard can begin with the first while the rest is on
 * its way.
 */
const REQUESTS_PER_FRAME_MAX = 1_024;
/** And about this many bytes. */
const FRAME_BYTES_TARGET = 4 * 1024 * 1024;
/**
 * How long an operation waits in the send queue for a store that has its fill; then it is refused. So long a
 * queue makes up for bursts, and no caller waits for an answer that nobody expects any more.
 */
const SEND_QUEUE_WAIT_MAX_MS = 200;
/** What those are told to wait who could only go to a store that is given up. */
const REFUSAL_MS_MIN = 25;
const REFUSAL_MS_MAX = 250;
/** How often gets with large answers look whether their callers have taken some. */
const RECHECK_MS = 5;
/** A queue this long is rid of operations that have ended in it; then when it has doubled. */
const LINE_SWEEP_LENGTH_MIN = 16_384;

/**
 * The one connection to one shard node: reconnects by itself, sends one frame per turn, matches answers to
 * operations.
 */
export class StoreConnection {
  readonly storeId: StoreId;
  readonly #options: ConnectionOptions;
  readonly #pending = new IdTable<RoutedOperation>();
  #address: string;
  #state: LinkState = 'down';
  #link: StoreLink | undefined;
  /**
   * What came in this turn and is to be sent at its end, from `#sendQueueHead` on. Empty while others wait.
   */
  #sendQueue: RoutedOperation[] = [];
  #sendQueueHead = 0;
  /** Operations that wait because the store has its fill. */
  readonly #waiting = new FairQueue();
  #lineSweepLength = LINE_SWEEP_LENGTH_MIN;
  /**
   * Pages of scans; they wait until their deadline. A place is taken only while the page is with the store:
   * what looks for a leader or backs off holds up no scan of another range.
   */
  readonly #scans = new FairQueue();
  #scansSweepLength = LINE_SWEEP_LENGTH_MIN;
  #scansSent = 0;
  /** Those that the store may keep while there is nothing to answer: they take no place of others. */
  #heldSent = 0;
  /** Gets, while answers are large; they wait until their deadline, too. */
  readonly #largeReads: LargeReads;
  /** Runs while large reads wait: their callers may have taken answers. */
  #recheck: Timer | undefined;
  #cancelled: number[] = [];
  #isFlushDue = false;
  /** When that was decided: about now, for what comes in this turn. */
  #turnAtMs = 0;
  #sequence = 0;
  #hasWrapped = false;
  readonly #breaker: Breaker;
  /** It answered nonsense: that its connection is there again says nothing. */
  #isDistrusted = false;
  /** When it last answered anything. */
  #answeredAtMs = -1;
  /** For how long callers have waited in vain since then that gave up; and until when that is counted. */
  #silentMs = 0;
  #silentUntilMs = -1;
  #failures = 0;
  #retry: Timer | undefined;
  readonly #isStillInLine = (operation: RoutedOperation): boolean => this.#isInLine(operation);
  readonly #flush = (): void => this.#sendTurn();

  constructor(storeId: StoreId, address: string, options: ConnectionOptions) {
    this.storeId = storeId;
    this.#address = address;
    this.#options = options;
    this.#breaker = new Breaker(options.breaker);
    this.#largeReads = new LargeReads(options.answers);
    this.#connect();
  }

  get address(): string {
    return this.#address;
  }

  get isUp(): boolean {
    return this.#state === 'up';
  }

  /** The store answers, as far as is known. */
  get isWell(): boolean {
    return this.#breaker.state === 'closed';
  }

  /** It is left alone for now: it was given up, and its next probe is not due. */
  get isSpared(): boolean {
    return this.#breaker.state !== 'closed' && !this.#breaker.allows(this.#options.clock.nowMs());
  }

  /** Whether an operation may go to the store now. */
  get isTaking(): boolean {
    return this.#state === 'up' && !this.isSpared;
  }

  /**
   * It is up, was given up, its pause is over, and nobody has sent it anything: somebody must ask, or one
   * that leads nothing by now stays given up.
   */
  get wantsProbe(): boolean {
    return this.#state === 'up' && this.#breaker.state !== 'closed' && !this.isSpared;
  }

  /** What an operation is told that could only go to this store while it is given up. */
  refusal(): CairnError {
    const pauseMs = Math.ceil(this.#breaker.pauseLeftMs(this.#options.clock.nowMs()));
    return new CairnError('UNAVAILABLE', `store ${this.storeId} leaves requests unanswered`, {
      retryAfterMs: Math.min(REFUSAL_MS_MAX, Math.max(REFUSAL_MS_MIN, pauseMs)),
    });
  }

  get pendingCount(): number {
    return (
      this.#pending.size -
      this.#heldSent +
      this.#sendQueue.length -
      this.#sendQueueHead +
      this.#waiting.length
    );
  }

  /** Pages of scans that wait for a place at the store, those that have ended included. */
  get waitingScans(): number {
    return this.#scans.length;
  }

  get queuedBytes(): number {
    return this.#link?.queuedBytes ?? 0;
  }

  get isFull(): boolean {
    return this.pendingCount >= this.#options.pendingMax;
  }

  /** The node moved; a connection to the old place is given up. */
  setAddress(address: string): void {
    if (address === this.#address || this.#state === 'closed') return;
    this.#address = address;
    this.#link?.close();
    this.#lose(undefined);
    this.#retry?.cancel();
    this.#connect();
  }

  /**
   * Takes an operation into the frame of this turn, or in the queue while the store is full. Only while up.
   */
  enqueue(operation: RoutedOperation): void {
    assert(this.#state === 'up', 'an operation was given to a store that is not connected');
    operation.state = 'queued';
    operation.storeId = this.storeId;
    // One look at the clock for all operations of a turn.
    this.#scheduleFlush();
    operation.wakeAtMs = this.#turnAtMs + SEND_QUEUE_WAIT_MAX_MS;
    this.#breaker.sent(this.#turnAtMs);
    if (operation.request.op === KvOp.scan) {
      operation.wakeAtMs = operation.deadlineMs;
      this.#queueScan(operation);
    } else if (this.#largeReads.isCounting && operation.request.op === KvOp.get) {
      operation.wakeAtMs = operation.deadlineMs;
      this.#largeReads.push(operation, this.#isStillInLine);
    } else if (this.#waiting.length === 0) {
      this.#sendQueue.push(operation);
    } else {
      if (this.#waiting.length >= this.#lineSweepLength) this.#sweepWaiting();
      this.#waiting.push(operation);
    }
  }

  /**
   * Frees the slot of a sent operation and tells the shard. One still queued is dropped when the frame is
   * made.
   */
  cancel(operation: RoutedOperation): void {
    if (this.#takeBack(operation)) this.#noteSilence(operation);
  }

  /** Takes an operation out of what is sent; answers whether it was there. */
  #takeBack(operation: RoutedOperation): boolean {
    const { sequence } = operation.request;
    if (operation.state !== 'sent' || this.#pending.get(sequence) !== operation) return false;
    this.#free(operation);
    this.#cancelled.push(sequence);
    this.#scheduleFlush();
    return true;
  }

  /**
   * A caller has given up on an operation. Where nobody waits for as long as it takes to call a store slow,
   * what several have waited in vain, one after the other, counts together.
   */
  #noteSilence(operation: RoutedOperation): void {
    const nowMs = this.#options.clock.nowMs();
    const slowMs = slowAfterMs(operation);
    const sentAtMs = operation.wakeAtMs - slowMs;
    if (nowMs - sentAtMs < WAITED_MS_MIN || this.#answeredAtMs > sentAtMs) return;
    if (this.#hasProgressed(operation)) return;
    if (this.#answeredAtMs > this.#silentUntilMs) this.#silentMs = 0;
    this.#silentMs += nowMs - Math.max(sentAtMs, this.#silentUntilMs);
    this.#silentUntilMs = nowMs;
    if (this.#silentMs >= slowMs) this.#noteFailure();
  }

  #hasProgressed(operation: RoutedOperation): boolean {
    return (this.#link?.largeBytes ?? 0) - operation.largeBytesBefore >= PROGRESS_BYTES;
  }

  /**
   * Large answers went on coming since the operation was sent, or since this was asked last: its own may
   * stand behind them, so it is waited for as long again. To ask another store would only add to what is
   * under way.
   */
  waitsOn(operation: RoutedOperation): boolean {
    if (!this.#hasProgressed(operation)) return false;
    operation.largeBytesBefore = this.#link?.largeBytes ?? 0;
    operation.wakeAtMs = this.#options.clock.nowMs() + slowAfterMs(operation);
    return true;
  }

  /** The store left a sent operation unanswered for too long: it goes elsewhere. */
  abandon(operation: RoutedOperation): void {
    const sentAtMs = operation.wakeAtMs - slowAfterMs(operation);
    this.#takeBack(operation);
    // One that answers others is not given up for what one range of it does.
    if (this.#answeredAtMs <= sentAtMs) this.#noteFailure();
  }

  #noteFailure(): void {
    const { clock, events, logger } = this.#options;
    if (!this.#breaker.failed(clock.nowMs())) return;
    logger.warn('store given up for a while', { store: this.storeId, address: this.#address });
    events.onGivenUp(this, this.#takeUnsent());
  }

  /** What waits here and was not sent; it is not waited for here any more. */
  #takeUnsent(): RoutedOperation[] {
    this.#queueRest();
    return [
      ...this.#largeReads.takeAll(this.#isStillInLine),
      ...this.#waiting.takeAll(this.#isStillInLine),
      ...this.#scans.takeAll(this.#isStillInLine),
    ];
  }

  close(): void {
    this.#link?.close();
    this.#retry?.cancel();
    this.#recheck?.cancel();
    this.#lose(undefined);
    this.#state = 'closed';
  }

  #scheduleFlush(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    this.#turnAtMs = this.#options.clock.nowMs();
    this.#options.clock.defer(this.#flush);
  }

  /** The store has its fill: from here on callers take turns. */
  #queueRest(): void {
    for (let at = this.#sendQueueHead; at < this.#sendQueue.length; at += 1) {
      const operation = this.#sendQueue[at] as RoutedOperation;
      if (this.#isInLine(operation)) this.#waiting.push(operation);
    }
    this.#sendQueue = [];
    this.#sendQueueHead = 0;
  }

  /** Drops those that ended while they waited, or went elsewhere. */
  #sweepWaiting(): void {
    this.#waiting.sweep(this.#isStillInLine);
    this.#lineSweepLength = Math.max(LINE_SWEEP_LENGTH_MIN, 2 * this.#waiting.length);
  }

  #queueScan(operation: RoutedOperation): void {
    if (this.#scans.length >= this.#scansSweepLength) {
      this.#scans.sweep(this.#isStillInLine);
      this.#scansSweepLength = Math.max(LINE_SWEEP_LENGTH_MIN, 2 * this.#scans.length);
    }
    this.#scans.push(operation);
  }

  /** The store has the operation no more, or nobody waits for it. */
  #free(operation: RoutedOperation): void {
    this.#pending.delete(operation.request.sequence);
    if (operation.heldMs > 0) this.#heldSent -= 1;
    if (operation.request.op === KvOp.scan) this.#scansSent -= 1;
    else if (operation.answerBytes > 0) this.#largeReads.free(operation);
  }

  #isInLine(operation: RoutedOperation): boolean {
    return operation.state === 'queued' && operation.storeId === this.storeId;
  }

  #nextToSend(): RoutedOperation | undefined {
    if (this.#scans.length > 0 && this.#scansSent < this.#options.scansMax) {
      const scan = this.#scans.next(this.#isStillInLine);
      if (scan !== undefined) return scan;
    }
    if (this.#largeReads.length > 0) {
      const read = this.#largeReads.next(this.#isStillInLine);
      if (read !== undefined) return read;
    }
    return this.#nextInLine();
  }

  #nextInLine(): RoutedOperation | undefined {
    while (this.#sendQueueHead < this.#sendQueue.length) {
      const operation = this.#sendQueue[this.#sendQueueHead] as RoutedOperation;
      this.#sendQueueHead += 1;
      if (this.#isInLine(operation)) return operation;
    }
    this.#sendQueue = [];
    this.#sendQueueHead = 0;
    return this.#waiting.length === 0 ? undefined : this.#waiting.next(this.#isStillInLine);
  }

  #sendTurn(): void {
    this.#isFlushDue = false;
    const cancelled = this.#cancelled;
    this.#cancelled = [];
    const link = this.#link;
    if (link === undefined || this.#state !== 'up') return;
    const nowMs = this.#options.clock.nowMs();
    const { largeBytes } = link;
    let requests: KvRequest[] = [];
    let bytes = 0;
    while (this.#pending.size - this.#heldSent < this.#options.pendingMax) {
      const operation = this.#nextToSend();
      if (operation === undefined) break;
      const { request } = operation;
      request.sequence = this.#nextSequence();
      request.timeoutMs = Math.max(1, Math.ceil(operation.deadlineMs - nowMs));
      operation.wakeAtMs = nowMs + operation.heldMs + slowAfterMs(operation);
      operation.largeBytesBefore = largeBytes;
      operation.state = 'sent';
      this.#pending.set(request.sequence, operation);
      if (request.op === KvOp.scan) this.#scansSent += 1;
      if (operation.heldMs > 0) this.#heldSent += 1;
      requests.push(request);
      bytes += operation.bytes;
      if (requests.length < REQUESTS_PER_FRAME_MAX && bytes < FRAME_BYTES_TARGET) continue;
      link.send(requests);
      // Sending ended the connection: everything is with the router already.
      if (this.#link !== link) return;
      requests = [];
      bytes = 0;
    }
    if (this.#sendQueueHead < this.#sendQueue.length) this.#queueRest();
    if (requests.length > 0) link.send(requests);
    if (cancelled.length > 0 && this.#link === link) link.cancel(cancelled);
    if (this.#largeReads.length > 0) this.#recheckLater();
  }

  #recheckLater(): void {
    this.#recheck ??= this.#options.clock.setTimer(RECHECK_MS, () => {
      this.#recheck = undefined;
      this.#scheduleFlush();
    });
  }

  #nextSequence(): number {
    do {
      if (this.#sequence === SEQUENCE_MAX) {
        this.#sequence = 0;
        this.#hasWrapped = true;
      }
      this.#sequence += 1;
    } while (this.#hasWrapped && this.#pending.has(this.#sequence));
    return this.#sequence;
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #connect(): void {
    const { connector } = this.#options;
    this.#state = 'connecting';
    let isCurrent = true;
    this.#link = connector.connect(this.storeId, this.#address, {
      onUp: () => {
        if (!isCurrent || this.#state !== 'connecting') return;
        this.#state = 'up';
        this.#failures = 0;
        this.#silentMs = 0;
        if (!this.#isDistrusted) this.#breaker.reconnected(this.#options.clock.nowMs());
        this.#options.logger.info('store connected', { store: this.storeId, address: this.#address });
      },
      onDown: (error) => {
        if (!isCurrent) return;
        isCurrent = false;
        if (this.#state === 'closed') return;
        this.#lose(error);
        this.#reconnectLater();
      },
      onResponses: (responses, maxTimestamp) => {
        if (isCurrent) this.#onResponses(responses, maxTimestamp);
      },
    });
  }

  #onResponses(responses: readonly KvResponse[], maxTimestamp: Timestamp): void {
    const { events } = this.#options;
    events.onTimestamp(maxTimestamp);
    this.#answeredAtMs = this.#options.clock.nowMs();
    if (responses.length > 0) this.#largeReads.answered(responses.length, this.#link?.largeBytes ?? 0);
    for (const response of responses) {
      const operation = this.#pending.get(response.sequence);
      // Cancelled or past its deadline: the slot is free already.
      if (operation === undefined) continue;
      const problem = problemOf(operation, response);
      if (problem !== undefined) {
        this.#giveUpLink(problem);
        return;
      }
      this.#free(operation);
      if (this.#breaker.succeeded()) {
        this.#isDistrusted = false;
        this.#options.logger.info('store taken back', { store: this.storeId, address: this.#address });
      }
      events.onAnswer(operation, response);
    }
    const isAnyWaiting = this.#waiting.length > 0 || this.#scans.length > 0 || this.#largeReads.length > 0;
    if (isAnyWaiting) this.#scheduleFlush();
  }

  /** What it had goes to others, the operation that was answered with nonsense among it. */
  #giveUpLink(problem: string): void {
    const error = new CairnError('CORRUPTION', `store ${this.storeId} answered ${problem}`);
    this.#options.logger.warn('store answered nonsense', { store: this.storeId, problem });
    this.#link?.close();
    this.#isDistrusted = true;
    this.#options.events.onNonsense(this);
    this.#noteFailure();
    this.#lose(error);
    this.#reconnectLater();
  }

  #reconnectLater(): void {
    // Those who were told of the loss may have closed this.
    if (this.#isClosed()) return;
    const { clock, rng } = this.#options;
    // The first attempt is made at once: a restarted process listens again before long.
    const delayMs = this.#failures === 0 ? 1 : backoffMs(BACKOFF.reconnect, this.#failures, rng);
    this.#failures += 1;
    this.#retry = clock.setTimer(delayMs, () => this.#connect());
  }

  #lose(error: Error | undefined): void {
    const wasUp = this.#state === 'up';
    this.#state = 'down';
    this.#link = undefined;
    if (!wasUp) return;
    this.#options.logger.info('store connection lost', {
      store: this.storeId,
      address: this.#address,
      reason: error?.message,
    });
    const sent = this.#pending.sorted();
    if (sent.length > 0 && error !== undefined) this.#noteFailure();
    const unsent = this.#takeUnsent();
    this.#pending.clear();
    this.#largeReads.lost(sent);
    this.#scansSent = 0;
    this.#heldSent = 0;
    this.#cancelled = [];
    this.#options.events.onLost(this, sent, unsent);
  }
}

/** From when an answer is due: what a store keeps on purpose is counted from the end of that. */
function slowAfterMs(operation: RoutedOperation): number {
  const onceMs = isSpan(operation.request.op) ? SLOW_AFTER_MS * SPAN_SLOW_FACTOR : SLOW_AFTER_MS;
  return onceMs * 2 ** Math.min(operation.slowCount, SLOW_DOUBLINGS_MAX);
}
