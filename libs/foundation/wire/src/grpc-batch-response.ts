import { ByteWriter } from '@cairn/codec';

import {
  BatchHello,
  BatchResult,
  type BatchResponse,
  type DeleteResponse,
  type PutResponse,
} from './gen/cairn/v1/kv.js';
import { fieldBytes, numberBytes, varintBytes, writeField, writeNumber } from './grpc-proto-sizes.js';

/** Encodes what the stream answers; byte for byte what the generated encoder makes. Everything is copied. */
export function encodeBatchResponse(response: BatchResponse): Buffer {
  const writer = new ByteWriter(64 + response.results.length * 48);
  for (const result of response.results) writeResult(writer, result);
  if (response.hello !== undefined) {
    writer.u8(18);
    writer.bytes(BatchHello.encode(response.hello).finish());
  }
  if (response.timestamp !== 0) {
    writer.u8(24);
    writer.varint(response.timestamp);
  }
  return writer.take();
}

function writeResult(writer: ByteWriter, result: BatchResult): void {
  writer.u8(10);
  const answer = result.result;
  const callBytes = result.call === 0 ? 0 : 1 + varintBytes(result.call);
  switch (answer?.$case) {
    case 'get': {
      const { found, value, version, expiresUnixMs } = answer.value;
      const bytes = (found ? 2 : 0) + fieldBytes(value) + fieldBytes(version) + numberBytes(expiresUnixMs);
      writeHead(writer, { call: result.call, bytes, callBytes, tag: 26 });
      if (found) writer.u16(0x0108);
      writeField(writer, 18, value);
      writeField(writer, 26, version);
      writeNumber(writer, 40, expiresUnixMs);
      return;
    }
    case 'put':
      writeWritten(writer, { call: result.call, callBytes, tag: 34 }, answer.value);
      return;
    case 'delete':
      writeDeleted(writer, { call: result.call, callBytes, tag: 42 }, answer.value);
      return;
    default:
      writer.bytes(BatchResult.encode(result).finish());
  }
}

interface Head {
  readonly call: number;
  readonly callBytes: number;
  readonly tag: number;
}

function writeHead(writer: ByteWriter, head: Head & { readonly bytes: number }): void {
  writer.varint(head.callBytes + 1 + varintBytes(head.bytes) + head.bytes);
  if (head.call !== 0) {
    writer.u8(8);
    writer.varint(head.call);
  }
  writer.u8(head.tag);
  writer.varint(head.bytes);
}

function writeWritten(
  writer: ByteWriter,
  { call, callBytes, tag }: Head,
  { version, timestamp }: PutResponse,
): void {
  const bytes = fieldBytes(version) + (timestamp === 0 ? 0 : 1 + varintBytes(timestamp));
  writeHead(writer, { call, callBytes, tag, bytes });
  writeField(writer, 10, version);
  if (timestamp !== 0) {
    writer.u8(16);
    writer.varint(timestamp);
  }
}

function writeDeleted(writer: ByteWriter, { call, callBytes, tag }: Head, answer: DeleteResponse): void {
  const { existed, version, timestamp } = answer;
  const bytes = (existed ? 2 : 0) + fieldBytes(version) + (timestamp === 0 ? 0 : 1 + varintBytes(timestamp));
  writeHead(writer, { call, callBytes, tag, bytes });
  if (existed) writer.u16(0x0108);
  writeField(writer, 18, version);
  if (timestamp !== 0) {
    writer.u8(24);
    writer.varint(timestamp);
  }
}
