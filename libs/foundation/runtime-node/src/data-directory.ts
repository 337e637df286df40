import { CairnError, messageOf } from '@cairn/base';
import { DiskError, type Clock, type Disk } from '@cairn/ports';

import { lockDirectory, type DirectoryLock } from './directory-lock.js';

/**
 * One step of opening takes this long at most: a file system that does not answer is told to the operator.
 */
const STEP_TIMEOUT_MS = 10_000;
const PROBE = 'probe';
const PROBE_BYTES = Buffer.from('what a data directory must be able to keep\n');

export interface DataDirectoryPorts {
  readonly disk: Disk;
  readonly clock: Clock;
  /** Default `lockDirectory`. */
  readonly lock?: (directory: string) => Promise<DirectoryLock>;
}

/**
 * Makes a data directory when it is missing, takes its lock, and tries what a node needs of its file system:
 * durable writes that read back, renames, removals. Answers the lock.
 *
 * Throws FAILED_PRECONDITION (another process has it, or the file system lacks something), DISK_FULL, or
 * UNAVAILABLE when the file system does not answer; each names the directory and what was tried.
 */
export async function openDataDirectory(
  ports: DataDirectoryPorts,
  directory: string,
): Promise<DirectoryLock> {
  const { clock, disk } = ports;
  const step = <Value>(what: string, work: () => Promise<Value>): Promise<Value> =>
    attempt(clock, { directory, what }, work);
  await step('be made', () => disk.makeDirectory(directory));
  const lock = await step('be locked', () => (ports.lock ?? lockDirectory)(directory));
  try {
    await step('be written to', () => probe(disk, directory));
    return lock;
  } catch (error) {
    // With a file system that does not answer, this may never end; the failure is told all the same.
    void lock.release().catch(() => undefined);
    throw error;
  }
}

async function probe(disk: Disk, directory: string): Promise<void> {
  const aside = `${directory}/${PROBE}.new`;
  const path = `${directory}/${PROBE}`;
  const file = await disk.open(aside, { mode: 'write', durableWrites: true });
  let found: Buffer;
  try {
    await file.write([PROBE_BYTES], 0);
    await file.sync();
    found = await file.read(0, PROBE_BYTES.length);
  } finally {
    await file.close();
  }
  if (!found.equals(PROBE_BYTES))
    throw new DiskError('IO_ERROR', aside, 'what was written does not read back');
  await disk.rename(aside, path);
  await disk.syncDirectory(directory);
  await disk.remove(path);
}

/** The work, or the sentence that says what could not be done; late ends of it are of no interest. */
function attempt<Value>(
  clock: Clock,
  { directory, what }: { readonly directory: string; readonly what: string },
  work: () => Promise<Value>,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(STEP_TIMEOUT_MS, () => {
      reject(
        new CairnError(
          'UNAVAILABLE',
          `data directory ${directory} could not ${what} within ${STEP_TIMEOUT_MS} ms: its file system does not ` +
            'answer. Check the mount, or give this node another directory',
        ),
      );
    });
    work().then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(CairnError.is(error) ? error : refusal(directory, what, error));
      },
    );
  });
}

function refusal(directory: string, what: string, error: unknown): CairnError {
  const options = { cause: error, details: { path: directory } };
  if (isDiskFull(error)) {
    return new CairnError(
      'DISK_FULL',
      `data directory ${directory} could not ${what}: no space is left (${messageOf(error)}). Free some`,
      options,
    );
  }
  return new CairnError(
    'FAILED_PRECONDITION',
    `data directory ${directory} could not ${what}: ${messageOf(error)}. Give this node a directory that it may ` +
      'write to, on a file system with durable writes and renames that replace',
    options,
  );
}

/** The lock is no file of a `Disk`. */
function isDiskFull(error: unknown): boolean {
  if (error instanceof DiskError) return error.code === 'DISK_FULL';
  const { code } = error as { readonly code?: unknown };
  return code === 'ENOSPC' || code === 'EDQUOT';
}
