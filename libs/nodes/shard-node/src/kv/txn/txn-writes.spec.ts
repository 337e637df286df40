import { beforeEach, describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import {
  encodeLockRow,
  encodeTransactionRow,
  encodeVersionKey,
  lockKeyOf,
  LockRowOp,
  startOfRecord,
} from '@cairn/mvcc';
import { KvOp, LockOp, ReadConsistency, type TxnWriteCommand } from '@cairn/wire';

import { answerOf, bytes, codeOf, descriptorOf, KvRig, settle } from '../kv-rig.testing.js';
import { checkOf, commitOf, mutationsOf, prewriteOf, putOf, replyOf, TxnRig } from './txn-rig.testing.js';

/*
 * Goal: the steps of a transaction over several ranges (T2, T3, T5 to T9, T12 to T15, T18), alone, repeated
 * in every state, and against others. Method: commands to one range whose log commits when the test says
 * so.
 */

const committed = (commit: Timestamp): object => ({ type: 'committed', commit });
const ROLLED_BACK = { type: 'rolledBack' };
const RESOLVED = { type: 'resolved' };
const STEP = 2 ** 21;

let rig: TxnRig;
beforeEach(async () => {
  rig = await TxnRig.leading();
});

async function locked(changes: Readonly<Record<string, string | undefined>>): Promise<Timestamp> {
  const start = rig.issue();
  expect(await rig.prewrite(start, changes)).toMatchObject({ type: 'prewritten' });
  return start;
}

describe('a transaction', () => {
  it('is there at its commit and not before, whole', async () => {
    await rig.kv.put('a', 'old');
    await rig.kv.put('c', 'goes');
    const start = await locked({ a: '1', b: '2', c: undefined });
    const commit = rig.issue();
    expect(await rig.tell(commitOf(start, commit, 'a', ['b', 'c']))).toEqual(committed(commit));
    expect(await rig.getAt('a', timestamp(commit - 1))).toBe('old');
    expect(await rig.getAt('c', timestamp(commit - 1))).toBe('goes');
    expect([await rig.getAt('a', commit), await rig.getAt('b', commit)]).toEqual(['1', '2']);
    expect([await rig.get('b'), await rig.get('c')]).toEqual(['2', undefined]);
    expect(rig.kv.machine.debugView().locks).toBe(0);
  });

  it('leaves rows that say whose they are, and whatever comes later is above (T3, T19)', async () => {
    const start = await locked({ a: '1' });
    const commit = rig.issue();
    await rig.tell(commitOf(start, commit, 'a'));
    const record = rig.kv.engine.get(encodeVersionKey(bytes('a'), commit, STEP));
    expect(record && startOfRecord(record)).toBe(start);
    const later = await rig.kv.put('a', '2');
    expect(later.timestamp).toBeGreaterThan(commit);
  });

  it('that holds a key without a change leaves it as it was', async () => {
    await rig.kv.put('a', 'old');
    const start = rig.issue();
    const mutations = mutationsOf({ b: '1' });
    const held = { key: bytes('a'), op: LockOp.none, value: bytes(''), ttlMs: 0 };
    const command = { ...prewriteOf(start, { b: '1' }), mutations: [...mutations, held] } as TxnWriteCommand;
    await rig.tell(command);
    expect((await rig.kv.put('a', 'new')).error?.code).toBe('LOCKED');
    const commit = rig.issue();
    await rig.tell(commitOf(start, commit, 'b', ['a']));
    expect(await rig.getAt('a', commit)).toBe('old');
    expect((await rig.kv.put('a', 'new')).error).toBeUndefined();
  });
});

describe('a value with a time to live', () => {
  it('ends so long after the commit', async () => {
    const start = rig.issue();
    const [mutation] = mutationsOf({ a: '1' });
    const mutations = [{ ...(mutation as NonNullable<typeof mutation>), ttlMs: 50 }];
    await rig.tell({ ...prewriteOf(start, { a: '1' }), mutations } as TxnWriteCommand);
    const commit = rig.issue();
    await rig.tell(commitOf(start, commit, 'a'));
    const end = timestamp((Math.ceil(commit / TIMESTAMP_LOGICAL_STEPS) + 50) * TIMESTAMP_LOGICAL_STEPS);
    rig.kv.environment.timestamps.observe(end);
    expect(await rig.getAt('a', timestamp(end - 1))).toBe('1');
    expect(await rig.getAt('a', end)).toBeUndefined();
  });
});

describe('prewrite (T6)', () => {
  it('answers again what it answered, also when its lock is still under way', async () => {
    const start = rig.issue();
    const [one, other] = [rig.write(prewriteOf(start, { a: '1' })), rig.write(prewriteOf(start, { a: '1' }))];
    await rig.kv.turn();
    expect([one.answers, other.answers]).toEqual([[], []]);
    await rig.kv.run();
    expect(replyOf(one)).toEqual(replyOf(other));
    expect(await rig.prewrite(start, { a: '1' })).toEqual(replyOf(one));
    expect(rig.kv.machine.debugView().locks).toBe(1);
  });

  it('locks what is missing when it comes with more keys', async () => {
    const start = await locked({ a: '1' });
    expect(await rig.prewrite(start, { a: '1', b: '2' })).toMatchObject({ type: 'prewritten' });
    expect(rig.kv.machine.debugView().locks).toBe(2);
  });

  it('hears what was decided', async () => {
    const start = await locked({ a: '1' });
    const commit = rig.issue();
    await rig.tell(commitOf(start, commit, 'a'));
    expect(await rig.prewrite(start, { a: '1' })).toEqual(committed(commit));
    const gone = rig.issue();
    expect(await rig.resolve(gone, 0, 'b')).toEqual(RESOLVED);
    expect(await rig.prewrite(gone, { b: '1' })).toEqual(ROLLED_BACK);
  });

  it('waits for a decision that is under way', async () => {
    const start = await locked({ a: '1' });
    const commit = rig.issue();
    rig.write(commitOf(start, commit, 'a'));
    const late = rig.write(prewriteOf(start, { a: '1' }));
    await rig.kv.turn();
    expect(late.answers).toEqual([]);
    await rig.kv.run();
    expect(replyOf(late)).toEqual(committed(commit));
  });

  it('conflicts with whatever was written above its start, also under way, and then locks nothing', async () => {
    const start = rig.issue();
    rig.kv.environment.timestamps.observe(start);
    await rig.kv.put('a', 'newer');
    expect(await rig.prewrite(start, { b: '1', a: '1' })).toMatchObject({
      type: 'conflict',
      key: bytes('a'),
    });
    const other = rig.issue();
    rig.kv.environment.timestamps.observe(other);
    rig.kv.send({ op: KvOp.put, key: bytes('c'), value: bytes('1') });
    const met = rig.write(prewriteOf(other, { c: '1' }));
    await rig.kv.run();
    expect(replyOf(met)).toMatchObject({ type: 'conflict' });
    expect(rig.kv.machine.debugView().locks).toBe(0);
  });

  it('is told of all locks in its way, and locks nothing', async () => {
    const holder = await locked({ a: '1', b: '2' });
    const sent = rig.write(prewriteOf(rig.issue(), { a: '1', b: '1', c: '1' }));
    await rig.kv.run();
    expect(answerOf(sent).error).toMatchObject({
      code: 'LOCKED',
      locks: ['a', 'b'].map((key) => ({ key: bytes(key), primary: bytes('a'), start: holder })),
    });
    expect(rig.kv.machine.debugView().locks).toBe(2);
  });

  it('meets a lock from its evaluation on (T7)', async () => {
    rig.write(prewriteOf(rig.issue(), { a: '1' }));
    const met = rig.write(prewriteOf(rig.issue(), { a: '2' }));
    await rig.kv.turn();
    expect(codeOf(met)).toBe('LOCKED');
  });

  it('is too old below what is remembered (T15)', async () => {
    const start = rig.issue();
    await purgeUpTo(rig.issue());
    expect(await rig.prewrite(start, { a: '1' })).toMatchObject({ type: 'tooOld' });
  });

  it('reads rows and decisions that are cold first', async () => {
    const start = rig.issue();
    await rig.kv.put('a', '1');
    await rig.resolve(rig.issue(), 0, 'b');
    rig.kv.environment.rowCache.clear();
    await rig.kv.replica.lead();
    expect(await rig.prewrite(start, { a: '2', b: '2' })).toMatchObject({ type: 'prewritten' });
  });

  it('of keys elsewhere does nothing', async () => {
    rig = await TxnRig.leading({ descriptor: descriptorOf('a', 'm') });
    expect(await rig.prewrite(rig.issue(), { a: '1', z: '1' })).toEqual({ type: 'regroup' });
    expect(rig.kv.machine.debugView().locks).toBe(0);
  });
});

async function purgeUpTo(safePoint: Timestamp): Promise<string> {
  rig.kv.environment.timestamps.observe(safePoint);
  const purging = rig.kv.machine.purge({
    ...{ keys: [lockKeyOf(bytes('nothing'))], safePoint, bytes: 0 },
    ...{ term: rig.kv.replica.term, version: 1 },
  });
  await rig.kv.run();
  return purging;
}

describe('commit (T3, T8)', () => {
  it('answers again what it answered, also while it is under way', async () => {
    const start = await locked({ a: '1' });
    const commit = rig.issue();
    const [one, other] = [rig.write(commitOf(start, commit, 'a')), rig.write(commitOf(start, commit, 'a'))];
    await rig.kv.turn();
    expect(other.answers).toEqual([]);
    await rig.kv.run();
    expect([replyOf(one), replyOf(other)]).toEqual([committed(commit), committed(commit)]);
    expect(await rig.tell(commitOf(start, rig.issue(), 'a'))).toEqual(committed(commit));
  });

  it('of what was rolled back, or never locked, is refused for good', async () => {
    const start = await locked({ a: '1' });
    await rig.resolve(start, 0, 'a');
    expect(await rig.commit(start, 'a')).toEqual(ROLLED_BACK);
    const never = rig.issue();
    expect(await rig.commit(never, 'b')).toEqual(ROLLED_BACK);
    expect(await rig.prewrite(never, { b: '1' })).toEqual(ROLLED_BACK);
    expect([await rig.get('a'), await rig.get('b')]).toEqual([undefined, undefined]);
  });

  it('is refused at or below what was promised to a reader (T13)', async () => {
    const start = await locked({ a: '1' });
    const [early, read] = [rig.issue(), rig.issue()];
    expect(await rig.check(start, 'a', read)).toMatchObject({ type: 'pending', minCommit: read + 1 });
    expect(await rig.tell(commitOf(start, early, 'a'))).toEqual({ type: 'pushed', minCommit: read + 1 });
    const commit = rig.issue();
    expect(await rig.tell(commitOf(start, commit, 'a'))).toEqual(committed(commit));
  });

  it('is refused at or below the beginning of a later leadership, which knows of no promises (T13)', async () => {
    const start = await locked({ a: '1' });
    const early = rig.issue();
    rig.kv.replica.stepDown();
    await rig.kv.replica.lead();
    const since = rig.kv.machine.debugView().leaderSince;
    expect(await rig.tell(commitOf(start, early, 'a'))).toEqual({ type: 'pushed', minCommit: since + 1 });
    expect(await rig.commit(start, 'a')).toMatchObject({ type: 'committed' });
  });

  it('is refused below what is remembered, and while another key is not locked', async () => {
    const start = await locked({ a: '1' });
    const sent = rig.write(commitOf(start, rig.issue(), 'a', ['b']));
    await rig.kv.run();
    expect(codeOf(sent)).toBe('FAILED_PRECONDITION');
    expect(await rig.get('a', { ignoreLocks: [start] })).toBeUndefined();
  });

  it('is nothing when it is refused by the log, and its lock is as before', async () => {
    const start = await locked({ a: '1' });
    rig.kv.replica.refusal = 'too-many-uncommitted';
    const sent = rig.write(commitOf(start, rig.issue(), 'a'));
    await rig.kv.turn();
    expect(codeOf(sent)).toBe('RESOURCE_EXHAUSTED');
    rig.kv.replica.refusal = undefined;
    expect((await rig.kv.put('a', '2')).error?.code).toBe('LOCKED');
    expect(await rig.commit(start, 'a')).toMatchObject({ type: 'committed' });
  });

  it('that is lost with the leadership is unclear, and its lock is as before', async () => {
    const start = await locked({ a: '1' });
    const sent = rig.write(commitOf(start, rig.issue(), 'a'));
    await rig.kv.turn();
    rig.kv.replica.stepDown();
    expect(answerOf(sent).error).toMatchObject({ code: 'NOT_LEADER', isUnclear: true });
    rig.kv.replica.log.length = 0;
    await rig.kv.replica.lead();
    expect(await rig.check(start, 'a')).toMatchObject({ type: 'pending' });
  });
});

describe('resolve (T8, T9)', () => {
  it('commits secondaries, again and again', async () => {
    const start = rig.issue();
    await rig.prewrite(start, { b: '2', c: '3' }, 'a');
    const commit = rig.issue();
    for (let time = 0; time < 2; time += 1) {
      expect(await rig.resolve(start, commit, 'b', 'c', 'd')).toEqual(RESOLVED);
    }
    expect([await rig.getAt('b', commit), await rig.getAt('c', commit)]).toEqual(['2', '3']);
    expect(await rig.getAt('b', timestamp(commit - 1))).toBeUndefined();
  });

  it('takes a lock away that came after the commit, and leaves what is there', async () => {
    await rig.kv.put('b', 'old');
    rig.kv.environment.timestamps.observe(rig.issue());
    const start = await locked({ a: '1' });
    const commit = rig.issue();
    await rig.tell(commitOf(start, commit, 'a'));
    const held = { key: bytes('b'), op: LockOp.none, value: bytes(''), ttlMs: 0 };
    const late = prewriteOf(start, { b: '1' }, 'a') as Extract<TxnWriteCommand, { type: 'prewrite' }>;
    expect(await rig.tell({ ...late, mutations: [held] })).toMatchObject({ type: 'prewritten' });
    expect(await rig.resolve(start, commit, 'b')).toEqual(RESOLVED);
    expect(await rig.get('b')).toBe('old');
  });

  it('commits no primary', async () => {
    const start = await locked({ a: '1' });
    const sent = rig.write({ type: 'resolve', start, commit: rig.issue(), keys: [bytes('a')] });
    await rig.kv.run();
    expect(codeOf(sent)).toBe('FAILED_PRECONDITION');
  });

  it('rolls back with a mark at every key, also where no lock is, in any order', async () => {
    const start = rig.issue();
    await rig.prewrite(start, { b: '2' }, 'a');
    for (let time = 0; time < 2; time += 1) expect(await rig.resolve(start, 0, 'c', 'b')).toEqual(RESOLVED);
    for (const key of ['b', 'c']) {
      const [engineKey, record] = encodeTransactionRow(bytes(key), start, timestamp(0));
      expect(rig.kv.engine.get(engineKey)).toEqual(record);
      expect(await rig.prewrite(start, { [key]: '1' }, 'a')).toEqual(ROLLED_BACK);
    }
    expect(await rig.get('b')).toBeUndefined();
  });

  it('does not roll back what was committed', async () => {
    const start = await locked({ a: '1' });
    const commit = rig.issue();
    await rig.tell(commitOf(start, commit, 'a'));
    expect(await rig.resolve(start, 0, 'a')).toEqual(committed(commit));
    expect(await rig.get('a')).toBe('1');
  });

  it('leaves locks of others alone', async () => {
    const holder = await locked({ a: '1' });
    const other = rig.issue();
    await rig.resolve(other, 0, 'a');
    await rig.resolve(other, rig.issue(), 'a');
    expect(await rig.commit(holder, 'a')).toMatchObject({ type: 'committed' });
  });

  it('works through more than one entry takes', async () => {
    const start = rig.issue();
    const keys = Array.from({ length: 5_000 }, (_, at) => `k${at}`);
    await rig.prewrite(start, Object.fromEntries(keys.map((key) => [key, 'v'])), 'a');
    expect(rig.kv.machine.debugView().locks).toBe(5_000);
    expect(await rig.resolve(start, 0, ...keys)).toEqual(RESOLVED);
    expect(rig.kv.machine.debugView().locks).toBe(0);
  });
});

describe('check (T8)', () => {
  it('rolls back what has no lock and no record, for good', async () => {
    const start = rig.issue();
    expect(await rig.check(start, 'a')).toEqual(ROLLED_BACK);
    expect(await rig.prewrite(start, { a: '1' })).toEqual(ROLLED_BACK);
  });

  it('leaves one open whose lock is elsewhere for now, until the time of that is over', async () => {
    const start = rig.issue();
    const lockDeadline = timestamp(rig.kv.max + 1_000 * TIMESTAMP_LOGICAL_STEPS);
    const read = rig.issue();
    const pending = { type: 'pending', minCommit: read + 1, deadline: lockDeadline };
    expect(await rig.check(start, 'a', read, lockDeadline)).toEqual(pending);
    // What the reader was promised holds for a lock that comes later.
    expect(await rig.prewrite(start, { a: '1' })).toEqual({ type: 'prewritten', minCommit: read + 1 });
    await rig.resolve(start, 0, 'a');
    expect(await rig.check(start, 'a', 0, lockDeadline)).toEqual(ROLLED_BACK);
    const other = rig.issue();
    rig.kv.oracle.next = lockDeadline;
    await rig.kv.clock.advance(1_000);
    expect(await rig.check(other, 'a', 0, lockDeadline)).toEqual(ROLLED_BACK);
    expect(await rig.prewrite(other, { a: '1' })).toEqual(ROLLED_BACK);
  });

  it('leaves nothing open that is not served any more', async () => {
    const start = rig.issue();
    rig.kv.gcSafePoint = rig.issue();
    const lockDeadline = rig.kv.max + 1_000 * TIMESTAMP_LOGICAL_STEPS;
    expect(await rig.check(start, 'a', 0, lockDeadline)).toEqual(ROLLED_BACK);
  });

  it('tells what was decided', async () => {
    const start = await locked({ a: '1' });
    const commit = rig.issue();
    await rig.tell(commitOf(start, commit, 'a'));
    expect(await rig.check(start, 'a')).toEqual(committed(commit));
    rig.kv.replica.stepDown();
    await rig.kv.replica.lead();
    expect(await rig.check(start, 'a')).toEqual(committed(commit));
  });

  it('rolls back one whose time is over by the oracle, not by a clock', async () => {
    const start = await locked({ a: '1' });
    await rig.kv.clock.advance(60_000);
    // The oracle says that hardly any time has passed.
    expect(await rig.check(start, 'a')).toMatchObject({ type: 'pending' });
    rig.kv.oracle.next += 2_000 * TIMESTAMP_LOGICAL_STEPS;
    await rig.kv.clock.advance(60_000);
    expect(await rig.check(start, 'a')).toEqual(ROLLED_BACK);
    expect(await rig.commit(start, 'a')).toEqual(ROLLED_BACK);
  });

  it('leaves one whose time nobody can tell open', async () => {
    const start = await locked({ a: '1' });
    await rig.kv.clock.advance(60_000);
    rig.kv.oracle.isDown = true;
    expect(await rig.check(start, 'a')).toMatchObject({ type: 'pending' });
  });

  it('promises nothing before its leadership is confirmed', async () => {
    const start = await locked({ a: '1' });
    rig.kv.replica.hasLeaseNow = false;
    const sent = rig.write(checkOf(start, 'a', { pushTo: rig.issue() }));
    await rig.kv.turn();
    expect(sent.answers).toEqual([]);
    rig.kv.replica.answerReads(false);
    expect(codeOf(sent)).toBe('NOT_LEADER');
  });

  it('of what is older than anybody remembers is an end for good, whoever leads next', async () => {
    const start = rig.issue();
    rig.kv.gcSafePoint = rig.issue();
    expect(await rig.check(start, 'a')).toEqual(ROLLED_BACK);
    // On another node, which has not heard how far the cluster is.
    rig.kv.gcSafePoint = timestamp(0);
    await rig.kv.restart([]);
    await rig.kv.replica.lead();
    expect(await rig.prewrite(start, { a: '1' })).toEqual(ROLLED_BACK);
  });
});

describe('heartbeat', () => {
  it('gives the primary more time, and keeps what was promised', async () => {
    const start = await locked({ a: '1' });
    const read = rig.issue();
    await rig.check(start, 'a', read);
    const alive = await rig.tell({ type: 'heartbeat', start, primary: bytes('a'), lockTtlMs: 600_000 });
    expect(alive).toMatchObject({ type: 'pending', minCommit: read + 1 });
    rig.kv.oracle.next += 60_000 * TIMESTAMP_LOGICAL_STEPS;
    await rig.kv.clock.advance(60_000);
    expect(await rig.check(start, 'a')).toMatchObject({ type: 'pending', minCommit: read + 1 });
    expect(rig.kv.machine.debugView().locks).toBe(1);
    expect(await rig.commit(start, 'a')).toMatchObject({ type: 'committed' });
  });

  it('hears what was decided', async () => {
    const start = await locked({ a: '1' });
    await rig.resolve(start, 0, 'a');
    const heartbeat = { type: 'heartbeat', start, primary: bytes('a'), lockTtlMs: 1_000 } as const;
    expect(await rig.tell(heartbeat)).toEqual(ROLLED_BACK);
  });
});

describe('plain operations that meet a lock (T2, T12, T13, T18)', () => {
  const WRITES = [
    { op: KvOp.put, value: bytes('2') },
    { op: KvOp.delete },
    { op: KvOp.increment, delta: '1' },
    { op: KvOp.expire, ttlMs: 1_000 },
    { op: KvOp.compareAndSet, expectation: 1, value: bytes('2') },
  ] as const;

  it('writes are told whose it is, from its evaluation on', async () => {
    const start = rig.issue();
    rig.write(prewriteOf(start, { a: '1' }));
    const sent = WRITES.map((fields) => rig.kv.send({ ...fields, key: bytes('a') }));
    await rig.kv.run();
    for (const one of sent) {
      expect(answerOf(one).error).toMatchObject({ code: 'LOCKED', isUnclear: false });
      const [lock] = answerOf(one).error?.locks ?? [];
      expect(lock).toMatchObject({ key: bytes('a'), primary: bytes('a'), start });
      expect(lock?.deadline).toBeGreaterThan(rig.kv.max);
    }
  });

  it('a retry that was applied before gets its answer', async () => {
    const put = { op: KvOp.put, key: bytes('a'), value: bytes('1') };
    const first = await rig.kv.ask({ ...put, requestId: rig.kv.identity(1) });
    await locked({ a: '2' });
    const again = await rig.kv.ask({ ...put, requestId: rig.kv.identity(1, { isRetry: true }) });
    expect(again.version).toEqual(first.version);
  });

  it('the newest state is stopped by what is logged only, and passes over what it was told to', async () => {
    await rig.kv.put('a', 'old');
    const start = rig.issue();
    rig.write(prewriteOf(start, { a: '1' }));
    const early = rig.kv.send({ op: KvOp.get, key: bytes('a') });
    await rig.kv.turn();
    expect(answerOf(early).value).toEqual(bytes('old'));
    await rig.kv.run();
    expect(await rig.get('a')).toBe('LOCKED');
    expect(await rig.get('a', { ignoreLocks: [timestamp(start - 1), start] })).toBe('old');
    expect(await rig.get('a', { consistency: ReadConsistency.stale })).toBe('old');
  });

  it('the newest state waits for an end that is under way', async () => {
    const start = await locked({ a: '1' });
    rig.write(commitOf(start, rig.issue(), 'a'));
    const sent = rig.kv.send({ op: KvOp.get, key: bytes('a') });
    await rig.kv.turn();
    expect(sent.answers).toEqual([]);
    await rig.kv.run();
    expect(answerOf(sent).value).toEqual(bytes('1'));
  });

  it('a read is stopped at or above the least commit, whatever was promised to others (T13)', async () => {
    const below = rig.issue();
    rig.kv.environment.timestamps.observe(below);
    await rig.kv.put('a', 'old');
    const start = await locked({ a: '1' });
    const above = rig.issue();
    await rig.check(start, 'a', above);
    expect(await rig.getAt('a', start)).toBe('old');
    expect(await rig.getAt('a', above)).toBe('LOCKED');
    expect(await rig.getAt('a', above, { ignoreLocks: [start] })).toBe('old');
  });

  it('scans are stopped in their span, and ranges are deleted around locks', async () => {
    await rig.kv.put('a', '1');
    const start = await locked({ b: '2' });
    const readTimestamp = rig.issue();
    const scan = { op: KvOp.scan, consistency: ReadConsistency.timestamp, readTimestamp } as const;
    const codes = async (key: string, endKey: string): Promise<(string | undefined)[]> => {
      const read = await rig.kv.ask({ ...scan, key: bytes(key), endKey: bytes(endKey) });
      const deleted = await rig.kv.ask({ op: KvOp.deleteRange, key: bytes(key), endKey: bytes(endKey) });
      return [read.error?.code, deleted.error?.code];
    };
    expect(await codes('a', 'b\0')).toEqual(['LOCKED', 'LOCKED']);
    expect(await codes('', '')).toEqual(['LOCKED', 'LOCKED']);
    expect(await codes('b\0', '')).toEqual([undefined, undefined]);
    expect(await codes('a', 'b')).toEqual([undefined, undefined]);
    const passing = await rig.kv.ask({ ...scan, ignoreLocks: [start] });
    expect(passing.error).toBeUndefined();
  });

  it('prewrites wait while a range deletion reads (T18)', async () => {
    await rig.kv.put('a', '1');
    const deleted = rig.kv.send({ op: KvOp.deleteRange, key: bytes('a'), endKey: bytes('b') });
    const start = rig.issue();
    const sent = rig.write(prewriteOf(start, { a: '1' }));
    await rig.kv.run();
    expect(answerOf(deleted).count).toBe(1);
    expect(['conflict', 'prewritten']).toContain(replyOf(sent).type);
  });
});

describe('garbage collection (T15)', () => {
  it('leaves what a transaction with a lock may read', async () => {
    const start = await locked({ a: '1' });
    expect(rig.kv.machine.oldestLockStart).toBe(start);
    expect(await purgeUpTo(rig.issue())).toBe('busy');
    expect(rig.kv.machine.debugView().readableSince).toBe(0);
    await rig.resolve(start, 0, 'a');
    expect(rig.kv.machine.oldestLockStart).toBeUndefined();
    expect(await purgeUpTo(rig.issue())).toBe('logged');
  });
});

describe('locks of a range', () => {
  it('are known to those who follow, and to who leads next', async () => {
    const start = await locked({ a: '1' });
    const follower = new TxnRig(new KvRig());
    follower.kv.replica.stepDown();
    await follower.kv.replica.follow(rig.kv.replica.history);
    expect(follower.kv.machine.debugView().locks).toBe(1);
    follower.kv.oracle.next = rig.kv.oracle.next;
    await follower.kv.replica.lead();
    rig = follower;
    expect((await rig.kv.put('a', '2')).error?.code).toBe('LOCKED');
    const commit = rig.issue();
    expect(await rig.tell(commitOf(start, commit, 'a'))).toEqual(committed(commit));
    expect(await rig.get('a')).toBe('1');
  });

  it('reach the cached rows of who follows, and what stale scans see', async () => {
    await rig.kv.put('a', 'old');
    const follower = new KvRig();
    follower.replica.stepDown();
    await follower.replica.follow(rig.kv.replica.history);
    const stale = { op: KvOp.get, key: bytes('a'), consistency: ReadConsistency.stale } as const;
    expect((await follower.ask(stale)).value).toEqual(bytes('old'));
    const from = rig.kv.replica.history.length;
    const start = await locked({ a: '1' });
    await rig.commit(start, 'a');
    await follower.replica.follow(rig.kv.replica.history.slice(from));
    expect((await follower.ask(stale)).value).toEqual(bytes('1'));
    expect(follower.machine.debugView()).toMatchObject({
      appliedTimestamp: rig.kv.machine.debugView().appliedTimestamp,
    });
  });

  it('are there after a restart and after a snapshot', async () => {
    const start = await locked({ a: '1' });
    const { machine } = rig.kv;
    await rig.kv.restart([]);
    await rig.kv.replica.lead();
    expect(await rig.commit(start, 'a')).toMatchObject({ type: 'committed' });
    const other = rig.issue();
    const row = encodeLockRow(bytes('s'), {
      ...{ start: other, op: LockRowOp.put, minCommit: other, deadline: other, ttlMs: 0 },
      ...{ primary: bytes('s'), value: bytes('v') },
    });
    const batch = rig.kv.engine.newBatch();
    batch.put(...row);
    await rig.kv.engine.write(batch);
    await rig.kv.machine.restored(machine.volatileState());
    expect(rig.kv.machine.debugView().locks).toBe(1);
  });

  it('go with their keys when the range is cut', async () => {
    const start = await locked({ a: '1', z: '2' });
    const [child] = rig.kv.machine.split(descriptorOf('', 'm', 2), [descriptorOf('m', '', 2, 8)]);
    expect(rig.kv.machine.debugView().locks).toBe(1);
    rig.kv.machine.descriptorChanged(descriptorOf('', 'm', 2));
    expect(await rig.commit(start, 'a')).toMatchObject({ type: 'committed' });
    const locks = Reflect.get(child ?? {}, 'oldestLockStart') as Timestamp | undefined;
    expect(locks).toBe(start);
    await settle();
  });
});

describe('what is served (T15)', () => {
  /** Two transactions, and a safe point at the start of the second. */
  async function atTheBound(raise: (safePoint: Timestamp) => unknown): Promise<[Timestamp, Timestamp]> {
    const below = rig.issue();
    const bound = rig.issue();
    rig.kv.environment.timestamps.observe(rig.issue());
    await raise(bound);
    return [below, bound];
  }
  const told = (safePoint: Timestamp): unknown => (rig.kv.gcSafePoint = safePoint);
  const BOUNDS = [
    ['what the range has purged', purgeUpTo],
    ['what the cluster lets go', told],
  ] as const;

  it.each(BOUNDS)('begins at %s, for prewrites and one-range transactions', async (_name, raise) => {
    const [below, bound] = await atTheBound(raise);
    const tooOld = { type: 'tooOld', readableSince: bound };
    expect(await rig.prewrite(below, { a: '1' })).toEqual(tooOld);
    const execute = { reads: [bytes('a')], then: [putOf('a', '1')] };
    expect(await rig.run({ start: below, ...execute })).toEqual(tooOld);
    expect(rig.kv.machine.debugView().locks).toBe(0);
    expect(await rig.prewrite(bound, { a: '1' })).toMatchObject({ type: 'prewritten' });
    await rig.resolve(bound, 0, 'a');
    expect(await rig.run({ start: bound, ...execute })).toMatchObject({ type: 'executed' });
  });

  it.each(BOUNDS)('begins at %s, for reads and validations', async (_name, raise) => {
    const [below, bound] = await atTheBound(raise);
    const commit = rig.issue();
    const validate = (start: Timestamp): Promise<object> =>
      rig.askRead({ type: 'validate', start, commit, keys: [bytes('a')], spans: [] });
    expect(await validate(below)).toEqual({ type: 'tooOld', readableSince: bound });
    expect(await validate(bound)).toEqual({ type: 'valid' });
    await expect(rig.batchGet(['a'], below)).rejects.toThrow('FAILED_PRECONDITION');
    expect(await rig.batchGet(['a'], bound)).toMatchObject({ type: 'rows' });
    expect([await rig.getAt('a', below), await rig.getAt('a', bound)]).toEqual([
      'FAILED_PRECONDITION',
      undefined,
    ]);
    const scan = { op: KvOp.scan, key: bytes(''), consistency: ReadConsistency.timestamp } as const;
    const read = await rig.kv.ask({ ...scan, readTimestamp: below });
    expect([read.error?.code, (await rig.kv.ask({ ...scan, readTimestamp: bound })).error]).toEqual([
      'FAILED_PRECONDITION',
      undefined,
    ]);
  });

  it('ends a transaction whose commit comes below it, for good', async () => {
    const start = await locked({ a: '1' });
    rig.kv.gcSafePoint = timestamp(start + 1);
    expect(await rig.commit(start, 'a')).toEqual({ type: 'tooOld', readableSince: start + 1 });
    rig.kv.gcSafePoint = timestamp(0);
    expect(await rig.commit(start, 'a')).toEqual(ROLLED_BACK);
    const other = await locked({ a: '1' });
    rig.kv.gcSafePoint = other;
    expect(await rig.commit(other, 'a')).toMatchObject({ type: 'committed' });
  });

  it('tells a commit that finds neither lock nor record below it that nobody knows', async () => {
    const start = rig.issue();
    rig.kv.gcSafePoint = rig.issue();
    const sent = rig.write(commitOf(start, rig.issue(), 'a'));
    await rig.kv.run();
    expect(codeOf(sent)).toBe('OUTCOME_UNKNOWN');
    const known = await locked({ b: '1' });
    const commit = rig.issue();
    await rig.tell(commitOf(known, commit, 'b'));
    rig.kv.gcSafePoint = rig.issue();
    expect(await rig.tell(commitOf(known, commit, 'b'))).toEqual(committed(commit));
  });
});
