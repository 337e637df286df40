/**
 * Goal: a leader gives keys to owners, holds those that wait, lets the writes of an owner through and those
 * of others not, and forgets everything with the leadership. Method: one range machine, with log, engine,
 * clock and oracle in the hands of the test.
 */
import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { KvOp, LockPolicy, LockStrength } from '@cairn/wire';

import { answerOf, bytes, codeOf, descriptorOf, type RequestFields } from '../kv-rig.testing.js';
import { commitOf, deleteOf, getOf, putOf, replyOf } from '../txn/txn-rig.testing.js';
import { PLACE_KEPT_MS } from './reservations.js';
import { prewriteBy, releaseOf, reserveOf, ReserveRig, shown } from './reserve-rig.testing.js';

const { exclusive, keyShare, share } = LockStrength;
const { nowait, skipLocked } = LockPolicy;

const put = (key: string, value: string): RequestFields => ({
  ...{ op: KvOp.put, key: bytes(key), value: bytes(value) },
});
const remove = (key: string): RequestFields => ({ op: KvOp.delete, key: bytes(key) });

describe('reserving keys', () => {
  it('reads each as it is then, and when it was written', async () => {
    const rig = await ReserveRig.leading();
    await rig.kv.put('a', '1');
    await rig.kv.put('d', '1');
    await rig.kv.ask(remove('d'));
    const reply = await rig.reply(1, ['a', 'd', 'n']);
    expect(reply.rows.map(({ isReserved }) => isReserved)).toEqual([true, true, true]);
    expect(reply.rows.map(({ row }) => row.found)).toEqual([true, false, false]);
    const [a, d, n] = reply.rows.map(({ newest }) => newest);
    expect(a).toBeGreaterThan(0);
    expect(d).toBeGreaterThanOrEqual(a as number);
    expect(n).toBe(0);
    expect(await rig.reserve(1, ['a', 'd'])).toBe('a=1 d-');
    expect(rig.counts).toEqual([3, 0, 0]);
    expect(rig.kv.replica.log).toEqual([]);
  });

  it('comes behind what was written before, and reads it when it is visible', async () => {
    const rig = await ReserveRig.leading();
    await rig.kv.put('a', '1');
    const write = rig.kv.send(put('a', '2'));
    const sent = rig.send(1, ['a']);
    const late = rig.kv.send(put('a', '3'));
    await rig.kv.turn();
    expect([write.answers, sent.answers]).toEqual([[], []]);
    expect(shown(late, [])).toBe('LOCKED by 1');
    await rig.kv.run();
    expect(shown(sent, ['a'])).toBe('a=2');
    expect(await rig.kv.get('a')).toBe('2');
  });

  it('is answered under a confirmed leadership', async () => {
    const rig = await ReserveRig.leading();
    rig.kv.replica.hasLeaseNow = false;
    const sent = rig.send(1, ['a']);
    await rig.kv.turn();
    expect(sent.answers).toEqual([]);
    rig.kv.replica.answerReads(true);
    expect(shown(sent, ['a'])).toBe('a-');
    const other = rig.send(1, ['b']);
    await rig.kv.turn();
    rig.kv.replica.stepDown();
    expect(codeOf(other)).toBe('NOT_LEADER');
  });

  it('reads rows that are not in memory, and asks for the time where that matters', async () => {
    const rig = await ReserveRig.leading({ delay: () => Promise.resolve() });
    await rig.kv.ask({ ...put('a', '1'), ttlMs: 50 });
    await rig.kv.put('b', '2');
    rig.kv.environment.rowCache.clear();
    expect(await rig.reserve(1, ['a', 'b'])).toBe('a=1 b=2');
    rig.kv.oracle.next += 2 ** 40;
    await rig.kv.clock.advance(200);
    expect(await rig.reserve(1, ['a', 'b'])).toBe('a- b=2');
  });

  it('is refused where a key is elsewhere, and garbage is never asked for', async () => {
    const rig = await ReserveRig.leading({ descriptor: descriptorOf('a', 'm') });
    expect(await rig.reserve(1, ['a', 'x'])).toBe('regroup');
    expect(await rig.release(1, 'a', 'x')).toBe('regroup');
    expect(rig.counts).toEqual([0, 0, 0]);
  });
});

describe('waiting for a key', () => {
  it('ends when it is released, in the order of arrival', async () => {
    const rig = await ReserveRig.leading();
    expect(await rig.reserve(1, ['a'])).toBe('a-');
    const [second, third] = [rig.send(2, ['b', 'a']), rig.send(3, ['a', 'c'])];
    await rig.kv.run();
    expect([second.answers, third.answers]).toEqual([[], []]);
    expect(rig.counts).toEqual([2, 2, 2]);
    expect(await rig.release(1, 'a')).toBe('released');
    expect(shown(second, ['b', 'a'])).toBe('b- a-');
    expect(third.answers).toEqual([]);
    await rig.release(2, 'a', 'b');
    expect(shown(third, ['a', 'c'])).toBe('a- c-');
    await rig.release(3, 'a', 'c');
    expect(rig.counts).toEqual([0, 0, 0]);
  });

  it('ends when its time is over, with what is kept and who is in the way', async () => {
    const rig = await ReserveRig.leading();
    await rig.kv.put('b', '1');
    await rig.reserve(1, ['c']);
    const sent = rig.send(2, ['b', 'c', 'd'], { waitMs: 100 });
    await rig.kv.run();
    await rig.after(90);
    expect(sent.answers).toEqual([]);
    await rig.after(20);
    expect(shown(sent, ['b', 'c', 'd'])).toBe('b=1 waits at c for 1');
    expect(rig.counts).toEqual([2, 1, 0]);
    expect(rig.kv.environment.reservations.timedOut).toBe(1);
    // Its place is kept: somebody who comes later comes behind it.
    expect(await rig.reserve(3, ['c'], { waitMs: 0 })).toBe('waits at c for 1,2');
    await rig.release(1, 'c');
    expect(await rig.reserve(3, ['c'], { waitMs: 0 })).toBe('waits at c for 2');
    expect(await rig.reserve(2, ['b', 'c', 'd'])).toBe('b=1 c- d-');
    await rig.release(2, 'b', 'c', 'd');
    await rig.after(PLACE_KEPT_MS + 20);
    expect(rig.counts).toEqual([0, 0, 0]);
  });

  it('ends for the next one when a place was kept for nothing', async () => {
    const rig = await ReserveRig.leading();
    await rig.reserve(1, ['a']);
    await rig.reserve(2, ['a'], { waitMs: 0 });
    await rig.release(1, 'a');
    const sent = rig.send(3, ['a'], { waitMs: 1_000 });
    await rig.kv.run();
    await rig.after(900);
    expect(sent.answers).toEqual([]);
    await rig.after(110);
    expect(shown(sent, ['a'])).toBe('waits at a for 2');
    const again = rig.send(3, ['a'], { waitMs: 1_000 });
    await rig.kv.run();
    await rig.after(1_000);
    expect(shown(again, ['a'])).toBe('a-');
  });

  it('ends when the owner has not come again for the time that it named', async () => {
    const rig = await ReserveRig.leading();
    await rig.reserve(1, ['a'], { ttlMs: 300 });
    const sent = rig.send(2, ['a'], { waitMs: 1_000 });
    await rig.after(200);
    expect(await rig.reserve(1, ['a'], { ttlMs: 300 })).toBe('a-');
    await rig.after(200);
    expect(sent.answers).toEqual([]);
    await rig.after(120);
    expect(shown(sent, ['a'])).toBe('a-');
    expect(rig.counts).toEqual([1, 0, 0]);
  });

  it('is not begun by those that do not want to', async () => {
    const rig = await ReserveRig.leading();
    await rig.kv.put('a', '1');
    await rig.reserve(1, ['b']);
    expect(await rig.reserve(2, ['a', 'b'], { policy: nowait })).toBe('waits at b for 1');
    expect(await rig.reserve(2, ['a', 'b', 'c'], { policy: skipLocked })).toBe('a=1 b! c-');
    expect(rig.counts).toEqual([3, 0, 0]);
    expect(rig.kv.environment.reservations.timedOut).toBe(0);
  });

  it('is not for those that share, and is for who wants more than they', async () => {
    const rig = await ReserveRig.leading();
    expect(await rig.reserve(1, ['a'], { strength: share })).toBe('a-');
    expect(await rig.reserve(2, ['a'], { strength: keyShare })).toBe('a-');
    const [later, upgrade] = [rig.send(3, ['a']), rig.send(2, ['a'], { strength: exclusive })];
    await rig.kv.run();
    expect([later.answers, upgrade.answers]).toEqual([[], []]);
    await rig.release(1, 'a');
    expect(shown(upgrade, ['a'])).toBe('a-');
    expect(later.answers).toEqual([]);
    await rig.release(2, 'a');
    expect(shown(later, ['a'])).toBe('a-');
  });

  it('is given up with its caller', async () => {
    const rig = await ReserveRig.leading();
    await rig.reserve(1, ['a']);
    const [gone, cancelled] = [rig.send(2, ['a']), rig.send(3, ['a'], { waitMs: 400 })];
    const next = rig.send(4, ['a'], { waitMs: 1_000 });
    await rig.kv.run();
    cancelled.call.isCancelled = true;
    expect(rig.counts).toEqual([1, 3, 3]);
    await rig.after(410);
    expect([cancelled.answers, cancelled.call.isDone]).toEqual([[], true]);
    expect(rig.counts).toEqual([1, 2, 2]);
    rig.kv.environment.reservations.held.forget(gone.call.caller);
    expect(codeOf(gone)).toBe('UNAVAILABLE');
    expect(next.answers).toEqual([]);
    expect(rig.counts).toEqual([1, 2, 1]);
  });

  it('is only for as many as the store has places for', async () => {
    const rig = await ReserveRig.leading();
    const max = rig.kv.environment.limits.reservationWaitersMax;
    expect(max).toBe(10_000);
    await rig.reserve(1, ['a']);
    const sent = Array.from({ length: max }, (_none, at) => rig.send(at + 2, ['a'], { waitMs: 900 }));
    const tooMany = rig.send(max + 2, ['a']);
    for (let turn = 0; turn < 12; turn += 1) await rig.kv.turn();
    expect(rig.counts).toEqual([1, max, max]);
    expect(answerOf(tooMany).error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', retryAfterMs: 100 });
    expect(sent.every(({ answers }) => answers.length === 0)).toBe(true);
    rig.kv.send(releaseOf(timestamp(1), ['a']));
    await rig.kv.run();
    expect(shown(sent[0] as (typeof sent)[0], ['a'])).toBe('a-');
    rig.kv.replica.stepDown();
    for (let turn = 0; turn < 12; turn += 1) await rig.kv.turn();
    expect(sent.every(({ answers }) => answers.length === 1)).toBe(true);
    expect(rig.counts).toEqual([0, 0, 0]);
  });

  it('needs a place for the command, too, and room for what is reserved', async () => {
    const rig = await ReserveRig.leading({ limits: { reservationsMax: 2, reservationWaitersMax: 1 } });
    await rig.reserve(1, ['a']);
    const first = rig.send(2, ['a']);
    const twice = [rig.send(2, ['a']), rig.send(2, ['a'])];
    await rig.kv.run();
    expect(first.answers).toEqual([]);
    expect(twice.filter(({ answers }) => answers.length === 1).map(codeOf)).toEqual(['RESOURCE_EXHAUSTED']);
    expect(await rig.reserve(1, ['b', 'c'])).toBe('RESOURCE_EXHAUSTED');
    expect(rig.counts[0]).toBe(1);
  });
});

describe('what is reserved', () => {
  it('stops no reader, and stops writes of others until it is released', async () => {
    const rig = await ReserveRig.leading();
    await rig.kv.put('a', '1');
    await rig.reserve(1, ['a']);
    expect(await rig.kv.get('a')).toBe('1');
    expect(await rig.txn.getAt('a', rig.txn.issue())).toBe('1');
    for (const write of [
      put('a', '2'),
      remove('a'),
      { op: KvOp.increment, key: bytes('a'), delta: '1' },
      { op: KvOp.expire, key: bytes('a'), ttlMs: 5 },
      { ...put('a', '2'), op: KvOp.compareAndSet, expectation: 1 } as const,
      { ...put('a', '2'), strict: true },
      { op: KvOp.deleteRange, key: bytes('a'), endKey: bytes('b') },
    ]) {
      const { error } = await rig.kv.ask(write);
      expect(error).toMatchObject({ code: 'LOCKED', locks: [{ owner: 1, start: 1, deadline: 0 }] });
      expect(error?.locks.map(({ key, primary }) => [String(key), String(primary)])).toEqual([['a', 'a']]);
    }
    expect((await rig.kv.ask({ op: KvOp.deleteRange, key: bytes('b'), endKey: bytes('') })).error).toBe(
      undefined,
    );
    await rig.release(1, 'a');
    expect((await rig.kv.put('a', '2')).error).toBeUndefined();
  });

  it('may be updated under a key share, and not be deleted', async () => {
    const rig = await ReserveRig.leading();
    await rig.reserve(1, ['a'], { strength: keyShare });
    expect((await rig.kv.put('a', '1')).error).toBeUndefined();
    expect((await rig.kv.ask(remove('a'))).error?.code).toBe('LOCKED');
    const removal = { ...put('a', ''), op: KvOp.compareAndSet, value: undefined, expectation: 2 } as const;
    expect((await rig.kv.ask(removal)).error?.code).toBe('LOCKED');
    expect((await rig.kv.ask({ op: KvOp.deleteRange, key: bytes(''), endKey: bytes('') })).error?.code).toBe(
      'LOCKED',
    );
  });

  it('lets its owner lock and commit, and goes to the next one when that is done', async () => {
    const rig = await ReserveRig.leading();
    const owner = rig.txn.issue();
    await rig.reserve(owner, ['a', 'b', 'c']);
    const start = rig.txn.issue();
    const own = rig.txn.issue();
    const refused = rig.txn.write(prewriteBy(0, start, { a: '1', b: undefined }));
    const waiting = rig.send(own, ['a']);
    await rig.kv.run();
    expect(shown(refused, [])).toBe(`LOCKED by ${owner},${owner}`);
    const prewrite = rig.txn.write(prewriteBy(owner, start, { a: '1', b: undefined }));
    await rig.kv.turn();
    expect(waiting.answers).toEqual([]);
    expect(rig.counts[0]).toBe(3);
    await rig.kv.run();
    expect(replyOf(prewrite).type).toBe('prewritten');
    // Where it has locked, nothing is reserved any more; and a lock is told as a lock.
    expect(rig.counts[0]).toBe(1);
    expect(answerOf(waiting).error).toMatchObject({ code: 'LOCKED', locks: [{ start, owner: 0 }] });
    const late = rig.send(rig.txn.issue(), ['a'], { waitMs: 0 });
    await rig.txn.tell(commitOf(start, rig.txn.issue(), 'a', ['b']));
    expect(codeOf(late)).toBe('LOCKED');
    // Its place was kept meanwhile.
    expect(await rig.reserve(rig.txn.issue(), ['a'], { policy: nowait })).toContain(`waits at a for ${own}`);
    expect(await rig.reserve(own, ['a'])).toBe('a=1');
    expect(await rig.reserve(own, ['c'], { policy: nowait })).toBe(`waits at c for ${owner}`);
  });

  it('lets a one-range transaction of its owner write, and others only read', async () => {
    const rig = await ReserveRig.leading();
    await rig.kv.put('a', '1');
    await rig.kv.put('b', '1');
    const owner = rig.txn.issue();
    await rig.reserve(owner, ['a', 'b', 'k']);
    await rig.reserve(1, ['s'], { strength: keyShare });
    const foreign = rig.txn.execute({ then: [getOf('a'), putOf('b', '1')] });
    const otherwise = rig.txn.execute({ otherwise: [deleteOf('s')] });
    await rig.kv.run();
    expect([shown(foreign, []), shown(otherwise, [])]).toEqual([`LOCKED by ${owner}`, 'LOCKED by 1']);
    expect(await rig.txn.run({ then: [getOf('a'), putOf('s', '1')] })).toMatchObject({ succeeded: true });
    const waiting = rig.send(2, ['a']);
    await rig.kv.run();
    expect(await rig.txn.run({ owner, then: [putOf('a', '2'), deleteOf('b')] })).toMatchObject({
      succeeded: true,
    });
    expect(shown(waiting, ['a'])).toBe('a=2');
    expect(await rig.reserve(3, ['b', 'k'], { policy: skipLocked })).toBe('b- k!');
  });

  it('stays with an owner that has to look into locks first', async () => {
    const rig = await ReserveRig.leading();
    const start = rig.txn.issue();
    await rig.txn.prewrite(start, { b: '1' });
    expect(await rig.reserve(1, ['a'], { ttlMs: 300 })).toBe('a-');
    expect(await rig.reserve(2, ['a'], { waitMs: 0 })).toBe('waits at a for 1');
    for (let round = 0; round < 4; round += 1) {
      await rig.after(200);
      expect(await rig.reserve(1, ['a', 'b'], { ttlMs: 300 })).toBe('LOCKED by 0');
    }
    expect(await rig.reserve(3, ['a'], { policy: nowait })).toBe('waits at a for 1,2');
    await rig.after(320);
    expect(await rig.reserve(3, ['a'], { policy: nowait })).toBe('waits at a for 2');
  });

  it('stays where the command of its owner came to nothing', async () => {
    const rig = await ReserveRig.leading();
    const owner = rig.txn.issue();
    await rig.reserve(owner, ['a']);
    const start = rig.txn.issue();
    const prewrite = rig.txn.write(prewriteBy(owner, start, { a: '1' }));
    rig.kv.replica.refusal = 'too-many-uncommitted';
    await rig.kv.turn();
    rig.kv.replica.refusal = undefined;
    expect(codeOf(prewrite)).toBe('RESOURCE_EXHAUSTED');
    expect((await rig.kv.put('a', '2')).error?.code).toBe('LOCKED');
  });

  it('is found by a range deletion that began before', async () => {
    const rig = await ReserveRig.leading({ delay: () => Promise.resolve() });
    await rig.kv.put('a', '1');
    const deletion = rig.kv.send({ op: KvOp.deleteRange, key: bytes('a'), endKey: bytes('b') });
    rig.kv.machine.turn(rig.kv.clock.nowMs());
    rig.send(1, ['a']);
    rig.kv.machine.turn(rig.kv.clock.nowMs());
    await rig.kv.run();
    expect(shown(deletion, [])).toBe('LOCKED by 1');
    expect(await rig.kv.get('a')).toBe('1');
  });

  it('is gone with the leadership, and nobody waits for it there', async () => {
    const rig = await ReserveRig.leading();
    await rig.reserve(1, ['a', 'b']);
    const waiting = rig.send(2, ['a']);
    await rig.kv.run();
    rig.kv.replica.stepDown();
    await rig.kv.turn();
    expect(codeOf(waiting)).toBe('NOT_LEADER');
    expect(rig.counts).toEqual([0, 0, 0]);
    await rig.kv.replica.lead();
    expect((await rig.kv.put('a', '1')).error).toBeUndefined();
    await rig.after(20_000);
    const removed = rig.send(3, ['a']);
    await rig.kv.run();
    rig.send(4, ['a']);
    await rig.kv.run();
    rig.kv.machine.closed();
    expect(rig.counts).toEqual([0, 0, 0]);
    expect(shown(removed, ['a'])).toBe('a=1');
  });

  it('is gone where a split gave the key away, and whoever waited asks again', async () => {
    const rig = await ReserveRig.leading();
    await rig.reserve(1, ['a', 'm']);
    const [left, right] = [rig.send(2, ['a']), rig.send(3, ['m'])];
    await rig.kv.run();
    rig.kv.replica.isFrozen = true;
    const frozen = rig.kv.send(reserveOf(timestamp(4), ['b']));
    await rig.kv.turn();
    expect(frozen.answers).toEqual([]);
    const descriptor = descriptorOf('', 'm', 2);
    rig.kv.machine.split(descriptor, [descriptorOf('m', '', 2, 8)]);
    rig.kv.machine.descriptorChanged(descriptor);
    rig.kv.replica.isFrozen = false;
    await rig.kv.run();
    expect([left, right, frozen].map(codeOf)).toEqual(['EPOCH_MISMATCH', 'EPOCH_MISMATCH', 'EPOCH_MISMATCH']);
    expect(rig.counts).toEqual([1, 1, 0]);
    expect(await rig.reserve(2, ['a'], { policy: nowait })).toBe('waits at a for 1');
  });
});
