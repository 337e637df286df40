import { describe, expect, it } from '@jest/globals';
import { CairnError, storeId } from '@cairn/base';
import { writeFileDurably } from '@cairn/ports';
import { SimDisk, SimRng } from '@cairn/runtime-sim';

import {
  areTokens,
  judgeStart,
  latestToken,
  openIdentity,
  saveIdentity,
  withAccepted,
  type NodeIdentity,
  type StartTokens,
} from './node-identity.js';

const ONE = { name: 'one', kind: 'shard' } as const;
const MEMBER = { name: 'one', kind: 'metadata' } as const;

async function written(): Promise<SimDisk> {
  const medium = new SimDisk(new SimRng(1));
  const disk = medium.attach();
  const identity = await openIdentity({ disk, rng: new SimRng(2) }, '/data', ONE, ['meta']);
  await saveIdentity(disk, '/data', { ...identity, clusterId: 'c0ffee', storeId: storeId(4) });
  return medium;
}

describe('an identity', () => {
  it('keeps what was saved', async () => {
    const medium = await written();
    medium.crash();
    const found = await openIdentity({ disk: medium.attach(), rng: new SimRng(3) }, '/data', ONE, ['meta']);
    expect(found).toMatchObject({ name: 'one', kind: 'shard', clusterId: 'c0ffee', storeId: 4 });
  });

  it('is somebody else after no flipped bit: every one is noticed', async () => {
    const bytes = (await written()).peek('/data/node.json')?.length ?? 0;
    const codes = new Set<string>();
    // The line end is not looked at.
    for (let position = 0; position < bytes - 1; position += 1) {
      for (const bit of [0, 3, 6]) {
        const medium = await written();
        medium.flipBit('/data/node.json', position, bit);
        const failure: unknown = await openIdentity(
          { disk: medium.attach(), rng: new SimRng(3) },
          '/data',
          ONE,
          ['meta'],
        ).catch((error: unknown) => error);
        codes.add(CairnError.is(failure) ? failure.code : `none at ${position}`);
      }
    }
    codes.delete('FORMAT_TOO_NEW');
    expect([...codes]).toEqual(['CORRUPTION']);
  });

  const shownBy = ({ starts }: NodeIdentity): StartTokens => starts[0] as StartTokens;

  it('tells the starts of a directory apart, and offers each until it is accepted', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    const first = await openIdentity({ disk, rng: new SimRng(2) }, '/data', ONE, ['meta']);
    const again = await openIdentity({ disk, rng: new SimRng(3) }, '/data', ONE, ['meta']);
    expect(again.incarnation).toEqual(first.incarnation);
    expect(again.process).not.toEqual(first.process);
    expect(shownBy(again).offered).toEqual([...shownBy(first).offered, latestToken(shownBy(again))]);
    await saveIdentity(disk, '/data', withAccepted(again, 'meta'));
    const next = await openIdentity({ disk, rng: new SimRng(4) }, '/data', ONE, ['meta']);
    expect(shownBy(next)).toEqual({
      acceptor: 'meta',
      accepted: latestToken(shownBy(again)),
      offered: [expect.stringMatching(/^[0-9a-f]{16}$/)],
    });
    expect(latestToken(shownBy(next))).not.toBe(shownBy(next).accepted);
  });

  it('is an older copy after the next start when it was made while an offer was pending', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    let seed = 2;
    const start = (directory: string): Promise<NodeIdentity> =>
      openIdentity({ disk, rng: new SimRng((seed += 1)) }, directory, ONE, ['meta']);
    const first = await start('/data');
    let known = latestToken(shownBy(first));
    await saveIdentity(disk, '/data', withAccepted(first, 'meta'));
    // Nobody is there to accept this start, or nobody hears that it was accepted.
    const second = await start('/data');
    await disk.makeDirectory('/copy');
    await saveIdentity(disk, '/copy', second);
    const third = await start('/data');
    expect(judgeStart(known, shownBy(third))).toBe('newer');
    expect(judgeStart(latestToken(shownBy(second)), shownBy(third))).toBe('newer');
    known = latestToken(shownBy(third));
    for (let round = 0; round < 3; round += 1) {
      expect(judgeStart(known, shownBy(await start('/copy')))).toBe('older');
    }
  });

  it('keeps a bounded number of starts that nobody accepted, and fits whichever was', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    const shown: string[] = [];
    for (let seed = 2; seed < 102; seed += 1) {
      const identity = await openIdentity({ disk, rng: new SimRng(seed) }, '/data', ONE, ['meta']);
      shown.push(latestToken(shownBy(identity)));
      expect(areTokens(shownBy(identity))).toBe(true);
      for (const known of shown) expect(judgeStart(known, shownBy(identity))).not.toBe('older');
    }
    expect(new Set(shown).size).toBe(32);
  });

  it('is an older copy for ever, however often it is started', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    let seed = 2;
    const start = (directory: string): Promise<NodeIdentity> =>
      openIdentity({ disk, rng: new SimRng((seed += 1)) }, directory, ONE, ['meta']);
    await disk.makeDirectory('/copy');
    await start('/data');
    let known = '';
    for (let round = 0; round < 3; round += 1) {
      const identity = await start('/data');
      known = latestToken(shownBy(identity));
      await saveIdentity(disk, '/data', withAccepted(identity, 'meta'));
      if (round === 1) await saveIdentity(disk, '/copy', withAccepted(identity, 'meta'));
    }
    for (let round = 0; round < 10; round += 1) {
      expect(judgeStart(known, shownBy(await start('/copy')))).toBe('older');
    }
    expect(judgeStart(known, shownBy(await start('/data')))).toBe('newer');
  });

  it('fits what the acceptor knows wherever a start was broken off', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    const first = await openIdentity({ disk, rng: new SimRng(2) }, '/data', ONE, ['meta']);
    await saveIdentity(disk, '/data', withAccepted(first, 'meta'));
    const before = latestToken(shownBy(first));
    // Accepted or not, the process ended before it knew.
    const offered = latestToken(
      shownBy(await openIdentity({ disk, rng: new SimRng(3) }, '/data', ONE, ['meta'])),
    );
    const next = await openIdentity({ disk, rng: new SimRng(4) }, '/data', ONE, ['meta']);
    expect(judgeStart(before, shownBy(next))).toBe('newer');
    expect(judgeStart(offered, shownBy(next))).toBe('newer');
  });

  it('shows what formed the group to its members, whatever it is configured with', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    const member = { storeId: storeId(1), incarnation: '', start: '' };
    const members = ['one', 'two'].map((name) => ({ ...member, name }));
    const identity = await openIdentity({ disk, rng: new SimRng(2) }, '/data', MEMBER, ['two']);
    await saveIdentity(disk, '/data', withAccepted({ ...identity, members }, 'two'));
    const { starts } = await openIdentity({ disk, rng: new SimRng(3) }, '/data', MEMBER, ['tow']);
    expect(starts).toMatchObject([{ acceptor: 'two', accepted: latestToken(shownBy(identity)) }]);
  });

  it.each([
    [ONE, MEMBER, 'belongs to shard node "one", this node is metadata member "one"'],
    [MEMBER, ONE, 'belongs to metadata member "one", this node is shard node "one"'],
    [ONE, { ...MEMBER, name: 'two' }, 'belongs to shard node "one", this node is metadata member "two"'],
    [ONE, { ...ONE, name: 'two' }, 'belongs to node "one", this node is "two"'],
  ])('of %j is not that of %j, whose start leaves it as it was', async (owner, other, sentence) => {
    const medium = new SimDisk(new SimRng(1));
    const disk = medium.attach();
    await openIdentity({ disk, rng: new SimRng(2) }, '/data', owner, ['meta']);
    const before = medium.peek('/data/node.json');
    await expect(openIdentity({ disk, rng: new SimRng(3) }, '/data', other, [])).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining(sentence),
    });
    expect(medium.peek('/data/node.json')).toEqual(before);
  });

  it('is not made up beside data that has lost its owner', async () => {
    const medium = await written();
    const disk = medium.attach();
    await disk.makeDirectory('/data/log');
    await writeFileDurably(disk, '/data/log', 'segment', Buffer.of(1));
    await disk.remove('/data/node.json');
    await expect(openIdentity({ disk, rng: new SimRng(3) }, '/data', ONE, ['meta'])).rejects.toMatchObject({
      code: 'CORRUPTION',
      message: expect.stringContaining('holds log and no node.json'),
    });
  });
});
