import { BoundedBytes, CairnError, Holder, IdTable, timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import type { Timer } from '@cairn/ports';
import type { OperationSink, RoutedOperation } from '@cairn/routing';
import {
  errorDetailOf,
  KvOp,
  type DecodedBatchRequest,
  type DecodedOperation,
  type KvRequest,
  type KvResponse,
} from '@cairn/wire';
import type { BatchOperation, BatchResponse, BatchResult } from '@cairn/wire/gen/cairn/v1/kv.js';

import type { BatchCall } from '../calls.js';
import {
  compareAndSetRequest,
  compareAndSetResponse,
  deleteRequest,
  deleteResponse,
  getRequest,
  getResponse,
  expireRequest,
  incrementRequest,
  incrementResponse,
  putRequest,
  putResponse,
} from './convert.js';
import type { Caller } from './callers.js';
import type { DoorContext } from './door-context.js';
import { ANSWERS_HELD } from './open-call.js';
import { carryOut, isInSteps, weightOf, type AskedInSteps, type Done } from './stepped-operations.js';

/**
 * Open operations of a stream, its share, are fewer when answers are large: about so many bytes of them may
 * be under way to one client.
 */
const OPEN_ANSWER_BYTES_TARGET = 64 * 1024 * 1024;
const OPEN_OPERATIONS_MIN = 16;
/**
 * Answers that have been written and that the client has not taken. How large they are is known when they
 * come, so that a burst of large ones passes the target above; beyond this they are refused, for later.
 */
const HELD_ANSWER_BYTES_MAX = 128 * 1024 * 1024;
/**
 * An answer message is closed before it grows beyond this, unless one answer alone does; clients accept 4 MiB
 * by default.
 */
const MESSAGE_BYTES_TARGET = 1024 * 1024;
/** What a result takes besides its value, roughly. */
const RESULT_OVERHEAD_BYTES = 64;
/**
 * A client that got no answer for so long is told the time: the stamps of its next writes must be newer than
 * what ranges may have forgotten by then.
 */
const TELL_TIME_MS = 1_000;
/** Room for small values is taken from the account of the caller so much at a time. */
const CREDIT_BYTES = 64 * 1024;
/** Weight of one answer in the running mean of their sizes. */
const MEAN_WEIGHT = 1 / 8;

const nothing = (): void => undefined;

/**
 * One client's stream of operations: what arrives goes to the router at once, answers of a turn leave in one
 * message, in the order in which they came. Reading stops while the client does not take its answers or has
 * too much under way.
 */
export class BatchStream extends Holder implements OperationSink {
  readonly #call: BatchCall;
  readonly #context: DoorContext;
  readonly caller: Caller;
  readonly #operations: IdTable<RoutedOperation>;
  readonly #aborts = new Map<number, AbortController>();
  #results: BatchResult[] = [];
  #resultBytes = 0;
  /** Taken from the account of the caller for values that are not written yet: bytes, and how often. */
  #chargedBytes = 0;
  #charges = 0;
  /** Of those bytes: still for small values that may come. */
  #credit = 0;
  /** All charges to the account of the caller: those, and those of what was written and not taken. */
  #taken = 0;
  #meanBytes = RESULT_OVERHEAD_BYTES;
  /** Keys and values of what is open. */
  #openBytes = 0;
  readonly #held = new BoundedBytes({
    name: 'answers that a client has not taken',
    limit: HELD_ANSWER_BYTES_MAX,
  });
  #isFlushDue = false;
  /** When the first of the results that are not written yet came. */
  #answeredAtMs = 0;
  /** Counted among the streams that have something open. */
  #isActive = false;
  #isReadPaused = false;
  #isBlocked = false;
  #hasEnded = false;
  #isDraining = false;
  #isClosed = false;
  /** The timestamp that the client was told last. */
  #told = timestamp(0);
  #telling: Timer;
  #hasLeft = false;
  readonly #flush = (): void => {
    this.#sendResults();
  };

  constructor(call: BatchCall, context: DoorContext, hello: BatchResponse['hello']) {
    super();
    this.#call = call;
    this.#context = context;
    this.#operations = new IdTable(context.idSeed);
    this.caller = context.callers.enter(call.getPeer());
    context.callers.answerHolders.add(this);
    this.#write([], hello);
    this.#telling = context.clock.setTimer(TELL_TIME_MS, this.#tellTime);
    call.on('data', (message: DecodedBatchRequest) => {
      if (this.#isClosed || this.#isDraining) return;
      const nowMs = context.clock.nowMs();
      for (const operation of message.operations) this.#begin(operation, nowMs);
      this.#regulate();
    });
    call.on('drain', () => {
      this.#isBlocked = false;
      this.#regulate();
    });
    call.on('end', () => {
      this.#hasEnded = true;
      this.#endWhenDone();
    });
    call.on('cancelled', () => {
      this.close();
    });
    call.on('error', () => {
      // A garbled message ends this stream only; grpc-js has answered with the status.
      this.close();
    });
  }

  /** What was said at first has changed: limits of keys and values. */
  announce(hello: BatchResponse['hello']): void {
    if (this.#isClosed || this.#isDraining) return;
    if (!this.#write([], hello)) this.#isBlocked = true;
  }

  /** Gives up on everything that is open, and on answers that were not taken. */
  close(): void {
    this.#leave();
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#telling.cancel();
    this.#setActive(false);
    for (const operation of this.#operations.sorted()) {
      this.#context.router.cancel(operation);
      operation.span?.end(new CairnError('CANCELLED', 'the stream ended'));
    }
    this.#operations.clear();
    for (const abort of this.#aborts.values()) abort.abort();
    this.#aborts.clear();
    this.#results = [];
  }

  cutOff(): void {
    this.close();
    this.#context.cutOff(this.#call);
  }

  /** Only when nothing waits for the client any more: until then what it holds counts. */
  #leave(): void {
    if (this.#hasLeft) return;
    this.#giveBack(this.heldBytes, this.#taken);
    this.#hasLeft = true;
    const { callers } = this.#context;
    callers.answerHolders.remove(this);
    callers.leave(this.caller);
  }

  /**
   * Takes on nothing more, answers what is open, then ends the stream in good order. A client sends what was
   * not answered to another router.
   */
  drain(): void {
    if (this.#isClosed || this.#isDraining) return;
    this.#isDraining = true;
    this.#call.pause();
    this.#endWhenDone();
  }

  #begin(operation: DecodedOperation, nowMs: number): void {
    const { call } = operation;
    const timeoutMs = operation.timeoutMs === 0 ? this.#context.requestTimeoutMs : operation.timeoutMs;
    try {
      if (operation.refusal !== undefined) throw operation.refusal;
      if (operation.operation?.$case === 'cancel') {
        this.#cancel(call);
        return;
      }
      if (this.#operations.has(call) || (this.#aborts.size > 0 && this.#aborts.has(call))) {
        throw new CairnError('INVALID_ARGUMENT', `call ${call} is open already`, {
          details: { field: 'call' },
        });
      }
      if (isInSteps(operation.operation)) {
        this.#inSteps(call, operation.operation, nowMs + timeoutMs);
        return;
      }
      const request = this.#requestOf(operation);
      const span = this.#context.trace(request, operation.traceparent);
      const routed = this.#context.router.execute(request, this, {
        tag: call,
        timeoutMs,
        caller: this.caller.peer,
        startedAtMs: nowMs,
      });
      // Refused at once: the sink was told already.
      if (routed.state === 'done') span?.end();
      else {
        this.#operations.set(call, routed);
        this.#openBytes += routed.bytes;
        routed.span = span;
      }
    } catch (error) {
      this.#push({ call, result: { $case: 'error', value: errorDetailOf(error) } });
    }
  }

  #requestOf(operation: BatchOperation): KvRequest {
    const { limits } = this.#context;
    const asked = operation.operation;
    switch (asked?.$case) {
      case 'get':
        return getRequest(asked.value);
      case 'put':
        return putRequest(asked.value, limits);
      case 'delete':
        return deleteRequest(asked.value);
      case 'compareAndSet':
        return compareAndSetRequest(asked.value, limits);
      case 'increment':
        return incrementRequest(asked.value, limits);
      case 'expire':
        return expireRequest(asked.value);
      case 'deleteRange':
      case 'snapshotGet':
      case 'getTimestamp':
      case 'commit':
      case 'execute':
      case 'reserve':
      case 'release':
      case 'cancel':
      case undefined:
        throw new CairnError('INVALID_ARGUMENT', 'operation must be given', {
          details: { field: 'operation' },
        });
    }
  }

  #cancel(call: number): void {
    const operation = this.#operations.get(call);
    if (operation !== undefined) {
      this.#forget(operation);
      this.#context.router.cancel(operation);
      operation.span?.end(new CairnError('CANCELLED', 'the caller gave up'));
    }
    this.#aborts.get(call)?.abort();
    this.#aborts.delete(call);
  }

  /** Throws RESOURCE_EXHAUSTED when the caller has its share. */
  #inSteps(call: number, asked: AskedInSteps, deadlineMs: number): void {
    const { ops, bytes } = weightOf(this.#context, asked);
    this.caller.beginCall(ops, bytes);
    this.#openBytes += bytes;
    const abort = new AbortController();
    this.#aborts.set(call, abort);
    const times = {
      deadlineMs,
      signal: abort.signal,
      caller: this.caller.peer,
      nowMs: () => this.#context.clock.nowMs(),
    };
    const finish = (done: Done): void => {
      this.caller.endCall(ops, bytes);
      this.#openBytes -= bytes;
      if (this.#aborts.get(call) !== abort) return;
      this.#aborts.delete(call);
      this.#pushDone(call, done);
    };
    carryOut(this.#context, asked, times).then(finish, (error: unknown) => {
      finish({ result: { $case: 'error', value: errorDetailOf(error) }, isRepeatable: true, valueBytes: 0 });
    });
  }

  #pushDone(call: number, { result, isRepeatable, valueBytes }: Done): void {
    if (!this.#hasRoomFor(valueBytes) && isRepeatable) {
      this.#push({ call, result: { $case: 'error', value: errorDetailOf(ANSWERS_HELD) } });
      return;
    }
    this.#push({ call, result }, valueBytes);
  }

  /** Not open any more. One that was refused at once never was. */
  #forget(operation: RoutedOperation): void {
    if (this.#operations.delete(operation.tag)) this.#openBytes -= operation.bytes;
  }

  complete(operation: RoutedOperation, response: KvResponse): void {
    const valueBytes = response.value?.length ?? 0;
    // An answer with a value belongs to an operation that changed nothing: it may be asked for again.
    if (!this.#hasRoomFor(valueBytes)) {
      this.fail(operation, ANSWERS_HELD);
      return;
    }
    this.#forget(operation);
    this.#push({ call: operation.tag, result: resultOf(response) }, valueBytes);
    this.#context.measured(operation.request.op, this.#answeredAtMs - operation.startedAtMs);
    operation.span?.end();
  }

  /** Takes room for what comes next, of the message that is open or of the next. */
  #hasRoomFor(valueBytes: number): boolean {
    if (valueBytes > this.#credit) {
      // The account of a message is given back with it: it must not pay for the next one's values.
      this.#cutBefore(valueBytes);
      if (!this.#takeRoom(valueBytes)) return false;
    }
    this.#credit -= valueBytes;
    return true;
  }

  /** Takes room for a value in the bound of this stream and in that of all clients. False = there is none. */
  #takeRoom(valueBytes: number): boolean {
    const hasRoom = this.#held.used === 0 || this.#held.hasRoom(this.#resultBytes + valueBytes);
    if (this.#isClosed || !hasRoom) return false;
    // Small values are paid for many at a time, and one by one where room is short.
    const isForMany = valueBytes < CREDIT_BYTES && this.caller.fitsAnswer(CREDIT_BYTES);
    const bytes = isForMany ? CREDIT_BYTES : valueBytes;
    if (!this.caller.takeAnswer(bytes, this)) return false;
    this.#charge(bytes);
    return true;
  }

  #charge(bytes: number): void {
    this.heldBytes += bytes;
    this.#taken += 1;
    this.#chargedBytes += bytes;
    this.#charges += 1;
    this.#credit += bytes;
  }

  /** Values were taken by the client, or are dropped with the stream. */
  #giveBack(valueBytes: number, values: number): void {
    // With the stream all was given back, and calls of messages that were never taken may come later.
    if (this.#hasLeft) return;
    this.heldBytes -= valueBytes;
    this.#taken -= values;
    this.caller.giveAnswers(valueBytes, values);
  }

  fail(operation: RoutedOperation, error: CairnError): void {
    this.#forget(operation);
    this.#context.failed(operation.request.op, operation.startedAtMs, error);
    operation.span?.end(error);
    this.#push({ call: operation.tag, result: { $case: 'error', value: errorDetailOf(error) } });
  }

  #push(result: BatchResult, valueBytes = 0): void {
    if (this.#isClosed) return;
    const bytes = RESULT_OVERHEAD_BYTES + valueBytes;
    this.#meanBytes += (bytes - this.#meanBytes) * MEAN_WEIGHT;
    this.#cutBefore(valueBytes);
    this.#resultBytes += bytes;
    this.#results.push(result);
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    this.#answeredAtMs = this.#context.clock.nowMs();
    this.#context.clock.defer(this.#flush);
  }

  /** A message that the next result would make too long is written without it. */
  #cutBefore(valueBytes: number): void {
    const bytes = RESULT_OVERHEAD_BYTES + valueBytes;
    if (this.#resultBytes > 0 && this.#resultBytes + bytes > MESSAGE_BYTES_TARGET) this.#writeResults();
  }

  #sendResults(): void {
    this.#isFlushDue = false;
    if (this.#isClosed || this.#results.length === 0) return;
    this.#writeResults();
    this.#regulate();
    this.#endWhenDone();
  }

  #writeResults(): void {
    const results = this.#results;
    const bytes = this.#resultBytes;
    this.#results = [];
    this.#resultBytes = 0;
    const chargedBytes = this.#chargedBytes;
    const charges = this.#charges;
    this.#chargedBytes = 0;
    this.#charges = 0;
    this.#credit = 0;
    this.#held.take(bytes);
    const answeredAtMs = this.#answeredAtMs;
    if (charges > 0 && this.heldSinceMs === Infinity) this.heldSinceMs = answeredAtMs;
    const isRoomLeft = this.#write(results, undefined, () => {
      this.#held.give(bytes);
      this.#giveBack(chargedBytes, charges);
      // Messages are taken in their order: whatever is left was written later.
      this.heldSinceMs = this.heldBytes === 0 ? Infinity : Math.max(this.heldSinceMs, answeredAtMs);
    });
    if (!isRoomLeft) this.#isBlocked = true;
  }

  #write(results: BatchResult[], hello: BatchResponse['hello'], onTaken = nothing): boolean {
    this.#told = this.#context.router.latestTimestamp;
    return this.#call.write({ results, hello, timestamp: this.#told }, onTaken);
  }

  readonly #tellTime = (): void => {
    const isOld = this.#context.router.latestTimestamp - this.#told >= TELL_TIME_MS * TIMESTAMP_LOGICAL_STEPS;
    if (isOld && !this.#isBlocked && !this.#write([], undefined)) this.#isBlocked = true;
    this.#telling = this.#context.clock.setTimer(TELL_TIME_MS, this.#tellTime);
  };

  #setActive(isActive: boolean): void {
    if (isActive === this.#isActive) return;
    this.#isActive = isActive;
    this.caller.streamChanged(isActive);
  }

  /** Reads no more while as much is open as this stream may have, until half of it is answered. */
  #regulate(): void {
    const open = this.#operations.size + this.#aborts.size;
    this.#setActive(open > 0);
    if (this.#isDraining) return;
    const openMax = Math.max(
      OPEN_OPERATIONS_MIN,
      Math.min(this.caller.opsPerStream, OPEN_ANSWER_BYTES_TARGET / this.#meanBytes),
    );
    const bytesMax = this.caller.bytesPerStream;
    if (!this.#isReadPaused && (this.#isBlocked || open > openMax || this.#openBytes > bytesMax)) {
      this.#isReadPaused = true;
      this.#call.pause();
    } else if (
      this.#isReadPaused &&
      !this.#isBlocked &&
      open < openMax / 2 &&
      this.#openBytes <= bytesMax / 2
    ) {
      this.#isReadPaused = false;
      this.#call.resume();
    }
  }

  #endWhenDone(): void {
    if (this.#isClosed || !(this.#hasEnded || this.#isDraining)) return;
    if (this.#operations.size > 0 || this.#aborts.size > 0 || this.#results.length > 0) return;
    this.#isClosed = true;
    this.#telling.cancel();
    this.#setActive(false);
    // Leaves the caller when it is closed, which is when the client has taken everything.
    this.#call.end();
  }
}

function resultOf(response: KvResponse): BatchResult['result'] {
  switch (response.op) {
    case KvOp.get:
      return { $case: 'get', value: getResponse(response) };
    case KvOp.put:
      return { $case: 'put', value: putResponse(response) };
    case KvOp.delete:
      return { $case: 'delete', value: deleteResponse(response) };
    case KvOp.compareAndSet:
      return { $case: 'compareAndSet', value: compareAndSetResponse(response) };
    case KvOp.increment:
      return { $case: 'increment', value: incrementResponse(response) };
    case KvOp.expire:
      return { $case: 'expire', value: deleteResponse(response) };
    case KvOp.deleteRange:
    case KvOp.scan:
    case KvOp.txnRead:
    case KvOp.txnWrite:
    case KvOp.execute:
    case KvOp.changes:
    case KvOp.reserve:
      throw new CairnError('INTERNAL', 'spans and transactions are not answered as single operations');
  }
}
