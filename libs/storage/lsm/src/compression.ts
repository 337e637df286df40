import { deflateRawSync, inflateRawSync } from 'node:zlib';

import { CairnError, rethrowInvariant } from '@cairn/base';

/*
 * How the bodies of blocks are compressed. Deflate, and not zstd or brotli, because what counts is what a
 * read waits for on the event loop: for blocks of 4 KiB it is the quickest of the three to undo, as each
 * call of the others sets up more memory than a block has; it makes of rows about what they do; and every
 * Node has it.
 */

/** The byte of a block that says what was done to its body. Append only. */
export const Compression = { none: 0, deflate: 1 } as const;

/** What an engine is told to use. */
export type CompressionName = keyof typeof Compression;

/**
 * Larger bodies are not compressed: undoing that would hold up the event loop for milliseconds. It is also
 * what a block can make a reader allocate, whatever it says of itself.
 */
export const COMPRESSED_BODY_BYTES_MAX = 1024 * 1024;
/**
 * What does not become smaller by at least this share stays as it is: reading it would cost, and save
 * little.
 */
const SAVED_SHARE_MIN = 1 / 8;
/** Higher levels take several times as long for a few hundredths. */
const LEVEL = 1;
/** Room behind the expected end: zlib asks for more memory when its output fills what it has. */
const SPARE_BYTES = 64;

/** The body compressed; undefined when it is too large, or that is not worth it. Same bytes, same answer. */
export function deflateBody(body: Uint8Array): Uint8Array | undefined {
  if (body.length > COMPRESSED_BODY_BYTES_MAX) return undefined;
  const deflated = deflateRawSync(body, { level: LEVEL, chunkSize: body.length + SPARE_BYTES });
  return deflated.length <= body.length * (1 - SAVED_SHARE_MIN) ? deflated : undefined;
}

/**
 * A body of exactly so many bytes out of what compression made of it; undefined when these are not the bytes
 * of one. Takes no more memory than `bodyBytes`, whatever it is given.
 */
export function inflateBody(deflated: Uint8Array, bodyBytes: number): Uint8Array | undefined {
  if (bodyBytes < 1 || bodyBytes > COMPRESSED_BODY_BYTES_MAX) return undefined;
  try {
    const body = inflateRawSync(deflated, { maxOutputLength: bodyBytes, chunkSize: bodyBytes + SPARE_BYTES });
    return body.length === bodyBytes ? body : undefined;
  } catch (error) {
    rethrowInvariant(error);
    if (isOutOfMemory(error))
      throw new CairnError('INTERNAL', 'engine: no memory for a block', { cause: error });
    return undefined;
  }
}

function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'Z_MEM_ERROR';
}
