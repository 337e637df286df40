import { existsSync, mkdirSync, mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { CairnError, messageOf } from '@cairn/base';

/** File systems in memory, by the number that statfs gives them: tmpfs, ramfs. */
const MEMORY_FILE_SYSTEMS = new Set([0x0102_1994, 0x8584_58f6]);

function isInMemory(directory: string): boolean {
  return MEMORY_FILE_SYSTEMS.has(statfsSync(directory).type);
}

export interface DataPlace {
  readonly directory: string;
  /** A sentence when the numbers will flatter; empty otherwise. */
  readonly warning: string;
}

/**
 * One by one: asked to make all at once, Node tries for ever on a file system that takes none, such as /proc.
 */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  mkdirSync(path);
}

/**
 * Makes a temporary directory that syncs to a disk where there is one.
 *
 * @throws CairnError `FAILED_PRECONDITION` when it cannot be made.
 */
export function makeDataPlace(named: string, workingDirectory: string): DataPlace {
  try {
    if (named !== '') makeDirectory(resolve(named));
    const candidates = named === '' ? [tmpdir(), workingDirectory] : [named];
    const onDisk = candidates.find((candidate) => !isInMemory(candidate));
    const base = resolve(onDisk ?? candidates[0] ?? workingDirectory);
    const warning =
      onDisk === undefined
        ? `${base} is kept in memory: syncs cost nothing there. Name a directory on a disk with --data-dir.`
        : '';
    return { directory: mkdtempSync(join(base, 'cairn-bench-')), warning };
  } catch (error) {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `No data directory can be made: ${messageOf(error)}. Name one with --data-dir.`,
      { cause: error },
    );
  }
}
