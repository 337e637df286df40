import { CairnError, NO_BYTES } from '@cairn/base';

import {
  type BatchOperation,
  CommitRequest,
  CompareAndSetRequest,
  DeleteRangeRequest,
  ExecuteRequest,
  ExpireRequest,
  GetTimestampRequest,
  IncrementRequest,
  ReleaseRequest,
  ReserveRequest,
  SnapshotGetRequest,
  type BatchRequest,
  type DeleteRequest,
  type GetRequest,
  type PutRequest,
  type RequestId,
} from './gen/cairn/v1/kv.js';
import {
  boundedDecoder,
  ELEMENTS_MAX,
  FIELDS_MAX,
  FLAT,
  notDecoded,
  tooManyElements,
} from './grpc-message-bounds.js';
import { COMMIT, EXECUTE, flatAt, RESERVE, SNAPSHOT_GET, TRANSACTION_KEYS_MAX } from './grpc-shapes.js';
import { ProtoReader } from './proto-reader.js';

/**
 * Keys and operations within the operations of one message, all of them together: nothing that a client of
 * ours sends comes near it, and many operations of many elements each would be gigabytes as objects.
 */
const NESTED_ELEMENTS_MAX = TRANSACTION_KEYS_MAX + ELEMENTS_MAX;
/** A valid one is shorter; what is longer is no trace context, and ignored like any that is none. */
const TRACEPARENT_BYTES_MAX = 256;

/** One operation as it was sent, or why it cannot be understood. */
export interface DecodedOperation extends BatchOperation {
  /** Then `operation` is undefined, and `call` is what was read of it. */
  readonly refusal: CairnError | undefined;
}

export interface DecodedBatchRequest extends BatchRequest {
  readonly operations: DecodedOperation[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const decodeCompareAndSet = boundedDecoder((bytes) => CompareAndSetRequest.decode(bytes), flatAt(8));
const decodeExpire = boundedDecoder((bytes) => ExpireRequest.decode(bytes), flatAt(4));
const decodeIncrement = boundedDecoder((bytes) => IncrementRequest.decode(bytes), flatAt(4));
const decodeDeleteRange = boundedDecoder((bytes) => DeleteRangeRequest.decode(bytes), FLAT);
const decodeGetTimestamp = boundedDecoder((bytes) => GetTimestampRequest.decode(bytes), FLAT);
const decodeSnapshotGet = boundedDecoder((bytes) => SnapshotGetRequest.decode(bytes), SNAPSHOT_GET);
const decodeCommit = boundedDecoder((bytes) => CommitRequest.decode(bytes), COMMIT);
const decodeReserve = boundedDecoder((bytes) => ReserveRequest.decode(bytes), RESERVE);
const decodeRelease = boundedDecoder((bytes) => ReleaseRequest.decode(bytes), FLAT);
const decodeExecute = boundedDecoder((bytes) => ExecuteRequest.decode(bytes), EXECUTE);

/** Elements of one message that may still be decoded. */
class NestedElements {
  #left = NESTED_ELEMENTS_MAX;

  /** Asked before the next is decoded, so that one operation may go beyond it, and none after that. */
  check(): void {
    if (this.#left > 0) return;
    throw new CairnError(
      'INVALID_ARGUMENT',
      `the operations of the message have more than ${NESTED_ELEMENTS_MAX} keys`,
    );
  }

  spend(count: number): void {
    this.#left -= count;
  }
}

/**
 * Decodes what the stream brings. Same result as the generated decoder, except that keys and values of get,
 * put and delete are views of `bytes`, and that an operation whose inside cannot be read has a `refusal`.
 * Throws INVALID_ARGUMENT when it cannot be told where operations begin and end, or when there are too many.
 */
export function decodeBatchRequest(bytes: Buffer): DecodedBatchRequest {
  const reader = new ProtoReader(bytes);
  const operations: DecodedOperation[] = [];
  const nested = new NestedElements();
  reader.allowFields(FIELDS_MAX);
  while (reader.hasMore) {
    const tag = reader.tag();
    if (tag !== 10) reader.skip(tag);
    else if (operations.length < ELEMENTS_MAX) operations.push(readOperation(reader, nested));
    else throw tooManyElements('operations', ELEMENTS_MAX);
  }
  return { operations };
}

function readOperation(reader: ProtoReader, nested: NestedElements): DecodedOperation {
  const outer = reader.enter();
  const { end } = reader;
  reader.allowFields(FIELDS_MAX);
  const result: Mutable<DecodedOperation> = {
    call: 0,
    timeoutMs: 0,
    operation: undefined,
    traceparent: '',
    refusal: undefined,
  };
  try {
    readOperationFields(reader, result, nested);
  } catch (error) {
    result.operation = undefined;
    result.refusal = notDecoded(error);
    reader.giveUp(end);
  }
  reader.leave(outer);
  reader.allowFields(FIELDS_MAX);
  return result;
}

function readOperationFields(reader: ProtoReader, result: BatchOperation, nested: NestedElements): void {
  while (reader.hasMore) {
    const tag = reader.tag();
    switch (tag) {
      case 8:
        result.call = reader.uint32();
        break;
      case 16:
        result.timeoutMs = reader.uint32();
        break;
      case 26:
        result.operation = { $case: 'get', value: readGet(reader) };
        break;
      case 34:
        result.operation = { $case: 'put', value: readPut(reader) };
        break;
      case 42:
        result.operation = { $case: 'delete', value: readDelete(reader) };
        break;
      case 50:
        result.operation = { $case: 'compareAndSet', value: decodeCompareAndSet(reader.bytes()) };
        break;
      case 58:
        result.operation = { $case: 'increment', value: decodeIncrement(reader.bytes()) };
        break;
      case 82:
        result.operation = { $case: 'expire', value: decodeExpire(reader.bytes()) };
        break;
      case 66:
        result.operation = { $case: 'deleteRange', value: decodeDeleteRange(reader.bytes()) };
        break;
      case 72:
        result.operation = { $case: 'cancel', value: reader.bool() };
        break;
      case 90:
      case 98:
      case 106:
      case 114:
      case 130:
      case 138:
        result.operation = readTransactional(tag, reader.bytes(), nested);
        break;
      case 122:
        result.traceparent = readTraceparent(reader.bytes());
        break;
      default:
        reader.skip(tag);
    }
  }
}

function readTransactional(
  tag: 90 | 98 | 106 | 114 | 130 | 138,
  bytes: Buffer,
  nested: NestedElements,
): BatchOperation['operation'] {
  nested.check();
  switch (tag) {
    case 90: {
      const value = decodeSnapshotGet(bytes);
      nested.spend(value.keys.length);
      return { $case: 'snapshotGet', value };
    }
    case 98:
      return { $case: 'getTimestamp', value: decodeGetTimestamp(bytes) };
    case 106: {
      const value = decodeCommit(bytes);
      nested.spend(value.reads.length + value.spans.length + value.writes.length + value.reserved.length);
      return { $case: 'commit', value };
    }
    case 114: {
      const value = decodeExecute(bytes);
      nested.spend(value.conditions.length + value.then.length + value.otherwise.length);
      return { $case: 'execute', value };
    }
    case 130: {
      const value = decodeReserve(bytes);
      nested.spend(value.keys.length);
      return { $case: 'reserve', value };
    }
    case 138:
      return { $case: 'release', value: decodeRelease(bytes) };
  }
}

function readTraceparent(bytes: Buffer): string {
  return bytes.length > TRACEPARENT_BYTES_MAX ? '' : bytes.toString('utf8');
}

function readGet(reader: ProtoReader): GetRequest {
  const outer = reader.enter();
  const request: GetRequest = { key: NO_BYTES, consistency: 0, timestamp: 0 };
  while (reader.hasMore) {
    const tag = reader.tag();
    if (tag === 10) request.key = reader.bytes();
    else if (tag === 16) request.consistency = reader.int32();
    else if (tag === 24) request.timestamp = reader.uint64('timestamp');
    else reader.skip(tag);
  }
  reader.leave(outer);
  return request;
}

function readPut(reader: ProtoReader): PutRequest {
  const outer = reader.enter();
  const request: PutRequest = { key: NO_BYTES, value: NO_BYTES, ttlMs: 0, ordering: 0, requestId: undefined };
  while (reader.hasMore) {
    const tag = reader.tag();
    if (tag === 10) request.key = reader.bytes();
    else if (tag === 18) request.value = reader.bytes();
    else if (tag === 24) request.ttlMs = reader.uint64('ttl_ms');
    else if (tag === 32) request.ordering = reader.int32();
    else if (tag === 42) request.requestId = readRequestId(reader);
    else reader.skip(tag);
  }
  reader.leave(outer);
  return request;
}

function readDelete(reader: ProtoReader): DeleteRequest {
  const outer = reader.enter();
  const request: DeleteRequest = { key: NO_BYTES, ordering: 0, requestId: undefined };
  while (reader.hasMore) {
    const tag = reader.tag();
    if (tag === 10) request.key = reader.bytes();
    else if (tag === 16) request.ordering = reader.int32();
    else if (tag === 26) request.requestId = readRequestId(reader);
    else reader.skip(tag);
  }
  reader.leave(outer);
  return request;
}

function readRequestId(reader: ProtoReader): RequestId {
  const outer = reader.enter();
  const id: RequestId = { client: 0, sequence: 0, stamp: 0, retry: false };
  while (reader.hasMore) {
    const tag = reader.tag();
    if (tag === 8) id.client = reader.uint64('request_id.client');
    else if (tag === 16) id.sequence = reader.uint64('request_id.sequence');
    else if (tag === 24) id.stamp = reader.uint64('request_id.stamp');
    else if (tag === 32) id.retry = reader.bool();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return id;
}
