import { describe, expect, it } from '@jest/globals';
import { noopLogger } from '@cairn/ports';
import { SimDisk, SimRng } from '@cairn/runtime-sim';

import type { ManifestState } from './manifest-format.js';
import { Manifest } from './manifest.js';
import { tableName } from './table-summary.js';

// Two files, of which a crash tears at most one, and bit rot is noticed or harmless.

const OPTIONS = { directory: '/db', logger: noopLogger, rng: new SimRng('id') };
const PATHS = ['/db/manifest-a', '/db/manifest-b'] as const;

function stateWith(nextNumber: number, slices = 3): ManifestState {
  const table = {
    number: 2,
    bytes: 1000,
    rows: 10,
    deletedRows: 1,
    smallestKey: Buffer.from('a'),
    largestKey: Buffer.from('z'),
    lowestSuffix: Buffer.alloc(8, 3),
  };
  const own = Array.from({ length: slices }, (_, at) => ({
    table,
    from: Buffer.of(at),
    to: Buffer.of(at + 1),
  }));
  return { nextNumber, runs: slices === 0 ? [] : [{ id: 3, level: 1, slices: own }] };
}

async function newDisk(seed = 1): Promise<SimDisk> {
  const disk = new SimDisk(new SimRng(seed), { cutsAtBytes: true });
  await disk.attach().makeDirectory('/db');
  return disk;
}

const open = (disk: SimDisk): ReturnType<typeof Manifest.open> =>
  Manifest.open({ ...OPTIONS, disk: disk.attach() });

/** The number of a state is enough to know it by. */
async function reopened(disk: SimDisk): Promise<number | undefined> {
  const { manifest, state } = await open(disk);
  await manifest.close();
  return state?.nextNumber;
}

describe('a manifest', () => {
  it('begins empty and answers what was written last, shorter or longer', async () => {
    const disk = await newDisk();
    const { manifest, state } = await open(disk);
    expect(state).toBeUndefined();
    await manifest.write(stateWith(9, 40));
    await manifest.write(stateWith(10, 2));
    await manifest.close();
    const again = await open(disk);
    expect(JSON.stringify(again.state)).toEqual(JSON.stringify(asBytes(stateWith(10, 2))));
  });

  it('is the last state that was written, or the next, after a crash at any moment', async () => {
    for (let seed = 0; seed < 60; seed += 1) {
      const disk = await newDisk(seed);
      const { manifest } = await open(disk);
      await manifest.write(stateWith(5, 40));
      disk.injectFault({ operation: 'write', pathPart: PATHS[seed % 2] as string });
      await manifest.write(stateWith(6, seed)).catch(() => undefined);
      disk.crash();
      expect([5, 6]).toContain(await reopened(disk));
    }
  });

  it('is never torn in both files, however many writes fail and are tried again', async () => {
    for (let seed = 0; seed < 400; seed += 1) {
      const disk = await newDisk(seed);
      const rng = new SimRng(seed);
      const { manifest } = await open(disk);
      let durable = 4;
      await manifest.write(stateWith(durable, 40));
      for (let next = 5; next < 15; next += 1) {
        const failing = rng.integer(3);
        const pathPart = PATHS[failing];
        if (pathPart !== undefined) disk.injectFault({ operation: 'write', pathPart, code: 'DISK_FULL' });
        const written = await manifest.write(stateWith(next, rng.integer(60))).then(
          () => true,
          () => false,
        );
        disk.clearFaults();
        expect(manifest.isCertain).toBe(written);
        if (written) durable = next;
        if (rng.integer(4) > 0) continue;
        disk.crash();
        expect(await reopened(disk)).toBeGreaterThanOrEqual(durable);
        break;
      }
    }
  });

  it('goes no further when a copy that was torn reads back otherwise than it was written', async () => {
    const disk = await newDisk();
    const view = disk.attach();
    const openFile = view.open.bind(view);
    let isLying = false;
    view.open = async (...where) => {
      const file = await openFile(...where);
      const read = file.read.bind(file);
      file.read = async (...place) => (isLying ? Buffer.alloc(3) : read(...place));
      return file;
    };
    const { manifest } = await Manifest.open({ ...OPTIONS, disk: view });
    await manifest.write(stateWith(4));
    disk.injectFault({ operation: 'write', pathPart: PATHS[1], code: 'DISK_FULL' });
    await expect(manifest.write(stateWith(5))).rejects.toThrow();
    isLying = true;
    await expect(manifest.write(stateWith(6))).rejects.toMatchObject({
      code: 'CORRUPTION',
      details: { path: PATHS[1] },
    });
    disk.crash();
    expect([5, 6]).toContain(await reopened(disk));
  });

  it('survives any flipped bit of one of its files, and heals', async () => {
    const disk = await newDisk();
    const { manifest } = await open(disk);
    await manifest.write(stateWith(5));
    await manifest.close();
    const length = disk.peek(PATHS[0])?.length ?? 0;
    expect(length).toBeGreaterThan(90);
    for (let at = 0; at < length; at += 1) {
      disk.flipBit(PATHS[at % 2] as string, at);
      expect(await reopened(disk)).toBe(5);
    }
  });

  it('that nothing can be read of is new without tables, and damaged with them', async () => {
    const disk = await newDisk();
    await (await open(disk)).manifest.close();
    for (const path of PATHS) disk.flipBit(path, 3);
    expect(await reopened(disk)).toBeUndefined();
    for (const path of PATHS) disk.flipBit(path, 3);
    const view = disk.attach();
    await (await view.open(`/db/${tableName(1)}`, { mode: 'write' })).close();
    await expect(open(disk)).rejects.toMatchObject({ code: 'CORRUPTION', details: { path: PATHS[0] } });
    for (const path of PATHS) await view.remove(path);
    await expect(open(disk)).rejects.toMatchObject({ code: 'CORRUPTION' });
  });
});

function asBytes(state: ManifestState): unknown {
  return JSON.parse(
    JSON.stringify(state, (_, value: unknown) =>
      typeof value === 'object' &&
      value !== null &&
      'type' in value &&
      value.type === 'Buffer' &&
      'data' in value
        ? { ...(value.data as number[]) }
        : value,
    ),
  );
}
