import { assert, formatTooNew, type CairnError } from '@cairn/base';
import { crc32, isEndSealed, sealEnd } from '@cairn/codec';

import { isFilterOf } from './bloom.js';
import { damaged } from './engine-error.js';
import type { KeyView } from './key-view.js';
import { SortedKeys } from './sorted-keys.js';

/*
 * A table file, little endian:
 *   blocks | meta | footer
 *   meta    filter words u32 | block positions u32, one more than blocks | separator ends u32 | separators
 *   footer  magic u32 | version u32 | meta position u48 | 0 u16 | filter words u32 | blocks u32 |
 *           separator bytes u32 | meta crc u32 | table's number u48 | directory's id u48 | footer crc u32
 * The separator of a block is at or above its last key and below the first key of the next block, as short as
 * that allows. Numbers in the meta part are used where they lie, so it is read to an address that suits them.
 *
 * Number and id tell a table from every other: the name of a file may be changed, and its size is no sign.
 */

export const FOOTER_BYTES = 48;
const MAGIC = 0x6c73_6d74;
/** 3: the footer says which table of which directory it is. */
const VERSION = 3;
/** Largest file: positions of blocks have 32 bits. */
export const TABLE_BYTES_MAX = 0xffff_ffff;

/** Where the parts of the meta section are, from the footer. */
export interface TableFooter {
  /** The table's number. */
  readonly number: number;
  /** Of the directory that it was written in. */
  readonly directoryId: number;
  readonly metaAt: number;
  readonly filterWords: number;
  readonly blocks: number;
  readonly separatorBytes: number;
  readonly metaCrc: number;
}

/** How large the parts of the meta section are. */
export type MetaSizes = Pick<TableFooter, 'filterWords' | 'blocks' | 'separatorBytes'>;

/** Bytes of the meta section. */
export function metaBytesOf(footer: MetaSizes): number {
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
  bytes.writeUIntLE(footer.number, 32, 6);
  bytes.writeUIntLE(footer.directoryId, 38, 6);
  return sealEnd(bytes);
}

/**
 * The footer of a file of so many bytes. What it says fits in there: nobody allocates more because of it.
 * Throws CORRUPTION, or FORMAT_TOO_NEW for a table of a later version.
 */
export function decodeFooter(bytes: Buffer, fileBytes: number, path: string): TableFooter {
  const isWhole = bytes.length === FOOTER_BYTES && bytes.readUInt32LE(0) === MAGIC && isEndSealed(bytes);
  if (!isWhole) throw damagedTable(path, 'its footer is damaged');
  const version = bytes.readUInt32LE(4);
  if (version > VERSION) {
    throw formatTooNew(`engine: table ${path} of format ${version}`, { path });
  }
  if (version < VERSION) throw damagedTable(path, `it has format ${version}, which no release has written`);
  const footer = {
    metaAt: bytes.readUIntLE(8, 6),
    filterWords: bytes.readUInt32LE(16),
    blocks: bytes.readUInt32LE(20),
    separatorBytes: bytes.readUInt32LE(24),
    metaCrc: bytes.readUInt32LE(28),
    number: bytes.readUIntLE(32, 6),
    directoryId: bytes.readUIntLE(38, 6),
  };
  const isFilled = footer.metaAt + metaBytesOf(footer) + FOOTER_BYTES === fileBytes;
  if (!isFilled || footer.blocks === 0 || !isFilterOf(footer.filterWords)) {
    throw damagedTable(path, 'its footer names parts that the file does not have');
  }
  return footer;
}

/** `damaged` of a table; `what` goes on from its path. */
export function damagedTable(path: string, what: string, where: { position?: number } = {}): CairnError {
  return damaged(`table ${path}: ${what}`, path, where);
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
  constructor(memory: ArrayBuffer, footer: MetaSizes) {
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
  if (!isInOrder(memory, footer))
    throw damagedTable(path, 'its index names parts that the file does not have');
  return new TableMeta(memory, footer);
}

/** Whether blocks fill the file up to the meta section, and separators their part of it, one behind the other. */
function isInOrder(
  memory: ArrayBuffer,
  { metaAt, filterWords, blocks, separatorBytes }: TableFooter,
): boolean {
  const positions = new Uint32Array(memory, filterWords * 4, blocks + 1);
  const ends = new Uint32Array(memory, (filterWords + blocks + 1) * 4, blocks);
  if (positions[0] !== 0 || positions[blocks] !== metaAt || ends[blocks - 1] !== separatorBytes) return false;
  for (let block = 0; block < blocks; block += 1) {
    if ((positions[block + 1] as number) <= (positions[block] as number)) return false;
    if (block > 0 && (ends[block] as number) < (ends[block - 1] as number)) return false;
  }
  return true;
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
