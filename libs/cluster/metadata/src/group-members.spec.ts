import { describe, expect, it } from '@jest/globals';
import { noopLogger } from '@cairn/ports';
import { SimDisk, SimRng } from '@cairn/runtime-sim';
import { openIdentity } from '@cairn/store';

import { VirtualClock } from '../test/virtual-clock.js';
import { MemberGate, plannedMembers } from './group-members.js';

describe('the directory of a member that forms its group', () => {
  it('keeps what it has shown to others before', async () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    const owner = { name: 'meta-1', kind: 'metadata' } as const;
    // Under a configuration that misspelt a name.
    await openIdentity({ disk, rng: new SimRng(2) }, '/data', owner, ['mate-2']);
    const identity = await openIdentity({ disk, rng: new SimRng(3) }, '/data', owner, ['meta-2']);
    const members = plannedMembers([
      { name: 'meta-1', address: '10.0.0.1:7100' },
      { name: 'meta-2', address: '10.0.0.2:7100' },
    ]);
    const gate = new MemberGate({
      ...{ disk, identity, members, directory: '/data', clock: new VirtualClock(0), logger: noopLogger },
      newDirectoryOf: '',
      isSettledWithout: () => false,
      askProcess: () => Promise.resolve(undefined),
    });
    await gate.formed(members.map(({ name, storeId }) => ({ name, storeId, incarnation: '', start: '' })));
    const { starts } = await openIdentity({ disk, rng: new SimRng(4) }, '/data', owner, ['meta-2']);
    expect(starts.map(({ acceptor }) => acceptor)).toEqual(['meta-2', 'mate-2']);
  });
});
