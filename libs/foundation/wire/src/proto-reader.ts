import { CairnError } from '@cairn/base';

/** Decodes a rarer message with its generated codec. Throws INVALID_ARGUMENT, as the reader does. */
export function generated<T>(codec: { decode(bytes: Uint8Array): T }, bytes: Buffer): T {
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw new CairnError('INVALID_ARGUMENT', 'the message is not well-formed protobuf', { cause });
  }
}

/**
 * Reads protobuf fields from a buffer; byte fields are views. Throws INVALID_ARGUMENT for what is no message.
 */
export class ProtoReader {
  readonly #buffer: Buffer;
  #at: number;
  #end: number;
  #low = 0;
  #high = 0;
  #fieldsLeft = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
    this.#at = 0;
    this.#end = buffer.length;
  }

  get hasMore(): boolean {
    return this.#at < this.#end;
  }

  /** Narrows the reader to the nested message that follows; give the answer to `leave`. */
  enter(): number {
    const length = this.uint32();
    const outer = this.#end;
    if (length > outer - this.#at) throw malformed();
    this.#end = this.#at + length;
    return outer;
  }

  leave(outer: number): void {
    this.#end = outer;
  }

  /** Where the message ends that the reader is narrowed to; give it to `giveUp`. */
  get end(): number {
    return this.#end;
  }

  /** Steps to the end of a message whose inside cannot be read, from wherever in it the reader is. */
  giveUp(end: number): void {
    this.#at = end;
  }

  /** How many fields `tag` reads from here. */
  allowFields(count: number): void {
    this.#fieldsLeft = count;
  }

  /** The tag of the next field, counted. */
  tag(): number {
    this.#fieldsLeft -= 1;
    if (this.#fieldsLeft < 0) throw new CairnError('INVALID_ARGUMENT', 'the message has too many fields');
    return this.uint32();
  }

  #varint(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.#at >= this.#end) throw malformed();
      const byte = this.#buffer[this.#at++] as number;
      if (shift < 28) low |= (byte & 127) << shift;
      else if (shift === 28) {
        low |= (byte & 15) << 28;
        high = (byte & 127) >> 4;
      } else high |= (byte & 127) << (shift - 32);
      if (byte < 128) {
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        return;
      }
    }
    throw malformed();
  }

  uint32(): number {
    this.#varint();
    return this.#low;
  }
  int32(): number {
    this.#varint();
    return this.#low | 0;
  }
  bool(): boolean {
    this.#varint();
    return this.#low !== 0 || this.#high !== 0;
  }
  /** Reads an integer of 64 bits, and tells whether `uint64` would take it. */
  isSafeInteger(): boolean {
    this.#varint();
    return this.#high <= 0x1fffff;
  }
  /** Only safe integers; a refusal names the field. */
  uint64(field: string): number {
    this.#varint();
    if (this.#high > 0x1fffff) throw tooLargeInteger(field);
    return this.#high * 4294967296 + this.#low;
  }

  bytes(): Buffer {
    const length = this.uint32();
    const start = this.#at;
    if (length > this.#end - start) throw malformed();
    this.#at = start + length;
    return this.#buffer.subarray(start, this.#at);
  }

  /** Steps over a field that this version does not know. */
  skip(tag: number): void {
    switch (tag & 7) {
      case 0:
        this.#varint();
        return;
      case 1:
        this.#advance(8);
        return;
      case 2:
        this.bytes();
        return;
      case 5:
        this.#advance(4);
        return;
      default:
        throw malformed();
    }
  }

  #advance(count: number): void {
    if (count > this.#end - this.#at) throw malformed();
    this.#at += count;
  }
}

function tooLargeInteger(field: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', `${field} is above 2^53 - 1`, { details: { field } });
}

function malformed(): CairnError {
  return new CairnError('INVALID_ARGUMENT', 'the message is not well-formed protobuf');
}
