import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';

import { lockDirectory } from './directory-lock.js';

it('takes over from a process that was killed and that its parent has not collected yet', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'cairn-lock-'));
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
    await writeFile(join(directory, 'LOCK'), `${pid} ${fields[19] ?? ''}\n`);
    const lock = await lockDirectory(directory);
    await lock.release();
    expect(fields[0]).toBe('Z');
  } finally {
    parent.kill('SIGKILL');
    await rm(directory, { recursive: true, force: true });
  }
});
