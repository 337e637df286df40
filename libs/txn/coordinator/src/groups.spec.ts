import { describe, expect, it } from '@jest/globals';
import { CairnError, rangeId, replicaId, storeId } from '@cairn/base';
import { RangeCache } from '@cairn/routing';
import { SimScheduler } from '@cairn/runtime-sim';

import { groupsOf, inGroups, isOneRange, type GroupLimits, type GroupRules } from './groups.js';
import { key } from './fake-shards.testing.js';

function cacheOf(...edges: readonly string[]): RangeCache {
  const cache = new RangeCache();
  for (const [at, start] of edges.slice(0, -1).entries()) {
    const replicas = [{ replicaId: replicaId(1), storeId: storeId(1), role: 'voter' as const }];
    const [startKey, endKey] = [key(start), key(edges[at + 1] ?? '')];
    const epoch = { version: 1, confVersion: 1 };
    cache.insert({ rangeId: rangeId(at + 1), startKey, endKey, epoch, replicas }, storeId(1));
  }
  return cache;
}

const scheduler = new SimScheduler();

function rulesOf(cache: RangeCache, limits: Partial<GroupLimits> = {}): GroupRules<string> {
  return {
    ...{ cache, clock: scheduler.clockFor('groups') },
    limits: { itemsMax: 100, bytesMax: 1_000, ...limits },
    keyOf: key,
    bytesOf: ({ length }) => length,
  };
}

describe('groups', () => {
  it('are of one range each, and not too large', () => {
    const cache = cacheOf('', 'd', 'h', '');
    const items = ['a', 'e', 'b', 'z', 'f', 'c'];
    expect(groupsOf(items, rulesOf(cache)).groups).toEqual([['a', 'b', 'c'], ['e', 'f'], ['z']]);
    expect(groupsOf(items, rulesOf(cache, { itemsMax: 2 })).groups).toEqual([
      ['a', 'b'],
      ['e', 'f'],
      ['z'],
      ['c'],
    ]);
    expect(groupsOf(['aaa', 'b', 'cc'], rulesOf(cache, { bytesMax: 3 })).groups).toEqual([
      ['aaa'],
      ['b', 'cc'],
    ]);
    expect(isOneRange(items.map(key), cache)).toBe(false);
    expect(isOneRange([key('a'), key('b')], cache)).toBe(true);
  });

  it('have one item each where the range is not known, and few of them at a time', () => {
    const items = Array.from({ length: 20 }, (_, at) => `a${at}`);
    const { groups, later } = groupsOf(items, rulesOf(new RangeCache()));
    expect(groups).toEqual(items.slice(0, 16).map((item) => [item]));
    expect(later).toEqual(items.slice(16));
    expect(isOneRange([key('a')], new RangeCache())).toBe(true);
    expect(isOneRange([key('a'), key('b')], new RangeCache())).toBe(false);
  });

  it('are made anew of what was not done, by what is known then', async () => {
    const caches = [cacheOf('', ''), cacheOf('', 'm', '')];
    const known = new RangeCache();
    const rules = { ...rulesOf(known), cache: { find: (at: Uint8Array) => caches[0]?.find(at) } };
    const sent: string[] = [];
    const done = inGroups(['a', 'b', 'y', 'z'], rules, (group) => {
      sent.push(group.join(''));
      if (caches.length === 1) return Promise.resolve(group.slice(1));
      caches.shift();
      return Promise.resolve(group);
    });
    await scheduler.settle(done);
    expect(sent).toEqual(['abyz', 'ab', 'yz', 'b', 'z']);
  });

  it('end with an error where nothing is ever done', async () => {
    let tries = 0;
    const done = inGroups(['a'], rulesOf(cacheOf('', '')), (group) => {
      tries += 1;
      return Promise.resolve(group);
    });
    await expect(scheduler.settle(done)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(tries).toBe(11);
  });

  it('are sent side by side, some at a time, and end with the first error when none is under way', async () => {
    const edges = Array.from({ length: 50 }, (_, at) => `k${String(at).padStart(2, '0')}`);
    const cache = cacheOf('', ...edges, '');
    let underWay = 0;
    let most = 0;
    let ended = 0;
    const clock = scheduler.clockFor('senders');
    const done = inGroups(edges, rulesOf(cache), async ([item]) => {
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise<void>((resolve) => clock.setTimer(item === 'k03' ? 5 : 10, resolve));
      underWay -= 1;
      ended += 1;
      if (item === 'k03') throw new CairnError('UNAVAILABLE', 'the first');
      if (item === 'k04') throw new CairnError('UNAVAILABLE', 'the second');
      return [];
    });
    await expect(scheduler.settle(done)).rejects.toThrow('the first');
    expect([most, underWay, ended]).toEqual([32, 0, 32]);
  });
});
