import { timestamp, TIMESTAMP_LOGICAL_STEPS, timestampToUnixMs, type Timestamp } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import { Expectation, KvOp, ReadConsistency, unpackRows } from '@cairn/wire';

import {
  answerOf,
  bytes,
  codeOf,
  descriptorOf,
  KvRig,
  settle,
  type RequestFields,
  type Sent,
} from './kv-rig.testing.js';

const get = (key: string, more: Partial<RequestFields> = {}): RequestFields => ({
  op: KvOp.get,
  key: bytes(key),
  ...more,
});
const valueOf = (sent: Sent): string | undefined => {
  const response = answerOf(sent);
  expect(response.error).toBeUndefined();
  return response.found ? Buffer.from(response.value ?? []).toString('latin1') : undefined;
};
const put = (key: string, value: string): RequestFields => ({
  op: KvOp.put,
  key: bytes(key),
  value: bytes(value),
});

describe('linearizable reads', () => {
  it('are answered in their turn under the lease, from the cache or the engine', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'v');
    const warm = rig.send(get('k'));
    rig.machine.turn(rig.clock.nowMs());
    expect(valueOf(warm)).toBe('v');
    rig.environment.rowCache.clear();
    const cold = rig.send(get('k'));
    const absent = rig.send(get('nothing'));
    await rig.turn();
    expect(valueOf(cold)).toBe('v');
    expect(valueOf(absent)).toBeUndefined();
    expect(rig.replica.readIndexes).toHaveLength(0);
  });

  it('never see a write that is not committed', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'old');
    rig.send(put('k', 'new'));
    await rig.turn();
    const proposed = rig.send(get('k'));
    await rig.turn();
    expect(valueOf(proposed)).toBe('old');
  });

  it.each([true, false])(
    'see what is acknowledged before the engine has it (cached: %s)',
    async (isCached) => {
      const rig = await KvRig.leading();
      await rig.put('k', 'old');
      const first = rig.send(put('k', 'new'));
      const second = rig.send(put('k', 'newer'));
      await rig.turn();
      rig.replica.apply();
      expect([codeOf(first), codeOf(second)]).toEqual([undefined, undefined]);
      if (!isCached) rig.environment.rowCache.clear();
      const found = rig.send(get('k'));
      const other = rig.send(get('other'));
      const scanned = rig.send({ op: KvOp.scan, readTimestamp: timestamp(rig.max + 50) });
      await rig.turn();
      expect(valueOf(found)).toBe('newer');
      expect(valueOf(other)).toBeUndefined();
      // Scans read the engine only, so they wait for it.
      expect(scanned.answers).toHaveLength(0);
      await rig.replica.publish();
      await rig.run();
      expect(answerOf(scanned).rows.count).toBe(1);
      if (!isCached) rig.environment.rowCache.clear();
      expect(await rig.get('k')).toBe('newer');
    },
  );

  it('ask the quorum once per turn without a lease, and read again afterwards', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'old');
    rig.replica.hasLeaseNow = false;
    const first = rig.send(get('k'));
    const second = rig.send(get('other'));
    await rig.turn();
    expect(rig.replica.readIndexes).toHaveLength(1);
    rig.send(put('k', 'new'));
    await rig.turn();
    await rig.replica.commit();
    rig.replica.answerReads(true);
    await settle();
    expect(valueOf(first)).toBe('new');
    expect(valueOf(second)).toBeUndefined();
  });

  it('do not look for a key in a range that gave it away while the quorum was asked', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'v');
    rig.replica.hasLeaseNow = false;
    const kept = rig.send(get('a'));
    const given = rig.send(get('k'));
    const atTimestamp = rig.send(
      get('k', { consistency: ReadConsistency.timestamp, readTimestamp: rig.max }),
    );
    await rig.turn();
    rig.machine.split(descriptorOf('', 'c', 2), [descriptorOf('c', '', 2, 8)]);
    rig.machine.descriptorChanged(descriptorOf('', 'c', 2));
    rig.replica.answerReads(true);
    await settle();
    for (const sent of [kept, given, atTimestamp]) expect(codeOf(sent)).toBe('EPOCH_MISMATCH');
  });

  it('are sent on when the quorum does not confirm', async () => {
    const rig = await KvRig.leading();
    rig.replica.hasLeaseNow = false;
    const warm = rig.send(get('k'));
    await rig.turn();
    rig.replica.leaderStoreId = 3 as typeof rig.replica.leaderStoreId;
    rig.replica.answerReads(false);
    expect(codeOf(warm)).toBe('NOT_LEADER');
    expect(answerOf(warm).error?.leaderStoreId).toBe(3);
  });

  it('do not keep what they read when something newer was published meanwhile', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'old');
    await rig.put('only', 'x');
    rig.environment.rowCache.clear();
    const slow = rig.send(get('k'));
    const absent = rig.send(get('fresh'));
    rig.machine.turn(rig.clock.nowMs());
    // Both look at the engine as it was; the writes are visible before their answers come.
    rig.send(put('k', 'new'));
    rig.send(put('fresh', 'new'));
    rig.machine.turn(rig.clock.nowMs());
    const batch = rig.engine.newBatch();
    rig.machine.committed(rig.replica.log);
    for (const entry of rig.replica.log) rig.machine.apply(entry, batch);
    const last = rig.replica.log.splice(0).at(-1);
    void rig.engine.write(batch);
    if (last !== undefined) rig.machine.published(last.index);
    await settle();
    expect([valueOf(slow), valueOf(absent)]).toEqual(['old', undefined]);
    expect(await rig.get('k')).toBe('new');
    expect(await rig.get('fresh')).toBe('new');
  });
});

describe('snapshot reads', () => {
  it('wait for the writes under way and block later ones at or below their timestamp', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'old');
    rig.send(put('k', 'pending'));
    await rig.turn();
    const at = timestamp(rig.max + 5 * TIMESTAMP_LOGICAL_STEPS);
    const read = rig.send(get('k', { consistency: ReadConsistency.timestamp, readTimestamp: at }));
    await rig.turn();
    expect(read.answers).toHaveLength(0);
    await rig.replica.commit();
    await settle();
    expect(valueOf(read)).toBe('pending');
    const later = await rig.put('k', 'later');
    expect(later.timestamp).toBeGreaterThan(at);
    const again = rig.send(get('k', { consistency: ReadConsistency.timestamp, readTimestamp: at }));
    await rig.turn();
    expect(valueOf(again)).toBe('pending');
  });

  it('give the same answer again when a write of the same turn came before them', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'old');
    const at = timestamp(rig.max + 5 * TIMESTAMP_LOGICAL_STEPS);
    const fields = get('k', { consistency: ReadConsistency.timestamp, readTimestamp: at });
    const write = rig.send(put('k', 'new'));
    const read = rig.send(fields);
    const scan = rig.send({ op: KvOp.scan, key: bytes(''), consistency: 2, readTimestamp: at });
    await rig.run();
    expect(answerOf(write).timestamp).toBeLessThan(at);
    const again = rig.send(fields);
    await rig.turn();
    expect(valueOf(read)).toBe(valueOf(again));
    expect(Buffer.from(unpackRows(answerOf(scan).rows)[0]?.value ?? []).toString()).toBe(valueOf(again));
  });

  it('see expiry as it was at their timestamp', async () => {
    const rig = await KvRig.leading();
    await rig.ask({ ...put('k', 'v'), ttlMs: 100 });
    const alive = rig.max;
    const dead = timestamp(rig.max + 200 * TIMESTAMP_LOGICAL_STEPS);
    const late = rig.send(get('k', { consistency: ReadConsistency.timestamp, readTimestamp: dead }));
    await rig.run();
    const early = rig.send(
      get('k', { consistency: ReadConsistency.timestamp, readTimestamp: timestamp(alive + 1) }),
    );
    await rig.run();
    expect(valueOf(late)).toBeUndefined();
    expect(valueOf(early)).toBe('v');
  });

  it('see a row until its last millisecond is over, and not in the first timestamp of the next', async () => {
    const rig = await KvRig.leading();
    await rig.ask({ ...put('k', 'v'), ttlMs: 100 });
    const endMs = Math.ceil((rig.max + 1) / TIMESTAMP_LOGICAL_STEPS) + 100;
    const end = timestamp(endMs * TIMESTAMP_LOGICAL_STEPS);
    const readAt = async (readTimestamp: Timestamp): Promise<string | undefined> => {
      const read = rig.send(get('k', { consistency: ReadConsistency.timestamp, readTimestamp }));
      await rig.run();
      return valueOf(read);
    };
    expect(await readAt(timestamp(end - 1))).toBe('v');
    expect(await readAt(end)).toBeUndefined();
  });
});

describe('a time to live', () => {
  it('begins when it is written, not when this store heard the time last', async () => {
    const rig = await KvRig.leading();
    await rig.clock.advance(800);
    const startedMs = rig.max / TIMESTAMP_LOGICAL_STEPS + 800;
    await rig.ask({ ...put('k', 'v'), ttlMs: 300 });
    const readAfter = async (ms: number): Promise<string | undefined> => {
      const readTimestamp = timestamp(Math.floor((startedMs + ms) * TIMESTAMP_LOGICAL_STEPS));
      const read = rig.send(get('k', { consistency: ReadConsistency.timestamp, readTimestamp }));
      await rig.run();
      return valueOf(read);
    };
    expect(await readAfter(299)).toBe('v');
    expect(await readAfter(302)).toBeUndefined();
  });

  it('is shown as its end on the wall clock, by reads of a key and by pages, cold, kept and mended', async () => {
    const rig = await KvRig.leading();
    const shown = async (): Promise<readonly number[]> => {
      const read = await rig.ask(get('k'));
      const atNow = { consistency: ReadConsistency.timestamp, readTimestamp: timestamp(rig.max + 1) };
      const scan = rig.send({ op: KvOp.scan, key: bytes('k'), ...atNow });
      await rig.run();
      const page = answerOf(scan);
      return [read.expiresUnixMs, ...unpackRows(page.rows).map((row) => row.expiresUnixMs)];
    };
    for (const ttlMs of [60_000, 90_000, 0]) {
      const { timestamp: at } = await rig.ask({ ...put('k', 'v'), ttlMs });
      await rig.replica.publish();
      const endMs = ttlMs === 0 ? 0 : timestampToUnixMs(at) + ttlMs;
      for (let reads = 0; reads < 3; reads += 1) {
        const pastEndMs = (await shown()).map((expiresUnixMs) => expiresUnixMs - endMs);
        expect(pastEndMs).toHaveLength(2);
        expect(Math.min(...pastEndMs)).toBeGreaterThanOrEqual(0);
        expect(Math.max(...pastEndMs)).toBeLessThanOrEqual(ttlMs === 0 ? 0 : 1);
      }
    }
  });

  it('is replaced by puts and compare-and-sets, kept by increments, changed alone by expire', async () => {
    const rig = await KvRig.leading();
    const expiryAfter = async (request: RequestFields): Promise<number> => {
      expect((await rig.ask(request)).error).toBeUndefined();
      return (await rig.ask(get('k'))).expiresUnixMs;
    };
    const key = bytes('k');
    const expire = (ttlMs: number): RequestFields => ({ op: KvOp.expire, key, ttlMs });
    const first = await expiryAfter({ ...put('k', '1'), ttlMs: 60_000 });
    expect(first).toBeGreaterThan(0);
    expect(await expiryAfter({ op: KvOp.increment, key, delta: '1' })).toBe(first);
    expect(await expiryAfter(put('k', '2'))).toBe(0);
    const second = await expiryAfter(expire(90_000));
    expect(second).toBeGreaterThan(first);
    const compare = { op: KvOp.compareAndSet, key, value: bytes('3'), expectation: Expectation.value };
    expect(await expiryAfter({ ...compare, expected: bytes('2') })).toBe(0);
    expect(await expiryAfter(expire(90_000))).toBeGreaterThan(first);
    expect(await expiryAfter(expire(0))).toBe(0);
    expect(Buffer.from((await rig.ask(get('k'))).value ?? []).toString()).toBe('3');
  });

  const possiblyOver = async (): Promise<KvRig> => {
    const rig = await KvRig.leading();
    await rig.ask({ ...put('k', '7'), ttlMs: 300 });
    await rig.clock.advance(400);
    return rig;
  };

  it('that must be over by now is judged by a fresh timestamp, for reads and for commands', async () => {
    const rig = await possiblyOver();
    rig.oracle.next = rig.max + 200 * TIMESTAMP_LOGICAL_STEPS;
    expect(await rig.get('k')).toBe('7');
    await rig.clock.advance(200);
    rig.oracle.next = rig.max + 200 * TIMESTAMP_LOGICAL_STEPS;
    expect(await rig.get('k')).toBeUndefined();
    const other = await possiblyOver();
    other.oracle.next = other.max + 400 * TIMESTAMP_LOGICAL_STEPS;
    expect((await other.ask({ op: KvOp.increment, key: bytes('k'), delta: '1' })).number).toBe('1');
  });

  it('is judged by what is known where nobody tells the time', async () => {
    const rig = await possiblyOver();
    rig.oracle.isDown = true;
    expect(await rig.get('k')).toBe('7');
    expect((await rig.ask({ op: KvOp.increment, key: bytes('k'), delta: '1' })).number).toBe('8');
  });
});

describe('stale reads', () => {
  it('are served by followers from what they applied, unless a restart made that unsure', async () => {
    const leader = await KvRig.leading();
    await leader.put('k', 'v1');
    const rig = new KvRig();
    rig.replica.isLeader = false;
    rig.replica.isReadyLeader = false;
    await rig.machine.open();
    await rig.replica.follow(leader.replica.history);
    const stale = get('k', { consistency: ReadConsistency.stale });
    const one = rig.send(stale);
    await rig.turn();
    expect(valueOf(one)).toBe('v1');
    await leader.put('k', 'v2');
    await rig.replica.follow(leader.replica.history.slice(-1));
    const two = rig.send(stale);
    const scan = rig.send({ op: KvOp.scan, key: bytes(''), consistency: ReadConsistency.stale });
    await rig.turn();
    expect(valueOf(two)).toBe('v2');
    expect(unpackRows(answerOf(scan).rows).map((row) => Buffer.from(row.value).toString())).toEqual(['v2']);
    rig.replica.staleRefusal = 'it is a learner';
    const unsure = rig.send(stale);
    const linearizable = rig.send(get('k'));
    await rig.turn();
    expect(codeOf(unsure)).toBe('UNAVAILABLE');
    expect(codeOf(linearizable)).toBe('NOT_LEADER');
  });

  it('do not leave an old row in a cache that was empty when a newer one was applied', async () => {
    const leader = await KvRig.leading();
    await leader.put('k', 'old');
    await leader.put('k', 'new');
    const rig = new KvRig();
    rig.replica.isLeader = false;
    rig.replica.isReadyLeader = false;
    await rig.replica.follow(leader.replica.history.slice(0, 1));
    rig.replica.log.push(...leader.replica.history.slice(1));
    rig.replica.apply();
    const between = rig.send(get('k', { consistency: ReadConsistency.stale }));
    await rig.turn();
    expect(valueOf(between)).toBe('old');
    await rig.replica.publish();
    const after = rig.send(get('k', { consistency: ReadConsistency.stale }));
    await rig.turn();
    expect(valueOf(after)).toBe('new');
  });
});

describe('scans', () => {
  const filled = async (): Promise<KvRig> => {
    const rig = await KvRig.leading();
    for (const key of ['a', 'b', 'c', 'd', 'e']) await rig.put(key, key.repeat(10));
    await rig.ask({ op: KvOp.delete, key: bytes('c') });
    return rig;
  };
  const page = async (
    rig: KvRig,
    fields: Partial<RequestFields>,
  ): Promise<[string[], string | undefined]> => {
    const response = await rig.ask({
      op: KvOp.scan,
      key: bytes(''),
      consistency: ReadConsistency.timestamp,
      readTimestamp: timestamp(rig.max + 1),
      ...fields,
    });
    expect(response.error).toBeUndefined();
    const { resumeKey } = response;
    const resume = resumeKey === undefined ? undefined : Buffer.from(resumeKey).toString('latin1');
    return [unpackRows(response.rows).map((row) => Buffer.from(row.key).toString('latin1')), resume];
  };

  it('go forwards and backwards, within their ends', async () => {
    const rig = await filled();
    expect(await page(rig, {})).toEqual([['a', 'b', 'd', 'e'], undefined]);
    expect(await page(rig, { reverse: true })).toEqual([['e', 'd', 'b', 'a'], undefined]);
    expect(await page(rig, { key: bytes('b'), endKey: bytes('e') })).toEqual([['b', 'd'], undefined]);
  });

  it('end a page by rows, bytes or versions looked at, and say where to go on', async () => {
    const rig = await filled();
    expect(await page(rig, { limit: 2 })).toEqual([['a', 'b'], 'b\0']);
    expect(await page(rig, { limit: 2, key: bytes('b\0') })).toEqual([['d', 'e'], 'e\0']);
    expect(await page(rig, { limit: 3, reverse: true })).toEqual([['e', 'd', 'b'], 'b']);
    expect(await page(rig, { pageBytes: 1 })).toEqual([['a'], 'a\0']);
  });

  it('wait for a slot, and are refused when too many wait', async () => {
    const rig = await KvRig.leading({ limits: { scansMax: 1, waitingScansMax: 1 } });
    await rig.put('a', '1');
    const scan: RequestFields = { op: KvOp.scan, key: bytes(''), consistency: ReadConsistency.stale };
    const sent = [rig.send(scan), rig.send(scan), rig.send(scan)];
    await rig.turn();
    expect(sent.map((each) => codeOf(each))).toEqual([undefined, undefined, 'RESOURCE_EXHAUSTED']);
    const later = rig.send(scan);
    await rig.turn();
    expect(answerOf(later).rows.count).toBe(1);
  });

  it.each([true, false])(
    'and reads at a timestamp are never confirmed by a leader that did not see it (page kept: %s)',
    async (isKept) => {
      const rig = await filled();
      const readTimestamp = timestamp(rig.max + 1);
      if (isKept) for (let times = 0; times < 2; times += 1) await page(rig, { readTimestamp });
      const fields = { consistency: ReadConsistency.timestamp, readTimestamp };
      // They wait for a write that is under way, and the leader is deposed meanwhile.
      rig.send(put('z', 'new'));
      const scan = rig.send({ op: KvOp.scan, key: bytes(''), ...fields });
      const found = rig.send(get('a', fields));
      await rig.turn();
      expect([scan.answers, found.answers]).toEqual([[], []]);
      rig.replica.stepDown();
      // The next leader answers, and may write at or below the timestamp afterwards.
      rig.replica.answerReads(true);
      await settle();
      expect([codeOf(scan), codeOf(found)]).toEqual(['NOT_LEADER', 'NOT_LEADER']);
    },
  );

  it('of whatever is applied are refused when a snapshot began while they waited for a slot', async () => {
    let letGo = (): void => undefined;
    const delay = (): Promise<void> => new Promise((resolve) => (letGo = resolve));
    const rig = await KvRig.leading({ limits: { scansMax: 1 } });
    await rig.put('a', '1');
    const slow = rig.environment.scanSlots.run(rig.call({ op: KvOp.scan }).call, delay);
    const scan = rig.send({ op: KvOp.scan, key: bytes(''), consistency: ReadConsistency.stale });
    await rig.turn();
    rig.replica.staleRefusal = 'a snapshot is replacing its state';
    letGo();
    await settle();
    expect([slow, codeOf(scan)]).toEqual([true, 'UNAVAILABLE']);
  });

  it('do not look complete when the range was cut while they waited for the quorum', async () => {
    const rig = await filled();
    rig.replica.hasLeaseNow = false;
    const scan = rig.send({
      op: KvOp.scan,
      key: bytes(''),
      consistency: ReadConsistency.timestamp,
      readTimestamp: rig.max,
    });
    await rig.turn();
    rig.machine.split(descriptorOf('', 'c', 2), [descriptorOf('c', '', 2, 8)]);
    rig.machine.descriptorChanged(descriptorOf('', 'c', 2));
    rig.replica.answerReads(true);
    await settle();
    expect(codeOf(scan)).toBe('EPOCH_MISMATCH');
  });

  it('do not go on at a cut that came while they read: their view is of before', async () => {
    const rig = await KvRig.leading();
    for (const key of ['a', 'b', 'c', 'd']) await rig.put(key, key);
    const scan = rig.send({ op: KvOp.scan, key: bytes('b'), consistency: ReadConsistency.stale });
    rig.machine.turn(rig.clock.nowMs());
    rig.machine.split(descriptorOf('', 'c', 2), [descriptorOf('c', '', 2, 8)]);
    rig.machine.descriptorChanged(descriptorOf('', 'c', 2));
    await settle();
    expect(unpackRows(answerOf(scan).rows).map((row) => Buffer.from(row.value).toString())).toEqual([
      'b',
      'c',
      'd',
    ]);
    expect(answerOf(scan).resumeKey).toBeUndefined();
  });
});
