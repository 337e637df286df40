import { assert, CairnError, formatTooNew } from '@cairn/base';
import { crc32, isEndSealed, sealEnd } from '@cairn/codec';

import type { KeyView } from './key-view.js';
import { SortedKeys } from './sorted-keys.js';

/*
 * A table file, little endian:
 *   blocks | meta | footer
 *   meta    filter words u32 | block positions u32, one more than blocks | separator ends u32 | separators
 *   footer  magic u32 | version u32 | meta position u48 | 0 u16 | filter words u32 | blocks u32 |
 *           separator bytes u32 | meta crc u32 | 0 to byte 44 | footer crc u32
 * The separator of a block is at or above its last key and below the first key of the next block, as short as
 * that allows. Numbers in the meta part are used where they lie, so it is read to an address that suits them.
 */

export const FOOTER_BYTES = 48;
const MAGIC = 0x6c73_6d74;
/** 2: blocks with a compression byte whose keys share a prefix. */
const VERSION = 2;
/** Largest file: positions of blocks have 32 bits. */
export const TABLE_BYTES_MAX = 0xffff_ffff;

/** Where the parts of the meta section are, from the footer. */
export interface TableFooter {
  readonly metaAt: number;
  readonly filterWords: number;
  readonly blocks: number;
  readonly separatorBytes: number;
  readonly metaCrc: number;
}

/** Bytes of the meta section. */
export function metaBytesOf(footer: Omit<TableFooter, 'metaAt' | 'metaCrc'>): number {
  return (footer.filterWords + footer.blocks + 1 + footer.blocks) * 4 + footer.separatorBytes;
}

export function encodeFooter(footer: TableFooter): Buffer {
  const bytes = Buffer.alloc(FOOTER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.writeUIntLE(footer.metaAt, 8, 6);
  bytes.writeUInt32LE(footer.filterWords, 16);
  bytes.writeUInt32LE(footer.blocks, 20);
  bytes.writeUInt32LE(footer.separatorBytes, 24);
  bytes.writeUInt32LE(footer.metaCrc, 28);
  return sealEnd(bytes);
}

/** Throws CORRUPTION, or FORMAT_TOO_NEW for a table of a later version. */
export function decodeFooter(bytes: Buffer, path: string): TableFooter {
  const isWhole = bytes.length === FOOTER_BYTES && bytes.readUInt32LE(0) === MAGIC && isEndSealed(bytes);
  if (!isWhole) throw damagedTable(path, 'its footer is damaged');
  const version = bytes.readUInt32LE(4);
  if (version > VERSION) {
    throw formatTooNew(`engine: table ${path} of format ${version}`, { path });
  }
  if (version < VERSION) throw damagedTable(path, `it has format ${version}, which no release has written`);
  return {
    metaAt: bytes.readUIntLE(8, 6),
    filterWords: bytes.readUInt32LE(16),
    blocks: bytes.readUInt32LE(20),
    separatorBytes: bytes.readUInt32LE(24),
    metaCrc: bytes.readUInt32LE(28),
  };
}

/** What every look into a damaged table meets: the file's name, and what to do. */
export function damagedTable(path: string, what: string, where: { position?: number } = {}): CairnError {
  return new CairnError(
    'CORRUPTION',
    `engine: table ${path}: ${what}. Keep a copy of the directory, then give the node an empty data ` +
      `directory and let its ranges be rebuilt from their other replicas.`,
    { details: { path, ...where } },
  );
}

/** The meta section in memory: which block may hold a key, and which stems there are. */
export class TableMeta {
  readonly filter: Uint32Array;
  readonly blocks: number;
  /** What keeping it costs. */
  readonly bytes: number;
  readonly #positions: Uint32Array;
  /** Of each block a key at or above all of its own, and below those of the next. */
  readonly #separators: SortedKeys;

  /** `memory` begins with the section, which must be intact. */
  constructor(memory: ArrayBuffer, footer: Omit<TableFooter, 'metaAt' | 'metaCrc'>) {
    const { filterWords, blocks, separatorBytes } = footer;
    assert(blocks > 0, 'a table has a block');
    this.blocks = blocks;
    this.filter = new Uint32Array(memory, 0, filterWords);
    this.#positions = new Uint32Array(memory, filterWords * 4, blocks + 1);
    this.#separators = new SortedKeys(
      new Uint32Array(memory, (filterWords + blocks + 1) * 4, blocks),
      new Uint8Array(memory, (filterWords + 2 * blocks + 1) * 4, separatorBytes),
    );
    this.bytes = metaBytesOf(footer) + this.#separators.bytes;
  }

  /** Where a block begins in the file; of `blocks`, where the last one ends. */
  positionOf(block: number): number {
    return this.#positions[block] as number;
  }

  /** The only block that can hold the first key at or above the target, unless that begins the next one. */
  blockFor(target: KeyView): number {
    return Math.min(this.#separators.firstAtOrAbove(target), this.blocks - 1);
  }
}

/** A meta section from bytes that were read. Throws CORRUPTION. */
export function metaFrom(bytes: Uint8Array, footer: TableFooter, path: string): TableMeta {
  if (bytes.length !== metaBytesOf(footer) || crc32(bytes) !== footer.metaCrc) {
    throw damagedTable(path, 'its index is damaged');
  }
  const memory = new ArrayBuffer(bytes.length);
  new Uint8Array(memory).set(bytes);
  return new TableMeta(memory, footer);
}

/**
 * The shortest key at or above `last` and below `first` that this finds: what they share, then as much of
 * `last` as it takes to have a byte that can be raised. `last` must be below `first`.
 */
export function separatorOf(last: Uint8Array, first: KeyView): Uint8Array {
  let at = 0;
  while (at < last.length && at < first.length && last[at] === first.bytes[first.at + at]) at += 1;
  if (at >= last.length) return last;
  // Whatever follows: it is below `first` already, because it differs from it at `at`.
  for (let end = at + 1; end < last.length; end += 1) {
    if (last[end] === 0xff) continue;
    const separator = Uint8Array.prototype.slice.call(last, 0, end + 1);
    separator[end] = (last[end] as number) + 1;
    return separator;
  }
  return last;
}
