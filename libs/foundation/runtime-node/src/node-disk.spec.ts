import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readWholeFile, writeFileDurably } from '@cairn/ports';
import { freeBytesOf, NodeDisk } from './node-disk.js';
import { NodeRng } from './node-rng.js';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cairn-disk-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('free space', () => {
  it('is a number that others can read, also of a file system that reports exabytes', () => {
    expect(freeBytesOf({ bavail: 8_796_093_022_207, bsize: 1024 * 1024 })).toBe(Number.MAX_SAFE_INTEGER);
    expect(freeBytesOf({ bavail: 1_000, bsize: 4_096 })).toBe(4_096_000);
  });
});

describe('NodeDisk', () => {
  it.each([true, false])('writes more parts than one writev takes, durable: %s', async (durableWrites) => {
    const disk = new NodeDisk();
    const file = await disk.open(`${directory}/a`, { mode: 'write', durableWrites });
    const parts = Array.from({ length: 2500 }, (_, index) => Buffer.alloc(index % 5, index & 255));
    await file.write(parts, 10);
    await file.sync();
    const wanted = Buffer.concat(parts);
    expect(await file.size()).toBe(10 + wanted.length);
    expect((await file.read(10, wanted.length + 100)).equals(wanted)).toBe(true);
    await file.truncate(3);
    expect((await file.read(0, 100)).length).toBe(3);
    await file.close();
  });

  it('keeps the contract of names', async () => {
    const disk = new NodeDisk();
    await disk.makeDirectory(`${directory}/x/y`);
    await disk.makeDirectory(`${directory}/x/y`);
    await writeFileDurably(disk, `${directory}/x`, 'b', Buffer.from('one'));
    await writeFileDurably(disk, `${directory}/x`, 'b', Buffer.from('two'));
    expect(await disk.list(`${directory}/x`)).toEqual(['b', 'y']);
    expect((await readWholeFile(disk, `${directory}/x/b`)).toString()).toBe('two');
    await disk.remove(`${directory}/x/b`);
    await disk.remove(`${directory}/x/b`);
    expect(await disk.exists(`${directory}/x/b`)).toBe(false);
    await expect(disk.open(`${directory}/x/b`, { mode: 'read' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(disk.list(`${directory}/nowhere`)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await disk.freeBytes(directory)).toBeGreaterThan(0);
  });
});

describe('NodeRng', () => {
  it('stays in its bounds', () => {
    const rng = new NodeRng();
    for (let round = 0; round < 3000; round += 1) {
      expect(rng.next()).toBeLessThan(1);
      const value = rng.integer(3);
      expect(value === 0 || value === 1 || value === 2).toBe(true);
    }
    expect(rng.bytes(7)).toHaveLength(7);
  });
});
