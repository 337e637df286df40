import { describe, expect, it } from '@jest/globals';
import { readWholeFile, writeFileDurably } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from './index.js';

// What a crash may take is what no sync covered, and nothing else.

describe('a simulated disk', () => {
  it('reads what was written, across handles, and zeros in holes', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    await disk.makeDirectory('/a/b');
    const file = await disk.open('/a/b/x', { mode: 'write' });
    await file.write([Buffer.from('ab'), Buffer.from('c')], 2);
    const bytes = await readWholeFile(disk, '/a/b/x');
    expect([...bytes]).toEqual([0, 0, 97, 98, 99]);
    await file.truncate(3);
    expect(await file.size()).toBe(3);
    expect(await disk.list('/a')).toEqual(['b']);
    expect(await disk.list('/a/b')).toEqual(['x']);
    await disk.rename('/a/b/x', '/a/b/y');
    expect(await disk.exists('/a/b/x')).toBe(false);
    await expect(disk.open('/a/b/x', { mode: 'read' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(disk.open('/nowhere/x', { mode: 'write' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('keeps synced and durable bytes through every crash, and loses, keeps and tears the rest', async () => {
    const fates = new Set<string>();
    for (let seed = 0; seed < 60; seed += 1) {
      const medium = new SimDisk(new SimRng(seed));
      const disk = medium.attach();
      await disk.makeDirectory('/d');
      await writeFileDurably(disk, '/d', 'plain', Buffer.alloc(2048, 1));
      const durable = await disk.open('/durable', { mode: 'write', durableWrites: true });
      await disk.syncDirectory('/');
      await durable.write([Buffer.alloc(700, 2)], 0);
      const file = await disk.open('/d/plain', { mode: 'write' });
      await file.write([Buffer.alloc(2048, 9)], 0);
      expect([...new Set(await readWholeFile(disk, '/d/plain'))]).toEqual([9]);
      medium.crash();
      const after = medium.attach();
      expect([...new Set(await readWholeFile(after, '/durable'))]).toEqual([2]);
      const plain = await readWholeFile(after, '/d/plain');
      const sectors = [0, 512, 1024, 1536].map((at) => plain.subarray(at, at + 512));
      for (const sector of sectors) expect(new Set(sector).size).toBe(1);
      const fresh = sectors.filter((sector) => sector[0] === 9).length;
      fates.add(fresh === 0 ? 'lost' : fresh === 4 ? 'kept' : 'torn');
    }
    expect([...fates].sort()).toEqual(['kept', 'lost', 'torn']);
  });

  it('also cuts writes within a sector when asked to', async () => {
    const lengths = new Set<number>();
    for (let seed = 0; seed < 40; seed += 1) {
      const medium = new SimDisk(new SimRng(seed), { cutsAtBytes: true });
      const file = await medium.attach().open('/x', { mode: 'write' });
      await medium.attach().syncDirectory('/');
      await file.write([Buffer.alloc(2048, 1)], 0);
      medium.crash();
      lengths.add(medium.peek('/x')?.length ?? -1);
    }
    expect([...lengths].filter((length) => length % 512 !== 0).length).toBeGreaterThan(3);
  });

  it('may lose names until the directory is synced', async () => {
    const seen = new Set<boolean>();
    for (let seed = 0; seed < 30; seed += 1) {
      const medium = new SimDisk(new SimRng(seed));
      const disk = medium.attach();
      await disk.open('/synced', { mode: 'write' });
      await disk.syncDirectory('/');
      await disk.open('/fresh', { mode: 'write' });
      medium.crash();
      expect(medium.paths()).toContain('/synced');
      seen.add(medium.paths().includes('/fresh'));
    }
    expect(seen.size).toBe(2);
  });

  it('silences the views of a life that a crash ended', async () => {
    const medium = new SimDisk(new SimRng(1));
    const disk = medium.attach();
    const file = await disk.open('/x', { mode: 'write', durableWrites: true });
    await disk.syncDirectory('/');
    medium.crash();
    let settled = false;
    void file.write([Buffer.from('ghost')], 0).then(() => (settled = true));
    await new Promise((resolve) =>
      queueMicrotask(() => {
        resolve(undefined);
      }),
    );
    expect(settled).toBe(false);
    expect(medium.peek('/x')?.length).toBe(0);
  });

  it('takes virtual time, stalls, and tears a write that a kill interrupts', async () => {
    const outcomes = new Set<number>();
    for (let seed = 0; seed < 30; seed += 1) {
      const scheduler = new SimScheduler();
      const medium = new SimDisk(new SimRng(seed), { syncMs: [1, 1], accessMs: [0, 0] });
      const process = scheduler.startProcess('one');
      const disk = medium.attach(process);
      const file = await scheduler.settle(disk.open('/x', { mode: 'write', durableWrites: true }));
      await scheduler.settle(file.write([Buffer.alloc(2048, 1)], 0));
      expect(scheduler.nowMs).toBe(1);
      medium.stallUntil(50);
      await scheduler.settle(file.sync());
      expect(scheduler.nowMs).toBe(50);
      void file.write([Buffer.alloc(2048, 2)], 0);
      await scheduler.runFor(0.5);
      expect(medium.peek('/x')?.[0]).toBe(1);
      process.kill();
      await scheduler.runFor(10);
      outcomes.add(medium.peek('/x')?.filter((byte) => byte === 2).length ?? -1);
    }
    expect(outcomes.has(0)).toBe(true);
    expect(outcomes.has(2048)).toBe(true);
    expect(outcomes.size).toBeGreaterThan(2);
  });

  it('fails on demand: full, injected, flipped', async () => {
    const medium = new SimDisk(new SimRng(1), { bytesMax: 10 });
    const disk = medium.attach();
    const file = await disk.open('/x', { mode: 'write', durableWrites: true });
    await file.write([Buffer.alloc(10)], 0);
    await expect(file.write([Buffer.alloc(1)], 10)).rejects.toMatchObject({ code: 'DISK_FULL' });
    await file.write([Buffer.alloc(10, 3)], 0);
    medium.setBytesMax(100);
    medium.injectFault({ operation: 'write', pathPart: 'x', after: 1 });
    await file.write([Buffer.alloc(1)], 10);
    await expect(file.write([Buffer.alloc(1)], 11)).rejects.toMatchObject({ code: 'IO_ERROR' });
    await file.write([Buffer.alloc(1)], 11);
    medium.flipBit('/x', 0, 2);
    expect((await file.read(0, 1))[0]).toBe(7);
  });

  it('refuses new names while full, and everything goes on when there is room', async () => {
    const medium = new SimDisk(new SimRng(1), { bytesMax: 10 });
    const disk = medium.attach();
    const file = await disk.open('/x', { mode: 'write' });
    await file.write([Buffer.alloc(10)], 0);
    expect(await disk.freeBytes('/')).toBe(0);
    await expect(disk.open('/y', { mode: 'write' })).rejects.toMatchObject({ code: 'DISK_FULL' });
    await expect(disk.rename('/x', '/y')).rejects.toMatchObject({ code: 'DISK_FULL' });
    await disk.open('/x', { mode: 'write' });
    medium.setBytesMax(20);
    await disk.rename('/x', '/y');
    expect(medium.paths()).toEqual(['/y']);
  });

  it('may lose what a failed sync should have covered, although later syncs succeed', async () => {
    const fates = new Set<number>();
    for (let seed = 0; seed < 40; seed += 1) {
      const medium = new SimDisk(new SimRng(seed));
      const disk = medium.attach();
      const file = await disk.open('/x', { mode: 'write' });
      await disk.syncDirectory('/');
      await file.write([Buffer.alloc(4096, 1)], 0);
      medium.injectFault({ operation: 'sync' });
      const failure: unknown = await file.sync().catch((error: unknown) => error);
      expect(medium.isInjected(new Error('wrapped', { cause: failure }))).toBe(true);
      await file.write([Buffer.alloc(512, 2)], 0);
      await file.sync();
      const seen = await readWholeFile(disk, '/x');
      expect([seen[0], seen[4095], seen.length]).toEqual([2, 1, 4096]);
      medium.crash();
      const left = await readWholeFile(medium.attach(), '/x');
      expect(left[0]).toBe(2);
      fates.add(left.filter((byte) => byte === 1).length);
    }
    expect(fates.has(0)).toBe(true);
    expect(fates.has(3584)).toBe(true);
    expect(fates.size).toBeGreaterThan(2);
  });

  it('may show a failed durable write until the power goes', async () => {
    let shownAndLost = 0;
    for (let seed = 0; seed < 40; seed += 1) {
      const medium = new SimDisk(new SimRng(seed));
      const disk = medium.attach();
      const file = await disk.open('/x', { mode: 'write', durableWrites: true });
      await disk.syncDirectory('/');
      medium.injectFault({ operation: 'write' });
      await expect(file.write([Buffer.alloc(1024, 1)], 0)).rejects.toMatchObject({ code: 'IO_ERROR' });
      await file.sync();
      const isShown = (await file.read(0, 1024)).filter((byte) => byte === 1).length === 1024;
      medium.crash();
      const left = medium.peek('/x')?.filter((byte) => byte === 1).length ?? 0;
      if (isShown && left < 1024) shownAndLost += 1;
    }
    expect(shownAndLost).toBeGreaterThan(3);
  });

  it('rots durable bytes, but not of the newest write, and knows which files are rotten', async () => {
    const medium = new SimDisk(new SimRng(1));
    const disk = medium.attach();
    const file = await disk.open('/x', { mode: 'write', durableWrites: true });
    await file.write([Buffer.alloc(100, 1)], 0);
    expect(medium.rot(() => true)).toBeUndefined();
    await file.write([Buffer.alloc(100, 1)], 100);
    for (let times = 0; times < 20; times += 1) {
      expect(medium.rot((path) => path === '/x')?.position).toBeLessThan(100);
    }
    expect(medium.isRotten('/x')).toBe(true);
    expect((await file.read(100, 100)).every((byte) => byte === 1)).toBe(true);
    await file.write([Buffer.alloc(100, 2)], 0);
    expect(medium.isRotten('/x')).toBe(false);
    expect(medium.rot((path) => path === '/y')).toBeUndefined();
  });
});
