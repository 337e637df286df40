/**
 * Goal: reserved keys are one owner's until it has ended; who waits for each other in a circle, over any
 * ranges and routers, is told so at once; and a reservation that was lost costs an abort, never a wrong
 * answer. Method: coordinators before fake shards on virtual time, with the real detector of deadlocks.
 */
import { describe, expect, it } from '@jest/globals';
import { timestamp, type Timestamp } from '@cairn/base';
import { DeadlockDetector } from '@cairn/metadata';
import { LockPolicy, LockStrength } from '@cairn/wire';

import { FakeShards, key } from './fake-shards.testing.js';
import { clusterOf, codeOf, CoordinatorRig, writesOf, type Changes } from './rig.testing.js';
import type { Isolation, Reserved, ReserveRequest } from './types.js';

type Options = Partial<Pick<ReserveRequest, 'lockTimeoutMs' | 'owner' | 'policy' | 'start' | 'strength'>> & {
  readonly timeoutMs?: number;
};

function reserve(rig: CoordinatorRig, names: readonly string[], options: Options = {}): Promise<Reserved> {
  const { timeoutMs, ...rest } = options;
  const request: ReserveRequest = {
    ...{ owner: timestamp(0), strength: LockStrength.exclusive, policy: LockPolicy.wait },
    ...{ keys: names.map(key), start: timestamp(0), ...rest },
  };
  return rig.coordinator.reserve(request, rig.times(timeoutMs ?? 30_000));
}

function commit(
  rig: CoordinatorRig,
  { owner, timestamp: start }: Pick<Reserved, 'owner' | 'timestamp'>,
  changes: Changes,
  more: { readonly reserved?: readonly string[]; readonly isolation?: Isolation } = {},
): Promise<Timestamp> {
  const { isolation = 'serializable', reserved = [] } = more;
  const writes = writesOf(changes);
  const request = { start, isolation, reads: [], spans: [], writes, reserved: reserved.map(key), owner };
  return rig.coordinator.commit(request, rig.times(30_000)).then((outcome) => outcome.commit);
}

/** Routers before the same shards, with one detector of deadlocks. */
async function routers(count: number): Promise<{ shards: FakeShards; rigs: CoordinatorRig[] }> {
  const shards = new FakeShards();
  shards.split('m');
  const detector = new DeadlockDetector();
  const rigs: CoordinatorRig[] = [];
  for (let at = 0; at < count; at += 1) {
    const name = `router-${at}`;
    rigs.push(
      await new CoordinatorRig(
        shards,
        name,
        {},
        {
          reportWaits: (waits) => Promise.resolve(detector.report(name, waits, shards.scheduler.nowMs)),
        },
      ).ready(),
    );
  }
  return { shards, rigs };
}

describe('reserved keys', () => {
  it('are one command for each range, in the order of the keys, and a timestamp behind them', async () => {
    const rig = await clusterOf();
    await rig.settle(rig.put('b', '1'));
    const { owner, rows, timestamp: start } = await rig.settle(reserve(rig, ['z', 'b', 'a']));
    expect(rig.commands).toEqual(['reserve', 'reserve']);
    expect(start).toBeGreaterThan(owner);
    expect(rows.map(({ row }) => row.found)).toEqual([false, true, false]);
    expect(rows[1]?.newest).toBeGreaterThan(0);
    expect(rig.shards.reservations.size).toBe(3);
  });

  it('keep other writers out until the commit, which gives them back, and no reader', async () => {
    const rig = await clusterOf();
    const held = await rig.settle(reserve(rig, ['a', 'b', 'z']));
    const put = rig.put('a', 'other', 20_000);
    await rig.run(3_000);
    expect(await rig.read(['a'])).toEqual([undefined]);
    const at = await rig.settle(commit(rig, held, { a: '1', z: '2' }, { reserved: ['b'] }));
    expect((await rig.settle(put)).error).toBeUndefined();
    expect(await rig.read(['a', 'z'], at)).toEqual(['1', '2']);
    expect(await rig.read(['a'])).toEqual(['other']);
    expect(rig.shards.reservations.size).toBe(0);
  });

  it('are had by one after the other, in the order of asking', async () => {
    const { rigs } = await routers(2);
    const [one, two] = rigs as [CoordinatorRig, CoordinatorRig];
    await one.settle(one.put('n', '0'));
    const order: number[] = [];
    const add = async (rig: CoordinatorRig, index: number): Promise<void> => {
      const held = await reserve(rig, ['n']);
      order.push(index);
      const { rows } = await rig.coordinator.snapshotGet([key('n')], held.timestamp, rig.times());
      const sum = Number(Buffer.from(rows[0]?.value ?? []).toString()) + 1;
      await commit(rig, held, { n: String(sum) });
    };
    const all: Promise<void>[] = [];
    for (let index = 0; index < 20; index += 1) {
      all.push(add(index % 2 === 0 ? one : two, index));
      await one.run(10);
    }
    await one.settle(Promise.all(all));
    expect(await one.read(['n'])).toEqual(['20']);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(one.commands.filter((type) => type === 'prewrite')).toEqual([]);
  });

  it('are shared by those that only share them', async () => {
    const rig = await clusterOf();
    const share = { strength: LockStrength.share };
    const one = await rig.settle(reserve(rig, ['a'], share));
    await rig.settle(reserve(rig, ['a'], { strength: LockStrength.keyShare }));
    const upgrade = reserve(rig, ['a'], { owner: one.owner, lockTimeoutMs: 200 });
    expect(await codeOf(rig.settle(upgrade))).toBe('LOCK_NOT_AVAILABLE');
    expect(rig.shards.reservations.size).toBe(2);
  });

  it('are renewed while the transaction runs, and given back with its caller', async () => {
    const rig = await clusterOf();
    await rig.settle(reserve(rig, ['a', 'z']));
    await rig.run(60_000);
    expect(rig.shards.reservations.size).toBe(2);
    rig.coordinator.releaseAllOf('');
    await rig.run(10);
    expect(rig.shards.reservations.size).toBe(0);
    await rig.run(20_000);
    expect(rig.shards.reservations.size).toBe(0);
  });

  it('are not kept for ever', async () => {
    const rig = await clusterOf();
    await rig.settle(reserve(rig, ['a']));
    await rig.run(3_605_000);
    expect(rig.shards.reservations.size).toBe(0);
  });
});

describe('a key that somebody has', () => {
  it('is not waited for with nowait, and nothing of the call is kept', async () => {
    const rig = await clusterOf();
    await rig.settle(reserve(rig, ['z']));
    const mine = await rig.settle(reserve(rig, ['a']));
    const more = reserve(rig, ['a', 'b', 'z'], { owner: mine.owner, policy: LockPolicy.nowait });
    await expect(rig.settle(more)).rejects.toMatchObject({
      code: 'LOCK_NOT_AVAILABLE',
      retryClass: 'fatal',
      details: { key: '"z"' },
    });
    await rig.run(10);
    expect(rig.shards.reservations.holdersOf(key('a'))).toEqual([mine.owner]);
    expect(rig.shards.reservations.holdersOf(key('b'))).toEqual([]);
  });

  it('is left out with skipLocked', async () => {
    const rig = await clusterOf();
    await rig.settle(reserve(rig, ['b']));
    const { rows } = await rig.settle(reserve(rig, ['a', 'b', 'z'], { policy: LockPolicy.skipLocked }));
    expect(rows.map(({ isReserved }) => isReserved)).toEqual([true, false, true]);
  });

  it('is waited for as long as was said, and no longer', async () => {
    const rig = await clusterOf();
    await rig.settle(reserve(rig, ['z']));
    const begunMs = rig.clock.nowMs();
    expect(await codeOf(rig.settle(reserve(rig, ['a', 'z'], { lockTimeoutMs: 700 })))).toBe(
      'LOCK_NOT_AVAILABLE',
    );
    expect(rig.clock.nowMs() - begunMs).toBeLessThan(800);
    await rig.run(10);
    expect(rig.shards.reservations.holdersOf(key('a'))).toEqual([]);
    const byDeadline = reserve(rig, ['z'], { timeoutMs: 500 });
    expect(await codeOf(rig.settle(byDeadline))).toMatch(/LOCK_NOT_AVAILABLE|DEADLINE_EXCEEDED/);
  });
});

describe('transactions that wait for each other', () => {
  it('over two ranges and two routers end with the younger aborted, and the circle is named', async () => {
    const { rigs, shards } = await routers(2);
    const [one, two] = rigs as [CoordinatorRig, CoordinatorRig];
    const old = await one.settle(reserve(one, ['a']));
    const young = await two.settle(reserve(two, ['z']));
    const begunMs = one.clock.nowMs();
    const first = reserve(one, ['z'], { owner: old.owner, start: old.timestamp });
    const second = reserve(two, ['a'], { owner: young.owner, start: young.timestamp });
    await expect(two.settle(second)).rejects.toMatchObject({
      code: 'TRANSACTION_ABORTED',
      retryClass: 'restart',
      details: { reason: 'deadlock', cycle: [young.owner, old.owner] },
    });
    expect(one.clock.nowMs() - begunMs).toBeLessThan(1_000);
    await one.settle(first);
    expect(shards.reservations.holdersOf(key('z'))).toEqual([old.owner]);
    await one.settle(commit(one, old, { a: '1', z: '1' }));
    // The same owner takes them the next time.
    const again = await two.settle(reserve(two, ['a', 'z'], { owner: young.owner }));
    await two.settle(commit(two, again, { a: '2', z: '2' }));
    expect(await one.read(['a', 'z'])).toEqual(['2', '2']);
  });

  it('also by what one of them commits without having reserved it', async () => {
    const { rigs } = await routers(2);
    const [one, two] = rigs as [CoordinatorRig, CoordinatorRig];
    const old = await one.settle(reserve(one, ['a']));
    const young = await two.settle(reserve(two, ['b']));
    const waits = reserve(one, ['b'], { owner: old.owner, start: old.timestamp });
    const commits = commit(two, young, { a: '2', b: '2' });
    expect(await codeOf(two.settle(commits))).toBe('TRANSACTION_ABORTED');
    await one.settle(waits);
    await one.settle(commit(one, old, { a: '1', b: '1' }));
    expect(await one.read(['a', 'b'])).toEqual(['1', '1']);
  });

  it('where a lock of a commit is part of it: that waits a second at most', async () => {
    const { rigs } = await routers(2);
    const [one, two] = rigs as [CoordinatorRig, CoordinatorRig];
    const held = await one.settle(reserve(one, ['z']));
    const plain = two.commit(await two.begin(), { a: '2', z: '2' }, { timeoutMs: 20_000 });
    await two.run(100);
    const more = reserve(one, ['a'], { owner: held.owner, start: held.timestamp });
    expect(await codeOf(two.settle(plain))).toBe('TRANSACTION_ABORTED');
    await one.settle(more);
  });
});

describe('an attempt that was aborted', () => {
  it('keeps what it has for the next one', async () => {
    const rig = await clusterOf();
    const held = await rig.settle(reserve(rig, ['a']));
    await rig.read(['b'], held.timestamp);
    await rig.settle(rig.put('b', 'new'));
    const request = {
      ...({ start: held.timestamp, isolation: 'serializable', spans: [], owner: held.owner } as const),
      ...{ reads: [key('b')], writes: writesOf({ a: '1' }) },
    };
    expect(await codeOf(rig.settle(rig.coordinator.commit(request, rig.times())))).toBe(
      'TRANSACTION_ABORTED',
    );
    await rig.run(100);
    expect(rig.shards.reservations.holdersOf(key('a'))).toEqual([held.owner]);
    const again = await rig.settle(reserve(rig, ['a'], { owner: held.owner }));
    expect(again.timestamp).toBeGreaterThan(held.timestamp);
    await rig.settle(commit(rig, again, { a: '2' }));
    expect(rig.shards.reservations.size).toBe(0);
  });
});

describe('a reservation that was lost', () => {
  it.each(['serializable', 'snapshot', 'read-committed'] as const)(
    'costs an abort at %s, and never a wrong answer',
    async (isolation) => {
      for (const changes of [{ a: '1' }, { b: '1' }, { b: '1', z: '1' }]) {
        const rig = await clusterOf();
        const held = await rig.settle(reserve(rig, ['a']));
        expect(await rig.read(['a'], held.timestamp)).toEqual([undefined]);
        rig.shards.reservations.lose();
        await rig.settle(rig.put('a', 'other'));
        const outcome = commit(rig, held, changes, { reserved: ['a'], isolation });
        await expect(rig.settle(outcome)).rejects.toMatchObject({
          code: 'TRANSACTION_ABORTED',
          details: { reason: 'conflict', key: '"a"' },
        });
        expect(await rig.read(['a', 'b', 'z'])).toEqual(['other', undefined, undefined]);
      }
    },
  );
});

describe('what cannot be reserved', () => {
  it('is refused: nothing, and for an owner that is somebody else', async () => {
    const rig = await clusterOf();
    expect(await codeOf(reserve(rig, []))).toBe('INVALID_ARGUMENT');
    const others = reserve(rig, ['a']);
    const { owner } = await rig.settle(others);
    const stranger = rig.coordinator.reserve(
      {
        ...{ owner, strength: LockStrength.exclusive, policy: LockPolicy.wait },
        ...{ keys: [key('a')], start: timestamp(0) },
      },
      { ...rig.times(), caller: 'stranger', nowMs: () => rig.clock.nowMs() },
    );
    expect(await codeOf(stranger)).toBe('INVALID_ARGUMENT');
  });
});
