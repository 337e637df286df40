import { mkdir, readdir, rename, rmdir, unlink, writeFile } from 'node:fs/promises';

import { CairnError } from '@cairn/base';

import { forgetEntry, isEntry, isOwnerAlive, newEntry, processOf } from './lock-owner.js';

/** Held while the process uses the directory. */
export interface DirectoryLock {
  release(): Promise<void>;
}

/**
 * What a lock asks of a file system, each call one step: a test takes the steps of several processes in turn.
 */
export interface LockFiles {
  mkdir(path: string): Promise<unknown>;
  writeFile(path: string, text: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  readdir(path: string): Promise<string[]>;
  unlink(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
}

/** The file system, and who is alive. */
export interface LockWorld {
  readonly files: LockFiles;
  newEntry(): string;
  forgetEntry(entry: string): void;
  isOwnerAlive(entry: string): boolean;
}

const THIS_PROCESS: LockWorld = {
  files: { mkdir, writeFile, rename, readdir, unlink, rmdir },
  newEntry,
  forgetEntry,
  isOwnerAlive,
};

const LOCK = 'LOCK';
const ATTEMPTS_MAX = 5;

/**
 * Makes sure that one process uses a data directory. Throws FAILED_PRECONDITION naming the process that has
 * it; what a process left that is gone is taken over.
 *
 * The lock is the directory `LOCK` with one file in it, whose name is unique to the attempt that made it.
 * Only one step makes a holder: a directory that has its file already is renamed to `LOCK`, which POSIX does
 * atomically, and refuses while a directory of that name has anything in it. Only one step unmakes one: the
 * file is removed by its name, which the holder does himself, or anybody once the holder is dead. Whoever
 * acts on what he read a while ago thus removes a dead holder's file, or nothing: never that of whoever came
 * in between. A crash leaves a whole lock of a dead process, an empty `LOCK`, or a directory aside.
 *
 * Whether a holder is alive is asked of this machine, by its process id: two machines, or two containers with
 * process ids of their own, that share a directory do not keep each other out.
 */
export async function lockDirectory(
  directory: string,
  world: LockWorld = THIS_PROCESS,
): Promise<DirectoryLock> {
  const { files } = world;
  const path = `${directory}/${LOCK}`;
  await removeAsideOfDead(directory, world);
  const entry = world.newEntry();
  const aside = `${path}.${entry}`;
  const giveUp = async (): Promise<void> => {
    await unless(['ENOENT'], files.unlink(`${path}/${entry}`));
    world.forgetEntry(entry);
    // Another process may have moved its own into this place, or removed an empty one.
    await unless(['ENOENT', 'ENOTEMPTY', 'EEXIST'], files.rmdir(path));
  };
  try {
    await files.mkdir(aside);
    await files.writeFile(`${aside}/${entry}`, '');
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      // Refused while somebody's file is in the lock.
      if (await unless(['ENOTEMPTY', 'EEXIST'], files.rename(aside, path))) return { release: giveUp };
      await removeDead(directory, path, world);
    }
    throw new CairnError(
      'FAILED_PRECONDITION',
      `data directory ${directory} cannot be locked: others keep trying too`,
    );
  } catch (error) {
    // A rename that failed may have been carried out: then the entry is in the lock. What refused a step may
    // refuse the cleaning too; the step says why, and what is left behind is dead with this process.
    await Promise.allSettled([removeAside(aside, entry, files), giveUp()]);
    throw error;
  }
}

/** Removes what dead holders left in the lock. Throws when a living one is there. */
async function removeDead(directory: string, path: string, world: LockWorld): Promise<void> {
  for (const entry of await listed(path, world.files)) {
    if (world.isOwnerAlive(entry)) throw heldBy(directory, entry);
    await unless(['ENOENT'], world.files.unlink(`${path}/${entry}`));
  }
}

/** Removes the directories of processes that ended before they had renamed theirs. */
async function removeAsideOfDead(directory: string, world: LockWorld): Promise<void> {
  for (const name of await world.files.readdir(directory)) {
    const entry = name.slice(LOCK.length + 1);
    if (!name.startsWith(`${LOCK}.`) || !isEntry(entry) || world.isOwnerAlive(entry)) continue;
    await removeAside(`${directory}/${name}`, entry, world.files);
  }
}

async function removeAside(aside: string, entry: string, files: LockFiles): Promise<void> {
  await unless(['ENOENT'], files.unlink(`${aside}/${entry}`));
  await unless(['ENOENT'], files.rmdir(aside));
}

/** Nothing where there is no lock. */
async function listed(path: string, files: LockFiles): Promise<string[]> {
  let names: string[] = [];
  await unless(
    ['ENOENT'],
    files.readdir(path).then((found) => (names = found)),
  );
  return names;
}

/** Whether a step was taken; false when it failed with one of the codes. */
async function unless(codes: readonly string[], step: Promise<unknown>): Promise<boolean> {
  try {
    await step;
    return true;
  } catch (error) {
    if (!codes.includes((error as { code?: string }).code ?? '')) throw error;
    return false;
  }
}

function heldBy(directory: string, entry: string): CairnError {
  return new CairnError(
    'FAILED_PRECONDITION',
    `data directory ${directory} is in use by process ${processOf(entry)}, or is a copy of the one that it uses: ` +
      'stop that process, or give this node another directory; never start a copy',
  );
}
