import { describe, expect, it } from '@jest/globals';
import { writeFileDurably, type Disk } from '@cairn/ports';
import { SimDisk, SimRng } from '@cairn/runtime-sim';

import { readClusterVersion, writeClusterVersion } from './cluster-version-file.js';
import { sealedJson } from './sealed-json.js';

const PATH = '/data/cluster-version.json';
const GOLDEN = '{"format":1,"clusterVersion":2,"checksum":"b5dbbacd"}\n';

async function newDisk(): Promise<{ readonly sim: SimDisk; readonly disk: Disk }> {
  const sim = new SimDisk(new SimRng(1));
  const disk = sim.attach();
  await disk.makeDirectory('/data');
  return { sim, disk };
}

const put = (disk: Disk, bytes: Buffer): Promise<void> =>
  writeFileDurably(disk, '/data', 'cluster-version.json', bytes);

describe('the file of the cluster version', () => {
  it('has the bytes that are written down, and is read back', async () => {
    const { sim, disk } = await newDisk();
    expect(await readClusterVersion(disk, '/data')).toBe(0);
    await writeClusterVersion(disk, '/data', 2);
    expect(Buffer.from(sim.peek(PATH) ?? []).toString()).toBe(GOLDEN);
    expect(await readClusterVersion(disk, '/data')).toBe(2);
  });

  it('keeps what it said when the process ends while it is written anew', async () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const sim = new SimDisk(new SimRng(seed), { cutsAtBytes: true });
      const disk = sim.attach();
      await disk.makeDirectory('/data');
      await writeClusterVersion(disk, '/data', 1);
      const writing = writeClusterVersion(disk, '/data', 2);
      for (let turns = 0; turns < seed % 12; turns += 1) await Promise.resolve();
      sim.crash();
      writing.catch(() => undefined);
      expect([1, 2]).toContain(await readClusterVersion(sim.attach(), '/data'));
    }
  });

  it('of a later release is no damage, whatever it says before its checksum', async () => {
    const { disk } = await newDisk();
    const tooNew = expect.objectContaining({ code: 'FORMAT_TOO_NEW' });
    await put(disk, sealedJson({ format: 2, versions: [1, 2], seal: 'x' }));
    await expect(readClusterVersion(disk, '/data')).rejects.toThrow(tooNew);
  });

  it('may say more than is known here', async () => {
    const { disk } = await newDisk();
    await put(disk, sealedJson({ format: 1, clusterVersion: 3, heardAtUnixMs: 5 }));
    expect(await readClusterVersion(disk, '/data')).toBe(3);
  });

  it('is refused with any bit flipped, and without what it is for', async () => {
    const { disk } = await newDisk();
    const codes = new Set<string>();
    for (let bit = 0; bit < GOLDEN.length * 8; bit += 1) {
      const bytes = Buffer.from(GOLDEN);
      bytes[bit >>> 3] = (bytes[bit >>> 3] as number) ^ (1 << (bit & 7));
      await put(disk, bytes);
      const failure = await readClusterVersion(disk, '/data').catch((error: unknown) => error);
      // White space behind the value is all that may be otherwise.
      if (typeof failure === 'number') expect([failure, bit >>> 3]).toEqual([2, GOLDEN.length - 1]);
      else codes.add((failure as { readonly code: string }).code);
    }
    expect([...codes]).toEqual(['CORRUPTION']);
    await put(disk, sealedJson({ format: 1 }));
    await expect(readClusterVersion(disk, '/data')).rejects.toMatchObject({ code: 'CORRUPTION' });
    await put(disk, sealedJson({ format: 0, clusterVersion: 2 }));
    await expect(readClusterVersion(disk, '/data')).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    // A format that is no number does not read as the one that it looks like.
    await put(disk, sealedJson({ format: '1' as unknown as number, clusterVersion: 2 }));
    await expect(readClusterVersion(disk, '/data')).rejects.toThrow('has format "1", this release reads 1');
  });
});
