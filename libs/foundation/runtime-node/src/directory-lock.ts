import { readFileSync } from 'node:fs';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';

import { CairnError } from '@cairn/base';

/** Held while the process uses the directory. */
export interface DirectoryLock {
  release(): Promise<void>;
}

const ATTEMPTS_MAX = 5;
let takeovers = 0;

/**
 * Makes sure that one process uses a data directory. The lock names its process; one of a process that is
 * gone is taken over. Throws FAILED_PRECONDITION naming the process that holds it.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = `${directory}/LOCK`;
  takeovers += 1;
  const own = `${path}.${process.pid}.${takeovers}`;
  // Linked into place when complete, so that nobody ever reads a lock without its owner.
  await writeFile(own, `${process.pid} ${startTimeOf(process.pid) ?? ''}\n`);
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      if (await tryLink(own, path)) return { release: () => rm(path, { force: true }) };
      await removeStale(directory, path, own);
    }
  } finally {
    await rm(own, { force: true });
  }
  throw new CairnError(
    'FAILED_PRECONDITION',
    `data directory ${directory} cannot be locked: others keep trying too`,
  );
}

async function tryLink(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error;
    return false;
  }
}

/** Moves a dead owner's lock away, and puts it back if a living process got in between. */
async function removeStale(directory: string, path: string, own: string): Promise<void> {
  throwIfHeld(directory, await readOwner(path));
  const aside = `${own}.stale`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return;
    throw error;
  }
  const owner = await readOwner(aside);
  if (isOwnerAlive(owner)) await tryLink(aside, path);
  await rm(aside, { force: true });
  throwIfHeld(directory, owner);
}

interface Owner {
  readonly pid: number;
  readonly started: string;
}

async function readOwner(path: string): Promise<Owner> {
  let text = '';
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
  }
  const [pid = '', started = ''] = text.trim().split(' ');
  return { pid: Number(pid), started };
}

function throwIfHeld(directory: string, owner: Owner): void {
  if (!isOwnerAlive(owner)) return;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `data directory ${directory} is in use by process ${owner.pid}, or is a copy of the one that it uses: stop that ` +
      'process, or give this node another directory; never start a copy',
  );
}

function isOwnerAlive({ pid, started }: Owner): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  const now = startTimeOf(pid);
  // In a container the new process often has the number of the dead one; only the start time tells.
  if (now !== undefined && started !== '') return now === started;
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}

/** When the process was started, as the kernel counts it: tells a reused process id apart. Linux only. */
function startTimeOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // Killed and not yet collected by its parent: it holds nothing any more.
    return fields[0] === 'Z' ? 'dead' : fields[19];
  } catch {
    // No such process, or a platform without /proc: the caller falls back to signal 0.
    return undefined;
  }
}
