import { describe, expect, it } from '@jest/globals';
import { storeId, timestamp, timestampFromUnixMs, type ErrorCode } from '@cairn/base';
import { KvOp, newKvRequest, type KvResponse } from '@cairn/wire';

import { problemOfDescriptor } from './answers.js';
import { descriptorOf, errorOf, FakeCluster, key, RouterRig } from './fake-cluster.testing.js';
import { scanPages } from './spans.js';

async function rigOf(): Promise<RouterRig> {
  const rig = new RouterRig(new FakeCluster([descriptorOf(1, ['', ''])]));
  await rig.ready();
  return rig;
}

/** Store 1 answers so, and then no longer leads. */
function lie(rig: RouterRig, garbled: Partial<KvResponse>): void {
  rig.cluster.garble = (store, response) => {
    if (store !== storeId(1)) return response;
    rig.cluster.lead(1, 2);
    return { ...response, ...garbled };
  };
}

const foreign = 'LOVE_LETTER' as ErrorCode;
const upsideDown = { ...descriptorOf(1, ['', '']), startKey: key('m'), endKey: key('a') };
const NONSENSE: readonly [string, Partial<KvResponse>][] = [
  ['another kind of operation', { op: KvOp.scan }],
  ['an error code that nobody knows', { error: errorOf(foreign) }],
  ['the name of a method as error code', { error: errorOf('toString' as ErrorCode) }],
  ['a range that ends before it begins', { error: errorOf('EPOCH_MISMATCH', { descriptors: [upsideDown] }) }],
  [
    'a range without replicas',
    { error: errorOf('RANGE_NOT_FOUND', { descriptors: [{ ...descriptorOf(1, ['', '']), replicas: [] }] }) },
  ],
];

describe('a store that answers nonsense', () => {
  it.each(NONSENSE)('loses its connection and nothing else: %s', async (_what, garbled) => {
    const rig = await rigOf();
    lie(rig, garbled);
    const put = rig.put('a');
    await rig.run(100);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    expect([...rig.cluster.applied.values()]).toEqual([1]);
    expect(rig.router.cache.find(key('a'))?.descriptor.replicas).toHaveLength(3);
  });

  it('cannot keep a scan at one place for ever', async () => {
    const rig = await rigOf();
    for (const row of ['a', 'b', 'c']) rig.cluster.rows.set(row, row);
    rig.cluster.garble = (store, response) => {
      if (store !== storeId(1)) return response;
      rig.cluster.lead(1, 2);
      return { ...response, resumeKey: key('') };
    };
    const span = {
      ...{ start: key('a'), end: key(''), reverse: false, keysOnly: false, limit: 0 },
      ...{ pageBytes: 1_000, pageTimeoutMs: 1_000, timestamp: timestamp(1) },
    };
    const { clock, scheduler } = rig.cluster;
    const times = { deadlineMs: Infinity, signal: new AbortController().signal, nowMs: () => clock.nowMs() };
    const read = async (): Promise<number> => {
      let rows = 0;
      for await (const page of scanPages(rig.router, span, times)) rows += page.count;
      return rows;
    };
    expect(await scheduler.settle(read())).toBe(3);
  });

  it('does not move the timestamps that are believed here', async () => {
    const rig = await rigOf();
    const { clock } = rig.cluster;
    rig.cluster.issued = timestamp(timestampFromUnixMs(clock.unixMs() + 3_600_000));
    rig.get('a');
    await rig.run(10);
    expect(rig.router.latestTimestamp).toBeLessThan(timestampFromUnixMs(clock.unixMs()));
    expect(rig.codes()).toEqual(['OK']);
  });
});

describe('an answer', () => {
  it('has whole numbers for sums', async () => {
    const rig = await rigOf();
    lie(rig, { number: '1e400' });
    rig.put('n', 1_000, (request) => {
      request.op = KvOp.increment;
      request.delta = '1';
    });
    await rig.run(2);
    expect(rig.router.connectedStores).toBe(2);
  });

  it('has the reply where a command of a transaction was sent', async () => {
    const rig = await rigOf();
    lie(rig, { value: undefined });
    rig.get('a', 1_000, (request) => {
      request.op = KvOp.txnRead;
    });
    await rig.run(2);
    expect(rig.router.connectedStores).toBe(2);
  });

  it('has no more rows than asked for, and a span that goes on ahead', async () => {
    const rig = await rigOf();
    lie(rig, { count: 11 });
    const request = newKvRequest();
    request.op = KvOp.deleteRange;
    request.limit = 10;
    rig.router.execute(request, rig, { tag: 0, timeoutMs: 1_000 });
    await rig.run(2);
    expect(rig.router.connectedStores).toBe(2);
  });

  it('has descriptors with sizes, ids and replicas', () => {
    const good = descriptorOf(1, ['a', 'b']);
    expect(problemOfDescriptor(good)).toBeUndefined();
    const [replica] = good.replicas;
    if (replica === undefined) throw new Error('no replica');
    const bad = [
      { ...good, epoch: { version: 2 ** 60, confVersion: 1 } },
      { ...good, epoch: { version: 1, confVersion: -1 } },
      { ...good, endKey: key('a') },
      { ...good, replicas: new Array(65).fill(replica) },
      { ...good, replicas: [{ ...replica, storeId: storeId(0) }] },
    ];
    for (const each of bad) expect(problemOfDescriptor(each)).toBeDefined();
  });
});
