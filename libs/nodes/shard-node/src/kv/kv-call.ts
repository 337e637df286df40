import {
  NOTHING,
  RowKind,
  rowKindName,
  timestamp,
  type BoundedBytes,
  type ErrorCode,
  type RangeDescriptor,
  type StoreId,
  type Timestamp,
  NO_BYTES,
} from '@cairn/base';
import type { Span } from '@cairn/ports';
import {
  decodeExecute,
  decodeReservation,
  decodeTxnRead,
  decodeTxnWrite,
  detachKvRequest,
  encodeTxnReply,
  KvOp,
  LOCKS_TOLD_MAX,
  NO_ROWS,
  ReadConsistency,
  type ExecuteCommand,
  type KvError,
  type KvRequest,
  type KvResponse,
  type LockInfo,
  type ReservationCommand,
  type TxnReadCommand,
  type TxnReply,
  type TxnWriteCommand,
} from '@cairn/wire';

import { decodeQuestion, type ChangesQuestion } from './changes/changes-question.js';

const NO_STORE = 0 as StoreId;
/** For who does not look into the locks that are in the way. */
const LOCKED_RETRY_MS = 10;

/** Where answers go: the session the request came by. */
export interface ResponseSink {
  /**
   * Copies values up to `COPIED_VALUE_BYTES_MAX`, whose memory may change after the call; keeps longer ones.
   */
  send(response: KvResponse): void;
  /** Rows that were read for it and are not answered; kept by `ReadRoom`, which bounds them. */
  readonly reading: BoundedBytes;
  /**
   * Whether its other side takes what it gets, so that `bytes` more may be made ready for it. `isMore`:
   * others are made for it already; otherwise one that waits for nothing is always given one.
   */
  hasRoomFor(bytes: number, isMore: boolean): boolean;
  /** The same for a page of a scan; one that waits for no page is given one, whatever else it waits for. */
  hasRoomForPage(bytes: number, isMore: boolean): boolean;
}

/** What a request of a transaction asks for. */
export type TxnCommand = TxnReadCommand | TxnWriteCommand | ExecuteCommand | ReservationCommand;

/** What was looked up for a command that waits: a commit by name, 0 = rolled back, undefined = nothing. */
export interface DecisionLooks {
  /** When the leadership began in which they were made. */
  readonly since: Timestamp;
  /** `Decisions.published` when the first of them began. */
  readonly published: number;
  readonly found: Map<string, Timestamp | undefined>;
}

/** Who counts the rows that calls have read; see `ReadRoom`. */
export interface RowHolder {
  /** The call does not go on for now, or is answered: what it holds is free. */
  giveBack(call: KvCall): void;
}

/** One request on this store, from its frame to its answer. Answered exactly once. */
export class KvCall {
  readonly request: KvRequest;
  readonly #sink: ResponseSink;
  /** On the store's monotonic clock. */
  readonly deadlineMs: number;
  isDone = false;
  /** Nobody could say what time it is: expiries are judged by what is known here. */
  isTimeUnknown = false;
  /** Set by a cancel frame or a closed session: nobody waits for the answer any more. */
  isCancelled = false;
  /** Times it was looked at and had to wait for a cold row. */
  coldReads = 0;
  /** The bytes that the door counted for it, and gives back when it is answered. */
  countedBytes = 0;
  /** Where the row that it read is counted, and with how many bytes; undefined while there is none. */
  readRoom: RowHolder | undefined = undefined;
  readBytes = 0;
  /** Called once, when it is answered. */
  onDone: ((call: KvCall) => void) | undefined = undefined;
  span: Span | undefined = undefined;
  commitSpan: Span | undefined = undefined;
  /** A timestamp was issued after it arrived, and observed. */
  isFresh = false;
  looks: DecisionLooks | undefined = undefined;
  #command: TxnCommand | undefined = undefined;
  #question: ChangesQuestion | undefined = undefined;

  constructor(request: KvRequest, sink: ResponseSink, deadlineMs: number) {
    this.request = request;
    this.#sink = sink;
    this.deadlineMs = deadlineMs;
  }

  /** Who asks: places that are shared are shared between callers. */
  get caller(): ResponseSink {
    return this.#sink;
  }

  /** Of the operations of transactions only. Decoded once. Throws CORRUPTION for garbage. */
  get command(): TxnCommand {
    this.#command ??= decodeCommand(this.request);
    return this.#command;
  }

  /** Of `changes` only. Decoded once. Throws CORRUPTION for garbage. */
  get question(): ChangesQuestion {
    this.#question ??= decodeQuestion(this.request.value ?? NO_BYTES);
    return this.#question;
  }

  /** It has to wait: keys and values are copied out of what they came in, see `detachKvRequest`. */
  detach(): void {
    detachKvRequest(this.request);
    this.#command = undefined;
    this.#question = undefined;
  }

  respond(response: KvResponse): void {
    if (this.isDone) return;
    this.isDone = true;
    this.commitSpan?.end();
    this.span?.end(response.error);
    if (!this.isCancelled) this.#sink.send(response);
    this.readRoom?.giveBack(this);
    this.onDone?.(this);
  }

  /** An answer without anything in it yet. */
  newResponse(): KvResponse {
    return {
      sequence: this.request.sequence,
      op: this.request.op,
      error: undefined,
      found: false,
      succeeded: false,
      value: undefined,
      kind: RowKind.bytes,
      version: NO_BYTES,
      timestamp: timestamp(0),
      expiresUnixMs: 0,
      number: '',
      count: 0,
      rows: NO_ROWS,
      resumeKey: undefined,
    };
  }

  fail(code: ErrorCode, message: string, more: Partial<KvError> = {}): void {
    const response = this.newResponse();
    response.error = {
      code,
      message,
      retryAfterMs: more.retryAfterMs ?? 0,
      leaderStoreId: more.leaderStoreId ?? NO_STORE,
      descriptors: more.descriptors ?? [],
      field: more.field ?? '',
      kind: more.kind ?? RowKind.bytes,
      isUnclear: more.isUnclear ?? false,
      locks: more.locks ?? NOTHING,
    };
    this.respond(response);
  }

  /** An answer to a command of a transaction. */
  newReply(reply: TxnReply): KvResponse {
    const response = this.newResponse();
    response.value = encodeTxnReply(reply);
    return response;
  }

  reply(reply: TxnReply): void {
    this.respond(this.newReply(reply));
  }

  /** Locks of other transactions are in its way; it was not applied. */
  failLocked(locks: readonly LockInfo[]): void {
    const told = locks.slice(0, LOCKS_TOLD_MAX);
    this.fail('LOCKED', 'locked by a transaction', { locks: told, retryAfterMs: LOCKED_RETRY_MS });
  }

  /** The key holds a row of another kind than bytes. */
  failWrongKind(kind: RowKind): void {
    this.fail('WRONG_KIND', `the key holds a ${rowKindName(kind)}, not bytes`, { kind });
  }

  /** `others`: what else this store knows of the span, so that the caller need not ask anybody else. */
  failEpoch(descriptor: RangeDescriptor, others: readonly RangeDescriptor[] = []): void {
    this.fail('EPOCH_MISMATCH', 'the range has changed', { descriptors: [descriptor, ...others] });
  }

  failNotLeader(leaderStoreId: StoreId): void {
    this.fail('NOT_LEADER', 'another replica leads the range', { leaderStoreId, retryAfterMs: 10 });
  }

  /** A write that is in the log of a leader that was deposed: the next one may still commit it. */
  failDeposed(leaderStoreId: StoreId): void {
    const message = 'the replica lost the leadership with the write in its log';
    this.fail('NOT_LEADER', message, { leaderStoreId, retryAfterMs: 10, isUnclear: true });
  }

  /** Nobody waits any more, or the time is up: what it holds is freed without an answer being due. */
  isAbandoned(nowMs: number): boolean {
    if (this.isDone || this.isCancelled) return true;
    return nowMs >= this.deadlineMs;
  }
}

function decodeCommand({ op, value }: KvRequest): TxnCommand {
  const body = value ?? NO_BYTES;
  if (op === KvOp.txnRead) return decodeTxnRead(body);
  if (op === KvOp.reserve) return decodeReservation(body);
  return op === KvOp.txnWrite ? decodeTxnWrite(body) : decodeExecute(body);
}

/** Whether it is of a transaction: then it has a command. */
export function hasCommand({ op }: Pick<KvRequest, 'op'>): boolean {
  return op === KvOp.txnRead || op === KvOp.txnWrite || op === KvOp.execute || op === KvOp.reserve;
}

/** Whoever takes a call that is to be looked at, now or once more. */
export interface Submitter {
  submit(call: KvCall): void;
}

/** A read of whatever a replica has applied, which needs no leader. */
export function isStaleRead({ request }: KvCall): boolean {
  const { op, consistency } = request;
  return consistency === ReadConsistency.stale && (op === KvOp.get || op === KvOp.scan);
}
