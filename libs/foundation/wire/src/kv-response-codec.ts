import {
  CairnError,
  NOTHING,
  RowKind,
  timestamp,
  type ErrorCode,
  type StoreId,
  type Timestamp,
} from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

import { readDescriptor, writeDescriptor } from './descriptor-codec.js';
import { FRAME_CUT_BYTES, FRAME_CUT_MESSAGES, FRAME_MESSAGES_MAX, tooManyMessages } from './frame-limits.js';
import { newKvResponse } from './kv-factories.js';
import { KvOp, type KvError, type KvResponse } from './kv-messages.js';
import { hasOwners, readLocks, readOwners, writeLocks, writeOwners } from './txn-codec.js';
import { encodeTimestampField, timestampFieldLength, type PackedRows } from './packed-rows.js';

/*
 * A kvResponses frame: the store's largest timestamp (u64), then responses until the end. Each: sequence u32,
 * op u8, flags u8, then what the flags announce. The rows of a scan are followed by the field that a client's
 * message has behind them.
 */

const Flag = {
  error: 1,
  found: 2,
  /** Of an error: the owners of its locks follow. */
  succeeded: 4,
  value: 8,
  version: 16,
  /**
   * increment, deleteRange and scan: what those ops add; get: when the row expires; compareAndSet: the kind
   * of what was found.
   */
  extra: 32,
  resumeKey: 64,
  /** Of an error: the write may still take effect. */
  unclear: 128,
} as const;

const VERSION_BYTES = 12;
/** Values above this travel as parts of their own instead of being copied into the frame. */
export const COPIED_VALUE_BYTES_MAX = 4 * 1024;

/** Collects the responses of a turn into the body of one frame. */
export class KvResponseEncoder {
  readonly #writer = new ByteWriter(16 * 1024);
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Bytes of the body so far. */
  get bytes(): number {
    return this.#partBytes + this.#writer.length;
  }

  /** The frame must be sent before another response is added: see `FRAME_CUT_BYTES`. */
  get isFull(): boolean {
    return this.#count >= FRAME_CUT_MESSAGES || this.bytes >= FRAME_CUT_BYTES;
  }

  /** Large values are kept by reference until the frame is sent; they must not change. */
  add(response: KvResponse): void {
    this.#count += 1;
    const writer = this.#writer;
    const { error, value, version, resumeKey, op } = response;
    const hasExtra = hasExtraOf(response);
    writer.u32(response.sequence);
    writer.u8(op);
    writer.u8(
      (error === undefined ? 0 : Flag.error) |
        (error?.isUnclear === true ? Flag.unclear : 0) |
        (response.found ? Flag.found : 0) |
        ((error === undefined ? response.succeeded : hasOwners(error.locks)) ? Flag.succeeded : 0) |
        (value === undefined ? 0 : Flag.value) |
        (version.length === VERSION_BYTES ? Flag.version : 0) |
        (hasExtra ? Flag.extra : 0) |
        (resumeKey === undefined ? 0 : Flag.resumeKey),
    );
    if (error !== undefined) {
      writeError(writer, error);
      return;
    }
    if (version.length === VERSION_BYTES) writer.raw(version);
    writer.u64(response.timestamp);
    if (resumeKey !== undefined) writer.bytes(resumeKey);
    if (op === KvOp.get && hasExtra) writer.varint(response.expiresUnixMs);
    if (op === KvOp.compareAndSet && hasExtra) writer.u8(response.kind);
    if (op === KvOp.increment) writer.string(response.number);
    if (op === KvOp.deleteRange) writer.varint(response.count);
    if (op === KvOp.scan) {
      writer.varint(response.rows.count);
      this.#addValue(response.rows.bytes);
      if (response.timestamp > 0) writer.raw(encodeTimestampField(response.timestamp));
    }
    if (value !== undefined) this.#addValue(value);
  }

  #addValue(value: Uint8Array): void {
    const writer = this.#writer;
    if (value.length <= COPIED_VALUE_BYTES_MAX) {
      writer.bytes(value);
      return;
    }
    writer.varint(value.length);
    const head = writer.take();
    this.#parts.push(head, value);
    this.#partBytes += head.length + value.length;
  }

  /** The frame's body; the encoder is empty afterwards. */
  take(maxTimestamp: Timestamp): Uint8Array[] {
    const head = new ByteWriter(8);
    head.u64(maxTimestamp);
    const parts = [head.take(), ...this.#parts];
    if (this.#writer.length > 0) parts.push(this.#writer.take());
    this.#parts = [];
    this.#partBytes = 0;
    this.#count = 0;
    return parts;
  }
}

function hasExtraOf({ op, expiresUnixMs, kind }: KvResponse): boolean {
  switch (op) {
    case KvOp.get:
      return expiresUnixMs > 0;
    case KvOp.compareAndSet:
      return kind !== RowKind.bytes;
    case KvOp.increment:
    case KvOp.deleteRange:
    case KvOp.scan:
      return true;
    case KvOp.put:
    case KvOp.delete:
    case KvOp.expire:
    case KvOp.txnRead:
    case KvOp.txnWrite:
    case KvOp.execute:
    case KvOp.changes:
    case KvOp.reserve:
      return false;
  }
}

function writeError(writer: ByteWriter, error: KvError): void {
  writer.string(error.code);
  writer.string(error.message);
  writer.varint(Math.round(error.retryAfterMs));
  writer.varint(error.leaderStoreId);
  writer.string(error.field);
  writer.u8(error.kind);
  writer.varint(error.descriptors.length);
  for (const descriptor of error.descriptors) writeDescriptor(writer, descriptor);
  if (error.code !== 'LOCKED') return;
  writeLocks(writer, error.locks);
  if (hasOwners(error.locks)) writeOwners(writer, error.locks);
}

/** The responses of a frame; values and rows are views of it. Throws CORRUPTION. */
export function decodeKvResponses(body: Buffer): { maxTimestamp: Timestamp; responses: KvResponse[] } {
  const reader = new ByteReader(body);
  const maxTimestamp = timestamp(reader.u64());
  const responses: KvResponse[] = [];
  while (reader.remaining > 0) {
    if (responses.length === FRAME_MESSAGES_MAX) throw tooManyMessages('responses');
    responses.push(readResponse(reader));
  }
  return { maxTimestamp, responses };
}

function readResponse(reader: ByteReader): KvResponse {
  const sequence = reader.u32();
  const op = reader.u8();
  if (op < KvOp.get || op > KvOp.reserve) throw new CairnError('CORRUPTION', `unknown operation ${op}`);
  const response = newKvResponse(sequence, op as KvOp);
  const flags = reader.u8();
  if ((flags & Flag.error) !== 0) {
    response.error = readError(reader, flags);
    return response;
  }
  response.found = (flags & Flag.found) !== 0;
  response.succeeded = (flags & Flag.succeeded) !== 0;
  if ((flags & Flag.version) !== 0) response.version = reader.raw(VERSION_BYTES);
  response.timestamp = timestamp(reader.u64());
  if ((flags & Flag.resumeKey) !== 0) response.resumeKey = reader.bytes();
  if ((flags & Flag.extra) !== 0) {
    if (op === KvOp.get) response.expiresUnixMs = reader.varint();
    if (op === KvOp.compareAndSet) response.kind = reader.u8();
    if (op === KvOp.increment) response.number = reader.string();
    if (op === KvOp.deleteRange) response.count = reader.varint();
    if (op === KvOp.scan) response.rows = readRows(reader, response.timestamp);
  }
  if ((flags & Flag.value) !== 0) response.value = reader.bytes();
  return response;
}

function readRows(reader: ByteReader, stamp: number): PackedRows {
  const count = reader.varint();
  const bytes = reader.bytes();
  if (stamp === 0) return { count, bytes };
  reader.raw(timestampFieldLength(stamp));
  return { count, bytes, stamp };
}

function readError(reader: ByteReader, flags: number): KvError {
  const isUnclear = (flags & Flag.unclear) !== 0;
  const code = reader.string() as ErrorCode;
  const message = reader.string();
  const retryAfterMs = reader.varint();
  const leaderStoreId = reader.varint() as StoreId;
  const field = reader.string();
  const kind = reader.u8();
  const count = reader.varint();
  const descriptors = [];
  for (let at = 0; at < count; at += 1) descriptors.push(readDescriptor(reader));
  const isLocked = code === 'LOCKED';
  const durable = isLocked ? readLocks(reader) : NOTHING;
  const locks = isLocked && (flags & Flag.succeeded) !== 0 ? readOwners(reader, durable) : durable;
  return { code, message, retryAfterMs, leaderStoreId, descriptors, field, kind, isUnclear, locks };
}
