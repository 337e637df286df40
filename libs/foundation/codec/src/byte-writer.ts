import { assert } from '@cairn/base';

/** Largest integer that six bytes hold. */
export const UINT48_MAX = 2 ** 48 - 1;

/** A fresh buffer after `take` is at most this large, however large the one before had grown. */
const FRESH_BYTES_MAX = 64 * 1024;

/**
 * Appends integers and bytes to one growing buffer. Little endian, unless a name says otherwise. Reusable:
 * `take` hands the bytes over and leaves the writer empty. Small results share one underlying buffer, so a
 * result that is kept for long keeps up to 64 KiB (or its own size, when larger) alive.
 */
export class ByteWriter {
  readonly #capacity: number;
  #buffer: Buffer;
  /** Where the bytes of this result begin; everything before was handed over. */
  #start = 0;
  #length = 0;

  constructor(capacity = 256) {
    this.#capacity = capacity;
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  /** Bytes written since the last `take`. */
  get length(): number {
    return this.#length - this.#start;
  }

  #reserve(count: number): number {
    const at = this.#length;
    const needed = at + count;
    if (needed > this.#buffer.length) {
      return this.#grow(count);
    }
    this.#length = needed;
    return at;
  }

  #grow(count: number): number {
    const at = this.#length - this.#start;
    const grown = Buffer.allocUnsafe(Math.max(at + count, at * 2, this.#capacity));
    this.#buffer.copy(grown, 0, this.#start, this.#length);
    this.#buffer = grown;
    this.#start = 0;
    this.#length = at + count;
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
    assert(value >= 0 && value <= Number.MAX_SAFE_INTEGER, 'not a safe unsigned integer');
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
    assert(value >= 0 && value <= Number.MAX_SAFE_INTEGER, 'not a safe unsigned integer');
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
    assert(position + 4 <= this.length, 'patch past the end');
    this.#buffer.writeUInt32LE(value, this.#start + position);
  }

  /** Hands over what was written; the result is never changed afterwards. */
  take(): Buffer {
    const taken = this.#buffer.subarray(this.#start, this.#length);
    if (this.#buffer.length - this.#length >= this.#capacity) {
      this.#start = this.#length;
    } else {
      this.#buffer = Buffer.allocUnsafe(
        Math.max(this.#capacity, Math.min(this.#buffer.length, FRESH_BYTES_MAX)),
      );
      this.#start = 0;
      this.#length = 0;
    }
    return taken;
  }
}
