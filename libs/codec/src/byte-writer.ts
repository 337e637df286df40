import { assert } from '@cairn/base';

/** Largest integer that six bytes hold. */
export const UINT48_MAX = 2 ** 48 - 1;

/**
 * Appends integers and bytes to one growing buffer. Little endian, unless a name says otherwise. Reusable: `take`
 * hands the bytes over and leaves the writer empty with a fresh buffer of the same size.
 */
export class ByteWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  get length(): number {
    return this.#length;
  }

  #reserve(count: number): number {
    const at = this.#length;
    const needed = at + count;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    this.#length = needed;
    return at;
  }

  u8(value: number): void {
    const at = this.#reserve(1);
    this.#buffer[at] = value;
  }

  u16(value: number): void {
    const at = this.#reserve(2);
    this.#buffer.writeUInt16LE(value, at);
  }

  u32(value: number): void {
    const at = this.#reserve(4);
    this.#buffer.writeUInt32LE(value, at);
  }

  /** 0 .. 2^48 - 1. */
  u48(value: number): void {
    const at = this.#reserve(6);
    this.#buffer.writeUIntLE(value, at, 6);
  }

  /** A safe integer, 0 .. 2^53 - 1, in eight bytes. */
  u64(value: number): void {
    assert(value >= 0 && value <= Number.MAX_SAFE_INTEGER, 'not a safe unsigned integer', { value });
    const at = this.#reserve(8);
    this.#buffer.writeUInt32LE(value >>> 0, at);
    this.#buffer.writeUInt32LE(Math.floor(value / 4294967296), at + 4);
  }

  f64(value: number): void {
    const at = this.#reserve(8);
    this.#buffer.writeDoubleLE(value, at);
  }

  /** LEB128 of a safe unsigned integer: 1 byte below 128, 8 bytes at most. */
  varint(value: number): void {
    assert(value >= 0 && value <= Number.MAX_SAFE_INTEGER, 'not a safe unsigned integer', { value });
    let at = this.#reserve(8);
    let rest = value;
    while (rest >= 128) {
      this.#buffer[at++] = (rest & 127) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[at++] = rest;
    this.#length = at;
  }

  /** The bytes alone, without a length. */
  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
  }

  /** A varint length, then the bytes. */
  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /** A varint byte length, then UTF-8. */
  string(text: string): void {
    const length = Buffer.byteLength(text);
    this.varint(length);
    const at = this.#reserve(length);
    this.#buffer.write(text, at, 'utf8');
  }

  /** Overwrites four bytes written before, for counts and lengths known only later. */
  patchU32(position: number, value: number): void {
    assert(position + 4 <= this.#length, 'patch past the end', { position });
    this.#buffer.writeUInt32LE(value, position);
  }

  /** Hands over what was written; the result is never changed afterwards. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#length);
    this.#buffer = Buffer.allocUnsafe(this.#buffer.length);
    this.#length = 0;
    return taken;
  }
}
