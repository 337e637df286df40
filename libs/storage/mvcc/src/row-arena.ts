import { NO_BYTES, assert, timestamp } from '@cairn/base';
import type { VersionRecord } from './record.js';

const SLAB_BYTES = 1024 * 1024;
/** Longer values are not taken. */
export const ROW_VALUE_BYTES_MAX = 256 * 1024;
/** Longer names are not taken; no user key has one. */
export const ROW_NAME_BYTES_MAX = 0xffff;

/*
 * A row in a slab, in the byte order of the machine: timestamp f64 | expiry f64 | sequence u32 | value bytes
 * u32 | place bytes u32 | name bytes u16, tombstone u1, unused u7, kind u8 | name | value. Places begin at
 * multiples of eight.
 */
const HEADER_BYTES = 32;
const EXPIRY_AT = 1;
const SEQUENCE_AT = 4;
const VALUE_BYTES_AT = 5;
const PLACE_BYTES_AT = 6;
const NAME_BYTES_AT = 7;
const TOMBSTONE = 0x1_0000;
const KIND_SHIFT = 24;

/** Bytes that a row with a name and a value of these lengths takes. */
export function placeBytesOf(nameBytes: number, valueBytes: number): number {
  return (HEADER_BYTES + nameBytes + valueBytes + 7) & ~7;
}

/** One piece of memory, as bytes, numbers of four bytes, and of eight. */
interface Slab {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
}

/**
 * Named rows in slabs, one behind the other, until `clear`. Slabs are made when they are first needed and
 * kept. A place is a multiple of eight below 2^52; reading one that was not added since the last `clear`
 * gives garbage.
 */
export class RowArena {
  readonly #slabs: Slab[] = [];
  #slab = 0;
  #at = 0;

  /** Copies the row in, and answers its place. The name has only characters below 256. */
  add(name: string, version: VersionRecord): number {
    const bytes = placeBytesOf(name.length, version.value.length);
    const isTaken = version.value.length <= ROW_VALUE_BYTES_MAX && name.length <= ROW_NAME_BYTES_MAX;
    assert(isTaken, 'the row is too long', { bytes });
    if (this.#at + bytes > SLAB_BYTES) {
      this.#slab += 1;
      this.#at = 0;
    }
    if (this.#slab === this.#slabs.length) this.#slabs.push(newSlab());
    const slab = this.#slabs[this.#slab] as Slab;
    const at = this.#at;
    this.#at += bytes;
    slab.words[(at >>> 2) + PLACE_BYTES_AT] = bytes;
    slab.words[(at >>> 2) + NAME_BYTES_AT] = name.length;
    for (let index = 0; index < name.length; index += 1) {
      slab.bytes[at + HEADER_BYTES + index] = name.charCodeAt(index);
    }
    write(slab, at, version);
    return this.#slab * SLAB_BYTES + at;
  }

  /** Writes another version over the row, if it fits into its place; answers whether. */
  replace(place: number, version: VersionRecord): boolean {
    const slab = this.#slabOf(place);
    const at = place % SLAB_BYTES;
    const nameBytes = nameBytesAt(slab, at);
    const placeBytes = slab.words[(at >>> 2) + PLACE_BYTES_AT] as number;
    if (HEADER_BYTES + nameBytes + version.value.length > placeBytes) return false;
    write(slab, at, version);
    return true;
  }

  /** A copy of the row. */
  read(place: number): VersionRecord {
    const row = this.view(place);
    return row.value.length === 0 ? row : { ...row, value: Buffer.from(row.value) };
  }

  /** The row; its value is memory of the arena, and changes when anything is added or replaced. */
  view(place: number): VersionRecord {
    const slab = this.#slabOf(place);
    const { bytes, words, doubles } = slab;
    const at = place % SLAB_BYTES;
    const valueBytes = words[(at >>> 2) + VALUE_BYTES_AT] as number;
    const nameWord = words[(at >>> 2) + NAME_BYTES_AT] as number;
    const start = at + HEADER_BYTES + (nameWord & ROW_NAME_BYTES_MAX);
    return {
      timestamp: timestamp(doubles[at >>> 3] as number),
      sequence: words[(at >>> 2) + SEQUENCE_AT] as number,
      expiry: timestamp(doubles[(at >>> 3) + EXPIRY_AT] as number),
      tombstone: (nameWord & TOMBSTONE) !== 0,
      kind: nameWord >>> KIND_SHIFT,
      value: valueBytes === 0 ? NO_BYTES : bytes.subarray(start, start + valueBytes),
    };
  }

  /** Whether the row has this name. */
  isNamed(place: number, name: string): boolean {
    const slab = this.#slabOf(place);
    const { bytes } = slab;
    const at = place % SLAB_BYTES;
    const nameBytes = nameBytesAt(slab, at);
    if (nameBytes !== name.length) return false;
    // Names differ most often at their ends.
    for (let index = nameBytes - 1; index >= 0; index -= 1) {
      if (bytes[at + HEADER_BYTES + index] !== name.charCodeAt(index)) return false;
    }
    return true;
  }

  /** The same for a name that is given as bytes. */
  isNamedBy(place: number, name: Uint8Array): boolean {
    const slab = this.#slabOf(place);
    const { bytes } = slab;
    const at = place % SLAB_BYTES;
    const nameBytes = nameBytesAt(slab, at);
    if (nameBytes !== name.length) return false;
    for (let index = nameBytes - 1; index >= 0; index -= 1) {
      if (bytes[at + HEADER_BYTES + index] !== name[index]) return false;
    }
    return true;
  }

  nameAt(place: number): string {
    const slab = this.#slabOf(place);
    const at = place % SLAB_BYTES;
    const start = at + HEADER_BYTES;
    return slab.bytes.toString('latin1', start, start + nameBytesAt(slab, at));
  }

  /** What the row takes. */
  bytesAt(place: number): number {
    return this.#slabOf(place).words[((place % SLAB_BYTES) >>> 2) + PLACE_BYTES_AT] as number;
  }

  clear(): void {
    this.#slab = 0;
    this.#at = 0;
  }

  #slabOf(place: number): Slab {
    const slab = this.#slabs[Math.floor(place / SLAB_BYTES)];
    assert(slab !== undefined, 'a place outside the arena', { place });
    return slab;
  }
}

function newSlab(): Slab {
  const memory = new ArrayBuffer(SLAB_BYTES);
  return {
    bytes: Buffer.from(memory),
    words: new Uint32Array(memory),
    doubles: new Float64Array(memory),
  };
}

/** Bytes of the name of the row at `at`; its word has tombstone and kind, too. */
function nameBytesAt({ words }: Slab, at: number): number {
  return (words[(at >>> 2) + NAME_BYTES_AT] as number) & ROW_NAME_BYTES_MAX;
}

/** Everything but the name and the bytes of the place. */
function write(slab: Slab, at: number, version: VersionRecord): void {
  const { bytes, words, doubles } = slab;
  const word = at >>> 2;
  const nameBytes = nameBytesAt(slab, at);
  doubles[at >>> 3] = version.timestamp;
  doubles[(at >>> 3) + EXPIRY_AT] = version.expiry;
  words[word + SEQUENCE_AT] = version.sequence;
  words[word + VALUE_BYTES_AT] = version.value.length;
  words[word + NAME_BYTES_AT] =
    nameBytes | (version.tombstone ? TOMBSTONE : 0) | (version.kind << KIND_SHIFT);
  bytes.set(version.value, at + HEADER_BYTES + nameBytes);
}
