import { assert, timestamp } from '@cairn/base';
import type { VersionRecord } from './record.js';

const SLAB_BYTES = 1024 * 1024;
/** Longer values are not taken. */
export const ROW_VALUE_BYTES_MAX = 256 * 1024;

/*
 * A row in a slab: timestamp f64 | expiry f64 | sequence u32 | value bytes u32 | place bytes u32 | tombstone
 * u8, three bytes unused | value. Places begin at multiples of eight.
 */
const HEADER_BYTES = 32;
const NO_VALUE = Buffer.alloc(0);

/** Bytes that a row with a value of this length takes. */
export function placeBytesOf(valueBytes: number): number {
  return (HEADER_BYTES + valueBytes + 7) & ~7;
}

/**
 * Rows in slabs, one behind the other, until `clear`. Slabs are made when they are first needed and kept.
 * A place is a number below 2^52; reading one that was not added since the last `clear` gives garbage.
 */
export class RowArena {
  readonly #slabs: Buffer[] = [];
  #slab = 0;
  #at = 0;

  /** Copies the row in, and answers its place. */
  add(version: VersionRecord): number {
    const bytes = placeBytesOf(version.value.length);
    assert(version.value.length <= ROW_VALUE_BYTES_MAX, 'the row is too long', { bytes });
    if (this.#at + bytes > SLAB_BYTES) {
      this.#slab += 1;
      this.#at = 0;
    }
    if (this.#slab === this.#slabs.length) this.#slabs.push(Buffer.allocUnsafeSlow(SLAB_BYTES));
    const slab = this.#slabs[this.#slab] as Buffer;
    const at = this.#at;
    this.#at += bytes;
    slab.writeUInt32LE(bytes, at + 24);
    write(slab, at, version);
    return this.#slab * SLAB_BYTES + at;
  }

  /** Writes another version over the row, if it fits into its place; answers whether. */
  replace(place: number, version: VersionRecord): boolean {
    const slab = this.#slabOf(place);
    const at = place % SLAB_BYTES;
    if (HEADER_BYTES + version.value.length > slab.readUInt32LE(at + 24)) return false;
    write(slab, at, version);
    return true;
  }

  /** A copy of the row. */
  read(place: number): VersionRecord {
    const slab = this.#slabOf(place);
    const at = place % SLAB_BYTES;
    const bytes = slab.readUInt32LE(at + 20);
    const start = at + HEADER_BYTES;
    return {
      timestamp: timestamp(slab.readDoubleLE(at)),
      sequence: slab.readUInt32LE(at + 16),
      expiry: timestamp(slab.readDoubleLE(at + 8)),
      tombstone: slab[at + 28] === 1,
      value: bytes === 0 ? NO_VALUE : Buffer.from(slab.subarray(start, start + bytes)),
    };
  }

  /** What the row takes. */
  bytesAt(place: number): number {
    return this.#slabOf(place).readUInt32LE((place % SLAB_BYTES) + 24);
  }

  clear(): void {
    this.#slab = 0;
    this.#at = 0;
  }

  #slabOf(place: number): Buffer {
    const slab = this.#slabs[Math.floor(place / SLAB_BYTES)];
    assert(slab !== undefined, 'a place outside the arena', { place });
    return slab;
  }
}

function write(slab: Buffer, at: number, version: VersionRecord): void {
  slab.writeDoubleLE(version.timestamp, at);
  slab.writeDoubleLE(version.expiry, at + 8);
  slab.writeUInt32LE(version.sequence, at + 16);
  slab.writeUInt32LE(version.value.length, at + 20);
  slab[at + 28] = version.tombstone ? 1 : 0;
  slab.set(version.value, at + HEADER_BYTES);
}
