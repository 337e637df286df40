import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { NodeDisk } from '@cairn/runtime-node';
import { claimForEngine } from './engine-kind.js';

describe('claimForEngine', () => {
  const disk = new NodeDisk();
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cairn-kind-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it('takes an empty directory, and the same engine again', async () => {
    await claimForEngine(disk, directory, 'lsm');
    await claimForEngine(disk, directory, 'lsm');
  });

  it('refuses another engine than the one that made it, and says what to do', async () => {
    await claimForEngine(disk, directory, 'lsm');
    const refused = claimForEngine(disk, directory, 'classic-level');
    await expect(refused).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await expect(refused).rejects.toThrow(/made with the engine "lsm".*set engine to "lsm"/);
  });

  it('sends whoever comes with another engine than one from elsewhere to its module', async () => {
    await claimForEngine(disk, directory, 'somebodys-engine');
    await claimForEngine(disk, directory, 'somebodys-engine');
    await expect(claimForEngine(disk, directory, 'lsm')).rejects.toThrow(
      /made with the engine "somebodys-engine".*set engine to the module of "somebodys-engine"/,
    );
  });

  it('knows a directory from before the mark by the files of LevelDB', async () => {
    mkdirSync(join(directory, 'engine'));
    writeFileSync(join(directory, 'engine', 'CURRENT'), 'MANIFEST-000001\n');
    await expect(claimForEngine(disk, directory, 'lsm')).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
    });
    await claimForEngine(disk, directory, 'classic-level');
    await claimForEngine(disk, directory, 'classic-level');
  });
});
