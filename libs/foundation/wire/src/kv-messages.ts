import type { ErrorCode, RangeDescriptor, RangeId, RowKind, StoreId, Timestamp } from '@cairn/base';
import type { TraceContext } from '@cairn/ports';

import type { PackedRows } from './packed-rows.js';
import type { LockInfo } from './txn-messages.js';

/** Operations on one range. Numbers travel between nodes: append only. */
export const KvOp = {
  get: 1,
  put: 2,
  delete: 3,
  compareAndSet: 4,
  increment: 5,
  /** Removes up to `limit` keys of a span inside one range; answers where to continue. */
  deleteRange: 6,
  /** One page of rows of a span inside one range. */
  scan: 7,
  /** Gives a key that is there another time to live, or none. */
  expire: 8,
  /** Reads of a transaction: the value is a `TxnReadCommand`. No log entry. */
  txnRead: 9,
  /**
   * Steps of a transaction over several ranges: the value is a `TxnWriteCommand`, which may be sent again.
   */
  txnWrite: 10,
  /** A whole transaction in one range: the value is an `ExecuteCommand`; it has a request id. */
  execute: 11,
  /** What was changed in a part of the range: the value is a `ChangesRequest`. No log entry. */
  changes: 12,
  /** Reservations of keys: the value is a `ReservationCommand`. No log entry. */
  reserve: 13,
} as const;
export type KvOp = (typeof KvOp)[keyof typeof KvOp];

export const ReadConsistency = { linearizable: 0, stale: 1, timestamp: 2 } as const;
export type ReadConsistency = (typeof ReadConsistency)[keyof typeof ReadConsistency];

/** What a compare-and-set expects to find. */
export const Expectation = { none: 0, absent: 1, value: 2, version: 3 } as const;
export type Expectation = (typeof Expectation)[keyof typeof Expectation];

/** Identity of a write across retries; see `RequestId` in kv.proto. */
export interface RequestIdentity {
  /** 1 .. 2^48 - 1. */
  readonly client: number;
  /** 1 .. 2^48 - 1. */
  readonly sequence: number;
  /** An oracle timestamp seen before the first sending. */
  readonly stamp: Timestamp;
  readonly isRetry: boolean;
}

/**
 * Named by a refusal of a first sending whose stamp is so old that nobody can tell whether a retry of it was
 * applied meanwhile. The sending was not applied.
 */
export const STAMP_FIELD = 'request_id.stamp';

/**
 * One operation from router to shard. All instances have all fields, in this order (make them with
 * `newKvRequest`), so that V8 sees one shape.
 */
export interface KvRequest {
  /** Unique among the open requests of the connection; 1 .. 2^32 - 1. */
  sequence: number;
  op: KvOp;
  rangeId: RangeId;
  /** The `version` half of the epoch the router routed by. */
  epochVersion: number;
  consistency: ReadConsistency;
  /** Write at a fresh oracle timestamp. */
  strict: boolean;
  reverse: boolean;
  keysOnly: boolean;
  /** Time left when it was sent; the shard drops it when that has passed. */
  timeoutMs: number;
  /** The key; for scan, deleteRange and changes the start (inclusive). */
  key: Uint8Array;
  /** scan, deleteRange: exclusive end; empty = the end of the range. */
  endKey: Uint8Array;
  /**
   * put and compareAndSet: the new value. undefined in compareAndSet = delete. Transactions: the command;
   * changes: the question.
   */
  value: Uint8Array | undefined;
  expectation: Expectation;
  /** Value bytes or version token, by `expectation`. */
  expected: Uint8Array;
  /** increment; a signed 64-bit integer as decimal text. */
  delta: string;
  ttlMs: number;
  /**
   * For ReadConsistency.timestamp; transactions: the largest timestamp that the command names; changes: one
   * that the leader is to know of before it answers, 0 = none.
   */
  readTimestamp: Timestamp;
  /**
   * Reads: transactions, by start, whose locks are passed over, ascending: they were found undecided after
   * the read began, or will not commit at or below its timestamp. At most `IGNORED_LOCKS_MAX`.
   */
  ignoreLocks: readonly Timestamp[];
  /** scan, deleteRange: most rows; scan: bytes after which the page ends. */
  limit: number;
  pageBytes: number;
  requestId: RequestIdentity | undefined;
  trace: TraceContext | undefined;
}

/** A row of a scan page. */
export interface KvRow {
  readonly key: Uint8Array;
  /** Empty unless the kind is bytes. */
  readonly value: Uint8Array;
  readonly version: Uint8Array;
  readonly kind: RowKind;
  /** Milliseconds of oracle time at which it is gone; 0 = never. */
  readonly expiresUnixMs: number;
}

/** Locks that one read may pass over: as many transactions as a range is likely to see at a time. */
export const IGNORED_LOCKS_MAX = 4_096;

/** An error as it crosses from shard to router: everything the router needs to repair its cache. */
export interface KvError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryAfterMs: number;
  /** NOT_LEADER: where the leader is; 0 = unknown. */
  readonly leaderStoreId: StoreId;
  /** EPOCH_MISMATCH, RANGE_NOT_FOUND: what the store knows of the span. */
  readonly descriptors: readonly RangeDescriptor[];
  /** INVALID_ARGUMENT: the field. UNAVAILABLE: `STAMP_FIELD`, when that is what the refusal is about. */
  readonly field: string;
  /** WRONG_KIND: what the key holds. */
  readonly kind: RowKind;
  /** A write: it was taken on before it was refused, and may still take effect. False: surely not applied. */
  readonly isUnclear: boolean;
  /** LOCKED: what is in the way, not all of it if that is much. */
  readonly locks: readonly LockInfo[];
}

/** The answer to one request; one shape for all operations. */
export interface KvResponse {
  sequence: number;
  op: KvOp;
  error: KvError | undefined;
  /** get: live value found. compareAndSet on failure: likewise. delete and expire: it existed. */
  found: boolean;
  /** compareAndSet: the write happened. */
  succeeded: boolean;
  /** get: what was found. Transactions: a `TxnReply`. changes: a `ChangesReply`. */
  value: Uint8Array | undefined;
  /** compareAndSet on failure: the kind of what is there. */
  kind: RowKind;
  /** Version token (12 bytes), empty when there is none. */
  version: Uint8Array;
  timestamp: Timestamp;
  /** get: milliseconds of oracle time at which the row is gone; 0 = never. */
  expiresUnixMs: number;
  /** increment: the new value as decimal text. */
  number: string;
  /** deleteRange: keys removed. */
  count: number;
  /** scan: the page. */
  rows: PackedRows;
  /** scan, deleteRange: where the next page starts (reverse scans: its exclusive end); undefined = done. */
  resumeKey: Uint8Array | undefined;
}

/** Up to so many bytes the memory that a request shares with others is no matter. */
const SHARED_BYTES_MAX = 64 * 1024;
/** A request that has less than this part of the memory that it keeps is given its own. */
const OWN_PART_MIN = 1 / 4;

/**
 * For a request that has to wait: its keys and values are views of the frame or message they came in, all of
 * which they keep, and that may be of megabytes when the request is of bytes. Afterwards it keeps four times
 * what it has at most.
 */
export function detachKvRequest(request: KvRequest): void {
  const { key, endKey, value, expected } = request;
  const { byteLength } = key.buffer;
  const own = key.length + endKey.length + expected.length + (value === undefined ? 0 : value.length);
  if (byteLength <= SHARED_BYTES_MAX || own >= byteLength * OWN_PART_MIN) return;
  request.key = Buffer.from(key);
  request.endKey = Buffer.from(endKey);
  request.expected = Buffer.from(expected);
  if (value !== undefined) request.value = Buffer.from(value);
}
