import {
  CairnError,
  rangeId,
  replicaId,
  storeId,
  timestamp,
  type ErrorCode,
  type RangeDescriptor,
  type ReplicaDescriptor,
  type ReplicaRole,
  type Timestamp,
} from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

import {
  Expectation,
  KvOp,
  ReadConsistency,
  type KvError,
  type KvRequest,
  type KvResponse,
  type KvRow,
} from './kv-messages.js';

const EMPTY = Buffer.alloc(0);
const NO_ROWS: readonly KvRow[] = [];
const NO_DESCRIPTORS: readonly RangeDescriptor[] = [];
/** Values from here on are parts of their own instead of being copied. */
const PART_BYTES_MIN = 16 * 1024;
const WRITER_BYTES = 4096;

/** A request with every field at its default, in the one shape that the hot path knows. */
export function newKvRequest(): KvRequest {
  return {
    sequence: 0,
    op: KvOp.get,
    rangeId: rangeId(0),
    epochVersion: 0,
    consistency: ReadConsistency.linearizable,
    strict: false,
    reverse: false,
    keysOnly: false,
    timeoutMs: 0,
    key: EMPTY,
    endKey: EMPTY,
    value: undefined,
    expectation: Expectation.none,
    expected: EMPTY,
    delta: '0',
    ttlMs: 0,
    readTimestamp: timestamp(0),
    limit: 0,
    pageBytes: 0,
    requestId: undefined,
    trace: undefined,
  };
}

/** A response with every field at its default, in the one shape that the hot path knows. */
export function newKvResponse(): KvResponse {
  return {
    sequence: 0,
    op: KvOp.get,
    error: undefined,
    found: false,
    succeeded: false,
    value: undefined,
    version: EMPTY,
    timestamp: timestamp(0),
    number: '0',
    count: 0,
    rows: NO_ROWS,
    resumeKey: undefined,
  };
}

const RequestFlag = {
  strict: 1,
  reverse: 2,
  keysOnly: 4,
  value: 8,
  requestId: 16,
  retry: 32,
  trace: 64,
  rare: 128,
} as const;

/** Bytes of a frame under construction: small things in one buffer, large values as parts. */
class FrameBuilder {
  readonly writer = new ByteWriter(WRITER_BYTES);
  #parts: Uint8Array[] = [];

  bytes(bytes: Uint8Array): void {
    if (bytes.length < PART_BYTES_MIN) {
      this.writer.bytes(bytes);
      return;
    }
    this.writer.varint(bytes.length);
    this.#parts.push(this.writer.take(), bytes);
  }

  take(): Uint8Array[] {
    const parts = this.#parts;
    this.#parts = [];
    if (this.writer.length > 0) parts.push(this.writer.take());
    return parts;
  }
}

/**
 * Collects requests into the body of one `kvRequests` frame. Large values are not copied: they must not change until
 * the frame is sent.
 */
export class KvRequestEncoder {
  readonly #frame = new FrameBuilder();
  #count = 0;

  /** Requests since the last `take`. */
  get count(): number {
    return this.#count;
  }

  add(request: KvRequest): void {
    const { writer } = this.#frame;
    const { requestId, trace, value } = request;
    const isRare = hasRareFields(request);
    let flags = 0;
    if (request.strict) flags |= RequestFlag.strict;
    if (request.reverse) flags |= RequestFlag.reverse;
    if (request.keysOnly) flags |= RequestFlag.keysOnly;
    if (value !== undefined) flags |= RequestFlag.value;
    if (requestId !== undefined) flags |= RequestFlag.requestId;
    if (requestId?.isRetry === true) flags |= RequestFlag.retry;
    if (trace !== undefined) flags |= RequestFlag.trace;
    if (isRare) flags |= RequestFlag.rare;
    writer.u32(request.sequence);
    writer.u8(request.op);
    writer.u8(flags);
    writer.u8(request.consistency | (request.expectation << 4));
    writer.varint(request.rangeId);
    writer.varint(request.epochVersion);
    writer.varint(Math.max(0, Math.ceil(request.timeoutMs)));
    writer.bytes(request.key);
    if (requestId !== undefined) {
      writer.u48(requestId.client);
      writer.u48(requestId.sequence);
      writer.u64(requestId.stamp);
    }
    if (trace !== undefined) {
      writer.raw(trace.traceId);
      writer.raw(trace.spanId);
    }
    if (isRare) this.#addRare(request);
    if (value !== undefined) this.#frame.bytes(value);
    this.#count += 1;
  }

  #addRare(request: KvRequest): void {
    const { writer } = this.#frame;
    writer.bytes(request.endKey);
    this.#frame.bytes(request.expected);
    writer.string(request.delta);
    writer.varint(request.ttlMs);
    writer.u64(request.readTimestamp);
    writer.varint(request.limit);
    writer.varint(request.pageBytes);
  }

  take(): readonly Uint8Array[] {
    this.#count = 0;
    return this.#frame.take();
  }
}

function hasRareFields(request: KvRequest): boolean {
  return (
    request.endKey.length > 0 ||
    request.expected.length > 0 ||
    request.delta !== '0' ||
    request.ttlMs !== 0 ||
    request.readTimestamp !== 0 ||
    request.limit !== 0 ||
    request.pageBytes !== 0
  );
}

/** Keys and values are views of the frame. Throws CORRUPTION. */
export function decodeKvRequests(body: Uint8Array): KvRequest[] {
  const reader = new ByteReader(body);
  const requests: KvRequest[] = [];
  while (reader.remaining > 0) requests.push(readRequest(reader));
  return requests;
}

function readRequest(reader: ByteReader): KvRequest {
  const request = newKvRequest();
  request.sequence = reader.u32();
  const op = reader.u8();
  if (op < KvOp.get || op > KvOp.scan) throw new CairnError('CORRUPTION', `unknown operation ${op}`);
  request.op = op as KvOp;
  const flags = reader.u8();
  const modes = reader.u8();
  if ((modes & 15) > ReadConsistency.timestamp || modes >> 4 > Expectation.version) {
    throw new CairnError('CORRUPTION', `unknown consistency or expectation ${modes}`);
  }
  request.consistency = (modes & 15) as ReadConsistency;
  request.expectation = (modes >> 4) as Expectation;
  request.strict = (flags & RequestFlag.strict) !== 0;
  request.reverse = (flags & RequestFlag.reverse) !== 0;
  request.keysOnly = (flags & RequestFlag.keysOnly) !== 0;
  request.rangeId = rangeId(reader.varint());
  request.epochVersion = reader.varint();
  request.timeoutMs = reader.varint();
  request.key = reader.bytes();
  if ((flags & RequestFlag.requestId) !== 0) {
    request.requestId = {
      client: reader.u48(),
      sequence: reader.u48(),
      stamp: timestamp(reader.u64()),
      isRetry: (flags & RequestFlag.retry) !== 0,
    };
  }
  if ((flags & RequestFlag.trace) !== 0) request.trace = { traceId: reader.raw(16), spanId: reader.raw(8) };
  if ((flags & RequestFlag.rare) !== 0) {
    request.endKey = reader.bytes();
    request.expected = reader.bytes();
    request.delta = reader.string();
    request.ttlMs = reader.varint();
    request.readTimestamp = timestamp(reader.u64());
    request.limit = reader.varint();
    request.pageBytes = reader.varint();
  }
  if ((flags & RequestFlag.value) !== 0) request.value = reader.bytes();
  return request;
}

const ResponseFlag = { error: 1, found: 2, succeeded: 4, value: 8, version: 16, resume: 32, rare: 64 } as const;

/** Collects responses into the body of one `kvResponses` frame. Large values are not copied. */
export class KvResponseEncoder {
  readonly #frame = new FrameBuilder();
  #count = 0;

  /** Responses since the last `take`. */
  get count(): number {
    return this.#count;
  }

  add(response: KvResponse): void {
    const { writer } = this.#frame;
    const isRare = response.number !== '0' || response.count !== 0 || response.rows.length > 0;
    let flags = 0;
    if (response.error !== undefined) flags |= ResponseFlag.error;
    if (response.found) flags |= ResponseFlag.found;
    if (response.succeeded) flags |= ResponseFlag.succeeded;
    if (response.value !== undefined) flags |= ResponseFlag.value;
    if (response.version.length > 0) flags |= ResponseFlag.version;
    if (response.resumeKey !== undefined) flags |= ResponseFlag.resume;
    if (isRare) flags |= ResponseFlag.rare;
    writer.u32(response.sequence);
    writer.u8(response.op);
    writer.u8(flags);
    writer.u64(response.timestamp);
    if (response.error !== undefined) writeError(writer, response.error);
    if (response.version.length > 0) writer.bytes(response.version);
    if (response.resumeKey !== undefined) writer.bytes(response.resumeKey);
    if (isRare) {
      writer.string(response.number);
      writer.varint(response.count);
      writer.varint(response.rows.length);
      for (const row of response.rows) {
        writer.bytes(row.key);
        writer.bytes(row.version);
        this.#frame.bytes(row.value);
      }
    }
    if (response.value !== undefined) this.#frame.bytes(response.value);
    this.#count += 1;
  }

  /** `maxTimestamp`: the largest oracle timestamp that the store has seen. */
  take(maxTimestamp: Timestamp): readonly Uint8Array[] {
    this.#count = 0;
    const head = new ByteWriter(8);
    head.u64(maxTimestamp);
    const parts: Uint8Array[] = [head.take()];
    for (const part of this.#frame.take()) parts.push(part);
    return parts;
  }
}

export interface KvResponses {
  readonly maxTimestamp: Timestamp;
  readonly responses: readonly KvResponse[];
}

/** Values and keys are views of the frame. Throws CORRUPTION. */
export function decodeKvResponses(body: Uint8Array): KvResponses {
  const reader = new ByteReader(body);
  const maxTimestamp = timestamp(reader.u64());
  const responses: KvResponse[] = [];
  while (reader.remaining > 0) responses.push(readResponse(reader));
  return { maxTimestamp, responses };
}

function readResponse(reader: ByteReader): KvResponse {
  const response = newKvResponse();
  response.sequence = reader.u32();
  const op = reader.u8();
  if (op < KvOp.get || op > KvOp.scan) throw new CairnError('CORRUPTION', `unknown operation ${op}`);
  response.op = op as KvOp;
  const flags = reader.u8();
  response.found = (flags & ResponseFlag.found) !== 0;
  response.succeeded = (flags & ResponseFlag.succeeded) !== 0;
  response.timestamp = timestamp(reader.u64());
  if ((flags & ResponseFlag.error) !== 0) response.error = readError(reader);
  if ((flags & ResponseFlag.version) !== 0) response.version = reader.bytes();
  if ((flags & ResponseFlag.resume) !== 0) response.resumeKey = reader.bytes();
  if ((flags & ResponseFlag.rare) !== 0) {
    response.number = reader.string();
    response.count = reader.varint();
    response.rows = readRows(reader);
  }
  if ((flags & ResponseFlag.value) !== 0) response.value = reader.bytes();
  return response;
}

function readRows(reader: ByteReader): readonly KvRow[] {
  const rows: KvRow[] = [];
  for (let left = reader.varint(); left > 0; left -= 1) {
    const key = reader.bytes();
    const version = reader.bytes();
    rows.push({ key, value: reader.bytes(), version });
  }
  return rows;
}

function writeError(writer: ByteWriter, error: KvError): void {
  writer.string(error.code);
  writer.string(error.message);
  writer.varint(Math.max(0, Math.ceil(error.retryAfterMs)));
  writer.varint(error.leaderStoreId);
  writer.string(error.field);
  writer.varint(error.descriptors.length);
  for (const descriptor of error.descriptors) writeRangeDescriptor(writer, descriptor);
}

function readError(reader: ByteReader): KvError {
  const code = reader.string() as ErrorCode;
  const message = reader.string();
  const retryAfterMs = reader.varint();
  const leaderStoreId = storeId(reader.varint());
  const field = reader.string();
  let descriptors = NO_DESCRIPTORS;
  const count = reader.varint();
  if (count > 0) {
    const list: RangeDescriptor[] = [];
    for (let left = count; left > 0; left -= 1) list.push(readRangeDescriptor(reader));
    descriptors = list;
  }
  return { code, message, retryAfterMs, leaderStoreId, descriptors, field };
}

/** Append only: positions travel between nodes. */
const ROLES: readonly ReplicaRole[] = ['voter', 'learner', 'incoming', 'outgoing'];

export function writeRangeDescriptor(writer: ByteWriter, descriptor: RangeDescriptor): void {
  writer.varint(descriptor.rangeId);
  writer.bytes(descriptor.startKey);
  writer.bytes(descriptor.endKey);
  writer.varint(descriptor.epoch.version);
  writer.varint(descriptor.epoch.confVersion);
  writer.varint(descriptor.replicas.length);
  for (const replica of descriptor.replicas) {
    writer.varint(replica.replicaId);
    writer.varint(replica.storeId);
    writer.u8(ROLES.indexOf(replica.role));
  }
}

/** Keys are copied: a descriptor is kept for long and must not pin a network buffer. */
export function readRangeDescriptor(reader: ByteReader): RangeDescriptor {
  const id = rangeId(reader.varint());
  const startKey = Buffer.from(reader.bytes());
  const endKey = Buffer.from(reader.bytes());
  const epoch = { version: reader.varint(), confVersion: reader.varint() };
  const replicas: ReplicaDescriptor[] = [];
  for (let left = reader.varint(); left > 0; left -= 1) {
    const replica = replicaId(reader.varint());
    const store = storeId(reader.varint());
    const role = ROLES[reader.u8()];
    if (role === undefined) throw new CairnError('CORRUPTION', 'replica of an unknown role');
    replicas.push({ replicaId: replica, storeId: store, role });
  }
  return { rangeId: id, startKey, endKey, epoch, replicas };
}

/** Body of a `kvCancel` frame: the sequences of requests nobody waits for any more. */
export function encodeKvCancel(sequences: readonly number[]): readonly Uint8Array[] {
  const writer = new ByteWriter(sequences.length * 4 + 1);
  for (const sequence of sequences) writer.u32(sequence);
  return [writer.take()];
}

export function decodeKvCancel(body: Uint8Array): number[] {
  const reader = new ByteReader(body);
  const sequences: number[] = [];
  while (reader.remaining > 0) sequences.push(reader.u32());
  return sequences;
}
