import {
  type BatchOperation,
  CompareAndSetRequest,
  DeleteRangeRequest,
  IncrementRequest,
  type BatchRequest,
  type DeleteRequest,
  type GetRequest,
  type PutRequest,
  type RequestId,
} from './gen/cairn/v1/kv.js';
import { generated, NO_BYTES, ProtoReader } from './proto-reader.js';

/**
 * Decodes what the stream brings. Same result as the generated decoder, except that keys and values of get,
 * put and delete are views of `bytes`. Throws INVALID_ARGUMENT.
 */
export function decodeBatchRequest(bytes: Buffer): BatchRequest {
  const reader = new ProtoReader(bytes);
  const operations: BatchOperation[] = [];
  while (reader.hasMore) {
    const tag = reader.uint32();
    if (tag === 10) operations.push(readOperation(reader));
    else reader.skip(tag);
  }
  return { operations };
}

function readOperation(reader: ProtoReader): BatchOperation {
  const outer = reader.enter();
  const result: BatchOperation = { call: 0, timeoutMs: 0, operation: undefined, traceparent: '' };
  while (reader.hasMore) {
    const tag = reader.uint32();
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
        result.operation = { $case: 'compareAndSet', value: generated(CompareAndSetRequest, reader.bytes()) };
        break;
      case 58:
        result.operation = { $case: 'increment', value: generated(IncrementRequest, reader.bytes()) };
        break;
      case 66:
        result.operation = { $case: 'deleteRange', value: generated(DeleteRangeRequest, reader.bytes()) };
        break;
      case 72:
        result.operation = { $case: 'cancel', value: reader.bool() };
        break;
      case 122:
        result.traceparent = reader.bytes().toString('utf8');
        break;
      default:
        reader.skip(tag);
    }
  }
  reader.leave(outer);
  return result;
}

function readGet(reader: ProtoReader): GetRequest {
  const outer = reader.enter();
  const request: GetRequest = { key: NO_BYTES, consistency: 0, timestamp: 0 };
  while (reader.hasMore) {
    const tag = reader.uint32();
    if (tag === 10) request.key = reader.bytes();
    else if (tag === 16) request.consistency = reader.int32();
    else if (tag === 24) request.timestamp = reader.uint64();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return request;
}

function readPut(reader: ProtoReader): PutRequest {
  const outer = reader.enter();
  const request: PutRequest = { key: NO_BYTES, value: NO_BYTES, ttlMs: 0, ordering: 0, requestId: undefined };
  while (reader.hasMore) {
    const tag = reader.uint32();
    if (tag === 10) request.key = reader.bytes();
    else if (tag === 18) request.value = reader.bytes();
    else if (tag === 24) request.ttlMs = reader.uint64();
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
    const tag = reader.uint32();
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
    const tag = reader.uint32();
    if (tag === 8) id.client = reader.uint64();
    else if (tag === 16) id.sequence = reader.uint64();
    else if (tag === 24) id.stamp = reader.uint64();
    else if (tag === 32) id.retry = reader.bool();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return id;
}
