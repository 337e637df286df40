import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';

export interface EtcdRangeRequest {
  readonly key: Buffer;
  /** Empty = only `key`. */
  readonly rangeEnd: Buffer;
  /** 0 = no limit. */
  readonly limit: number;
  /** 0 = the newest. */
  readonly revision: number;
  readonly isSerializable: boolean;
}

/** The buffers are views of the message. */
export interface EtcdRow {
  key: Uint8Array;
  value: Uint8Array;
}

export interface EtcdRangeResponse {
  revision: number;
  rows: EtcdRow[];
  more: boolean;
}

export interface EtcdPutRequest {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** If all keys exist they are put. */
export interface EtcdTxnRequest {
  readonly keys: readonly Buffer[];
  readonly value: Buffer;
}

const LENGTH_DELIMITED = 2;
const VARINT = 0;

/** The tag of a protobuf field. */
function tag(field: number, wireType: number): number {
  return (field << 3) | wireType;
}

const EMPTY = new Uint8Array(0);

function asBuffer(writer: BinaryWriter): Buffer {
  const bytes = writer.finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function encodeRangeRequest(request: EtcdRangeRequest): Buffer {
  const writer = new BinaryWriter();
  writer.uint32(tag(1, LENGTH_DELIMITED)).bytes(request.key);
  if (request.rangeEnd.length > 0) writer.uint32(tag(2, LENGTH_DELIMITED)).bytes(request.rangeEnd);
  if (request.limit > 0) writer.uint32(tag(3, VARINT)).int64(request.limit);
  if (request.revision > 0) writer.uint32(tag(4, VARINT)).int64(request.revision);
  if (request.isSerializable) writer.uint32(tag(7, VARINT)).bool(true);
  return asBuffer(writer);
}

export function encodePutRequest(request: EtcdPutRequest): Buffer {
  const writer = new BinaryWriter();
  writer.uint32(tag(1, LENGTH_DELIMITED)).bytes(request.key);
  writer.uint32(tag(2, LENGTH_DELIMITED)).bytes(request.value);
  return asBuffer(writer);
}

/** A message within another one. */
function nested(writer: BinaryWriter, field: number, write: () => void): void {
  writer.uint32(tag(field, LENGTH_DELIMITED)).fork();
  write();
  writer.join();
}

const GREATER = 1;

export function encodeTxnRequest({ keys, value }: EtcdTxnRequest): Buffer {
  const writer = new BinaryWriter();
  for (const key of keys) {
    nested(writer, 1, () => {
      // Its version, which is the default of the target, is above 0: it exists.
      writer.uint32(tag(1, VARINT)).int32(GREATER);
      writer.uint32(tag(3, LENGTH_DELIMITED)).bytes(key);
      writer.uint32(tag(4, VARINT)).int64(0);
    });
  }
  for (const key of keys) {
    nested(writer, 2, () =>
      nested(writer, 2, () => {
        writer.uint32(tag(1, LENGTH_DELIMITED)).bytes(key);
        writer.uint32(tag(2, LENGTH_DELIMITED)).bytes(value);
      }),
    );
  }
  return asBuffer(writer);
}

/** Whether the conditions held. */
export function decodeTxnResponse(bytes: Uint8Array): boolean {
  const reader = new BinaryReader(bytes);
  let succeeded = false;
  while (reader.pos < reader.len) {
    const found = reader.uint32();
    if (found === tag(2, VARINT)) succeeded = reader.bool();
    else reader.skip(found & 7);
  }
  return succeeded;
}

function decodeRow(reader: BinaryReader, end: number): EtcdRow {
  const row: EtcdRow = { key: EMPTY, value: EMPTY };
  while (reader.pos < end) {
    const found = reader.uint32();
    if (found === tag(1, LENGTH_DELIMITED)) row.key = reader.bytes();
    else if (found === tag(5, LENGTH_DELIMITED)) row.value = reader.bytes();
    else reader.skip(found & 7);
  }
  return row;
}

function decodeRevision(reader: BinaryReader, end: number): number {
  let revision = 0;
  while (reader.pos < end) {
    const found = reader.uint32();
    if (found === tag(3, VARINT)) revision = Number(reader.int64());
    else reader.skip(found & 7);
  }
  return revision;
}

/** @throws Error when the bytes are no such message. */
export function decodeRangeResponse(bytes: Uint8Array): EtcdRangeResponse {
  const reader = new BinaryReader(bytes);
  const response: EtcdRangeResponse = { revision: 0, rows: [], more: false };
  while (reader.pos < reader.len) {
    const found = reader.uint32();
    if (found === tag(1, LENGTH_DELIMITED)) {
      const bytes = reader.uint32();
      response.revision = decodeRevision(reader, reader.pos + bytes);
    } else if (found === tag(2, LENGTH_DELIMITED)) {
      const bytes = reader.uint32();
      response.rows.push(decodeRow(reader, reader.pos + bytes));
    } else if (found === tag(3, VARINT)) {
      response.more = reader.bool();
    } else {
      reader.skip(found & 7);
    }
  }
  return response;
}

/** What a member says of itself. Ids have 64 bits. */
export interface EtcdStatus {
  memberId: bigint;
  /** 0 = none known. */
  leaderId: bigint;
  raftAppliedIndex: number;
}

function decodeMemberId(reader: BinaryReader, end: number): bigint {
  let memberId = 0n;
  while (reader.pos < end) {
    const found = reader.uint32();
    if (found === tag(2, VARINT)) memberId = BigInt(reader.uint64());
    else reader.skip(found & 7);
  }
  return memberId;
}

/** @throws Error when the bytes are no such message. */
export function decodeStatusResponse(bytes: Uint8Array): EtcdStatus {
  const reader = new BinaryReader(bytes);
  const status: EtcdStatus = { memberId: 0n, leaderId: 0n, raftAppliedIndex: 0 };
  while (reader.pos < reader.len) {
    const found = reader.uint32();
    if (found === tag(1, LENGTH_DELIMITED)) {
      const length = reader.uint32();
      status.memberId = decodeMemberId(reader, reader.pos + length);
    } else if (found === tag(4, VARINT)) {
      status.leaderId = BigInt(reader.uint64());
    } else if (found === tag(7, VARINT)) {
      status.raftAppliedIndex = Number(reader.uint64());
    } else {
      reader.skip(found & 7);
    }
  }
  return status;
}

/** The revision that a put made. */
export function decodePutResponse(bytes: Uint8Array): number {
  const reader = new BinaryReader(bytes);
  let revision = 0;
  while (reader.pos < reader.len) {
    const found = reader.uint32();
    if (found === tag(1, LENGTH_DELIMITED)) {
      const bytes = reader.uint32();
      revision = decodeRevision(reader, reader.pos + bytes);
    } else {
      reader.skip(found & 7);
    }
  }
  return revision;
}
