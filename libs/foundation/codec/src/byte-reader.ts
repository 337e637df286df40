import { CairnError } from '@cairn/base';

import { UINT48_MAX } from './byte-writer.js';

/**
 * Reads what `ByteWriter` wrote. Every read is checked against the end: a short or garbled input throws
 * CairnError CORRUPTION, never reads past it. `bytes` answers views of the input.
 */
export class ByteReader {
  readonly #buffer: Buffer;
  #position: number;
  readonly #end: number;

  constructor(input: Uint8Array, start = 0, end = input.length) {
    this.#buffer = Buffer.isBuffer(input)
      ? input
      : Buffer.from(input.buffer, input.byteOffset, input.byteLength);
    this.#position = start;
    this.#end = end;
  }

  get position(): number {
    return this.#position;
  }

  get remaining(): number {
    return this.#end - this.#position;
  }

  #advance(count: number): number {
    const at = this.#position;
    if (!(at + count <= this.#end)) {
      throw new CairnError('CORRUPTION', `input ends early: ${count} bytes wanted at ${at} of ${this.#end}`);
    }
    this.#position = at + count;
    return at;
  }

  u8(): number {
    return this.#buffer[this.#advance(1)] as number;
  }

  u16(): number {
    return this.#buffer.readUInt16LE(this.#advance(2));
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#advance(4));
  }

  u48(): number {
    return this.#buffer.readUIntLE(this.#advance(6), 6);
  }

  u64(): number {
    const at = this.#advance(8);
    const high = this.#buffer.readUInt32LE(at + 4);
    if (high > 0x1fffff) throw new CairnError('CORRUPTION', `integer above 2^53 at ${at}`);
    return high * 4294967296 + this.#buffer.readUInt32LE(at);
  }

  f64(): number {
    return this.#buffer.readDoubleLE(this.#advance(8));
  }

  varint(): number {
    const first = this.u8();
    if (first < 128) return first;
    let value = first & 127;
    let scale = 128;
    for (let count = 1; count < 8; count += 1) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 128;
    }
    throw new CairnError('CORRUPTION', `varint too long before ${this.#position}`);
  }

  /** A varint of an id, a term or an index: they fit six bytes, also on disk. */
  varint48(): number {
    const value = this.varint();
    if (value > UINT48_MAX) throw new CairnError('CORRUPTION', `${value} is above 2^48 - 1`);
    return value;
  }

  /** Milliseconds of a monotonic clock: neither negative nor infinite. */
  milliseconds(): number {
    const value = this.f64();
    if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) {
      throw new CairnError('CORRUPTION', `${value} is not a time of a clock`);
    }
    return value;
  }

  /** A view of the next `length` bytes. */
  raw(length: number): Buffer {
    const at = this.#advance(length);
    return this.#buffer.subarray(at, at + length);
  }

  /** The four bytes that come `offset` bytes from here, without reading on. */
  peekU32(offset: number): number {
    const at = this.#position + offset;
    if (!(at + 4 <= this.#end)) {
      throw new CairnError('CORRUPTION', `input ends early: 4 bytes wanted at ${at} of ${this.#end}`);
    }
    return this.#buffer.readUInt32LE(at);
  }

  bytes(): Buffer {
    return this.raw(this.varint());
  }

  string(): string {
    return this.bytes().toString('utf8');
  }

  /** Throws unless everything was read. */
  expectEnd(): void {
    if (this.remaining !== 0) throw new CairnError('CORRUPTION', `${this.remaining} bytes left over`);
  }
}
