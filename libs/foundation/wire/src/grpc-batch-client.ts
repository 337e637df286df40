import { NO_BYTES } from '@cairn/base';
import { ByteWriter } from '@cairn/codec';

import {
  BatchHello,
  BatchOperation,
  CommitResponse,
  CompareAndSetResponse,
  DeleteRangeResponse,
  ExecuteResponse,
  ExpireResponse,
  GetTimestampResponse,
  IncrementResponse,
  ReleaseResponse,
  ReserveResponse,
  type BatchGetResult,
  type BatchRequest,
  type BatchResponse,
  type BatchResult,
  type DeleteRequest,
  type DeleteResponse,
  type GetRequest,
  type GetResponse,
  type PutRequest,
  type PutResponse,
  type RequestId,
  type SnapshotGetResponse,
} from './gen/cairn/v1/kv.js';
import { ErrorDetail } from './gen/cairn/v1/errors.js';
import { fieldBytes, numberBytes, varintBytes, writeField, writeNumber } from './grpc-proto-sizes.js';
import { generated, ProtoReader } from './proto-reader.js';

/** What an operation takes besides its key and value, roughly. */
const OPERATION_BYTES = 64;

/**
 * Encodes what a client sends over the stream; byte for byte what the generated encoder makes. Everything is
 * copied. Integers must be safe and not negative.
 */
export function encodeBatchRequest(request: BatchRequest): Buffer {
  let capacity = 0;
  for (const operation of request.operations) capacity += OPERATION_BYTES + payloadBytes(operation);
  const writer = new ByteWriter(Math.max(OPERATION_BYTES, capacity));
  for (const operation of request.operations) writeOperation(writer, operation);
  return writer.take();
}

function payloadBytes({ operation }: BatchOperation): number {
  switch (operation?.$case) {
    case 'get':
    case 'delete':
      return operation.value.key.length;
    case 'put':
      return operation.value.key.length + operation.value.value.length;
    default:
      return 0;
  }
}

function writeOperation(writer: ByteWriter, operation: BatchOperation): void {
  writer.u8(10);
  const asked = operation.operation;
  switch (asked?.$case) {
    case 'get': {
      const bytes = getBytes(asked.value);
      writeHead(writer, operation, { tag: 26, bytes });
      writeField(writer, 10, asked.value.key);
      writeNumber(writer, 16, asked.value.consistency);
      writeNumber(writer, 24, asked.value.timestamp);
      break;
    }
    case 'put':
      writeHead(writer, operation, { tag: 34, bytes: putBytes(asked.value) });
      writePut(writer, asked.value);
      break;
    case 'delete':
      writeHead(writer, operation, { tag: 42, bytes: deleteBytes(asked.value) });
      writeField(writer, 10, asked.value.key);
      writeNumber(writer, 16, asked.value.ordering);
      writeRequestId(writer, 26, asked.value.requestId);
      break;
    default:
      writer.bytes(BatchOperation.encode(operation).finish());
      return;
  }
  if (operation.traceparent === '') return;
  writer.u8(122);
  writer.string(operation.traceparent);
}

/** Length of the whole operation, its own fields, and tag and length of what it asks for. */
function writeHead(
  writer: ByteWriter,
  { call, timeoutMs, traceparent }: BatchOperation,
  { tag, bytes }: { readonly tag: number; readonly bytes: number },
): void {
  let total = numberBytes(call) + numberBytes(timeoutMs) + 1 + varintBytes(bytes) + bytes;
  if (traceparent !== '') {
    const textBytes = Buffer.byteLength(traceparent);
    total += 1 + varintBytes(textBytes) + textBytes;
  }
  writer.varint(total);
  writeNumber(writer, 8, call);
  writeNumber(writer, 16, timeoutMs);
  writer.u8(tag);
  writer.varint(bytes);
}

function getBytes({ key, consistency, timestamp }: GetRequest): number {
  return fieldBytes(key) + numberBytes(consistency) + numberBytes(timestamp);
}

function putBytes({ key, value, ttlMs, ordering, requestId }: PutRequest): number {
  return (
    fieldBytes(key) +
    fieldBytes(value) +
    numberBytes(ttlMs) +
    numberBytes(ordering) +
    nestedIdBytes(requestId)
  );
}

function deleteBytes({ key, ordering, requestId }: DeleteRequest): number {
  return fieldBytes(key) + numberBytes(ordering) + nestedIdBytes(requestId);
}

function writePut(writer: ByteWriter, { key, value, ttlMs, ordering, requestId }: PutRequest): void {
  writeField(writer, 10, key);
  writeField(writer, 18, value);
  writeNumber(writer, 24, ttlMs);
  writeNumber(writer, 32, ordering);
  writeRequestId(writer, 42, requestId);
}

function idBytes({ client, sequence, stamp, retry }: RequestId): number {
  return numberBytes(client) + numberBytes(sequence) + numberBytes(stamp) + (retry ? 2 : 0);
}

/** With tag and length; the length of an id always fits into one byte. */
function nestedIdBytes(id: RequestId | undefined): number {
  return id === undefined ? 0 : 2 + idBytes(id);
}

function writeRequestId(writer: ByteWriter, tag: number, id: RequestId | undefined): void {
  if (id === undefined) return;
  writer.u8(tag);
  writer.u8(idBytes(id));
  writeNumber(writer, 8, id.client);
  writeNumber(writer, 16, id.sequence);
  writeNumber(writer, 24, id.stamp);
  if (id.retry) writer.u16(0x0120);
}

/**
 * Decodes what the stream answers. Same result as the generated decoder, except that values and versions of
 * get, put, delete and snapshot get are views of `bytes`. Throws INVALID_ARGUMENT.
 */
export function decodeBatchResponse(bytes: Buffer): BatchResponse {
  const reader = new ProtoReader(bytes);
  const response: BatchResponse = { results: [], hello: undefined, timestamp: 0 };
  while (reader.hasMore) {
    const tag = reader.uint32();
    if (tag === 10) response.results.push(readResult(reader));
    else if (tag === 18) response.hello = generated(BatchHello, reader.bytes());
    else if (tag === 24) response.timestamp = reader.uint64('timestamp');
    else reader.skip(tag);
  }
  return response;
}

function readResult(reader: ProtoReader): BatchResult {
  const outer = reader.enter();
  const result: BatchResult = { call: 0, result: undefined };
  while (reader.hasMore) {
    const tag = reader.uint32();
    switch (tag) {
      case 8:
        result.call = reader.uint32();
        break;
      case 18:
        result.result = { $case: 'error', value: generated(ErrorDetail, reader.bytes()) };
        break;
      case 26:
        result.result = { $case: 'get', value: readGot(reader) };
        break;
      case 34:
        result.result = { $case: 'put', value: readWritten(reader) };
        break;
      case 42:
        result.result = { $case: 'delete', value: readDeleted(reader) };
        break;
      case 50:
        result.result = { $case: 'compareAndSet', value: generated(CompareAndSetResponse, reader.bytes()) };
        break;
      case 58:
        result.result = { $case: 'increment', value: generated(IncrementResponse, reader.bytes()) };
        break;
      case 74:
        result.result = { $case: 'expire', value: generated(ExpireResponse, reader.bytes()) };
        break;
      case 66:
        result.result = { $case: 'deleteRange', value: generated(DeleteRangeResponse, reader.bytes()) };
        break;
      case 82:
        result.result = { $case: 'snapshotGet', value: readSnapshot(reader) };
        break;
      case 90:
        result.result = { $case: 'getTimestamp', value: generated(GetTimestampResponse, reader.bytes()) };
        break;
      case 98:
        result.result = { $case: 'commit', value: generated(CommitResponse, reader.bytes()) };
        break;
      case 106:
        result.result = { $case: 'execute', value: generated(ExecuteResponse, reader.bytes()) };
        break;
      case 114:
        result.result = { $case: 'reserve', value: generated(ReserveResponse, reader.bytes()) };
        break;
      case 122:
        result.result = { $case: 'release', value: generated(ReleaseResponse, reader.bytes()) };
        break;
      default:
        reader.skip(tag);
    }
  }
  reader.leave(outer);
  return result;
}

function readGot(reader: ProtoReader): GetResponse {
  const outer = reader.enter();
  const answer: GetResponse = { found: false, value: NO_BYTES, version: NO_BYTES, expiresUnixMs: 0 };
  while (reader.hasMore) {
    const tag = reader.uint32();
    if (tag === 8) answer.found = reader.bool();
    else if (tag === 18) answer.value = reader.bytes();
    else if (tag === 26) answer.version = reader.bytes();
    else if (tag === 40) answer.expiresUnixMs = reader.uint64('expires_unix_ms');
    else reader.skip(tag);
  }
  reader.leave(outer);
  return answer;
}

function readSnapshot(reader: ProtoReader): SnapshotGetResponse {
  const outer = reader.enter();
  const answer: SnapshotGetResponse = { timestamp: 0, results: [], partial: false };
  while (reader.hasMore) {
    const tag = reader.uint32();
    if (tag === 8) answer.timestamp = reader.uint64('timestamp');
    else if (tag === 18) answer.results.push(readBatchGot(reader));
    else if (tag === 24) answer.partial = reader.bool();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return answer;
}

function readBatchGot(reader: ProtoReader): BatchGetResult {
  const outer = reader.enter();
  const got: BatchGetResult = { result: undefined };
  while (reader.hasMore) {
    const tag = reader.uint32();
    if (tag === 10) got.result = { $case: 'get', value: readGot(reader) };
    else if (tag === 18) got.result = { $case: 'error', value: generated(ErrorDetail, reader.bytes()) };
    else reader.skip(tag);
  }
  reader.leave(outer);
  return got;
}

function readWritten(reader: ProtoReader): PutResponse {
  const outer = reader.enter();
  const answer: PutResponse = { version: NO_BYTES, timestamp: 0 };
  while (reader.hasMore) {
    const tag = reader.uint32();
    if (tag === 10) answer.version = reader.bytes();
    else if (tag === 16) answer.timestamp = reader.uint64('timestamp');
    else reader.skip(tag);
  }
  reader.leave(outer);
  return answer;
}

function readDeleted(reader: ProtoReader): DeleteResponse {
  const outer = reader.enter();
  const answer: DeleteResponse = { existed: false, version: NO_BYTES, timestamp: 0 };
  while (reader.hasMore) {
    const tag = reader.uint32();
    if (tag === 8) answer.existed = reader.bool();
    else if (tag === 18) answer.version = reader.bytes();
    else if (tag === 24) answer.timestamp = reader.uint64('timestamp');
    else reader.skip(tag);
  }
  reader.leave(outer);
  return answer;
}
