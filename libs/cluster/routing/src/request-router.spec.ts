import { describe, expect, it } from '@jest/globals';
import { storeId, timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { ReadConsistency, STAMP_FIELD } from '@cairn/wire';

import { descriptorOf, errorOf, FakeCluster, key, RouterRig } from './fake-cluster.testing.js';

async function rigOf(ranges = [descriptorOf(1, ['', ''])], bounds = {}): Promise<RouterRig> {
  const rig = new RouterRig(new FakeCluster(ranges), bounds);
  await rig.ready();
  return rig;
}

const receivedBy = (rig: RouterRig): number[] => [1, 2, 3].map((id) => rig.cluster.store(id).received.length);

describe('RequestRouter with a healthy cluster', () => {
  it('sends everything of a turn to the leader and answers each', async () => {
    const rig = await rigOf();
    const put = rig.put('a');
    await rig.run(5);
    const get = rig.get('a');
    await rig.run(5);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    expect(Buffer.from(rig.outcomeOf(get).response?.value ?? []).toString()).toBe('value of a');
    expect([rig.router.openOperations, rig.router.leaderSearches]).toEqual([0, 0]);
    expect(receivedBy(rig)).toEqual([2, 0, 0]);
  });

  it('spreads stale reads over all replicas', async () => {
    const rig = await rigOf();
    for (let at = 0; at < 9; at += 1) {
      rig.get('a', 1_000, (request) => {
        request.consistency = ReadConsistency.stale;
      });
    }
    await rig.run(5);
    expect(receivedBy(rig)).toEqual([3, 3, 3]);
  });

  it('asks for a range it does not know, once for everybody', async () => {
    const rig = new RouterRig(new FakeCluster([descriptorOf(1, ['', ''])]));
    for (let at = 0; at < 50; at += 1) rig.put(`k${at}`);
    await rig.run(50);
    expect(rig.codes()).toEqual(new Array(50).fill('OK'));
    expect(rig.cluster.routesAsked).toBeLessThanOrEqual(2);
  });

  it('says that no range is known when that was the reason', async () => {
    const rig = new RouterRig(new FakeCluster([]));
    const put = rig.put('a', 500);
    await rig.run(600);
    expect(rig.outcomeOf(put).error).toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: expect.stringContaining('while no range was known: too few shard nodes have joined'),
    });
  });

  it('does not hammer a metadata service that knows no such range', async () => {
    const rig = await rigOf([descriptorOf(1, ['', 'm'])]);
    rig.cluster.routesAsked = 0;
    const put = rig.put('z', 2_000);
    await rig.run(2_100);
    expect(rig.outcomeOf(put).error?.code).toBe('DEADLINE_EXCEEDED');
    expect(rig.cluster.routesAsked).toBeLessThan(40);
  });
});

describe('RequestRouter looking for a leader', () => {
  it('follows a hint at once; a write that was only refused is no retry', async () => {
    const rig = await rigOf();
    rig.cluster.lead(1, 3);
    const put = rig.put('a');
    await rig.run(5);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    expect(rig.outcomeOf(put).atMs - put.startedAtMs).toBeLessThanOrEqual(4);
    expect(rig.cluster.store(3).received[0]?.requestId?.isRetry).toBe(false);
    rig.put('b');
    await rig.run(5);
    expect(receivedBy(rig)).toEqual([1, 0, 2]);
  });

  it('leaves the stamp that a client gave its write, and makes newer ones only for its own', async () => {
    const rig = await rigOf();
    const issued = timestamp(100_000 * TIMESTAMP_LOGICAL_STEPS);
    rig.cluster.issued = issued;
    rig.get('a', 1_000, (request) => {
      request.consistency = ReadConsistency.timestamp;
      request.readTimestamp = issued;
    });
    await rig.run(10);
    rig.cluster.lead(1, 3);
    const stampsOf = async (isRetry: boolean): Promise<unknown[]> => {
      rig.put('b', 1_000, (request) => {
        request.requestId = { client: 7, sequence: 1, stamp: timestamp(5), isRetry };
      });
      await rig.run(20);
      return rig.cluster.store(3).received.map(({ requestId }) => [requestId?.stamp, requestId?.isRetry]);
    };
    // Refused by the old leader first, which has it in its log: a retry from then on.
    rig.cluster.intercept = (store) =>
      store === storeId(1)
        ? { error: errorOf('NOT_LEADER', { leaderStoreId: storeId(3), isUnclear: true }) }
        : undefined;
    expect(await stampsOf(false)).toEqual([[5, true]]);
    expect(await stampsOf(true)).toEqual([
      [5, true],
      [5, true],
    ]);
  });

  it('sends a write again with a newer stamp when its own was too old, and tells clients of theirs', async () => {
    const rig = await rigOf();
    const issued = timestamp(100_000 * TIMESTAMP_LOGICAL_STEPS);
    rig.cluster.intercept = (_store, request) => {
      if ((request.requestId?.stamp ?? 0) >= issued) return undefined;
      rig.cluster.issued = issued;
      return { error: errorOf('UNAVAILABLE', { field: STAMP_FIELD }) };
    };
    const own = rig.put('a');
    await rig.run(50);
    expect(rig.outcomeOf(own).error).toBeUndefined();
    const [first, second] = rig.cluster.store(1).received.map(({ requestId }) => requestId);
    expect(first?.stamp).toBeLessThan(issued);
    expect(second).toEqual({ ...first, stamp: issued });
    const foreign = rig.put('a', 1_000, (request) => {
      request.requestId = { client: 7, sequence: 1, stamp: timestamp(5), isRetry: false };
    });
    await rig.run(50);
    expect(rig.outcomeOf(foreign).error).toMatchObject({
      code: 'UNAVAILABLE',
      details: { field: STAMP_FIELD },
    });
  });

  it('never applies twice what a deposed leader applied and refused', async () => {
    const rig = await rigOf();
    rig.cluster.intercept = (store) => {
      if (store !== storeId(1)) return undefined;
      return {
        error: errorOf('NOT_LEADER', { leaderStoreId: storeId(2) }),
        applied: rig.cluster.range(1).leader === 1,
      };
    };
    const put = rig.put('a');
    await rig.run(2);
    rig.cluster.lead(1, 2);
    await rig.run(50);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    expect([...rig.cluster.applied.values()]).toEqual([1]);
  });

  it('never says of a write that was only refused that its outcome is unknown', async () => {
    const rig = await rigOf();
    rig.cluster.lead(1, 0);
    const puts = [rig.put('a', 300), rig.put('b', 300)];
    await rig.run(400);
    expect(puts.map((put) => rig.outcomeOf(put).error?.code)).toEqual([
      'DEADLINE_EXCEEDED',
      'DEADLINE_EXCEEDED',
    ]);
  });

  it('lets all who wait follow when the metadata service named the leader first', async () => {
    const rig = await rigOf();
    rig.cluster.lead(1, 0);
    for (let at = 0; at < 100; at += 1) rig.put(`k${at}`);
    await rig.run(50);
    expect(rig.router.leaderSearches).toBe(1);
    rig.cluster.lead(1, 2);
    await rig.cluster.scheduler.settle(rig.router.prefetch());
    // A search looks again within 24 ms; then two round trips are enough for everybody.
    await rig.run(40);
    expect(rig.codes()).toEqual(new Array(100).fill('OK'));
  });

  it('sends one probe and parks the rest; all follow when it found the leader', async () => {
    const rig = await rigOf();
    rig.cluster.lead(1, 0);
    rig.put('a');
    await rig.run(5);
    for (let at = 0; at < 100; at += 1) rig.put(`k${at}`);
    const before = receivedBy(rig).reduce((sum, each) => sum + each, 0);
    await rig.run(100);
    const polls = receivedBy(rig).reduce((sum, each) => sum + each, 0) - before;
    expect(polls).toBeLessThan(20);
    expect(rig.router.leaderSearches).toBe(1);
    rig.cluster.lead(1, 2);
    await rig.run(60);
    expect(rig.codes()).toEqual(new Array(101).fill('OK'));
    expect(rig.router.leaderSearches).toBe(0);
  });

  it('goes on looking when a hint names a store that is not connected', async () => {
    const rig = await rigOf();
    rig.cluster.store(3).kill();
    rig.cluster.lead(1, 3);
    const put = rig.put('a');
    await rig.run(60);
    expect(put.state).not.toBe('done');
    rig.cluster.lead(1, 2);
    await rig.run(60);
    expect(rig.outcomeOf(put).error).toBeUndefined();
  });

  it.each(['cancelled', 'timed out', 'failed'] as const)(
    'passes the search on when the probe is %s',
    async (how) => {
      const rig = await rigOf();
      rig.cluster.lead(1, 0);
      const probe = rig.get('a', how === 'timed out' ? 60 : 5_000);
      await rig.run(30);
      const others = [rig.get('b'), rig.get('c'), rig.get('d')];
      expect(others.map(({ state }) => state)).toEqual(['parked', 'parked', 'parked']);
      if (how === 'cancelled') rig.router.cancel(probe);
      if (how === 'failed') {
        rig.cluster.intercept = (_store, request) =>
          Buffer.from(request.key).toString() === 'a' ? { error: errorOf('INTERNAL') } : undefined;
      }
      await rig.run(100);
      expect(probe.state).toBe('done');
      expect(others.map(({ state }) => state === 'done')).toEqual([false, false, false]);
      rig.cluster.lead(1, 3);
      await rig.run(100);
      expect(others.map((each) => rig.outcomeOf(each).error)).toEqual([undefined, undefined, undefined]);
    },
  );

  it('does not strand those who wait when a split moves the probe to another range', async () => {
    const rig = await rigOf();
    rig.cluster.lead(1, 0);
    const probe = rig.get('z');
    await rig.run(20);
    const others = [rig.get('a'), rig.get('y')];
    expect(others.map(({ state }) => state)).toEqual(['parked', 'parked']);
    rig.cluster.split(1, 'm', 2);
    await rig.run(100);
    rig.cluster.lead(2, 2);
    await rig.run(100);
    expect(rig.outcomeOf(probe).error).toBeUndefined();
    rig.cluster.lead(1, 3);
    await rig.run(100);
    expect(rig.codes()).toEqual(['OK', 'OK', 'OK']);
    expect(rig.router.leaderSearches).toBe(0);
  });

  it('ends thousands that wait for a leader who never comes without nesting or repeating itself', async () => {
    const rig = await rigOf();
    rig.cluster.lead(1, 0);
    for (let at = 0; at < 5_000; at += 1) rig.get(`k${at}`, 500);
    await rig.run(700);
    expect(rig.told).toHaveLength(5_000);
    expect(new Set(rig.codes())).toEqual(new Set(['DEADLINE_EXCEEDED']));
    expect([rig.router.openOperations, rig.router.leaderSearches]).toEqual([0, 0]);
  });
});

describe('RequestRouter with changed ranges', () => {
  it('takes the descriptor from EPOCH_MISMATCH and asks metadata for the other half', async () => {
    const rig = await rigOf();
    rig.cluster.split(1, 'm', 2);
    const operations = [rig.put('a'), rig.put('z')];
    await rig.run(30);
    expect(operations.map((each) => rig.outcomeOf(each).error)).toEqual([undefined, undefined]);
    expect(rig.router.cache.entries().map(({ rangeId }) => rangeId)).toEqual([1, 2]);
  });

  it('believes the stores over a metadata service that is behind', async () => {
    const rig = await rigOf();
    rig.cluster.freezeMetadata();
    rig.cluster.split(1, 'm', 2);
    const left = rig.put('a');
    await rig.run(50);
    expect(rig.outcomeOf(left).error).toBeUndefined();
    await rig.cluster.scheduler.settle(rig.router.prefetch());
    expect(rig.router.cache.find(key('a'))?.epochVersion).toBe(2);
  });

  it('finds a range that has moved to other stores', async () => {
    const cluster = new FakeCluster([
      descriptorOf(1, ['', '']),
      descriptorOf(9, ['zz', ''], { stores: [4, 5, 6] }),
    ]);
    cluster.ranges = [{ descriptor: descriptorOf(1, ['', '']), leader: storeId(1) }];
    const rig = new RouterRig(cluster);
    await rig.ready();
    const moved = descriptorOf(1, ['', ''], { confVersion: 9, stores: [4, 5, 6] });
    cluster.ranges = [{ descriptor: moved, leader: storeId(5) }];
    const put = rig.put('a');
    await rig.run(60);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    expect(cluster.store(5).received).toHaveLength(1);
  });
});

describe('RequestRouter losing stores', () => {
  it('sends again what a dead store had, and every write happens once', async () => {
    const rig = await rigOf();
    const puts = Array.from({ length: 20 }, (_, at) => rig.put(`sent${at}`));
    // They arrive and are carried out; the answers never leave.
    await rig.run(1.5);
    const late = Array.from({ length: 5 }, (_, at) => rig.put(`queued${at}`));
    rig.cluster.store(1).kill();
    rig.cluster.lead(1, 2);
    await rig.run(50);
    expect([...puts, ...late].map((each) => rig.outcomeOf(each).error)).toEqual(
      new Array(25).fill(undefined),
    );
    expect([...rig.cluster.applied.values()]).toEqual(new Array(25).fill(1));
    const again = rig.cluster.store(2).received;
    const saidRetry = (name: string): boolean[] =>
      again
        .filter((each) => Buffer.from(each.key).toString().startsWith(name))
        .map((each) => each.requestId?.isRetry === true);
    expect(saidRetry('sent').every(Boolean)).toBe(true);
    expect(saidRetry('queued')).toContain(false);
  });

  it('leaves a store that hangs, and comes back to nobody twice', async () => {
    const rig = await rigOf();
    rig.cluster.store(1).hang();
    const put = rig.put('a', 5_000);
    await rig.run(50);
    rig.cluster.lead(1, 2);
    await rig.run(700);
    expect(put.state).toBe('sent');
    await rig.run(150);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    expect(rig.cluster.store(1).cancelled).toHaveLength(1);
    rig.cluster.store(1).resume();
    await rig.run(20);
    expect(rig.codes()).toEqual(['OK']);
    expect([...rig.cluster.applied.values()]).toEqual([1]);
  });

  it('goes on with the ranges it knows while the metadata service is down', async () => {
    const rig = await rigOf([descriptorOf(1, ['', 'm']), descriptorOf(2, ['m', ''])]);
    rig.cluster.isMetadataDown = true;
    rig.cluster.store(1).kill();
    rig.cluster.lead(1, 2);
    rig.cluster.lead(2, 3);
    const operations = [rig.put('a'), rig.put('x')];
    await rig.run(600_000);
    const later = [rig.put('b'), rig.get('x')];
    await rig.run(100);
    for (const each of [...operations, ...later]) expect(rig.outcomeOf(each).error).toBeUndefined();
  });

  it('connects again to a store that came back', async () => {
    const rig = await rigOf();
    rig.cluster.store(1).kill();
    await rig.run(500);
    expect(rig.router.connectedStores).toBe(2);
    rig.cluster.store(1).restart();
    await rig.run(1_100);
    expect(rig.router.connectedStores).toBe(3);
    const put = rig.put('a');
    await rig.run(20);
    expect(rig.outcomeOf(put).error).toBeUndefined();
  });
});

describe('RequestRouter at its bounds', () => {
  it('refuses operations and bytes beyond its bounds, and recovers', async () => {
    const rig = await rigOf(undefined, { outstandingOpsMax: 3, outstandingBytesMax: 1_000 });
    for (let at = 0; at < 5; at += 1) rig.put(`k${at}`);
    expect(rig.codes()).toEqual(['RESOURCE_EXHAUSTED', 'RESOURCE_EXHAUSTED']);
    expect(rig.told[0]?.error?.retryAfterMs).toBeGreaterThan(0);
    await rig.run(5);
    const large = rig.put('x'.repeat(900));
    expect(rig.outcomeOf(large).error?.code).toBe('RESOURCE_EXHAUSTED');
    expect(rig.router.openOperations).toBe(0);
    rig.put('a');
    await rig.run(5);
    expect(rig.codes().filter((code) => code === 'OK')).toHaveLength(4);
  });

  it('tells when no operation is open', async () => {
    const rig = await rigOf();
    await rig.router.whenIdle();
    rig.put('a');
    const open: number[] = [];
    const idle = [1, 2].map(() => rig.router.whenIdle().then(() => open.push(rig.router.openOperations)));
    rig.router.cancel(rig.put('b'));
    await rig.cluster.scheduler.settle(Promise.all(idle));
    expect([open, rig.codes()]).toEqual([[0, 0], ['OK']]);
  });

  it('lets what one store has no room for wait in the send queue, in order', async () => {
    const rig = await rigOf(undefined, { outstandingOpsPerStoreMax: 2 });
    const puts = Array.from({ length: 7 }, (_, at) => rig.put(`k${at}`));
    expect(rig.codes()).toEqual([]);
    await rig.run(50);
    expect(puts.map((put) => put.state)).toEqual(puts.map(() => 'done'));
    expect(rig.codes()).toEqual(puts.map(() => 'OK'));
  });

  it('refuses who waited in the send queue for too long, and goes on with the others', async () => {
    const rig = await rigOf(undefined, { outstandingOpsPerStoreMax: 2 });
    rig.cluster.store(1).hang();
    const sent = [rig.put('a'), rig.put('b')];
    const late = [rig.put('c'), rig.put('d')];
    await rig.run(150);
    const recent = rig.put('e');
    await rig.run(100);
    expect(late.map((put) => rig.outcomeOf(put).error?.code)).toEqual(late.map(() => 'RESOURCE_EXHAUSTED'));
    expect([...sent, recent].map((put) => put.state)).toEqual(['sent', 'sent', 'queued']);
    expect(rig.router.openOperations).toBe(3);
  });

  it('tries once more what a store refuses for overload, after the time it asks for', async () => {
    const rig = await rigOf();
    rig.cluster.intercept = () => ({ error: errorOf('RESOURCE_EXHAUSTED', { retryAfterMs: 40 }) });
    const put = rig.put('a');
    await rig.run(35);
    expect([put.state, receivedBy(rig)[0]]).toEqual(['waiting', 1]);
    await rig.run(100);
    expect(rig.outcomeOf(put).error?.code).toBe('RESOURCE_EXHAUSTED');
    expect(receivedBy(rig)[0]).toBe(2);
  });

  it('says OUTCOME_UNKNOWN for a sent write past its deadline, DEADLINE_EXCEEDED for everything else', async () => {
    const rig = await rigOf();
    rig.cluster.store(1).hang();
    const sent = rig.put('a', 100);
    const read = rig.get('a', 100);
    await rig.run(150);
    expect(rig.outcomeOf(sent).error?.code).toBe('OUTCOME_UNKNOWN');
    expect(rig.outcomeOf(read).error?.code).toBe('DEADLINE_EXCEEDED');
    expect(rig.cluster.store(1).cancelled).toHaveLength(2);
    for (const id of [1, 2, 3]) rig.cluster.store(id).kill();
    const unsent = rig.put('b', 100);
    await rig.run(150);
    expect(rig.outcomeOf(unsent).error?.code).toBe('DEADLINE_EXCEEDED');
  });

  it('does not believe a refused retry about the sendings before it', async () => {
    const rig = await rigOf();
    let sendings = 0;
    rig.cluster.intercept = () => {
      sendings += 1;
      return sendings === 1
        ? { error: errorOf('NOT_LEADER'), applied: true }
        : { error: errorOf('INVALID_ARGUMENT', { field: 'value' }) };
    };
    const put = rig.put('a', 300);
    await rig.run(400);
    expect(sendings).toBe(2);
    expect(rig.outcomeOf(put).error?.code).toBe('OUTCOME_UNKNOWN');
  });

  it.each(['WRONG_KIND', 'FAILED_PRECONDITION'] as const)(
    'tells of a write that was unclear before what was found: %s',
    async (code) => {
      const rig = await rigOf();
      let sendings = 0;
      rig.cluster.intercept = () => {
        sendings += 1;
        const unclear = { error: errorOf('NOT_LEADER', { isUnclear: true }), applied: false };
        return sendings === 1 ? unclear : { error: errorOf(code) };
      };
      const put = rig.put('a', 300);
      await rig.run(400);
      expect([sendings, rig.outcomeOf(put).error?.code]).toEqual([2, code]);
    },
  );

  it('frees what is cancelled, here and at the shard, and tells nobody', async () => {
    const rig = await rigOf();
    rig.cluster.store(1).hang();
    const sent = rig.put('a');
    await rig.run(3);
    const queued = rig.put('b');
    rig.router.cancel(sent);
    rig.router.cancel(queued);
    rig.router.cancel(queued);
    await rig.run(3);
    expect([rig.router.openOperations, rig.told.length]).toEqual([0, 0]);
    expect(rig.cluster.store(1).cancelled).toEqual([sent.request.sequence]);
    expect(rig.cluster.store(1).received).toHaveLength(1);
  });

  it('tells everybody when it closes: sent writes may have happened', async () => {
    const rig = await rigOf();
    rig.cluster.store(1).hang();
    const sent = rig.put('a');
    await rig.run(3);
    const queued = rig.put('b');
    rig.router.close();
    expect(rig.outcomeOf(sent).error?.code).toBe('OUTCOME_UNKNOWN');
    expect(rig.outcomeOf(queued).error?.code).toBe('UNAVAILABLE');
    expect(rig.outcomeOf(rig.put('c')).error?.code).toBe('UNAVAILABLE');
    expect(rig.router.openOperations).toBe(0);
  });
});

describe('RequestRouter and timestamps from clients', () => {
  const readAt =
    (at: number) =>
    (request: { consistency: ReadConsistency; readTimestamp: ReturnType<typeof timestamp> }): void => {
      request.consistency = ReadConsistency.timestamp;
      request.readTimestamp = timestamp(at);
    };

  it('refuses one that the oracle has not issued, naming the field', async () => {
    const rig = await rigOf();
    const read = rig.get('a', 1_000, readAt(5_000));
    await rig.run(10);
    expect(rig.outcomeOf(read).error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'timestamp' },
    });
    expect(receivedBy(rig)).toEqual([0, 0, 0]);
  });

  it('asks the oracle about one it has not seen, and no more about older ones', async () => {
    const rig = await rigOf();
    rig.get('a', 1_000, readAt(900));
    await rig.run(10);
    rig.get('a', 1_000, readAt(1_000));
    await rig.run(10);
    expect(rig.codes()).toEqual(['OK', 'OK']);
    expect(rig.cluster.timestampsAsked).toBe(1);
  });

  it('says UNAVAILABLE when nobody can tell', async () => {
    const rig = await rigOf();
    rig.cluster.isMetadataDown = true;
    const read = rig.get('a', 5_000, readAt(5_000));
    await rig.run(1_100);
    expect(rig.outcomeOf(read).error?.code).toBe('UNAVAILABLE');
  });

  const stamped =
    (at: number) =>
    (request: Parameters<RouterRig['router']['execute']>[0]): void => {
      request.requestId = { client: 7, sequence: 1, stamp: timestamp(at), isRetry: false };
    };

  it('learns them from a store while the metadata service is down: another router brought them there', async () => {
    const rig = await rigOf();
    rig.cluster.isMetadataDown = true;
    rig.cluster.issued = timestamp(5_000);
    const put = rig.put('a', 5_000, stamped(5_000));
    await rig.run(60);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    expect(rig.router.openOperations).toBe(0);
  });

  it('says of a write that it held back until nobody could tell that it was not applied', async () => {
    const rig = await rigOf();
    rig.cluster.isMetadataDown = true;
    const put = rig.put('a', 20_000, stamped(5_000));
    await rig.run(1_100);
    expect(rig.outcomeOf(put).error?.code).toBe('UNAVAILABLE');
    expect(rig.cluster.applied.size).toBe(0);
    const cancelled = rig.put('a', 20_000, stamped(5_000));
    rig.router.cancel(cancelled);
    await rig.run(3_000);
    expect([rig.router.openOperations, rig.told.length]).toEqual([0, 1]);
  });
});
