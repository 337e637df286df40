import type { ByteWriter } from '@cairn/codec';

/** Bytes of a varint of a safe unsigned integer. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  let count = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) count += 1;
  return count;
}

/** Bytes of a field of bytes whose tag takes one; an empty one is left out, as proto3 wants it. */
export function fieldBytes(bytes: Uint8Array): number {
  return bytes.length === 0 ? 0 : 1 + varintBytes(bytes.length) + bytes.length;
}

/** The same for an unsigned integer, left out when 0. */
export function numberBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value);
}

export function writeField(writer: ByteWriter, tag: number, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  writer.u8(tag);
  writer.bytes(bytes);
}

export function writeNumber(writer: ByteWriter, tag: number, value: number): void {
  if (value === 0) return;
  writer.u8(tag);
  writer.varint(value);
}
