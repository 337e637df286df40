import { CairnError } from '@cairn/base';
import { Entry } from './entry.js';
import { errorFromDetail } from './errors.js';
import type { BatchOperation, BatchResult, ErrorDetail, RequestId } from './wire-binding.js';

/**
 * Where an open call is.
 * - `queued`: waits for its turn to be sent (or for a router).
 * - `sent`: on the current stream, not answered.
 * - `resting`: refused for the moment; goes back to the queue at `retryAtMs`.
 * - `done`: settled; nothing touches it any more but a queue that has yet to skip it.
 */
export type CallState = 'queued' | 'sent' | 'resting' | 'done';

/** What sending an operation again means when the fate of the first sending is unknown. */
export type ResendRule =
  /** Reads: nothing. */
  | 'harmless'
  /** Writes with a request id: the first outcome is answered. */
  | 'deduplicated'
  /**
   * A span deletion has no request id: an old sending could still delete keys written later. A transaction
   * has none either: it might happen twice.
   */
  | 'unsafe';

type Operation = NonNullable<BatchOperation['operation']>;
/** Operations that are calls; `cancel` is none. */
export type CallOperation = Exclude<Operation, { $case: 'cancel' }>;
export type CallKind = CallOperation['$case'];

const RESEND_RULE: Readonly<Record<CallKind, ResendRule>> = {
  get: 'harmless',
  put: 'deduplicated',
  delete: 'deduplicated',
  compareAndSet: 'deduplicated',
  increment: 'deduplicated',
  expire: 'deduplicated',
  deleteRange: 'unsafe',
  snapshotGet: 'harmless',
  getTimestamp: 'harmless',
  commit: 'unsafe',
  execute: 'unsafe',
  reserve: 'harmless',
  release: 'harmless',
};

type Settle = (value: never) => void;

// The executor below stores what `new Promise` hands it here, so that a call costs no closure of its own.
let newestResolve: Settle | undefined;
let newestReject: ((error: unknown) => void) | undefined;
function captureExecutor(resolve: Settle, reject: (error: unknown) => void): void {
  newestResolve = resolve;
  newestReject = reject;
}

/** One open point operation. All instances have the same shape; the fields are the dispatcher's to change. */
export class PendingCall {
  readonly promise: Promise<unknown>;
  /** The message as it is sent; `call` and `timeoutMs` are filled at each sending. */
  readonly message: BatchOperation;
  readonly kind: CallKind;
  readonly resend: ResendRule;
  /** Part of `message`; filled at the first sending. undefined for operations without one. */
  readonly requestId: RequestId | undefined;
  /** Approximate encoded size. */
  readonly byteLength: number;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  id = 0;
  state: CallState = 'queued';
  /** The newest sending, on the client's clock. */
  sentAtMs = 0;
  /** Refusals so far. */
  refusals = 0;
  retryAtMs = 0;
  /** A sending of a write has no known outcome, because its stream broke. */
  isUnclear = false;
  lastRefusal: CairnError | undefined = undefined;
  onAbort: (() => void) | undefined = undefined;
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (error: unknown) => void;

  constructor(operation: CallOperation, byteLength: number, timing: CallTiming) {
    this.promise = new Promise<unknown>(captureExecutor);
    this.#resolve = newestResolve as (value: unknown) => void;
    this.#reject = newestReject as (error: unknown) => void;
    this.message = { call: 0, timeoutMs: 0, operation, traceparent: timing.traceparent };
    this.kind = operation.$case;
    this.resend = RESEND_RULE[operation.$case];
    this.requestId = requestIdOf(operation);
    this.byteLength = byteLength;
    this.timeoutMs = timing.timeoutMs;
    this.deadlineMs = timing.deadlineMs;
    this.signal = timing.signal;
  }

  get isWrite(): boolean {
    return this.resend !== 'harmless';
  }

  /** Settles the promise; the dispatcher has already forgotten the call. */
  resolve(value: unknown): void {
    this.#resolve(value);
  }

  reject(error: CairnError): void {
    this.#reject(error);
  }
}

export interface CallTiming {
  readonly timeoutMs: number;
  /** On the client's clock. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  readonly traceparent: string;
}

function requestIdOf(operation: CallOperation): RequestId | undefined {
  switch (operation.$case) {
    case 'put':
    case 'delete':
    case 'compareAndSet':
    case 'increment':
    case 'expire':
      return operation.value.requestId;
    default:
      return undefined;
  }
}

/** An id to be filled when the operation is first sent. */
export function blankRequestId(): RequestId {
  return { client: 0, sequence: 0, stamp: 0, retry: false };
}

/** What the call resolves to, or the error the router answered. Of another kind than the call: INTERNAL. */
export function outcomeOf(call: PendingCall, result: BatchResult): unknown {
  const answer = result.result;
  if (answer === undefined) return mismatch(call, 'nothing');
  if (answer.$case === 'error') return refusalOf(call, answer.value);
  if (answer.$case !== call.kind) return mismatch(call, answer.$case);
  switch (answer.$case) {
    case 'get': {
      const { found, value, version, expiresUnixMs } = answer.value;
      return found ? new Entry(value, version, expiresUnixMs) : undefined;
    }
    case 'put':
    case 'delete':
    case 'expire':
      return answer.value;
    case 'compareAndSet': {
      const { succeeded, version, timestamp, found, value, kind } = answer.value;
      const current = found ? new Entry(value, version, 0, kind) : undefined;
      return { succeeded, version, timestamp, current };
    }
    case 'increment':
      return sumOf(call, answer.value.value);
    case 'deleteRange':
      return answer.value.deleted;
    case 'getTimestamp':
    case 'commit':
      return answer.value.timestamp;
    case 'snapshotGet':
    case 'execute':
    case 'reserve':
    case 'release':
      return answer.value;
    default:
      return mismatch(call, 'something unknown');
  }
}

const TRANSACTIONAL: ReadonlySet<CallKind> = new Set([
  ...(['snapshotGet', 'getTimestamp', 'commit', 'execute', 'reserve', 'release'] as const),
]);

/** A router of a release before transactions sees an operation that says nothing. */
function refusalOf({ kind }: PendingCall, detail: ErrorDetail): CairnError {
  const error = errorFromDetail(detail);
  if (!TRANSACTIONAL.has(kind) || error.code !== 'INVALID_ARGUMENT' || detail.field !== 'operation')
    return error;
  const message = 'the router is of an older release than this client, and knows no transactions: upgrade it';
  return new CairnError('FAILED_PRECONDITION', message, { cause: error });
}

/** 64 bits in decimal; a router may send any text. */
function sumOf(call: PendingCall, text: string): bigint | CairnError {
  return /^-?\d{1,20}$/.test(text) ? BigInt(text) : mismatch(call, 'a sum that is not a whole number');
}

function mismatch(call: PendingCall, answered: string): CairnError {
  return new CairnError('INTERNAL', `the router answered ${answered} to ${call.kind}`);
}
