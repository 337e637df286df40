import type { CairnError, StoreId } from '@cairn/base';
import type { Span } from '@cairn/ports';
import { detachKvRequest, KvOp, ReadConsistency, type KvRequest, type KvResponse } from '@cairn/wire';
import type { RouteEntry } from './range-cache.js';

/**
 * Receives the outcome of operations; one object serves many of them. Called exactly once per operation,
 * unless cancelled.
 */
export interface OperationSink {
  /** `response.error` is always undefined here. */
  complete(operation: RoutedOperation, response: KvResponse): void;
  fail(operation: RoutedOperation, error: CairnError): void;
}

/**
 * Where an operation is:
 * - `routing`: waits for the metadata service to say where its range is.
 * - `parked`: waits until its range has a leader again; another operation is looking for it.
 * - `waiting`: backs off until `wakeAtMs`.
 * - `queued`: in the frame that a store's connection sends at the end of this turn, or in its send queue
 *   because the store has its fill; until `wakeAtMs` at most, unless it is unclear.
 * - `sent`: a store has it, or had when its connection broke.
 * - `locked`: the locks of other transactions are looked into that were in its way; it is with no store.
 * - `done`: its sink was told, or it was cancelled. Final.
 */
export type OperationState = 'routing' | 'parked' | 'waiting' | 'queued' | 'sent' | 'locked' | 'done';

/** A store that is left alone for a while. */
export interface GivenUpStore {
  /** It gets nothing now; some time later one operation may try it. */
  readonly isSpared: boolean;
  /** For who could only go to it. */
  refusal(): CairnError;
}

/**
 * Operations of one range while nobody is known to lead it: one asks the replicas in turn, the others wait
 * for it. Kept by `LeaderSearch`.
 */
export class Search {
  readonly rangeId: number;
  probe: RoutedOperation;
  /** In the order of arrival: the first succeeds the probe. */
  readonly parked = new Set<RoutedOperation>();
  /** The probe was told that this store leads, which is left alone for a while. */
  givenUp: GivenUpStore | undefined = undefined;

  constructor(rangeId: number, probe: RoutedOperation) {
    this.rangeId = rangeId;
    this.probe = probe;
  }
}

/** One operation in the router, from the door to its answer. All have one shape. */
export class RoutedOperation {
  readonly request: KvRequest;
  readonly sink: OperationSink;
  /** The caller's own number; not looked at here. */
  readonly tag: number;
  /** Who called: callers take turns where there is too little room. '' = nobody in particular. */
  readonly caller: string;
  readonly startedAtMs: number;
  readonly deadlineMs: number;
  /** Counted against the bound of bytes. */
  readonly bytes: number;
  /** The store may keep it so long on purpose, while there is nothing to answer. */
  readonly heldMs: number;
  /** The span as asked for; `request.key` and `request.endKey` are cut to one range each time it is sent. */
  spanStart: Uint8Array;
  spanEnd: Uint8Array;
  state: OperationState = 'routing';
  entry: RouteEntry | undefined = undefined;
  storeId = 0 as StoreId;
  /**
   * While `waiting`: when it is routed again. While `queued`: when it is refused. While `sent`: when its
   * store is held to be slow. Router's clock.
   */
  wakeAtMs = 0;
  /** While `sent`: bytes of large answers that had come from its store when it was last known to be well. */
  largeBytesBefore = 0;
  /** While `sent`: the bytes that its answer is held to have, when it is one of those that are counted. */
  answerBytes = 0;
  /** Times it was routed again, for whatever reason. */
  attempts = 0;
  /** Stores that left it unanswered for too long. */
  slowCount = 0;
  /** Refusals for overload. */
  refusals = 0;
  /** It was sent and nobody knows what became of it: every further sending says `isRetry`. */
  isUnclear = false;
  /** The search for a leader that it carries out or is parked in. */
  search: Search | undefined = undefined;
  /** The door's own: ended by it with the operation. Not looked at here. */
  span: Span | undefined = undefined;
  /** Intrusive list of all open operations. */
  previous: RoutedOperation | undefined = undefined;
  next: RoutedOperation | undefined = undefined;

  constructor(request: KvRequest, sink: OperationSink, times: OperationTimes, startedAtMs: number) {
    this.request = request;
    this.sink = sink;
    this.tag = times.tag;
    this.caller = times.caller ?? '';
    this.startedAtMs = startedAtMs;
    this.deadlineMs = startedAtMs + times.timeoutMs;
    this.heldMs = times.heldMs ?? 0;
    this.bytes = OVERHEAD_BYTES + request.key.length + request.endKey.length + (request.value?.length ?? 0);
    this.spanStart = request.key;
    this.spanEnd = request.endKey;
  }

  /** Before it waits, and is with no store: keeps what is its own, and not the message that it came in. */
  detach(): void {
    const { request } = this;
    request.key = this.spanStart;
    request.endKey = this.spanEnd;
    detachKvRequest(request);
    this.spanStart = request.key;
    this.spanEnd = request.endKey;
  }
}

/** Whose operation it is, and how long it may take. */
export interface OperationTimes {
  readonly tag: number;
  readonly timeoutMs: number;
  readonly caller?: string | undefined;
  /** When it came, if whoever calls has looked at the router's clock in this turn already. */
  readonly startedAtMs?: number;
  /** See `RoutedOperation.heldMs`; default 0. */
  readonly heldMs?: number | undefined;
}

/** What an operation without payload takes, roughly. */
const OVERHEAD_BYTES = 128;

export function isWrite(op: KvOp): boolean {
  switch (op) {
    case KvOp.get:
    case KvOp.scan:
    case KvOp.txnRead:
    case KvOp.changes:
    case KvOp.reserve:
      return false;
    case KvOp.put:
    case KvOp.delete:
    case KvOp.compareAndSet:
    case KvOp.increment:
    case KvOp.deleteRange:
    case KvOp.expire:
    case KvOp.txnWrite:
    case KvOp.execute:
      return true;
  }
}

/** A write that is told from others by a request id; the steps of a transaction are by what they say. */
export function hasIdentity(op: KvOp): boolean {
  return isWrite(op) && op !== KvOp.txnWrite;
}

/** A command of a transaction. */
export function isTransaction(op: KvOp): boolean {
  return op === KvOp.txnRead || op === KvOp.txnWrite || op === KvOp.execute || op === KvOp.reserve;
}

/** Any replica may answer. */
export function isStaleRead(request: KvRequest): boolean {
  return request.consistency === ReadConsistency.stale && !isWrite(request.op);
}

export function isSpan(op: KvOp): boolean {
  return op === KvOp.scan || op === KvOp.deleteRange;
}
