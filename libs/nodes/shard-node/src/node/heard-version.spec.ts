import { describe, expect, it } from '@jest/globals';
import { noopLogger, type Disk } from '@cairn/ports';
import { SimDisk, SimRng } from '@cairn/runtime-sim';
import { readClusterVersion } from '@cairn/store';

import { HeardVersion } from './heard-version.js';

const BUILD = { build: '0.1.0', protocols: { min: 7, max: 7 }, clusterVersions: { min: 1, max: 2 } };

async function newDisk(): Promise<Disk> {
  const disk = new SimDisk(new SimRng(1)).attach();
  await disk.makeDirectory('/data');
  return disk;
}

const openOn = (disk: Disk): Promise<HeardVersion> =>
  HeardVersion.open({ disk, directory: '/data', name: 'shard-1', build: BUILD, logger: noopLogger });

describe('the cluster version that a shard node has heard', () => {
  it('opens gates once it is on disk, and stays over a restart', async () => {
    const disk = await newDisk();
    const heard = await openOn(disk);
    expect(heard.gates.clusterVersion).toBe(0);
    await heard.keep(2);
    expect([heard.gates.clusterVersion, await readClusterVersion(disk, '/data')]).toEqual([2, 2]);
    expect((await openOn(disk)).gates.clusterVersion).toBe(2);
  });

  it('is none that this build does not run with, whoever says so', async () => {
    const disk = await newDisk();
    const heard = await openOn(disk);
    await heard.keep(1);
    await expect(heard.keep(99)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    expect([heard.gates.clusterVersion, await readClusterVersion(disk, '/data')]).toEqual([1, 1]);
  });
});
