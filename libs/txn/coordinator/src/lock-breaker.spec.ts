import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { KvOp } from '@cairn/wire';

import { clusterOf, codeOf, CoordinatorRig } from './rig.testing.js';

/** A cluster with a second router, and a transaction of the first that stops when its locks are there. */
async function withLocks(): Promise<{
  rig: CoordinatorRig;
  other: CoordinatorRig;
  commit: Promise<string>;
}> {
  const rig = await clusterOf();
  const other = await new CoordinatorRig(rig.shards, 'other').ready();
  await rig.settle(rig.commit(await rig.begin(), { a: 'old', z: 'old' }));
  await rig.run(20);
  rig.shards.served.length = 0;
  const start = await rig.begin();
  rig.shards.timestampDelayMs = 500;
  const commit = codeOf(rig.commit(start, { a: 'new', z: 'new' }));
  await rig.run(10);
  expect(rig.shards.rows.locks.size).toBe(2);
  rig.shards.timestampDelayMs = 0;
  return { rig, other, commit };
}

describe('a read that meets the lock of a transaction that is not decided', () => {
  it('passes over it, here and at another router, and a snapshot stays what it is', async () => {
    const { rig, other, commit } = await withLocks();
    const at = await rig.begin();
    for (const each of [rig, other]) {
      expect(await each.settle(each.get('z'))).toBe('old');
      expect(await each.read(['a', 'z'], at)).toEqual(['old', 'old']);
    }
    expect(
      rig.shards.served.filter(({ router }) => router === 'router').map(({ command }) => command?.type),
    ).not.toContain('check');
    expect(await rig.settle(commit)).toBe('OK');
    expect(await other.read(['a', 'z'], at)).toEqual(['old', 'old']);
    expect(await other.read(['a', 'z'])).toEqual(['new', 'new']);
  });

  it('is before it also if the commit timestamp is issued already and on its way', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    rig.shards.timestampAnswerDelayMs = 100;
    const commit = rig.commit(start, { a: 'new', z: 'new' });
    await rig.run(20);
    const at = rig.shards.issue();
    // By an answer of a store the router learns of what the oracle has issued.
    await rig.settle(rig.get('b'));
    expect(await rig.read(['a', 'z'], at)).toEqual([undefined, undefined]);
    rig.shards.timestampAnswerDelayMs = 0;
    expect(await rig.settle(commit)).toBeGreaterThan(at);
    expect(await rig.read(['a', 'z'], at)).toEqual([undefined, undefined]);
  });

  it('asks once for all who ask at a time, and remembers what was decided', async () => {
    const { rig, other, commit } = await withLocks();
    const checks = (): number => rig.commands.filter((type) => type === 'check').length;
    const gets = Array.from({ length: 50 }, () => other.get('z'));
    expect(await rig.settle(Promise.all(gets))).toEqual(new Array(50).fill('old'));
    expect(checks()).toBeLessThanOrEqual(2);
    rig.die();
    await rig.run(4_000);
    expect(await other.settle(Promise.all([other.get('z'), other.get('a')]))).toEqual(['old', 'old']);
    const before = checks();
    expect(await other.settle(Promise.all([other.get('z'), other.get('a')]))).toEqual(['old', 'old']);
    expect(checks()).toBe(before);
    void commit;
  });
});

describe('a read that meets the lock of a transaction that is decided', () => {
  it('sees what was committed, and resolves the lock for all', async () => {
    const { rig, other, commit } = await withLocks();
    // The decision is the last that is heard of the coordinator.
    rig.shards.answer = ({ command }, response) => {
      if (command?.type === 'commit') rig.die();
      return response;
    };
    void commit;
    await rig.run(1_000);
    expect(rig.shards.rows.locks.size).toBe(1);
    const before = timestamp(
      (rig.shards.rows.positions.get(String([...rig.shards.rows.locks.values()][0]?.start))?.ts ?? 0) - 1,
    );
    expect(await other.read(['a', 'z'], before)).toEqual(['old', 'old']);
    expect(rig.shards.rows.locks.size).toBe(1);
    expect(await other.settle(other.get('z'))).toBe('new');
    expect(rig.shards.rows.locks.size).toBe(0);
  });

  it('rolls back what gave no sign of life, and a late step of it finds that', async () => {
    const { rig, other } = await withLocks();
    rig.die();
    await rig.run(4_000);
    expect(await other.read(['a', 'z'])).toEqual(['old', 'old']);
    await rig.run(100);
    expect(rig.shards.rows.locks.size).toBe(0);
  });
});

describe('a write that meets a lock', () => {
  it('waits for a transaction of its own router and is woken at once, in the order of coming', async () => {
    const { rig, commit } = await withLocks();
    const order: string[] = [];
    const puts = ['1', '2', '3'].map((value) => rig.put('z', value).then(() => order.push(value)));
    expect(await rig.settle(commit)).toBe('OK');
    const decidedMs = rig.shards.scheduler.nowMs;
    await rig.settle(Promise.all(puts));
    expect(rig.shards.scheduler.nowMs - decidedMs).toBeLessThan(10);
    expect(order).toEqual(['1', '2', '3']);
    expect(await rig.read(['a', 'z'])).toEqual(['new', '3']);
  });

  it('waits for one of another router, and asks with pauses', async () => {
    const { rig, other, commit } = await withLocks();
    const put = other.put('z', 'after');
    expect(await rig.settle(commit)).toBe('OK');
    await rig.settle(put);
    expect(rig.commands.filter((type) => type === 'check').length).toBeLessThan(20);
    expect(await other.read(['a', 'z'])).toEqual(['new', 'after']);
  });

  it('says that it met a lock when its time is over', async () => {
    const { rig, other } = await withLocks();
    expect(await rig.settle(codeOf(other.put('z', 'never', 200)))).toBe('LOCKED');
    expect(await rig.settle(codeOf(rig.put('a', 'never', 200)))).toBe('LOCKED');
  });

  it('of one that does not live any more goes on as soon as its time is over', async () => {
    const { rig, other } = await withLocks();
    rig.die();
    await rig.settle(other.put('z', 'after'));
    expect(await other.read(['a', 'z'])).toEqual(['old', 'after']);
  });
});

describe('transactions that meet each other', () => {
  it('the younger one dies if it may hold locks, and the older one waits', async () => {
    for (const isSameRouter of [true, false]) {
      const rig = await clusterOf();
      const second = isSameRouter ? rig : await new CoordinatorRig(rig.shards, 'other').ready();
      const [older, younger] = [await rig.begin(), await rig.begin()];
      // Each gets one lock and then meets the other's.
      rig.shards.hold = (_router, request) => {
        const command = request.op === 10 && request.value?.[0] === 1 ? request.value : undefined;
        if (command === undefined) return 0;
        const isOlder = Buffer.from(command).readBigUInt64LE(1) === BigInt(older);
        return isOlder === (request.key[0] === 0x61) ? 0 : 20;
      };
      const outcomes = Promise.all([
        codeOf(rig.commit(older, { a: 'older', z: 'older' })),
        codeOf(second.commit(younger, { a: 'younger', z: 'younger' })),
      ]);
      expect(await rig.settle(outcomes)).toEqual(['OK', 'TRANSACTION_ABORTED']);
      await rig.run(50);
      expect(await rig.read(['a', 'z'])).toEqual(['older', 'older']);
      expect(rig.shards.rows.locks.size).toBe(0);
    }
  });

  it('one that holds nothing may wait for an older one', async () => {
    const { rig, other, commit } = await withLocks();
    const blind = codeOf(other.commit(0, { z: 'blind' }));
    expect(await rig.settle(commit)).toBe('OK');
    expect(await rig.settle(blind)).toBe('OK');
    expect(await other.read(['a', 'z'])).toEqual(['new', 'blind']);
  });

  it('those that validate what the other writes end, and not both with a skew', async () => {
    for (const isSameRouter of [true, false]) {
      const rig = await clusterOf(['g', 'm', 't']);
      const second = isSameRouter ? rig : await new CoordinatorRig(rig.shards, 'other').ready();
      const [one, two] = [await rig.begin(), await rig.begin()];
      const outcomes = await rig.settle(
        Promise.all([
          codeOf(rig.commit(one, { a: '1', h: '1' }, { reads: ['n', 'u'] })),
          codeOf(second.commit(two, { n: '2', u: '2' }, { reads: ['a', 'h'] })),
        ]),
      );
      expect(outcomes).toContain('TRANSACTION_ABORTED');
      await rig.run(50);
      expect(rig.shards.rows.locks.size).toBe(0);
    }
  });
});

describe('a transaction whose primary has no lock yet', () => {
  /** Its other key is locked; the prewrite of the primary comes so much later. */
  async function halfLocked(
    laterMs: number,
  ): Promise<{ rig: CoordinatorRig; other: CoordinatorRig; commit: Promise<string> }> {
    const rig = await clusterOf();
    const other = await new CoordinatorRig(rig.shards, 'other').ready();
    await rig.settle(rig.commit(await rig.begin(), { a: 'old', z: 'old' }));
    await rig.run(20);
    rig.shards.served.length = 0;
    rig.shards.hold = (_router, { key: [first], op, value }) =>
      op === KvOp.txnWrite && value?.[0] === 1 && first === 0x61 ? laterMs : 0;
    const commit = codeOf(rig.commit(await rig.begin(), { a: 'new', z: 'new' }));
    await rig.run(10);
    expect([...rig.shards.rows.locks.keys()]).toEqual(['z']);
    return { rig, other, commit };
  }

  it('is passed over by reads and waited for by writes, and commits', async () => {
    const { rig, other, commit } = await halfLocked(300);
    const at = await rig.begin();
    expect([await other.settle(other.get('z')), ...(await other.read(['z', 'a'], at))]).toEqual([
      ...['old', 'old', 'old'],
    ]);
    const put = other.put('z', 'after');
    expect(await rig.settle(commit)).toBe('OK');
    await rig.settle(put);
    expect(await other.read(['a', 'z'], at)).toEqual(['old', 'old']);
    expect(await other.read(['a', 'z'])).toEqual(['new', 'after']);
    const own = rig.shards.served.filter(({ router }) => router === 'router');
    expect(own.map(({ command }) => command?.type)).toEqual(['prewrite', 'prewrite', 'commit', 'resolve']);
  });

  it('and gets none, because of a conflict, is waited for no longer than it takes to tell', async () => {
    const rig = await clusterOf();
    const other = await new CoordinatorRig(rig.shards, 'other').ready();
    const start = await rig.begin();
    rig.shards.rows.observe(rig.shards.issue());
    await rig.settle(rig.put('a', 'newer'));
    rig.shards.hold = (router, { key: [first], op, value }) =>
      router === 'router' && op === KvOp.txnWrite && value?.[0] === 1 && first === 0x61 ? 20 : 0;
    const commit = codeOf(rig.commit(start, { a: 'new', z: 'new' }));
    await rig.run(10);
    expect([...rig.shards.rows.locks.keys()]).toEqual(['z']);
    const beganMs = rig.shards.scheduler.nowMs;
    await other.settle(other.put('z', 'after'));
    expect(rig.shards.scheduler.nowMs - beganMs).toBeLessThan(200);
    expect(await rig.settle(commit)).toBe('TRANSACTION_ABORTED');
    expect(await other.read(['a', 'z'])).toEqual(['newer', 'after']);
  });

  it('is rolled back by the first who meets its lock when the time of that is over', async () => {
    const { rig, other, commit } = await halfLocked(60_000);
    rig.die();
    await rig.run(2_000);
    expect(await other.settle(other.get('z'))).toBe('old');
    expect(rig.shards.rows.locks.size).toBe(1);
    await rig.run(1_100);
    expect(await other.settle(other.get('z'))).toBe('old');
    await rig.run(50);
    expect(rig.shards.rows.locks.size).toBe(0);
    void commit;
  });
});
