import { bodyBytesOf, BLOCK_TRAILER_BYTES, compressionOf, isBlockIntact, stateOfBody } from './block.js';
import { Compression, inflateBody } from './compression.js';
import { damagedBlock, newerBlock, type Table } from './table.js';

/*
 * From the bytes of a block on disk to its body. Nothing of a block is looked at before its checksum is
 * right, and nothing of a body before its parts were found to lie within it.
 */

/** A table, as far as an error names it. */
type NamedTable = Pick<Table, 'path'>;

/**
 * The body of a block that was read from a position of its table: a part of the block, or memory of its own
 * when it was compressed. Throws CORRUPTION, FORMAT_TOO_NEW.
 */
export function bodyOf(table: NamedTable, position: number, block: Uint8Array): Uint8Array {
  if (!isBlockIntact(block, 0, block.length))
    throw damagedBlock(table, position, 'does not match its checksum');
  const end = block.length - BLOCK_TRAILER_BYTES;
  const bodyBytes = bodyBytesOf(block, block.length);
  const compression = compressionOf(block, block.length);
  let body: Uint8Array | undefined;
  if (compression === Compression.none) body = bodyBytes === end ? block.subarray(0, end) : undefined;
  else if (compression === Compression.deflate) body = inflateBody(block.subarray(0, end), bodyBytes);
  else throw newerBlock(table, position, `compression ${compression}`);
  if (body === undefined) throw damagedBlock(table, position, `does not hold ${bodyBytes} bytes of rows`);
  const state = stateOfBody(body, 0, body.length);
  if (state === 'unknown-format') throw newerBlock(table, position, `format ${String(body.at(-1))}`);
  if (state === 'malformed') throw damagedBlock(table, position, 'has parts that do not lie within it');
  return body;
}

/**
 * Whether bytes [start, end) are an intact block that is not compressed: then its body is at its beginning,
 * up to the trailer. Of all others `bodyOf` tells.
 */
export function isPlainBlock(bytes: Uint8Array, start: number, end: number): boolean {
  const bodyEnd = end - BLOCK_TRAILER_BYTES;
  return (
    bodyEnd > start &&
    compressionOf(bytes, end) === Compression.none &&
    bodyBytesOf(bytes, end) === bodyEnd - start &&
    isBlockIntact(bytes, start, end) &&
    stateOfBody(bytes, start, bodyEnd) === 'whole'
  );
}
