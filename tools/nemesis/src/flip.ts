import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { flipByte, logBlocks } from '@cairn/e2e';
import type { SimRng } from '@cairn/runtime-sim';

/** A byte of a stopped node that holds the wrong bits. */
export interface Flip {
  readonly path: string;
  readonly offset: number;
  /** Puts the byte right, where that is safe. False: the file may hold something else by now. */
  restore(nodeRan: boolean): boolean;
}

/**
 * Damages a durable write in the middle of the Raft log. Not the last ones: what is damaged there cannot be
 * told from a write that a crash cut short, so it is taken for one.
 */
export function flipLogByte(dataDirectory: string, rng: SimRng): Flip | undefined {
  const blocks = logBlocks(dataDirectory).slice(0, -4);
  if (blocks.length === 0) return undefined;
  const block = rng.pick(blocks);
  flipByte(block);
  return {
    path: block.path,
    offset: block.offset,
    restore: (nodeRan) => {
      // A node that runs writes segments again, under the same names.
      if (!nodeRan) flipByte(block);
      return !nodeRan;
    },
  };
}

function invert(path: string, offset: number): void {
  const file = openSync(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    if (fstatSync(file).size <= offset) return;
    readSync(file, byte, 0, 1, offset);
    byte[0] = (byte[0] ?? 0) ^ 0xff;
    writeSync(file, byte, 0, 1, offset);
  } finally {
    closeSync(file);
  }
}

/** Tables of `lsm`, and those of LevelDB under both of their names. */
const TABLE = /\.(lsm|ldb|sst)$/;

/** Damages a table of the storage engine. Tables never change, and their names are never used again. */
export function flipEngineByte(dataDirectory: string, rng: SimRng): Flip | undefined {
  const directory = join(dataDirectory, 'engine');
  if (!existsSync(directory)) return undefined;
  const tables = readdirSync(directory).filter((name) => TABLE.test(name));
  if (tables.length === 0) return undefined;
  const path = join(directory, rng.pick(tables.sort()));
  const { size, ino } = statSync(path);
  const offset = rng.integer(size);
  invert(path, offset);
  return {
    path,
    offset,
    restore: () => {
      const isThere = existsSync(path) && statSync(path).ino === ino;
      if (isThere) invert(path, offset);
      return isThere;
    },
  };
}
