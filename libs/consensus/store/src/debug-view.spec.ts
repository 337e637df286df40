import { rangeId } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';

import { debugText, debugView, DESCRIBED_REPLICAS_MAX } from './debug-view.js';
import { StoresRig } from './stores.testing.js';

describe('the view of a store', () => {
  it('says who leads, how far everybody is and what was heard of the other stores', async () => {
    const rig = await StoresRig.running(3);
    rig.propose(10);
    await rig.run(500);
    const view = debugView(rig.leader.store);
    expect(view).toMatchObject({ storeId: 1, isOver: false, replicaCount: 1, heldCount: 0 });
    const lines = debugText(view).split('\n');
    expect(lines[0]).toMatch(/^store 1 replicas=1 quiescent=[01] staged=0 backlog=0 inbound=0$/);
    expect(lines.filter((line) => line.startsWith('  store '))).toHaveLength(2);
    expect(lines.find((line) => line.startsWith('  store 2'))).toMatch(
      /^ {2}store 2: generation=\d+\/\d+ heard=\d+ answered=\d+ acked=\d+ followers=0 supporters=1 unsupported=0$/,
    );
    expect(lines.find((line) => line.startsWith('  range '))).toMatch(
      /^ {2}range 1 v1\.1 applied=\d+ leader-store=1 ready/,
    );
    expect(
      lines.filter((line) => / 1[23]: replicate match=\d+ next=\d+ told=\d+ supported$/.test(line)),
    ).toHaveLength(2);
  });

  it('is data that JSON carries, and changes nothing', async () => {
    const rig = await StoresRig.running(3);
    const view = debugView(rig.follower.store);
    expect(JSON.parse(JSON.stringify(view))).toEqual(view);
    expect(debugView(rig.follower.store)).toEqual(view);
  });

  it('names a store that is over', async () => {
    const rig = await StoresRig.running(1);
    await rig.scheduler.settle(rig.leader.store.close());
    expect(debugText(debugView(rig.at(1).store))).toMatch(/^store 1 .* over\n/);
  });

  it('describes a bounded number of replicas, those with something to do first', async () => {
    const rig = await StoresRig.open(1);
    const count = DESCRIBED_REPLICAS_MAX + 2;
    for (let at = 1; at <= count; at += 1) {
      const key = (number: number): string => String(number).padStart(5, '0');
      await rig.create(1, { range: rangeId(at), startKey: key(at), endKey: key(at + 1) });
    }
    const view = debugView(rig.at(1).store);
    expect([view.replicaCount, view.replicas.length]).toEqual([count, DESCRIBED_REPLICAS_MAX]);
    expect(debugText(view)).toMatch(/\n {2}\+2 replicas$/);
    const rested = view.replicas.findIndex(({ isQuiescent }) => isQuiescent);
    expect(
      view.replicas.slice(Math.max(rested, 0)).every(({ isQuiescent }) => isQuiescent || rested < 0),
    ).toBe(true);
  });
});
