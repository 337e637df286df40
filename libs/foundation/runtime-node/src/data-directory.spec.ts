import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { openDataDirectory } from './data-directory.js';
import { NodeClock } from './node-clock.js';
import { NodeDisk } from './node-disk.js';

const NO_LOCK = { release: (): Promise<void> => Promise.resolve() };

describe('openDataDirectory', () => {
  let directory = '';
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cairn-data-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });
  const ports = { disk: new NodeDisk(), clock: new NodeClock() };

  it('makes the directory, holds it, and leaves nothing but the lock', async () => {
    const path = `${directory}/a/b`;
    const lock = await openDataDirectory(ports, path);
    expect(await readdir(path)).toEqual(['LOCK']);
    await expect(openDataDirectory(ports, path)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('is in use by process') as unknown,
    });
    await lock.release();
    expect(await readdir(path)).toEqual([]);
  });

  // There a directory cannot be made although nothing is in the way: a recursive mkdir never ended.
  it.each(['/proc/cairn', '/proc/cairn/a/b'])('names %s, which cannot be made', async (path) => {
    await expect(openDataDirectory(ports, path)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining(`data directory ${path} could not be made: `) as unknown,
    });
  });

  it('names a file that is in the way', async () => {
    await writeFile(`${directory}/file`, '');
    for (const path of [`${directory}/file`, `${directory}/file/a`]) {
      await expect(openDataDirectory(ports, path)).rejects.toMatchObject({
        code: 'FAILED_PRECONDITION',
        message: expect.stringContaining('could not be made: ') as unknown,
      });
    }
  });
});

describe('openDataDirectory on a strange file system', () => {
  async function failureOf(prepare: (disk: SimDisk) => void): Promise<unknown> {
    const scheduler = new SimScheduler();
    const process = scheduler.startProcess('node');
    const medium = new SimDisk(new SimRng(1));
    const disk = medium.attach(process);
    prepare(medium);
    const lock = (): Promise<typeof NO_LOCK> => Promise.resolve(NO_LOCK);
    return scheduler.settle(
      openDataDirectory({ disk, clock: process.clock, lock }, '/data').catch((error: unknown) => error),
    );
  }

  it('says that it does not answer', async () => {
    const failure = await failureOf((disk) => {
      disk.stallUntil(60_000);
    });
    expect(failure).toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('could not be made within 10000 ms') as unknown,
    });
  });

  it('says that it is full', async () => {
    const failure = await failureOf((disk) => {
      disk.setBytesMax(0);
    });
    expect(failure).toMatchObject({ code: 'DISK_FULL', details: { path: '/data' } });
  });

  it('says that it is full when not even the lock has room', async () => {
    const scheduler = new SimScheduler();
    const process = scheduler.startProcess('node');
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const disk = new SimDisk(new SimRng(1)).attach(process);
    const lock = (): Promise<never> => Promise.reject(full);
    const failure = await scheduler.settle(
      openDataDirectory({ disk, clock: process.clock, lock }, '/data').catch((error: unknown) => error),
    );
    expect(failure).toMatchObject({ code: 'DISK_FULL', details: { path: '/data' } });
  });

  it.each(['write', 'sync', 'rename', 'sync-directory', 'remove'] as const)(
    'says that it has no %s',
    async (operation) => {
      const failure = await failureOf((disk) => {
        disk.injectFault({ operation });
      });
      expect(failure).toMatchObject({
        code: 'FAILED_PRECONDITION',
        message: expect.stringContaining('data directory /data could not be written to: ') as unknown,
      });
    },
  );
});
