import { assert, CairnError, timestamp, type RangeId, type Timestamp } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

import { FRAME_CUT_BYTES, FRAME_CUT_MESSAGES, FRAME_MESSAGES_MAX, tooManyMessages } from './frame-limits.js';
import { newKvRequest } from './kv-factories.js';
import {
  IGNORED_LOCKS_MAX,
  KvOp,
  type Expectation,
  type KvRequest,
  type ReadConsistency,
} from './kv-messages.js';

/*
 * A kvRequests frame is a sequence of requests until its end. Each: sequence u32, op u8, flags u16, rangeId,
 * epoch version and timeout as varints, key; then what the flags announce and what the op needs.
 */

const Flag = {
  strict: 1,
  reverse: 2,
  keysOnly: 4,
  requestId: 8,
  retry: 16,
  trace: 32,
  value: 64,
  ttl: 128,
  /** Two bits. */
  consistencyShift: 8,
  /** Two bits. */
  expectationShift: 10,
  ignoreLocks: 4_096,
} as const;

const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;
const TIMEOUT_MS_MAX = 2 ** 31;

/**
 * Collects the requests of a turn into the body of one frame. Everything is copied: the request may be
 * reused.
 */
export class KvRequestEncoder {
  readonly #writer = new ByteWriter(16 * 1024);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#writer.length;
  }

  /** The frame must be sent before another request is added: see `FRAME_CUT_BYTES`. */
  get isFull(): boolean {
    return this.#count >= FRAME_CUT_MESSAGES || this.#writer.length >= FRAME_CUT_BYTES;
  }

  add(request: KvRequest): void {
    const writer = this.#writer;
    this.#count += 1;
    writer.u32(request.sequence);
    writer.u8(request.op);
    writer.u16(flagsOf(request));
    writer.varint(request.rangeId);
    writer.varint(request.epochVersion);
    writer.varint(Math.min(Math.max(0, Math.ceil(request.timeoutMs)), TIMEOUT_MS_MAX));
    writer.bytes(request.key);
    const { requestId, trace } = request;
    if (requestId !== undefined) {
      writer.u48(requestId.client);
      writer.u48(requestId.sequence);
      writer.u64(requestId.stamp);
    }
    if (trace !== undefined) {
      assert(
        trace.traceId.length === TRACE_ID_BYTES && trace.spanId.length === SPAN_ID_BYTES,
        'trace ids have fixed sizes',
      );
      writer.raw(trace.traceId);
      writer.raw(trace.spanId);
    }
    if (request.value !== undefined) writer.bytes(request.value);
    if (request.ttlMs !== 0) writer.varint(Math.ceil(request.ttlMs));
    if (request.ignoreLocks.length > 0) writeIgnored(writer, request.ignoreLocks);
    writeOperation(writer, request);
  }

  /** The frame's body; the encoder is empty afterwards. */
  take(): Buffer[] {
    this.#count = 0;
    return [this.#writer.take()];
  }
}

function flagsOf(request: KvRequest): number {
  return (
    (request.strict ? Flag.strict : 0) |
    (request.reverse ? Flag.reverse : 0) |
    (request.keysOnly ? Flag.keysOnly : 0) |
    (request.requestId === undefined ? 0 : Flag.requestId | (request.requestId.isRetry ? Flag.retry : 0)) |
    (request.trace === undefined ? 0 : Flag.trace) |
    (request.value === undefined ? 0 : Flag.value) |
    (request.ttlMs === 0 ? 0 : Flag.ttl) |
    (request.ignoreLocks.length === 0 ? 0 : Flag.ignoreLocks) |
    (request.consistency << Flag.consistencyShift) |
    (request.expectation << Flag.expectationShift)
  );
}

function writeOperation(writer: ByteWriter, request: KvRequest): void {
  switch (request.op) {
    case KvOp.get:
    case KvOp.txnRead:
    case KvOp.txnWrite:
    case KvOp.execute:
    case KvOp.changes:
    case KvOp.reserve:
      writer.u64(request.readTimestamp);
      return;
    case KvOp.put:
    case KvOp.delete:
    case KvOp.expire:
      return;
    case KvOp.compareAndSet:
      writer.bytes(request.expected);
      return;
    case KvOp.increment:
      writer.string(request.delta);
      return;
    case KvOp.deleteRange:
      writer.bytes(request.endKey);
      writer.varint(request.limit);
      return;
    case KvOp.scan:
      writer.bytes(request.endKey);
      writer.u64(request.readTimestamp);
      writer.varint(request.limit);
      writer.varint(request.pageBytes);
  }
}

function writeIgnored(writer: ByteWriter, starts: readonly Timestamp[]): void {
  assert(starts.length <= IGNORED_LOCKS_MAX, 'a read passes over few locks');
  writer.varint(starts.length);
  for (const start of starts) writer.u64(start);
}

function readIgnored(reader: ByteReader): Timestamp[] {
  const count = reader.varint();
  if (count > IGNORED_LOCKS_MAX) throw new CairnError('CORRUPTION', `${count} locks to pass over`);
  const starts: Timestamp[] = [];
  for (let at = 0; at < count; at += 1) starts.push(timestamp(reader.u64()));
  return starts;
}

/** The requests of a frame; keys and values are views of it. Throws CORRUPTION. */
export function decodeKvRequests(body: Buffer): KvRequest[] {
  const reader = new ByteReader(body);
  const requests: KvRequest[] = [];
  while (reader.remaining > 0) {
    if (requests.length === FRAME_MESSAGES_MAX) throw tooManyMessages('requests');
    requests.push(readRequest(reader));
  }
  return requests;
}

function readRequest(reader: ByteReader): KvRequest {
  const request = newKvRequest();
  request.sequence = reader.u32();
  const op = reader.u8();
  if (op < KvOp.get || op > KvOp.reserve) throw new CairnError('CORRUPTION', `unknown operation ${op}`);
  request.op = op as KvOp;
  const flags = reader.u16();
  request.strict = (flags & Flag.strict) !== 0;
  request.reverse = (flags & Flag.reverse) !== 0;
  request.keysOnly = (flags & Flag.keysOnly) !== 0;
  const consistency = (flags >> Flag.consistencyShift) & 3;
  if (consistency > 2) throw new CairnError('CORRUPTION', `unknown consistency ${consistency}`);
  request.consistency = consistency as ReadConsistency;
  request.expectation = ((flags >> Flag.expectationShift) & 3) as Expectation;
  request.rangeId = reader.varint() as RangeId;
  request.epochVersion = reader.varint();
  request.timeoutMs = reader.varint();
  request.key = reader.bytes();
  if ((flags & Flag.requestId) !== 0) {
    const client = reader.u48();
    const sequence = reader.u48();
    const stamp = timestamp(reader.u64());
    request.requestId = { client, sequence, stamp, isRetry: (flags & Flag.retry) !== 0 };
  }
  if ((flags & Flag.trace) !== 0) {
    const traceId = Buffer.from(reader.raw(TRACE_ID_BYTES));
    request.trace = { traceId, spanId: Buffer.from(reader.raw(SPAN_ID_BYTES)) };
  }
  if ((flags & Flag.value) !== 0) request.value = reader.bytes();
  if ((flags & Flag.ttl) !== 0) request.ttlMs = reader.varint();
  if ((flags & Flag.ignoreLocks) !== 0) request.ignoreLocks = readIgnored(reader);
  readOperation(reader, request);
  return request;
}

function readOperation(reader: ByteReader, request: KvRequest): void {
  switch (request.op) {
    case KvOp.get:
    case KvOp.txnRead:
    case KvOp.txnWrite:
    case KvOp.execute:
    case KvOp.changes:
    case KvOp.reserve:
      request.readTimestamp = timestamp(reader.u64());
      return;
    case KvOp.put:
    case KvOp.delete:
    case KvOp.expire:
      return;
    case KvOp.compareAndSet:
      request.expected = reader.bytes();
      return;
    case KvOp.increment:
      request.delta = reader.string();
      if (!/^-?[0-9]{1,20}$/.test(request.delta))
        throw new CairnError('CORRUPTION', 'delta is not an integer');
      return;
    case KvOp.deleteRange:
      request.endKey = reader.bytes();
      request.limit = reader.varint();
      return;
    case KvOp.scan:
      request.endKey = reader.bytes();
      request.readTimestamp = timestamp(reader.u64());
      request.limit = reader.varint();
      request.pageBytes = reader.varint();
  }
}

/** The body of a kvCancel frame. */
export function encodeKvCancel(sequences: readonly number[]): Buffer[] {
  const writer = new ByteWriter(4 * sequences.length);
  for (const sequence of sequences) writer.u32(sequence);
  return [writer.take()];
}

export function decodeKvCancel(body: Buffer): number[] {
  const reader = new ByteReader(body);
  const sequences: number[] = [];
  if (body.length > 4 * FRAME_MESSAGES_MAX) throw tooManyMessages('cancellations');
  while (reader.remaining > 0) sequences.push(reader.u32());
  return sequences;
}
