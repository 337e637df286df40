import { expect, it } from '@jest/globals';
import { CairnError, storeId } from '@cairn/base';
import { writeFileDurably } from '@cairn/ports';
import { SimDisk, SimRng } from '@cairn/runtime-sim';

import { openIdentity, saveIdentity } from './node-identity.js';

async function written(): Promise<SimDisk> {
  const medium = new SimDisk(new SimRng(1));
  const disk = medium.attach();
  const identity = await openIdentity(disk, new SimRng(2), '/data', 'one');
  await saveIdentity(disk, '/data', { ...identity, clusterId: 'c0ffee', storeId: storeId(4) });
  return medium;
}

it('keeps what was saved', async () => {
  const medium = await written();
  medium.crash();
  const found = await openIdentity(medium.attach(), new SimRng(3), '/data', 'one');
  expect(found).toMatchObject({ name: 'one', clusterId: 'c0ffee', storeId: 4 });
});

it('is somebody else after no flipped bit: every one is noticed', async () => {
  const bytes = (await written()).peek('/data/node.json')?.length ?? 0;
  const codes = new Set<string>();
  // The line end is not looked at.
  for (let position = 0; position < bytes - 1; position += 1) {
    for (const bit of [0, 3, 6]) {
      const medium = await written();
      medium.flipBit('/data/node.json', position, bit);
      const failure: unknown = await openIdentity(medium.attach(), new SimRng(3), '/data', 'one').catch(
        (error: unknown) => error,
      );
      codes.add(CairnError.is(failure) ? failure.code : `none at ${position}`);
    }
  }
  codes.delete('FORMAT_TOO_NEW');
  expect([...codes]).toEqual(['CORRUPTION']);
});

it('counts the starts of a directory, and tells each from the others', async () => {
  const disk = new SimDisk(new SimRng(1)).attach();
  const first = await openIdentity(disk, new SimRng(2), '/data', 'one');
  const second = await openIdentity(disk, new SimRng(3), '/data', 'one');
  expect([first.boots, second.boots]).toEqual([1, 2]);
  expect(second.incarnation).toEqual(first.incarnation);
  expect(second.process).not.toEqual(first.process);
});

it('is not made up beside data that has lost its owner', async () => {
  const medium = await written();
  const disk = medium.attach();
  await disk.makeDirectory('/data/log');
  await writeFileDurably(disk, '/data/log', 'segment', Buffer.of(1));
  await disk.remove('/data/node.json');
  await expect(openIdentity(disk, new SimRng(3), '/data', 'one')).rejects.toMatchObject({
    code: 'CORRUPTION',
    message: expect.stringContaining('holds log and no node.json'),
  });
});
