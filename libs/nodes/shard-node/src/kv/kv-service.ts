import {
  BoundedBytes,
  CairnError,
  FairShare,
  IdTable,
  storeId,
  timestamp,
  type GateView,
  type RangeDescriptor,
  type RangeId,
  type Timestamp,
} from '@cairn/base';
import { followCount, type Clock, type Counter, type Metrics, type Timer, type Tracer } from '@cairn/ports';
import {
  COPIED_VALUE_BYTES_MAX,
  decodeKvCancel,
  decodeKvRequests,
  FrameType,
  KvOp,
  KvResponseEncoder,
  MESSAGE_BYTES_MAX,
  newKvResponse,
  tooLong,
  type KvError,
  type KvRequest,
  type KvResponse,
  type Session,
} from '@cairn/wire';

import { isQuestion } from './changes/changes-question.js';
import type { HeldQuestions } from './changes/held-questions.js';
import { faultOfChanges } from './changes/question-checks.js';
import { hasCommand, KvCall, type ResponseSink, type Submitter } from './kv-call.js';
import type { KvLimits } from './kv-limits.js';
import { MeasuredSession, type LaggingSessions } from './lagging-sessions.js';
import type { ReadRoom } from './read-room.js';
import { faultOf, TIMEOUT_MS_MAX, type SizeLimits } from './request-checks.js';
import type { ScanSlots } from './scan-slots.js';
import type { StoreTimestamps } from './store-timestamps.js';
import { faultOfCommand } from './txn/command-checks.js';

/**
 * Answers up to this are sent whatever waits already: those of nearly all writes must be, and they are
 * bounded by their number. A compare-and-set that fails shows what it found, which may be longer.
 */
const SMALL_ANSWER_BYTES = COPIED_VALUE_BYTES_MAX;
const ANSWERS_RETRY_MS = 25;
/** Answers above this wait in a queue of their own, so that small ones and signs of life go first. */
const LARGE_ANSWER_BYTES = 64 * 1024;
/** A large answer is handed to a connection only while fewer bytes than this wait in it. */
const HANDED_BYTES_MAX = 4 * 1024 * 1024;
/** How often it is asked whether the connection has passed some on. */
const HAND_OVER_MS = 4;
/** An open request counts for so much, beside its bytes, when the session is looked for that holds most. */
const REQUEST_BYTES = 1_024;
/** A transaction that a read passes over. */
const TIMESTAMP_BYTES = 8;

export interface KvServiceParts {
  readonly clock: Clock;
  readonly tracer: Tracer;
  readonly metrics: Metrics;
  readonly limits: KvLimits;
  /** What the cluster's settings say about sizes; the widest until they were heard. */
  sizes(): SizeLimits;
  readonly timestamps: StoreTimestamps;
  /** What transactions write is read by no node of an earlier release. */
  readonly gates: Pick<GateView, 'isOpen'>;
  /** 32 bits that no peer knows: it names its requests itself. */
  readonly idSeed: number;
  /** The ranges that have a replica here. */
  readonly machines: ReadonlyMap<RangeId, Submitter>;
  /** The range here that covers a key now, if one does: for the descriptors in refusals. */
  covering(key: Uint8Array): RangeDescriptor | undefined;
  /** Where scans wait; those of a closed session leave. */
  readonly scanSlots: ScanSlots;
  /** Where reads of large rows wait; likewise. */
  readonly readRoom: ReadRoom;
  /** Where questions for changes wait; likewise. */
  readonly heldQuestions: Pick<HeldQuestions, 'forget'>;
  /** Where commands to reserve keys wait; likewise. */
  readonly heldReserves: Pick<HeldQuestions, 'forget'>;
  /** Which sessions are ended where others find no room. */
  readonly lagging: LaggingSessions;
}

/**
 * The key-value door of a shard node: frames of requests in, frames of answers out, as few as their bounds
 * allow per turn and session. Bounded: beyond `callsMax` open requests or `callBytesMax` of their bytes, and
 * beyond a session's share of both, new ones are refused before anything is spent.
 */
export class KvService {
  readonly #parts: KvServiceParts;
  readonly #machines: ReadonlyMap<RangeId, Submitter>;
  readonly #sessions = new Set<KvSession>();
  readonly #refused: Counter;
  /** Less than the reserve is free: writes that need space are refused, deletions and reads go on. */
  isDiskFull = false;
  readonly #open: BoundedBytes;
  readonly #places: FairShare;
  readonly #bytes: FairShare;

  constructor(parts: KvServiceParts) {
    this.#parts = parts;
    this.#machines = parts.machines;
    const { limits, metrics } = parts;
    this.#open = new BoundedBytes({
      name: 'requests under way at the node',
      limit: limits.callBytesMax,
      countLimit: limits.callsMax,
    });
    this.#places = new FairShare(limits.callsMax);
    this.#bytes = new FairShare(limits.callBytesMax);
    this.#refused = metrics.counter('cairn_shard_refused_requests_total', 'Requests refused at the door', [
      'reason',
    ]);
    const openCalls = metrics.gauge('cairn_shard_open_requests', 'Requests accepted and not answered yet');
    const ended = followCount(
      metrics.counter(
        'cairn_shard_ended_connections_total',
        'Connections ended that took no answers while others found no room',
      ),
    );
    const openBytes = metrics.gauge(
      'cairn_shard_open_request_bytes',
      'Bytes of keys and values of open requests',
    );
    const answerBytes = metrics.gauge(
      'cairn_shard_waiting_answer_bytes',
      'Bytes of answers that their connections have not taken',
    );
    const readBytes = metrics.gauge(
      'cairn_shard_read_bytes',
      'Bytes of rows read for point reads and commands that are not answered yet',
    );
    const waitingReads = metrics.gauge(
      'cairn_shard_waiting_reads',
      'Point reads and commands that wait until there is room for their rows',
    );
    metrics.onCollect(() => {
      readBytes.set(parts.readRoom.heldBytes);
      ended(parts.lagging.ended);
      waitingReads.set(parts.readRoom.waitingCount);
      answerBytes.set(this.#door.waitingBytes());
      openCalls.set(this.#open.count);
      openBytes.set(this.#open.used);
    });
  }

  /** A router connected for requests. Frames and the close of the session go to what is returned. */
  accept(session: Session): KvSession {
    const accepted = new KvSession(session, this.#parts, this.#door);
    this.#sessions.add(accepted);
    this.#parts.lagging.add(accepted);
    return accepted;
  }

  closed(session: KvSession): void {
    this.#parts.lagging.remove(session);
    session.cancelAll();
    this.#parts.scanSlots.forget(session);
    this.#parts.readRoom.forget(session);
    this.#parts.heldQuestions.forget(session);
    this.#parts.heldReserves.forget(session);
    this.#sessions.delete(session);
  }

  #dispatch(session: KvSession, call: KvCall): void {
    const { request } = call;
    const sizes = this.#parts.sizes();
    const fault = faultOf(request, sizes) ?? faultOfCommand(call, sizes) ?? faultOfChanges(call);
    if (fault !== undefined) {
      this.#refused.add(1, { reason: 'invalid' });
      call.fail('INVALID_ARGUMENT', fault.message, { field: fault.field });
      return;
    }
    if (hasCommand(request) && !this.#parts.gates.isOpen('transactions')) {
      this.#refused.add(1, { reason: 'gate' });
      call.fail('FAILED_PRECONDITION', 'no transactions before all nodes of the cluster are upgraded');
      return;
    }
    if (isQuestion(request) && !this.#parts.gates.isOpen('changeStreams')) {
      this.#refused.add(1, { reason: 'gate' });
      call.fail('FAILED_PRECONDITION', 'no change streams before all nodes of the cluster are upgraded');
      return;
    }
    const bytes = heldBytesOf(request);
    if (!this.#hasRoomFor(session.open, bytes) && !this.#makeRoomFor(session, bytes)) {
      this.#refused.add(1, { reason: 'overload' });
      call.fail('RESOURCE_EXHAUSTED', 'the node has too many requests under way', { retryAfterMs: 25 });
      return;
    }
    if (this.isDiskFull && takesSpace(call)) {
      this.#refused.add(1, { reason: 'disk-full' });
      call.fail('DISK_FULL', 'the disk of the shard node is nearly full: delete data or add space', {
        retryAfterMs: 1_000,
      });
      return;
    }
    const machine = this.#machines.get(request.rangeId);
    if (machine === undefined) {
      const covering = this.#parts.covering(request.key);
      this.#refused.add(1, { reason: 'no-range' });
      call.fail('RANGE_NOT_FOUND', 'this node has no replica of the range', {
        descriptors: covering === undefined ? [] : [covering],
      });
      return;
    }
    this.#open.take(bytes);
    session.open.take(bytes);
    call.countedBytes = bytes;
    call.onDone = session.callDone;
    if (request.trace !== undefined) {
      call.span = this.#parts.tracer.startSpan('shard.request', request.trace, {
        'cairn.range': request.rangeId,
      });
    }
    machine.submit(call);
  }

  /** Sessions have the shares of `FairShare` of both: whoever comes later finds room. */
  #hasRoomFor(own: BoundedBytes, bytes: number): boolean {
    const { count, used } = this.#open;
    return this.#places.allows(own.count, 1, count) && this.#bytes.allows(own.used, bytes, used);
  }

  /** Ends one of the sessions that take no answers. */
  #makeRoomFor(session: KvSession, bytes: number): boolean {
    const { count, used } = session.open;
    const isBelowFloor = this.#places.isBelowFloor(count, 1) && this.#bytes.isBelowFloor(used, bytes);
    return this.#parts.lagging.makeRoom(session, isBelowFloor) && this.#hasRoomFor(session.open, bytes);
  }

  readonly #door: SessionDoor = {
    dispatch: (session, call) => {
      this.#dispatch(session, call);
    },
    released: (bytes) => {
      this.#open.give(bytes);
    },
    waitingBytes: () => {
      let bytes = 0;
      for (const session of this.#sessions) bytes += session.waitingBytes;
      return bytes;
    },
  };
}

/** What its sessions need of the service. */
interface SessionDoor {
  dispatch(session: KvSession, call: KvCall): void;
  /** A call is answered: its place is free. */
  released(bytes: number): void;
  /** Bytes of answers that wait in all sessions. */
  waitingBytes(): number;
}

/** One router's connection: its open calls, and the answers of the turn. */
export class KvSession extends MeasuredSession implements ResponseSink {
  readonly caller = this;
  readonly #session: Session;
  readonly #parts: KvServiceParts;
  readonly #door: SessionDoor;
  /** The open requests of this session: the node shares out its places among sessions. */
  readonly open = new BoundedBytes({ name: 'requests under way of one connection', limit: Infinity });
  readonly reading = new BoundedBytes({ name: 'rows read for one connection', limit: Infinity });
  readonly #calls: IdTable<KvCall>;
  readonly #encoder = new KvResponseEncoder();
  #isFlushing = false;
  /**
   * Large answers that wait until the connection has passed on what it has, by sequence. Bounded with all
   * that waits for the connection, see `#sendable`.
   */
  readonly #large = new Map<number, KvResponse>();
  #largeBytes = 0;
  /** Pages of scans among them. */
  #largePages = 0;
  #handOver: Timer | undefined;
  #isPageEncoded = false;
  /** Bytes of all frames that were handed to the connection; and where the last page ends in them. */
  #framedBytes = 0;
  #pageEndsAt = 0;
  /** It lags until so much was taken: all that had been handed to the connection when that was looked at. */
  #catchUpBytes = 0;

  constructor(session: Session, parts: KvServiceParts, door: SessionDoor) {
    super();
    this.#session = session;
    this.#parts = parts;
    this.#door = door;
    this.#calls = new IdTable(parts.idSeed);
  }

  readonly callDone = (call: KvCall): void => {
    this.open.give(call.countedBytes);
    this.#door.released(call.countedBytes);
  };

  /** A frame from the router. Throws CORRUPTION for a garbled one, which closes this session only. */
  onFrame(type: FrameType, body: Buffer): void {
    if (type === FrameType.kvRequests) {
      const nowMs = this.#parts.clock.nowMs();
      for (const request of decodeKvRequests(body)) this.#begin(request, nowMs);
    } else if (type === FrameType.kvCancel) {
      for (const sequence of decodeKvCancel(body)) this.#cancel(sequence);
    }
  }

  #begin(request: KvRequest, nowMs: number): void {
    const call = new KvCall(request, this, nowMs + Math.min(request.timeoutMs, TIMEOUT_MS_MAX));
    this.#calls.set(request.sequence, call);
    this.#door.dispatch(this, call);
  }

  #cancel(sequence: number): void {
    const call = this.#calls.get(sequence);
    if (call === undefined) {
      this.#takeLarge(sequence);
      return;
    }
    call.isCancelled = true;
    this.#calls.delete(sequence);
  }

  /** The router is gone: what it still waited for is given up where that is possible. */
  cancelAll(): void {
    this.#calls.forEach((call) => {
      call.isCancelled = true;
    });
    this.#calls.clear();
    this.#large.clear();
    this.#largeBytes = 0;
    this.#largePages = 0;
    this.#handOver?.cancel();
  }

  send(response: KvResponse): void {
    this.#calls.delete(response.sequence);
    if (payloadBytesOf(response) <= SMALL_ANSWER_BYTES) this.#encode(response);
    else this.#addLarge(this.#sendable(response));
    if (this.#encoder.isFull) this.#sendFrame();
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#parts.clock.defer(() => {
      this.#flush();
    });
  }

  #addLarge(response: KvResponse): void {
    const bytes = payloadBytesOf(response);
    if (bytes <= LARGE_ANSWER_BYTES) {
      this.#encode(response);
      return;
    }
    // A peer that uses one sequence for two requests gets one answer.
    this.#takeLarge(response.sequence);
    this.#large.set(response.sequence, response);
    this.#largeBytes += bytes;
    if (response.op === KvOp.scan) this.#largePages += 1;
    if (this.#handOver === undefined) this.#handOverLarge();
  }

  #takeLarge(sequence: number): void {
    const response = this.#large.get(sequence);
    if (response === undefined) return;
    this.#large.delete(sequence);
    this.#largeBytes -= payloadBytesOf(response);
    if (response.op === KvOp.scan) this.#largePages -= 1;
  }

  #encode(response: KvResponse): void {
    this.#encoder.add(response);
    if (response.op === KvOp.scan) this.#isPageEncoded = true;
  }

  /** An answer that cannot be sent is an error for its caller, and for nobody else. */
  #sendable(response: KvResponse): KvResponse {
    const bytes = payloadBytesOf(response);
    if (bytes > MESSAGE_BYTES_MAX) return refusalOf(response, tooLong('the answer', bytes));
    const waiting = this.waitingBytes;
    const { allAnswerBytesMax, answerBytesMax } = this.#parts.limits;
    const isWithin =
      waiting + bytes <= answerBytesMax && this.#door.waitingBytes() + bytes <= allAnswerBytesMax;
    if (waiting === 0 || isWithin) return response;
    return refusalOf(
      response,
      new CairnError('RESOURCE_EXHAUSTED', `${waiting} bytes of answers wait for this connection`, {
        retryAfterMs: ANSWERS_RETRY_MS,
      }),
    );
  }

  /** One answer at least for whoever has taken everything; others only as far as it keeps up. */
  hasRoomFor(bytes: number, isMore: boolean): boolean {
    const waiting = this.waitingBytes;
    if (waiting === 0 && !isMore) return true;
    const { allAnswerBytesMax, pagesAheadBytesMax } = this.#parts.limits;
    return waiting + bytes <= pagesAheadBytesMax && this.#door.waitingBytes() + bytes <= allAnswerBytesMax;
  }

  /** One page also behind values, however many of those its other side keeps coming: scans are to go on. */
  hasRoomForPage(bytes: number, isMore: boolean): boolean {
    if (this.hasRoomFor(bytes, isMore)) return true;
    const isPageHere = this.#largePages > 0 || this.#isPageEncoded;
    const takenBytes = this.#framedBytes - this.#session.queuedBytes;
    if (isMore || isPageHere || takenBytes < this.#pageEndsAt) return false;
    return this.#door.waitingBytes() + bytes <= this.#parts.limits.allAnswerBytesMax;
  }

  /** Bytes of answers that its other side has not taken. */
  get waitingBytes(): number {
    return this.#session.queuedBytes + this.#encoder.bytes + this.#largeBytes;
  }

  measure(nowMs: number): void {
    const { waitingBytes, open } = this;
    this.heldBytes = waitingBytes === 0 ? 0 : waitingBytes + open.used + open.count * REQUEST_BYTES;
    if (waitingBytes > 0 && this.#framedBytes - this.#session.queuedBytes < this.#catchUpBytes) return;
    this.heldSinceMs = nowMs;
    this.#catchUpBytes = this.#framedBytes;
  }

  cutOff(): void {
    this.#session.close();
  }

  #flush(): void {
    this.#isFlushing = false;
    if (this.#encoder.count > 0) this.#sendFrame();
  }

  /** Each in a frame of its own, as far as the connection passes them on. */
  #handOverLarge(): void {
    for (const [sequence, response] of this.#large) {
      if (this.#session.isClosed) return;
      if (this.#session.queuedBytes >= HANDED_BYTES_MAX) break;
      this.#takeLarge(sequence);
      this.#encode(response);
      this.#sendFrame();
    }
    if (this.#large.size === 0 || this.#handOver !== undefined) return;
    this.#handOver = this.#parts.clock.setTimer(HAND_OVER_MS, () => {
      this.#handOver = undefined;
      this.#handOverLarge();
    });
  }

  #sendFrame(): void {
    const frame = this.#encoder.take(this.#maxTimestamp());
    const before = this.#session.queuedBytes;
    if (!this.#session.isClosed) this.#session.send(FrameType.kvResponses, frame);
    this.#framedBytes += this.#session.queuedBytes - before;
    if (this.#isPageEncoded) this.#pageEndsAt = this.#framedBytes;
    this.#isPageEncoded = false;
  }

  #maxTimestamp(): Timestamp {
    return timestamp(this.#parts.timestamps.max);
  }
}

function heldBytesOf(request: KvRequest): number {
  const { endKey, expected, ignoreLocks, key, value } = request;
  const valueBytes = value === undefined ? 0 : value.length;
  const bytes = key.length + valueBytes + endKey.length + expected.length;
  // Decoded, a command takes about as much once more.
  return bytes + ignoreLocks.length * TIMESTAMP_BYTES + (hasCommand(request) ? valueBytes : 0);
}

function payloadBytesOf({ error, rows, value }: KvResponse): number {
  if (error !== undefined) return locksBytesOf(error);
  return (value === undefined ? 0 : value.length) + rows.bytes.length;
}

/** Keys may be of tens of kilobytes. */
function locksBytesOf({ locks }: KvError): number {
  let bytes = 0;
  for (const { key, primary } of locks) bytes += key.length + primary.length;
  return bytes;
}

/** The same call, answered with an error. */
function refusalOf({ sequence, op }: KvResponse, error: CairnError): KvResponse {
  const response = newKvResponse(sequence, op);
  const { code, message, retryAfterMs } = error;
  response.error = {
    ...{
      code,
      message,
      retryAfterMs,
      leaderStoreId: storeId(0),
      descriptors: [],
      field: '',
      kind: 0,
      locks: [],
    },
    // A command is in the log with its outcome: sent again as if for the first time, it would be judged anew.
    isUnclear: isLogged(op),
  };
  return response;
}

function isLogged(op: KvRequest['op']): boolean {
  return (
    op !== KvOp.get && op !== KvOp.scan && op !== KvOp.txnRead && op !== KvOp.changes && op !== KvOp.reserve
  );
}

/**
 * Deletions are let through on a full disk: they are how space comes back. So is what ends a transaction: its
 * locks hold more than their end takes.
 */
function takesSpace(call: KvCall): boolean {
  switch (call.request.op) {
    case KvOp.put:
    case KvOp.compareAndSet:
    case KvOp.increment:
    case KvOp.expire:
    case KvOp.execute:
      return true;
    case KvOp.txnWrite:
      return call.command.type === 'prewrite';
    case KvOp.get:
    case KvOp.scan:
    case KvOp.txnRead:
    case KvOp.changes:
    case KvOp.reserve:
    case KvOp.delete:
    case KvOp.deleteRange:
      return false;
  }
}
