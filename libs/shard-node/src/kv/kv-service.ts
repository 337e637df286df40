import { CairnError, IdTable, storeId, timestamp, type RangeId, type Timestamp } from '@cairn/base';
import type { Clock, Counter, Metrics, Tracer } from '@cairn/ports';
import type { Store } from '@cairn/store';
import {
  decodeKvCancel,
  decodeKvRequests,
  FrameType,
  KvOp,
  KvResponseEncoder,
  MESSAGE_BYTES_MAX,
  newKvResponse,
  tooLong,
  type KvRequest,
  type KvResponse,
  type Session,
} from '@cairn/wire';

import { KvCall, type ResponseSink } from './kv-call.js';
import type { KvLimits } from './kv-limits.js';
import type { KvMachine } from './kv-machine.js';
import type { StoreTimestamps } from './store-timestamps.js';

/** Answers up to this are sent whatever waits already: writes must be, and they are bounded by their number. */
const SMALL_ANSWER_BYTES = 4 * 1024;
const ANSWERS_RETRY_MS = 25;

export interface KvServiceParts {
  readonly clock: Clock;
  readonly tracer: Tracer;
  readonly metrics: Metrics;
  readonly limits: KvLimits;
  readonly timestamps: StoreTimestamps;
  /** For the descriptors in refusals. */
  store(): Store | undefined;
}

/**
 * The key-value door of a shard node: frames of requests in, frames of answers out, as few as their bounds
 * allow per turn and session. Bounded: beyond `callsMax` open requests or `callBytesMax` of their bytes, new ones are refused
 * before anything is spent.
 */
export class KvService {
  readonly #parts: KvServiceParts;
  readonly #machines = new Map<RangeId, KvMachine>();
  readonly #sessions = new Set<KvSession>();
  readonly #refused: Counter;
  /** Less than the reserve is free: writes that need space are refused, deletions and reads go on. */
  isDiskFull = false;
  #openCalls = 0;
  #openBytes = 0;

  constructor(parts: KvServiceParts) {
    this.#parts = parts;
    const { metrics } = parts;
    this.#refused = metrics.counter('cairn_shard_refused_requests_total', 'Requests refused at the door', [
      'reason',
    ]);
    const openCalls = metrics.gauge('cairn_shard_open_requests', 'Requests accepted and not answered yet');
    const openBytes = metrics.gauge(
      'cairn_shard_open_request_bytes',
      'Bytes of keys and values of open requests',
    );
    metrics.onCollect(() => {
      openCalls.set(this.#openCalls);
      openBytes.set(this.#openBytes);
    });
  }

  register(machine: KvMachine): void {
    this.#machines.set(machine.replica.rangeId, machine);
  }

  unregister(machine: KvMachine): void {
    this.#machines.delete(machine.replica.rangeId);
  }

  machines(): Iterable<KvMachine> {
    return this.#machines.values();
  }

  machine(rangeId: RangeId): KvMachine | undefined {
    return this.#machines.get(rangeId);
  }

  /** A router connected for requests. Frames and the close of the session go to what is returned. */
  accept(session: Session): KvSession {
    const accepted = new KvSession(session, this.#parts, (call) => {
      this.#dispatch(call);
    });
    this.#sessions.add(accepted);
    return accepted;
  }

  closed(session: KvSession): void {
    session.cancelAll();
    this.#sessions.delete(session);
  }

  #dispatch(call: KvCall): void {
    const { request } = call;
    const bytes = request.key.length + (request.value?.length ?? 0);
    const { limits } = this.#parts;
    if (this.#openCalls >= limits.callsMax || this.#openBytes + bytes > limits.callBytesMax) {
      this.#refused.add(1, { reason: 'overload' });
      call.fail('RESOURCE_EXHAUSTED', 'the node has too many requests under way', { retryAfterMs: 25 });
      return;
    }
    if (this.isDiskFull && takesSpace(request.op)) {
      this.#refused.add(1, { reason: 'disk-full' });
      call.fail('DISK_FULL', 'the disk of the shard node is nearly full: delete data or add space', {
        retryAfterMs: 1_000,
      });
      return;
    }
    const machine = this.#machines.get(request.rangeId);
    if (machine === undefined) {
      const covering = this.#parts.store()?.replicaCovering(request.key)?.descriptorOrUndefined;
      this.#refused.add(1, { reason: 'no-range' });
      call.fail('RANGE_NOT_FOUND', 'this node has no replica of the range', {
        descriptors: covering === undefined ? [] : [covering],
      });
      return;
    }
    this.#openCalls += 1;
    this.#openBytes += bytes;
    call.countedBytes = bytes;
    call.onDone = this.#callDone;
    if (request.trace !== undefined) {
      call.span = this.#parts.tracer.startSpan('shard.request', request.trace, {
        'cairn.range': request.rangeId,
      });
    }
    machine.submit(call);
  }

  readonly #callDone = (call: KvCall): void => {
    this.#openCalls -= 1;
    this.#openBytes -= call.countedBytes;
  };
}

/** One router's connection: its open calls, and the answers of the turn. */
export class KvSession implements ResponseSink {
  readonly #session: Session;
  readonly #parts: KvServiceParts;
  readonly #dispatch: (call: KvCall) => void;
  readonly #calls = new IdTable<KvCall>();
  readonly #encoder = new KvResponseEncoder();
  #isFlushing = false;

  constructor(session: Session, parts: KvServiceParts, dispatch: (call: KvCall) => void) {
    this.#session = session;
    this.#parts = parts;
    this.#dispatch = dispatch;
  }

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
    const call = new KvCall(request, this, nowMs + request.timeoutMs);
    this.#calls.set(request.sequence, call);
    this.#dispatch(call);
  }

  #cancel(sequence: number): void {
    const call = this.#calls.get(sequence);
    if (call === undefined) return;
    call.isCancelled = true;
    this.#calls.delete(sequence);
  }

  /** The router is gone: what it still waited for is given up where that is possible. */
  cancelAll(): void {
    this.#calls.forEach((call) => {
      call.isCancelled = true;
    });
    this.#calls.clear();
  }

  send(response: KvResponse): void {
    this.#calls.delete(response.sequence);
    this.#encoder.add(payloadBytesOf(response) <= SMALL_ANSWER_BYTES ? response : this.#sendable(response));
    if (this.#encoder.isFull) this.#sendFrame();
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#parts.clock.defer(() => {
      this.#flush();
    });
  }

  /** An answer that cannot be sent is an error for its caller, and for nobody else. */
  #sendable(response: KvResponse): KvResponse {
    const bytes = payloadBytesOf(response);
    if (bytes > MESSAGE_BYTES_MAX) return refusalOf(response, tooLong('the answer', bytes));
    const waiting = this.#session.queuedBytes + this.#encoder.bytes;
    if (waiting === 0 || waiting + bytes <= this.#parts.limits.answerBytesMax) return response;
    return refusalOf(
      response,
      new CairnError('RESOURCE_EXHAUSTED', `${waiting} bytes of answers wait for this connection`, {
        retryAfterMs: ANSWERS_RETRY_MS,
      }),
    );
  }

  #flush(): void {
    this.#isFlushing = false;
    if (this.#encoder.count > 0) this.#sendFrame();
  }

  #sendFrame(): void {
    const frame = this.#encoder.take(this.#maxTimestamp());
    if (!this.#session.isClosed) this.#session.send(FrameType.kvResponses, frame);
  }

  #maxTimestamp(): Timestamp {
    return timestamp(this.#parts.timestamps.max);
  }
}

function payloadBytesOf(response: KvResponse): number {
  return (response.value === undefined ? 0 : response.value.length) + response.rows.bytes.length;
}

/** The same call, answered with an error. */
function refusalOf({ sequence, op }: KvResponse, error: CairnError): KvResponse {
  const response = newKvResponse(sequence, op);
  const { code, message, retryAfterMs } = error;
  response.error = {
    ...{ code, message, retryAfterMs, leaderStoreId: storeId(0), descriptors: [], field: '' },
    isUnclear: false,
  };
  return response;
}

/** Deletions are let through on a full disk: they are how space comes back. */
function takesSpace(op: KvRequest['op']): boolean {
  return op === KvOp.put || op === KvOp.compareAndSet || op === KvOp.increment;
}
