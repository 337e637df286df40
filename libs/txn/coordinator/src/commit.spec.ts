import { describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';

import { clusterOf, codeOf, CoordinatorRig, writesOf } from './rig.testing.js';
import { key } from './fake-shards.testing.js';

describe('a commit in one range', () => {
  it('is one command, and leaves no lock', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    const commit = await rig.settle(rig.commit(start, { a: '1', b: '2', c: undefined }, { reads: ['d'] }));
    expect(commit).toBeGreaterThan(start);
    expect(rig.commands).toEqual(['execute']);
    expect(await rig.read(['a', 'b', 'c'])).toEqual(['1', '2', undefined]);
    expect(rig.shards.rows.locks.size).toBe(0);
  });

  it('is aborted when somebody wrote what it read, or what it writes, and names the key', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    await rig.read(['d'], start);
    await rig.settle(rig.put('d', 'new'));
    const byRead = rig.commit(start, { a: '1' }, { reads: ['d'] });
    await expect(rig.settle(byRead)).rejects.toMatchObject({
      code: 'TRANSACTION_ABORTED',
      retryClass: 'restart',
      details: { reason: 'conflict', key: '"d"' },
    });
    expect(await codeOf(rig.settle(rig.commit(start, { d: '1' })))).toBe('TRANSACTION_ABORTED');
    expect(
      await codeOf(rig.settle(rig.commit(start, { a: '1' }, { reads: ['d'], isolation: 'snapshot' }))),
    ).toBe('OK');
    expect(await rig.read(['a', 'd'])).toEqual(['1', 'new']);
  });

  it('overwrites whatever is there when it has no start', async () => {
    const rig = await clusterOf();
    await rig.settle(rig.put('a', 'old'));
    expect(await codeOf(rig.settle(rig.commit(0, { a: '1', b: '2' })))).toBe('OK');
    expect(await rig.read(['a', 'b'])).toEqual(['1', '2']);
  });

  it('goes on in two phases when the range was cut meanwhile', async () => {
    const rig = await clusterOf([]);
    rig.shards.split('m');
    const start = await rig.begin();
    await rig.settle(rig.commit(start, { a: '1', z: '2' }));
    expect(await rig.read(['a', 'z'])).toEqual(['1', '2']);
    expect(rig.commands.slice(0, 1)).toEqual(['execute']);
    expect(rig.commands).toContain('commit');
  });
});

describe('a commit over several ranges', () => {
  it('locks, validates, decides at one key and resolves the others behind the answer', async () => {
    const rig = await clusterOf(['m', 't']);
    const start = await rig.begin();
    const commit = await rig.settle(rig.commit(start, { a: '1', b: '2', n: '3' }, { reads: ['x', 'a'] }));
    await rig.run(20);
    expect(rig.commands).toEqual(['prewrite', 'prewrite', 'validate', 'validate', 'commit', 'resolve']);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(await rig.read(['a', 'b', 'n'], commit)).toEqual(['1', '2', '3']);
    expect(await rig.read(['a', 'b', 'n'], timestamp(commit - 1))).toEqual([undefined, undefined, undefined]);
    expect(rig.coordinator.oldestStart).toBe(0);
  });

  it('does not validate at SNAPSHOT, nor without reads', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    await rig.settle(rig.put('x', 'new'));
    await rig.settle(rig.commit(start, { a: '1', z: '2' }, { reads: ['x'], isolation: 'snapshot' }));
    expect(rig.commands).not.toContain('validate');
  });

  it('is nothing at all without writes', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    expect(await rig.settle(rig.commit(start, {}, { reads: ['a', 'z'] }))).toBe(start);
    expect(rig.commands).toEqual([]);
  });

  it('leaves nothing when it is in conflict with a write or a read', async () => {
    const rig = await clusterOf();
    const [start, later] = [await rig.begin(), await rig.begin()];
    await rig.read(['z'], later);
    await rig.settle(rig.put('z', 'new'));
    expect(await codeOf(rig.settle(rig.commit(start, { a: '1', z: '2' })))).toBe('TRANSACTION_ABORTED');
    expect(await codeOf(rig.settle(rig.commit(later, { a: '1', y: '2' }, { reads: ['z'] })))).toBe(
      'TRANSACTION_ABORTED',
    );
    await rig.run(20);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(await rig.read(['a', 'y', 'z'])).toEqual([undefined, undefined, 'new']);
  });

  it('sees that a span it scanned has got a row, in a range that it does not write', async () => {
    const rig = await clusterOf(['g', 'm', 't']);
    const starts = [await rig.begin(), await rig.begin(), await rig.begin()];
    const commitWith = (span: readonly [string, string]): Promise<string> =>
      codeOf(
        rig.settle(
          rig.coordinator.commit(
            {
              ...{ start: starts.pop() ?? timestamp(0), isolation: 'serializable', reads: [] },
              spans: [{ start: key(span[0]), end: key(span[1]) }],
              writes: writesOf({ a: String(span) }),
            },
            rig.times(),
          ),
        ),
      );
    await rig.read(['p'], starts[2]);
    await rig.settle(rig.put('p', 'new'));
    expect(await commitWith(['', ''])).toBe('TRANSACTION_ABORTED');
    expect(await commitWith(['b', 'q'])).toBe('TRANSACTION_ABORTED');
    expect(await commitWith(['b', 'p'])).toBe('OK');
  });

  it('begins later by itself when it has read nothing and met a newer write', async () => {
    const rig = await clusterOf();
    let puts = 0;
    rig.shards.hold = (_router, request) => {
      if (request.op !== 10 || puts > 0) return 0;
      puts += 1;
      void rig.put('a', 'between');
      return 20;
    };
    expect(await codeOf(rig.settle(rig.commit(0, { a: '1', z: '2' })))).toBe('OK');
    expect(await rig.read(['a', 'z'])).toEqual(['1', '2']);
  });

  it('says that it is too large at the limits, and that a key is written twice', async () => {
    const rig = await new CoordinatorRig((await clusterOf()).shards, 'small', {
      keysMax: 3,
      bytesMax: 20,
    }).ready();
    const start = await rig.begin();
    expect(await codeOf(rig.commit(start, { a: '1', z: '2' }, { reads: ['b', 'c'] }))).toBe(
      'TRANSACTION_TOO_LARGE',
    );
    expect(await codeOf(rig.commit(start, { a: 'x'.repeat(20) }))).toBe('TRANSACTION_TOO_LARGE');
    const twice = {
      start,
      isolation: 'snapshot' as const,
      reads: [],
      spans: [],
      writes: [...writesOf({ a: '1' }), ...writesOf({ a: '2' })],
    };
    expect(await codeOf(rig.coordinator.commit(twice, rig.times()))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(rig.commit(0, { a: '1' }, { reads: ['b'] }))).toBe('INVALID_ARGUMENT');
  });

  it('cuts many keys into several commands, in ranges that nobody has heard of too', async () => {
    const rig = await clusterOf([]);
    rig.shards.split('k2', 'k4', 'k6', 'm');
    const changes = Object.fromEntries(Array.from({ length: 6_000 }, (_, at) => [`k${at}`, String(at)]));
    await rig.settle(rig.commit(await rig.begin(), { ...changes, z: '1' }, { timeoutMs: 60_000 }));
    await rig.run(100);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(rig.shards.rows.versions.size).toBe(6_001);
  });
});

describe('a commit that something comes in the way of', () => {
  it('takes a later timestamp when readers pushed it, and validates again', async () => {
    const rig = await clusterOf();
    const other = await new CoordinatorRig(rig.shards, 'other').ready();
    const start = await rig.begin();
    // The commit command is late; meanwhile a reader of another router comes by.
    rig.shards.hold = (_router, { op, value }) => (op === 10 && value?.[0] === 2 ? 30 : 0);
    const commit = rig.commit(start, { a: '1', z: '2' }, { reads: ['x'] });
    await rig.run(6);
    const at = await rig.begin();
    expect(await other.read(['z'], at)).toEqual([undefined]);
    expect(await rig.settle(commit)).toBeGreaterThan(at);
    expect(await other.read(['a', 'z'], at)).toEqual([undefined, undefined]);
    expect(rig.commands.filter((type) => type === 'validate')).toHaveLength(2);
  });

  it('waits for the oracle where a store is ahead of it, as far as its deadline allows', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    const ahead = timestamp(rig.shards.issue() + 900 * TIMESTAMP_LOGICAL_STEPS);
    rig.shards.rows.observe(ahead);
    const writes = { a: '1', z: '2' };
    await expect(rig.settle(rig.commit(start, writes, { timeoutMs: 300 }))).rejects.toMatchObject({
      code: 'TRANSACTION_ABORTED',
      details: { reason: 'unavailable' },
    });
    expect(await rig.settle(rig.commit(await rig.begin(), writes))).toBeGreaterThan(ahead);
    await rig.run(100);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(await rig.read(['a', 'z'])).toEqual(['1', '2']);
  });

  it('is rolled back by others when it gave no sign of life, and says so', async () => {
    const rig = await clusterOf();
    const other = await new CoordinatorRig(rig.shards, 'other').ready();
    const start = await rig.begin();
    rig.shards.hold = (router, { op, value }) =>
      router === 'router' && op === 10 && value?.[0] !== 1 ? 3_500 : 0;
    const commit = codeOf(rig.commit(start, { a: '1', z: '2' }, { timeoutMs: 20_000 }));
    await rig.run(3_200);
    await rig.settle(other.put('z', 'mine'));
    expect(await rig.settle(commit)).toBe('TRANSACTION_ABORTED');
    await rig.run(10_000);
    expect(await other.read(['a', 'z'])).toEqual([undefined, 'mine']);
    expect(rig.shards.rows.locks.size).toBe(0);
  });

  it('keeps its locks by signs of life while it takes long', async () => {
    const rig = await clusterOf();
    const other = await new CoordinatorRig(rig.shards, 'other').ready();
    const start = await rig.begin();
    rig.shards.timestampDelayMs = 9_000;
    const commit = codeOf(rig.commit(start, { a: '1', z: '2' }, { timeoutMs: 30_000 }));
    await rig.run(5_000);
    const put = other.put('z', 'mine', 20_000);
    expect(await rig.settle(commit)).toBe('OK');
    await rig.settle(put);
    rig.shards.timestampDelayMs = 0;
    expect(rig.commands).toContain('heartbeat');
    expect(await other.read(['a', 'z'])).toEqual(['1', 'mine']);
  });

  it('refuses a prewrite that comes after the rollback', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    rig.shards.hold = (_router, { key: at, op, value }) =>
      op === 10 && value?.[0] === 1 && at[0] === 0x7a ? 3_000 : 0;
    expect(await codeOf(rig.settle(rig.commit(start, { a: '1', z: '2' }, { timeoutMs: 100 })))).toBe(
      'DEADLINE_EXCEEDED',
    );
    await rig.run(6_000);
    expect(rig.commands.filter((type) => type === 'prewrite').length).toBeGreaterThanOrEqual(2);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(await rig.read(['a', 'z'])).toEqual([undefined, undefined]);
  });

  it('is not there after its caller gave up before the decision', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    const caller = new AbortController();
    rig.shards.hold = (_router, { op, value }) => (op === 10 && value?.[0] === 1 ? 50 : 0);
    const request = {
      start,
      isolation: 'serializable' as const,
      reads: [],
      spans: [],
      writes: writesOf({ a: '1', z: '2' }),
    };
    const commit = codeOf(rig.coordinator.commit(request, rig.times(5_000, caller.signal)));
    await rig.run(10);
    caller.abort();
    expect(await rig.settle(commit)).toBe('CANCELLED');
    await rig.run(200);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(await rig.read(['a', 'z'])).toEqual([undefined, undefined]);
  });

  it('asks again when the answer to its decision is lost, and knows', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    let lost = 0;
    rig.shards.answer = ({ command }, response) => {
      if (command?.type !== 'commit' || lost > 2) return response;
      lost += 1;
      return undefined;
    };
    expect(await codeOf(rig.settle(rig.commit(start, { a: '1', z: '2' })))).toBe('OK');
    expect(lost).toBe(3);
    expect(await rig.read(['a', 'z'])).toEqual(['1', '2']);
  });

  it('is of unknown outcome when nobody can tell in time, and is carried out or not, whole, soon after', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    let isDown = true;
    rig.shards.answer = ({ command }, response) =>
      command?.type === 'commit' && isDown ? undefined : response;
    expect(await codeOf(rig.settle(rig.commit(start, { a: '1', z: '2' }, { timeoutMs: 300 })))).toBe(
      'OUTCOME_UNKNOWN',
    );
    isDown = false;
    await rig.run(1_000);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(await rig.read(['a', 'z'])).toEqual(['1', '2']);
  });

  it('goes on while ranges are cut between its steps', async () => {
    const rig = await clusterOf(['m']);
    const edges = ['b', 'c', 'n', 'y', 'd', 'o', 'p'];
    rig.shards.answer = ({ request }, response) => {
      const edge = request.op === 10 ? edges.pop() : undefined;
      if (edge !== undefined) rig.shards.split(edge);
      return response;
    };
    const start = await rig.begin();
    const commit = rig.commit(
      start,
      { a: '1', b: '2', c: '3', d: '4', n: '5', y: '6' },
      { reads: ['e', 'q'] },
    );
    await rig.settle(commit);
    await rig.run(100);
    expect(await rig.read(['a', 'b', 'c', 'd', 'n', 'y'])).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(rig.shards.ranges.length).toBeGreaterThan(4);
  });

  it('is aborted when it is sent again while what was refused of it is still being rolled back', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    // The lock at `z` comes late, and so does its end.
    rig.shards.hold = (_router, { key: at, op }) => (op === 10 && at[0] === 0x7a ? 3_000 : 0);
    const first = rig.commit(start, { a: '1', z: '2' }, { timeoutMs: 100 });
    expect(await codeOf(rig.settle(first))).toBe('DEADLINE_EXCEEDED');
    expect(rig.coordinator.oldestStart).toBe(start);
    await expect(rig.settle(rig.commit(start, { a: '1', z: '2' }))).rejects.toMatchObject({
      code: 'TRANSACTION_ABORTED',
      details: { reason: 'rolled-back' },
    });
    await rig.run(8_000);
    expect(rig.coordinator.oldestStart).toBe(0);
    expect(rig.shards.rows.locks.size).toBe(0);
    expect(await rig.read(['a', 'z'])).toEqual([undefined, undefined]);
  });

  it('is refused while it is being committed', async () => {
    const rig = await clusterOf();
    const start = await rig.begin();
    const first = rig.commit(start, { a: '1', z: '2' });
    expect(await codeOf(rig.commit(start, { a: '1', z: '2' }))).toBe('FAILED_PRECONDITION');
    await rig.settle(first);
  });
});

describe('a start that is sent to two routers', () => {
  const outcomeOf = (outcomes: readonly PromiseSettledResult<unknown>[]): string[] =>
    outcomes.map(({ status }) => status);

  it('undoes nothing that the first has committed', async () => {
    const rig = await clusterOf(['m']);
    const other = await new CoordinatorRig(rig.shards, 'other').ready();
    const start = await rig.begin();
    // What the first has left to do comes late.
    rig.shards.hold = (router, { op, value }) =>
      router === 'router' && op === 10 && value?.[0] === 3 ? 2_000 : 0;
    await rig.settle(rig.commit(start, { a: '1', n: '1' }));
    const again = other.commit(start, { a: '1', n: '1' });
    expect(await codeOf(rig.settle(again))).toBe('FAILED_PRECONDITION');
    await rig.run(100);
    expect(await other.read(['a', 'n'])).toEqual(['1', '1']);
  });

  it('ends no router', async () => {
    const rig = await clusterOf(['m', 't']);
    const other = await new CoordinatorRig(rig.shards, 'other').ready();
    const start = await rig.begin();
    const both = Promise.allSettled([
      rig.commit(start, { a: '1', n: '1' }),
      other.commit(start, { a: '2', u: '2' }),
    ]);
    const outcomes = outcomeOf(await rig.settle(both));
    expect(outcomes).toContain('rejected');
    await rig.run(5_000);
  });
});
