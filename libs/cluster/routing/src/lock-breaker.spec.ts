import { describe, expect, it } from '@jest/globals';
import { CairnError, timestamp, type Timestamp } from '@cairn/base';
import { IGNORED_LOCKS_MAX, KvOp, ReadConsistency, type KvRequest, type LockInfo } from '@cairn/wire';

import { AnswersUnderWay } from './answers-under-way.js';
import { descriptorOf, errorOf, FakeCluster, key, RouterRig } from './fake-cluster.testing.js';
import type { HeldOperation, LockBreaker } from './lock-breaker.js';

const lock = (start: number): LockInfo => ({
  ...{ key: key('a'), primary: key('p'), start: timestamp(start), deadline: timestamp(0) },
  owner: timestamp(0),
});

type Clear = (held: HeldOperation, locks: readonly LockInfo[]) => Promise<readonly Timestamp[]>;

/** A cluster where a key is locked as long as the test says so. */
class LockedRig {
  readonly rig: RouterRig;
  locks: LockInfo[] = [lock(3)];
  isLocked = (request: KvRequest): boolean => request.ignoreLocks.length === 0;
  readonly calls: { held: HeldOperation; locks: readonly LockInfo[] }[] = [];

  constructor(clear?: Clear) {
    const cluster = new FakeCluster([descriptorOf(1, ['', ''])]);
    const breaker: LockBreaker = {
      clear: (held, locks) => {
        this.calls.push({ held, locks });
        return (clear as Clear)(held, locks);
      },
    };
    this.rig = new RouterRig(cluster, {}, 'locked', {
      answers: new AnswersUnderWay(),
      ...(clear === undefined ? {} : { lockBreaker: () => breaker }),
    });
    cluster.intercept = (_store, request) =>
      this.isLocked(request) ? { error: errorOf('LOCKED', { locks: this.locks }) } : undefined;
  }

  async ready(): Promise<RouterRig> {
    await this.rig.ready();
    return this.rig;
  }

  get received(): readonly KvRequest[] {
    return this.rig.cluster.store(1).received;
  }
}

describe('an operation that meets locks', () => {
  it('is sent again when they were looked into, a read with what it may pass over', async () => {
    const locked = new LockedRig(() => Promise.resolve([timestamp(3)]));
    const rig = await locked.ready();
    const get = rig.get('a');
    await rig.run(20);
    expect(rig.outcomeOf(get).error).toBeUndefined();
    expect(locked.calls).toEqual([{ held: expect.anything(), locks: [lock(3)] }]);
    expect(locked.received.map(({ ignoreLocks }) => ignoreLocks)).toEqual([[], [3]]);
    expect(get.attempts).toBe(0);
  });

  it('passes over all that it was told of, in ascending order, and not more than a request may name', async () => {
    const found = [[9], [4, 9], Array.from({ length: IGNORED_LOCKS_MAX }, (_, at) => at + 100)];
    const locked = new LockedRig(() => Promise.resolve((found.shift() ?? []).map(timestamp)));
    const rig = await locked.ready();
    locked.isLocked = ({ ignoreLocks }) => ignoreLocks.length < 3;
    const get = rig.get('a');
    await rig.run(50);
    expect(rig.outcomeOf(get).error).toBeUndefined();
    const named = locked.received.map(({ ignoreLocks }) => ignoreLocks);
    expect(named.slice(0, 3)).toEqual([[], [9], [4, 9]]);
    expect(named[3]).toHaveLength(IGNORED_LOCKS_MAX);
    expect(named[3]).not.toContain(9);
  });

  it('is the same write when it is sent again, passes nothing over, and is no retry', async () => {
    const locked = new LockedRig(() => {
      locked.isLocked = () => false;
      return Promise.resolve([timestamp(3)]);
    });
    const rig = await locked.ready();
    const put = rig.put('a');
    await rig.run(20);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    const [first, second] = locked.received;
    expect(second).toMatchObject({ requestId: first?.requestId, ignoreLocks: [] });
    expect(first?.requestId?.isRetry).toBe(false);
  });

  it('ends others that look for a leader: who answers about locks leads', async () => {
    const locked = new LockedRig(() => new Promise(() => undefined));
    const rig = await locked.ready();
    rig.cluster.lead(1, 0);
    locked.isLocked = () => rig.cluster.range(1).leader !== 0;
    rig.get('a');
    rig.get('b');
    await rig.run(20);
    expect(rig.router.leaderSearches).toBe(1);
    rig.cluster.lead(1, 2);
    rig.cluster.intercept = (store, request) =>
      store === 2 && request.ignoreLocks.length === 0
        ? { error: errorOf('LOCKED', { locks: [lock(3)] }) }
        : undefined;
    await rig.run(100);
    expect(rig.router.leaderSearches).toBe(0);
    expect(locked.calls).toHaveLength(2);
  });

  it('ends with what is final, and is sent again after other errors', async () => {
    const errors = [
      new CairnError('UNAVAILABLE', 'nobody can say'),
      new CairnError('OUTCOME_UNKNOWN', 'nobody knows'),
      new CairnError('TRANSACTION_ABORTED', 'it dies'),
    ];
    const locked = new LockedRig(() => Promise.reject(errors.shift() ?? new Error('none left')));
    const rig = await locked.ready();
    const put = rig.put('a');
    await rig.run(200);
    expect(rig.outcomeOf(put).error).toMatchObject({ code: 'TRANSACTION_ABORTED' });
    expect(locked.calls).toHaveLength(3);
  });

  it('is told of the lock when its time is over, and the breaker that nobody waits', async () => {
    const locked = new LockedRig(() => new Promise(() => undefined));
    const rig = await locked.ready();
    const put = rig.put('a', 100);
    await rig.run(50);
    const { held } = locked.calls[0] as (typeof locked.calls)[0];
    expect([put.state, held.isOver, held.deadlineMs]).toEqual(['locked', false, put.deadlineMs]);
    await rig.run(100);
    expect(rig.outcomeOf(put).error).toMatchObject({ code: 'LOCKED', retryClass: 'back-off' });
    expect(held.isOver).toBe(true);
  });

  it('is not sent again after its caller gave up, whatever is found', async () => {
    const looked = Promise.withResolvers<readonly Timestamp[]>();
    const locked = new LockedRig(() => looked.promise);
    const rig = await locked.ready();
    const gets = [rig.get('a'), rig.get('b')];
    await rig.run(20);
    for (const get of gets) rig.router.cancel(get);
    looked.reject(new CairnError('TRANSACTION_ABORTED', 'too late'));
    await rig.run(50);
    expect([locked.received.length, rig.told.length, rig.router.openOperations]).toEqual([2, 0, 0]);
  });

  it('waits for whoever made the locks where nobody looks into them', async () => {
    const locked = new LockedRig();
    const rig = await locked.ready();
    const put = rig.put('a');
    await rig.run(100);
    expect(put.state).not.toBe('done');
    expect(locked.received.length).toBeLessThan(8);
    locked.isLocked = () => false;
    await rig.run(50);
    expect(rig.outcomeOf(put).error).toBeUndefined();
  });
});

describe('commands of transactions from clients', () => {
  it('are held while they name a timestamp that was not issued, and refused when it never was', async () => {
    const locked = new LockedRig(() => Promise.resolve([]));
    const rig = await locked.ready();
    locked.isLocked = () => false;
    for (const op of [KvOp.txnRead, KvOp.txnWrite, KvOp.execute]) {
      const told = rig.get('a', 1_000, (request) => {
        request.op = op;
        request.value = key('a command');
        request.consistency = ReadConsistency.linearizable;
        request.readTimestamp = timestamp(rig.cluster.issued + 1);
      });
      await rig.run(50);
      expect(rig.outcomeOf(told).error).toMatchObject({
        code: 'INVALID_ARGUMENT',
        details: { field: 'timestamp' },
      });
    }
    expect(locked.received).toEqual([]);
  });
});
