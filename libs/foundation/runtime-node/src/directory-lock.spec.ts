import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { lockDirectory } from './directory-lock.js';
import { contend, lockThatPutsBack } from './directory-lock.testing.js';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cairn-lock-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function leave(entry: string): Promise<void> {
  await mkdir(`${directory}/LOCK`, { recursive: true });
  await writeFile(`${directory}/LOCK/${entry}`, '');
}

describe('lockDirectory', () => {
  it('lets one owner in at a time and leaves nothing behind', async () => {
    const lock = await lockDirectory(directory);
    await expect(lockDirectory(directory)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining(`in use by process ${process.pid}`),
    });
    expect(await readdir(directory)).toEqual(['LOCK']);
    await lock.release();
    await (await lockDirectory(directory)).release();
    expect(await readdir(directory)).toEqual([]);
  });

  it.each([['4194305.1.0badcafe'], ['garbled'], ['0..00000000'], [undefined]])(
    'lets one of several in where %s is left in the lock',
    async (entry) => {
      if (entry === undefined) await mkdir(`${directory}/LOCK`);
      else await leave(entry);
      const rivals = await Promise.allSettled([1, 2, 3, 4, 5].map(() => lockDirectory(directory)));
      expect(rivals.filter((rival) => rival.status === 'fulfilled')).toHaveLength(1);
      expect(await readdir(directory)).toEqual(['LOCK']);
      expect(await readdir(`${directory}/LOCK`)).toHaveLength(1);
    },
  );

  it('removes what processes left that ended on the way, and nothing else', async () => {
    const kept = ['LOCK.txt', `LOCK.${process.pid}..0badcafe.new`];
    for (const name of ['LOCK.4194305.1.0badcafe', ...kept]) await mkdir(`${directory}/${name}`);
    await writeFile(`${directory}/LOCK.4194305.1.0badcafe/4194305.1.0badcafe`, '');
    const lock = await lockDirectory(directory);
    expect((await readdir(directory)).sort()).toEqual(['LOCK', ...kept].sort());
    await lock.release();
  });

  it('tells of a file system that refuses, and has no lock then', async () => {
    await writeFile(`${directory}/LOCK`, 'a file of somebody else');
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'ENOTDIR' });
    expect(await readdir(directory)).toEqual(['LOCK']);
    await expect(lockDirectory(`${directory}/nowhere`)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('takes over from a process that was killed and that its parent has not collected yet', async () => {
    // The shell becomes a sleep, which never collects the child that ended before it.
    const parent = spawn('/bin/sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const pid = await new Promise<string>((resolve) => {
        parent.stdout.once('data', (chunk: Buffer) => {
          resolve(chunk.toString().trim());
        });
      });
      let fields: string[] = [];
      while (fields[0] !== 'Z') {
        const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
        fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      }
      await leave(`${pid}.${fields[19] ?? ''}.0badcafe`);
      await (await lockDirectory(directory)).release();
      expect(fields[0]).toBe('Z');
    } finally {
      parent.kill('SIGKILL');
    }
  });
});

describe('processes that take their steps in turn', () => {
  const SEEDS = 2_000;
  const seeds = (): number[] => Array.from({ length: SEEDS }, (_, at) => at + 1);

  it('never hold the lock together, whichever of them stops between two steps', async () => {
    let [held, killed] = [0, 0];
    for (const seed of seeds()) {
      const story = await contend(seed, lockDirectory);
      expect({ seed, together: story.together }).toEqual({ seed, together: [] });
      held += story.held;
      killed += story.killed;
      // Whatever came before, the next one gets in, and cleans up.
      expect({ seed, left: story.leftBehind }).toEqual({ seed, left: [] });
    }
    // The schedules are worth something: holders change, and some are killed.
    expect(held).toBeGreaterThan(3 * SEEDS);
    expect(killed).toBeGreaterThan(SEEDS);
  });

  it('hold one together that is moved aside to be looked at and put back', async () => {
    // A and B have read a dead lock; A replaces it; B moves the lock of A aside; C finds none and makes one.
    const broken: number[] = [];
    for (const seed of seeds()) {
      const { together } = await contend(seed, lockThatPutsBack);
      if (together.length > 0) broken.push(seed);
    }
    expect(broken.length).toBeGreaterThan(0);
  });
});
