import { describe, expect, it } from '@jest/globals';
import { storeId } from '@cairn/base';

import { descriptorOf, FakeCluster, RouterRig } from './fake-cluster.testing.js';
import { RouteEntry } from './range-cache.js';
import { reachOf } from './reach.js';

/** Two ranges on stores 1 to 3, and stores 4 to 6 that once held something. */
async function rigAfterReplacements(): Promise<RouterRig> {
  const cluster = new FakeCluster([
    descriptorOf(1, ['', 'm']),
    descriptorOf(2, ['m', ''], { stores: [4, 5, 6] }),
  ]);
  const [first] = cluster.ranges;
  if (first === undefined) throw new Error('no range');
  const second = { ...first, descriptor: descriptorOf(2, ['m', '']) };
  cluster.ranges = [first, second];
  for (const id of [4, 5, 6]) cluster.store(id).kill();
  const rig = new RouterRig(cluster);
  await rig.ready();
  return rig;
}

describe('the reach of a router', () => {
  it('does not count stores that hold no replica, however many are gone', async () => {
    const rig = await rigAfterReplacements();
    expect(rig.router.reach).toEqual({ ranges: 2, reachable: 2 });
    rig.cluster.store(2).kill();
    await rig.run(50);
    expect(rig.router.reach).toEqual({ ranges: 2, reachable: 2 });
    rig.cluster.store(3).kill();
    await rig.run(50);
    expect(rig.router.reach).toEqual({ ranges: 2, reachable: 0 });
  });

  it('learns of a range that moved though nobody uses it', async () => {
    const rig = await rigAfterReplacements();
    for (const id of [4, 5, 6]) rig.cluster.store(id).restart();
    await rig.run(1_100);
    const moved = descriptorOf(1, ['', 'm'], { confVersion: 7, stores: [4, 5, 6] });
    rig.cluster.ranges = rig.cluster.ranges.map((range) =>
      range.descriptor.rangeId === moved.rangeId ? { ...range, descriptor: moved } : range,
    );
    rig.cluster.store(1).kill();
    rig.cluster.store(2).kill();
    await rig.run(50);
    expect(rig.router.reach).toEqual({ ranges: 2, reachable: 0 });
    rig.router.refreshUnreachable();
    await rig.run(50);
    expect(rig.router.reach).toEqual({ ranges: 2, reachable: 1 });
  });

  it('asks about a bounded number of ranges at a time, and in the end about all', async () => {
    const keyOf = (at: number): string => String(at).padStart(4, '0');
    const ranges = Array.from({ length: 300 }, (_, at) =>
      descriptorOf(at + 1, [at === 0 ? '' : keyOf(at), at === 299 ? '' : keyOf(at + 1)]),
    );
    const rig = new RouterRig(new FakeCluster(ranges));
    await rig.ready();
    for (const id of [1, 2, 3]) rig.cluster.store(id).kill();
    await rig.run(50);
    const asked = new Set<string>();
    const { routes } = rig.cluster.gateway;
    const sizes: number[] = [];
    Object.assign(rig.cluster.gateway, {
      routes: (query: Parameters<typeof routes>[0]) => {
        sizes.push(query.keys.length);
        for (const each of query.keys) asked.add(Buffer.from(each).toString());
        return routes(query);
      },
    });
    for (let round = 0; round < 3; round += 1) {
      rig.router.refreshUnreachable();
      await rig.run(50);
    }
    expect(sizes.every((size) => size <= 128)).toBe(true);
    expect(asked.size).toBe(300);
  });

  it('wants both majorities while the members change', () => {
    const entry = new RouteEntry(
      descriptorOf(1, ['', ''], {
        stores: [1, 2, 3, 4, 5],
        roles: ['voter', 'outgoing', 'outgoing', 'incoming', 'learner'],
      }),
      storeId(1),
    );
    const reachable = (...up: number[]): number => reachOf([entry], (store) => up.includes(store)).reachable;
    expect(reachable(1, 2, 4)).toBe(1);
    expect(reachable(1, 2, 3)).toBe(0);
    expect(reachable(1, 4, 5)).toBe(0);
  });
});
