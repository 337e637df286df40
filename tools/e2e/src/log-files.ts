import { closeSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Layout of the raft log on disk (README of @cairn/raft-log): these tests damage files the way disks do. */
const ALIGN_BYTES = 512;
const BLOCK_MAGIC = 0x4b4c4243;
const BLOCK_HEADER_BYTES = 32;

/** A durable write inside a segment file. */
export interface LogBlock {
  readonly path: string;
  readonly offset: number;
  readonly bodyBytes: number;
}

function readAt(path: string, offset: number, length: number): Buffer {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(file, bytes, 0, length, offset));
  } finally {
    closeSync(file);
  }
}

/** The blocks of the oldest segment of a stopped node, in order. */
export function logBlocks(dataDirectory: string): LogBlock[] {
  const directory = join(dataDirectory, 'log');
  const [segment] = readdirSync(directory)
    .filter((name) => /^segment-\d+\.log$/.test(name))
    .sort();
  if (segment === undefined) return [];
  const path = join(directory, segment);
  const blocks: LogBlock[] = [];
  let offset = ALIGN_BYTES;
  for (;;) {
    const header = readAt(path, offset, BLOCK_HEADER_BYTES);
    if (header.length < BLOCK_HEADER_BYTES || header.readUInt32LE(0) !== BLOCK_MAGIC) return blocks;
    if (header.readUInt32LE(12) !== blocks.length) return blocks;
    const bodyBytes = header.readUInt32LE(16);
    blocks.push({ path, offset, bodyBytes });
    offset += Math.ceil((BLOCK_HEADER_BYTES + bodyBytes) / ALIGN_BYTES) * ALIGN_BYTES;
  }
}

/** Inverts the bits of one byte in the middle of a block's body. Doing it twice heals it. */
export function flipByte(block: LogBlock): void {
  const at = block.offset + BLOCK_HEADER_BYTES + (block.bodyBytes >> 1);
  const byte = readAt(block.path, at, 1);
  byte.writeUInt8(byte.readUInt8(0) ^ 0xff, 0);
  const file = openSync(block.path, 'r+');
  try {
    writeSync(file, byte, 0, 1, at);
  } finally {
    closeSync(file);
  }
}
