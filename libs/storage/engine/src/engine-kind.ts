import { CairnError } from '@cairn/base';
import { readWholeFile, writeFileDurably, type Disk } from '@cairn/ports';

import { isOwnEngine } from './engine-factory.js';

const FILE_NAME = 'engine-kind';
/** A file that every LevelDB directory has. */
const LEVELDB_FILE = 'engine/CURRENT';

/**
 * Writes into a data directory which engine made it, by name, or rejects FAILED_PRECONDITION if that was
 * another: its rows would be missed, and the log that could repeat them is cut. Call it before the engine
 * is opened, with the directory made and locked. Directories without the file are new, or from before it
 * was written and then of LevelDB.
 */
export async function claimForEngine(disk: Disk, dataDirectory: string, kind: string): Promise<void> {
  const made = await engineOf(disk, dataDirectory);
  if (made !== undefined && made !== kind) {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `the data directory ${dataDirectory} was made with the engine "${made}" and cannot be used with ` +
        `"${kind}": set engine to ${isOwnEngine(made) ? `"${made}"` : `the module of "${made}"`}, or give this node an empty directory`,
    );
  }
  if (await disk.exists(`${dataDirectory}/${FILE_NAME}`)) return;
  await writeFileDurably(disk, dataDirectory, FILE_NAME, Buffer.from(`${kind}\n`));
}

async function engineOf(disk: Disk, dataDirectory: string): Promise<string | undefined> {
  const path = `${dataDirectory}/${FILE_NAME}`;
  if (await disk.exists(path)) return (await readWholeFile(disk, path)).toString('utf8').trim();
  return (await disk.exists(`${dataDirectory}/${LEVELDB_FILE}`)) ? 'classic-level' : undefined;
}
