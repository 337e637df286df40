import { readFile, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';

import { CairnError } from '@cairn/base';

/** Held while the process uses the directory. */
export interface DirectoryLock {
  release(): Promise<void>;
}

/**
 * Makes sure that one process uses a data directory. The lock names its process; one of a process that is gone is taken
 * over. Throws FAILED_PRECONDITION naming the process that holds it.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = `${directory}/LOCK`;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      await writeFile(path, `${process.pid} ${startTimeOf(process.pid) ?? ''}\n`, { flag: 'wx' });
      return { release: () => rm(path, { force: true }) };
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error;
    }
    const [pidText = '', startedText = ''] = (await readFile(path, 'utf8').catch(() => '')).trim().split(' ');
    const pid = Number(pidText);
    if (isSameProcessAlive(pid, startedText)) {
      throw new CairnError(
        'FAILED_PRECONDITION',
        `data directory ${directory} is in use by process ${pid}: stop it, or give this node another directory`,
      );
    }
    await rm(path, { force: true });
  }
  throw new CairnError('FAILED_PRECONDITION', `data directory ${directory} cannot be locked: others keep trying too`);
}

function isSameProcessAlive(pid: number, started: string): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
  const now = startTimeOf(pid);
  return now === undefined || started === '' || now === started;
}

/** When the process was started, as the kernel counts it: tells a reused process id apart. Linux only. */
function startTimeOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
