import { CairnError } from '@cairn/base';
import { batchSpent, checkKey, type EngineBatch } from '@cairn/engine';

import { KEY_BYTES_MAX, ROW_HEADER_BYTES, VALUE_BYTES_MAX, writeRow } from './row.js';

const CAPACITY_BYTES = 16 * 1024;

/** Packs its operations one behind the other, as the memtable takes them. */
export class LsmBatch implements EngineBatch {
  isSpent = false;
  #buffer: Uint8Array;
  #end = 0;
  #length = 0;
  #bytes = 0;

  /** `buffer`: memory to begin with; given back by `release`. */
  constructor(buffer: Uint8Array | undefined) {
    this.#buffer = buffer ?? new Uint8Array(CAPACITY_BYTES);
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The packed operations: the first `packedBytes` of it. */
  get packed(): Uint8Array {
    return this.#buffer;
  }

  get packedBytes(): number {
    return this.#end;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    checkKey(key);
    if (value.length > VALUE_BYTES_MAX) throw tooLong('value', value.length);
    this.#add(key, value);
  }

  delete(key: Uint8Array): void {
    this.#add(key, undefined);
  }

  /** Hands its memory over; the batch is of no use any more. */
  release(): Uint8Array {
    return this.#buffer;
  }

  #add(key: Uint8Array, value: Uint8Array | undefined): void {
    if (this.isSpent) throw batchSpent();
    if (key.length > KEY_BYTES_MAX) throw tooLong('key', key.length);
    const bytes = key.length + (value === undefined ? 0 : value.length);
    const end = this.#end + ROW_HEADER_BYTES + bytes;
    if (end > this.#buffer.length) this.#grow(end);
    this.#end = writeRow(this.#buffer, this.#end, key, value);
    this.#length += 1;
    this.#bytes += bytes;
  }

  #grow(bytesLeast: number): void {
    const grown = new Uint8Array(Math.max(bytesLeast, this.#buffer.length * 2));
    grown.set(this.#buffer.subarray(0, this.#end));
    this.#buffer = grown;
  }
}

function tooLong(what: 'key' | 'value', bytes: number): CairnError {
  return new CairnError('INVALID_ARGUMENT', `engine: a ${what} of ${bytes} bytes is too long`);
}
