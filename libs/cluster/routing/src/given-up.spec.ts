/**
 * Goal: a store that hangs or fails holds nobody's places, and is taken back by one answer. Method: a cluster
 * in one object on virtual time; range 1 is led by store 1, range 2 by store 2.
 */
import { describe, expect, it } from '@jest/globals';
import { storeId, timestamp } from '@cairn/base';
import { KvOp, newKvRequest, ReadConsistency } from '@cairn/wire';

import { descriptorOf, FakeCluster, RouterRig } from './fake-cluster.testing.js';

async function rigOf(): Promise<RouterRig> {
  const rig = new RouterRig(new FakeCluster([descriptorOf(1, ['', 'm']), descriptorOf(2, ['m', ''])]));
  rig.cluster.lead(2, 2);
  await rig.ready();
  return rig;
}

async function rigWithHungStore(): Promise<RouterRig> {
  const rig = await rigOf();
  rig.cluster.store(1).hang();
  for (let at = 0; at < 5; at += 1) rig.get(`a${at}`, 2_000);
  await rig.run(900);
  expect(rig.router.givenUpStores).toEqual([1]);
  return rig;
}

describe('a store that hangs', () => {
  it('is given up: what only it could answer is refused at once, and the rest goes on', async () => {
    const rig = await rigWithHungStore();
    await rig.run(100);
    const open = rig.router.openOperations;
    const refused = Array.from({ length: 100 }, (_, at) => rig.put(`b${at}`));
    const others = Array.from({ length: 100 }, (_, at) => rig.put(`x${at}`));
    await rig.run(10);
    for (const put of refused) {
      const { error } = rig.outcomeOf(put);
      expect(error).toMatchObject({ code: 'UNAVAILABLE' });
      expect(error?.retryAfterMs).toBeGreaterThan(0);
    }
    expect(others.map((put) => rig.outcomeOf(put).error)).toEqual(others.map(() => undefined));
    expect(rig.router.openOperations).toBeLessThanOrEqual(open);
    // One goes on looking, so that the next leader is found.
    expect(rig.router.openOperations).toBe(1);
  });

  it('is sent nothing more of what waited for it: that goes to the next leader', async () => {
    const rig = new RouterRig(new FakeCluster([descriptorOf(1, ['', ''])]), {
      outstandingScansPerStoreMax: 32,
    });
    await rig.ready();
    rig.cluster.store(1).hang();
    const scans = Array.from({ length: 200 }, () => {
      const request = newKvRequest();
      request.op = KvOp.scan;
      request.key = Buffer.from('a');
      request.limit = 10;
      request.readTimestamp = timestamp(1_000);
      return rig.router.execute(request, rig, { tag: 0, timeoutMs: 10_000, caller: 'one' });
    });
    await rig.run(500);
    rig.cluster.lead(1, 3);
    await rig.run(5_000);
    expect(rig.router.givenUpStores).toEqual([1]);
    expect(scans.map((scan) => rig.outcomeOf(scan).error)).toEqual(scans.map(() => undefined));
    const sent = rig.cluster.store(1).received.filter(({ op }) => op === KvOp.scan).length;
    expect(sent).toBe(32);
  });

  it('is taken back also when it leads nothing afterwards and nobody asks it', async () => {
    const rig = await rigWithHungStore();
    rig.cluster.lead(1, 3);
    await rig.run(2_000);
    const before = rig.cluster.store(1).received.length;
    await rig.run(10_000);
    expect(rig.router.givenUpStores).toEqual([1]);
    // Asked now and then, no more often than the pauses say.
    expect(rig.cluster.store(1).received.length - before).toBeLessThan(10);
    expect(rig.router.openOperations).toBeLessThanOrEqual(1);
    rig.cluster.store(1).resume();
    await rig.run(5_000);
    expect(rig.router.givenUpStores).toEqual([]);
    expect(rig.router.openOperations).toBe(0);
  });

  it('is asked again at once when it was started anew', async () => {
    const rig = await rigWithHungStore();
    await rig.run(12_000);
    expect(rig.router.givenUpStores).toEqual([1]);
    rig.cluster.store(1).kill();
    rig.cluster.store(1).resume();
    rig.cluster.store(1).restart();
    await rig.run(300);
    expect(rig.router.givenUpStores).toEqual([]);
  });

  it('is taken back by the answer to one probe', async () => {
    const rig = await rigWithHungStore();
    rig.cluster.store(1).resume();
    await rig.run(600);
    expect(rig.router.givenUpStores).toEqual([]);
    const put = rig.put('a');
    await rig.run(5);
    expect(rig.outcomeOf(put).error).toBeUndefined();
  });

  it('gets single probes while it hangs, further and further apart', async () => {
    const rig = await rigWithHungStore();
    const before = rig.cluster.store(1).received.length;
    for (let at = 0; at < 1_000; at += 1) {
      rig.get(`a${at}`, 1_000);
      await rig.run(10);
    }
    expect(rig.cluster.store(1).received.length - before).toBeLessThan(12);
    expect(rig.router.openOperations).toBeLessThan(5);
  });

  it('does not delay the discovery of the next leader', async () => {
    const rig = await rigWithHungStore();
    rig.cluster.lead(1, 3);
    await rig.run(30);
    const put = rig.put('b');
    await rig.run(5);
    expect(rig.outcomeOf(put).error).toBeUndefined();
  });

  it('keeps a write whose fate is not known until it is: no refusal may hide it', async () => {
    const rig = await rigOf();
    rig.cluster.store(1).hang();
    const puts = Array.from({ length: 5 }, (_, at) => rig.put(`a${at}`, 5_000));
    await rig.run(1_200);
    expect(puts.every((put) => put.state !== 'done')).toBe(true);
    rig.cluster.store(1).resume();
    await rig.run(2_000);
    expect(puts.map((put) => rig.outcomeOf(put).error)).toEqual(puts.map(() => undefined));
    expect([...rig.cluster.applied.values()]).toEqual([1, 1, 1, 1, 1]);
  });

  it('is asked for no stale reads, which others can answer', async () => {
    const rig = await rigWithHungStore();
    const before = rig.cluster.store(1).received.length;
    for (let at = 0; at < 30; at += 1) {
      rig.get('x', 1_000, (request) => {
        request.consistency = ReadConsistency.stale;
      });
    }
    await rig.run(10);
    expect(rig.cluster.store(1).received.length - before).toBeLessThanOrEqual(1);
    expect(rig.told.filter(({ error }) => error === undefined).length).toBeGreaterThanOrEqual(29);
  });
});

describe('a store that hangs while callers have little time', () => {
  /** One get every 50 ms that waits for so long. */
  const ask = async (rig: RouterRig, timeoutMs: number, untilMs: number): Promise<void> => {
    for (let atMs = 0; atMs < untilMs; atMs += 50) {
      rig.get('a', timeoutMs);
      await rig.run(50);
    }
  };

  it('is given up as well: what they waited in vain counts together', async () => {
    for (const timeoutMs of [150, 300, 500]) {
      const rig = await rigOf();
      rig.cluster.store(1).hang();
      await ask(rig, timeoutMs, 2_500);
      expect(rig.router.givenUpStores).toEqual([1]);
      rig.cluster.lead(1, 3);
      await rig.run(100);
      const get = rig.get('a', 150);
      await rig.run(100);
      expect(rig.outcomeOf(get).error).toBeUndefined();
    }
  });

  it('is given up also when they take their requests back themselves', async () => {
    const rig = await rigOf();
    rig.cluster.store(1).hang();
    for (let at = 0; at < 10; at += 1) {
      const get = rig.get('a', 10_000);
      await rig.run(300);
      rig.router.cancel(get);
    }
    expect(rig.router.givenUpStores).toEqual([1]);
  });

  it('is not given up because of callers who wait for nothing, nor when it answers others', async () => {
    const rig = await rigOf();
    rig.cluster.latencyMs = 20;
    for (let at = 0; at < 500; at += 1) {
      const get = rig.get('a', 10_000);
      await rig.run(10);
      rig.router.cancel(get);
    }
    expect(rig.router.givenUpStores).toEqual([]);
    rig.cluster.intercept = (_store, request) =>
      Buffer.from(request.key).toString() === 'a' ? 'silent' : undefined;
    for (let atMs = 0; atMs < 5_000; atMs += 100) {
      rig.get('a', 300);
      rig.get('b', 300);
      await rig.run(100);
    }
    expect(rig.router.givenUpStores).toEqual([]);
  });
});

describe('a store that was declared lost', () => {
  const lost = { storeId: storeId(1), address: 'store-1', live: false, lost: true };

  it('is not dialled any more, and what it had goes to the next leader', async () => {
    const rig = await rigOf();
    const store = rig.cluster.store(1);
    store.hang();
    const put = rig.put('a', 5_000);
    await rig.run(10);
    rig.cluster.lead(1, 3);
    rig.cluster.stores.delete(storeId(1));
    rig.router.updateStores([lost]);
    expect(store.links.size).toBe(0);
    await rig.run(2_000);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    await rig.run(20_000);
    expect(store.links.size).toBe(0);
    expect(rig.router.givenUpStores).toEqual([]);
  });

  it('leaves no connection that comes again', async () => {
    const rig = await rigOf();
    let dials = 0;
    const { connect } = rig.cluster.connector;
    Object.assign(rig.cluster.connector, {
      connect: (...given: Parameters<typeof connect>) => {
        if (given[0] === storeId(1)) dials += 1;
        return connect(...given);
      },
    });
    rig.cluster.store(1).kill();
    await rig.run(3_000);
    expect(dials).toBeGreaterThan(0);
    dials = 0;
    rig.cluster.stores.delete(storeId(1));
    rig.router.updateStores([lost]);
    await rig.run(30_000);
    expect(dials).toBe(0);
  });
});

describe('a store that works', () => {
  it('is not given up for one range of it that hangs', async () => {
    const rig = await rigOf();
    rig.cluster.lead(2, 1);
    rig.cluster.intercept = (_store, request) => (request.rangeId === 1 ? 'silent' : undefined);
    for (let at = 0; at < 20; at += 1) rig.get(`a${at}`, 2_000);
    for (let at = 0; at < 100; at += 1) {
      rig.get('x');
      await rig.run(10);
    }
    expect(rig.router.givenUpStores).toEqual([]);
  });

  it('is asked for nothing twice, and not given up, while its large answers come slowly', async () => {
    const rig = await rigOf();
    rig.cluster.store(1).line = { answerBytes: 1024 * 1024, bytesPerMs: 10_000 };
    const others = [2, 3].map((id) => rig.cluster.store(id).received.length);
    for (let at = 0; at < 300; at += 1) rig.get(`a${at}`, 60_000);
    for (let second = 0; second < 40; second += 1) {
      await rig.run(1_000);
      expect(rig.router.givenUpStores).toEqual([]);
    }
    expect(rig.codes()).toEqual(Array(300).fill('OK'));
    expect(rig.cluster.store(1).received).toHaveLength(300);
    expect([2, 3].map((id) => rig.cluster.store(id).received.length)).toEqual(others);
  });

  it('is given up when its large answers come no further', async () => {
    const rig = await rigOf();
    rig.cluster.store(1).line = { answerBytes: 1024 * 1024, bytesPerMs: 1 };
    for (let at = 0; at < 10; at += 1) rig.get(`a${at}`, 60_000);
    await rig.run(2_000);
    expect(rig.router.givenUpStores).toEqual([1]);
  });

  it('is given up while it answers nonsense, and its connections do not flap', async () => {
    const rig = await rigOf();
    rig.cluster.garble = (store, response) =>
      store === storeId(1) ? { ...response, op: KvOp.scan } : response;
    for (let at = 0; at < 200; at += 1) {
      rig.get(`a${at}`, 1_000);
      await rig.run(10);
    }
    expect(rig.cluster.store(1).received.length).toBeLessThan(20);
    expect(rig.router.openOperations).toBeLessThan(5);
  });
});
