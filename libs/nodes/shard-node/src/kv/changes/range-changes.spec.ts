import { describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { KvOp } from '@cairn/wire';

import { answerOf, bytes, codeOf, descriptorOf, KvRig, settle } from '../kv-rig.testing.js';
import { prewriteOf, putOf, requestOf } from '../txn/txn-rig.testing.js';
import { ChangesRig, pageOf, questionOf, replyIn, textsOf } from './changes-rig.testing.js';

describe('a question for changes', () => {
  it('is told all versions above a timestamp, then what came since, in the order of the log', async () => {
    const rig = await ChangesRig.leading();
    await rig.kv.put('b', '1');
    const since = await rig.hear();
    await rig.kv.put('b', '2');
    await rig.hear();
    await rig.kv.put('b', '3');
    await rig.kv.put('a', '1');
    const first = await rig.poll({ after: since, waitMs: 1_000 });
    expect(textsOf(first)).toEqual(['a=1', 'b=2', 'b=3']);
    expect(first.resolved).toBeGreaterThanOrEqual(first.changes[2]?.timestamp ?? Infinity);
    await rig.kv.put('c', '1');
    await rig.kv.ask({ op: KvOp.delete, key: bytes('a') });
    const second = await rig.poll();
    expect(textsOf(second)).toEqual(['c=1', 'a-']);
    expect(rig.kv.environment.changes.counts).toMatchObject({ fromRing: 1, fromEngine: 1, changes: 5 });
    expect(textsOf(await rig.poll())).toEqual([]);
  });

  it('says when a row expires, and of which kind and transaction it is', async () => {
    const rig = await ChangesRig.following();
    await rig.kv.ask({ op: KvOp.put, key: bytes('a'), value: bytes('1'), ttlMs: 60_000 });
    await rig.txn.run({ then: [putOf('b', '1'), putOf('c', '1')] });
    const start = rig.txn.issue();
    await rig.txn.prewrite(start, { d: '1', e: undefined });
    await rig.txn.commit(start, 'd', ['e']);
    const { changes } = await rig.poll();
    expect(changes.map(({ key, type, start: begun }) => [String(key), type, begun])).toEqual([
      ['a', 'put', 0],
      ['b', 'put', 0],
      ['c', 'put', 0],
      ['d', 'put', start],
      ['e', 'delete', start],
    ]);
    expect(changes[0]?.expiresAt).toBeGreaterThan(changes[0]?.timestamp ?? Infinity);
    const [b, c, d, e] = changes.slice(1);
    expect([b?.timestamp, d?.timestamp]).toEqual([c?.timestamp, e?.timestamp]);
  });

  it('is about its span only', async () => {
    const rig = await ChangesRig.leading();
    for (const key of ['a', 'b', 'c', 'd']) await rig.kv.put(key, '1');
    const span = { start: bytes('b'), end: bytes('d') };
    expect(textsOf(await rig.poll({ ...span, waitMs: 1_000 }))).toEqual(['b=1', 'c=1']);
    for (const key of ['a', 'b', 'c', 'd']) await rig.kv.put(key, '2');
    expect(textsOf(await rig.poll(span))).toEqual(['b=2', 'c=2']);
  });

  it('outside of the range is to be grouped anew', async () => {
    const rig = await ChangesRig.leading({ descriptor: descriptorOf('b', 'f') });
    for (const end of ['', 'g']) {
      const sent = rig.send({ start: bytes('c'), end: bytes(end) });
      await rig.kv.turn();
      expect(replyIn(answerOf(sent))).toEqual({ type: 'regroup' });
    }
  });

  it('below the safe point is told the oldest timestamp there is', async () => {
    const rig = await ChangesRig.leading();
    await rig.kv.put('a', '1');
    const before = await rig.hear();
    const safePoint = await rig.hear();
    const { term } = rig.kv.replica;
    const purged = rig.kv.machine.purge({
      keys: [bytes('\x10a\0\x01')],
      safePoint,
      bytes: 1,
      term,
      version: 1,
    });
    const sent = rig.send({ after: before });
    await rig.kv.run();
    await purged;
    expect(replyIn(answerOf(sent))).toEqual({ type: 'reset', oldest: safePoint });
    expect((await rig.poll({ after: safePoint })).resolved).toBeGreaterThanOrEqual(safePoint);
  });
});

describe('how far a range is resolved', () => {
  it('goes with an event that is told: one timestamp is fetched for it', async () => {
    const rig = await ChangesRig.following();
    const sent = rig.send();
    await rig.kv.run();
    expect(sent.answers).toHaveLength(0);
    const before = rig.kv.oracle.next;
    await rig.kv.put('a', '1');
    const page = rig.take(sent);
    expect(textsOf(page)).toEqual(['a=1']);
    expect(page.resolved).toBeGreaterThanOrEqual(page.changes[0]?.timestamp ?? Infinity);
    expect(rig.kv.oracle.next).toBe(before + TIMESTAMP_LOGICAL_STEPS);
  });

  it('is told of what is there anyway when nobody tells the time', async () => {
    const rig = await ChangesRig.following();
    const sent = rig.send();
    await rig.kv.run();
    rig.kv.oracle.isDown = true;
    await rig.kv.put('a', '1');
    const page = rig.take(sent);
    expect(textsOf(page)).toEqual(['a=1']);
    expect(page.resolved).toBeLessThan(page.changes[0]?.timestamp ?? 0);
    const next = rig.send();
    await rig.kv.run();
    expect(next.answers).toHaveLength(0);
    rig.kv.oracle.isDown = false;
    await rig.kv.clock.advance(60);
    await rig.kv.run();
    const resolved = rig.take(next);
    expect(textsOf(resolved)).toEqual([]);
    expect(resolved.resolved).toBeGreaterThanOrEqual(page.changes[0]?.timestamp ?? Infinity);
  });

  it('is held back by a lock, from its evaluation until what it leaves is visible', async () => {
    const rig = await ChangesRig.following();
    const start = rig.txn.issue();
    const prewrite = rig.txn.write(prewriteOf(start, { b: '1' }));
    const question = rig.send({ waitMs: 0 });
    await rig.kv.run();
    const reply = answerOf(prewrite);
    expect(reply.error).toBeUndefined();
    const page = rig.take(question);
    await rig.hear();
    await rig.hear();
    const later = await rig.poll();
    expect([page.resolved, later.resolved]).toEqual([start, start]);
    await rig.kv.put('a', '1');
    // What others write is told at once, and resolved once the lock is gone.
    const unresolved = await rig.poll({ waitMs: 5_000 });
    expect([textsOf(unresolved), unresolved.resolved]).toEqual([['a=1'], start]);
    const held = rig.send();
    await rig.kv.run();
    expect(held.answers).toHaveLength(0);
    await rig.txn.commit(start, 'b');
    await rig.kv.run();
    const last = rig.take(held);
    expect(textsOf(last)).toEqual(['b=1']);
    expect(last.resolved).toBeGreaterThanOrEqual(last.changes[0]?.timestamp ?? Infinity);
  });

  it('is told again when only that has changed, since changes were told unresolved', async () => {
    const rig = await ChangesRig.following();
    const start = rig.txn.issue();
    await rig.txn.prewrite(start, { b: '1' });
    await rig.kv.put('a', '1');
    expect(textsOf(await rig.poll())).toEqual(['a=1']);
    const held = rig.send({ end: bytes('b') });
    await rig.kv.run();
    await rig.txn.resolve(start, 0, 'b');
    await rig.kv.run();
    const page = pageOf(held);
    expect(textsOf(page)).toEqual([]);
    expect(page.resolved).toBeGreaterThan(start);
  });

  it('does not count a commit that was evaluated and not logged', async () => {
    const rig = await ChangesRig.following();
    const start = rig.txn.issue();
    await rig.txn.prewrite(start, { b: '1' });
    rig.kv.replica.refusal = 'too-many-uncommitted';
    const commit = rig.txn.issue();
    rig.txn.write({ type: 'commit', start, commit, primary: bytes('b'), keys: [] });
    const sent = rig.send({ waitMs: 0 });
    await rig.kv.run();
    expect(rig.take(sent).resolved).toBe(start);
  });

  it('has who meets a lock whose time is over look into it', async () => {
    const rig = await ChangesRig.following();
    const start = rig.txn.issue();
    await rig.txn.prewrite(start, { b: '1' });
    await rig.hear();
    await rig.kv.clock.advance(2_000);
    const sent = rig.send();
    await rig.kv.run();
    expect(answerOf(sent).error).toMatchObject({ code: 'LOCKED', locks: [{ start }] });
    const again = rig.send({}, { ignoreLocks: [start] });
    await rig.kv.run();
    expect(again.answers).toHaveLength(0);
  });

  it('waits until everything is visible that was evaluated before', async () => {
    const rig = await ChangesRig.following();
    rig.kv.send({ op: KvOp.put, key: bytes('a'), value: bytes('1') });
    const sent = rig.send({ waitMs: 0 });
    await rig.kv.turn();
    rig.kv.replica.apply();
    await settle();
    expect(sent.answers).toHaveLength(0);
    await rig.kv.replica.publish();
    await settle();
    expect(textsOf(pageOf(sent))).toEqual(['a=1']);
  });

  it('reaches a timestamp that the question brings', async () => {
    const rig = await ChangesRig.following();
    const issued = rig.txn.issue();
    const sent = rig.send({}, { readTimestamp: issued });
    await rig.kv.run();
    expect(pageOf(sent)).toMatchObject({ changes: [], resolved: issued });
  });

  it('is not told by a leader that nobody confirms', async () => {
    const rig = await ChangesRig.following();
    rig.kv.replica.hasLeaseNow = false;
    const deposed = rig.send({ waitMs: 0 });
    await rig.kv.run();
    expect(deposed.answers).toHaveLength(0);
    rig.kv.replica.answerReads(false);
    expect(codeOf(deposed)).toBe('NOT_LEADER');
    const confirmed = rig.send({ waitMs: 0 });
    await rig.kv.run();
    rig.kv.replica.answerReads(true);
    expect(pageOf(confirmed).type).toBe('page');
  });

  it('is not told by a leadership that came later than the question', async () => {
    const rig = await ChangesRig.following();
    rig.kv.send({ op: KvOp.put, key: bytes('a'), value: bytes('1') });
    const sent = rig.send({ waitMs: 0 });
    await rig.kv.turn();
    rig.kv.replica.stepDown();
    await rig.kv.turn();
    expect(codeOf(sent)).toBe('NOT_LEADER');
  });
});

describe('a held question', () => {
  it('is answered when its time is over, with how far the range is resolved', async () => {
    const rig = await ChangesRig.following();
    const sent = rig.send({ waitMs: 3_000 });
    await rig.kv.run();
    const heard = await rig.hear();
    await rig.kv.clock.advance(2_900);
    await rig.kv.run();
    expect(sent.answers).toHaveLength(0);
    expect(rig.kv.environment.changes.held.count).toBe(1);
    await rig.kv.clock.advance(200);
    expect(pageOf(sent)).toMatchObject({ changes: [], resolved: heard });
    expect(rig.kv.environment.changes.held.count).toBe(0);
  });

  it('is not woken by what is outside of its span', async () => {
    const rig = await ChangesRig.following();
    const sent = rig.send({ start: bytes('b'), end: bytes('c') });
    await rig.kv.put('a', '1');
    await rig.kv.put('c', '1');
    expect(sent.answers).toHaveLength(0);
    await rig.kv.put('b', '1');
    expect(textsOf(pageOf(sent))).toEqual(['b=1']);
  });

  it('is refused at once when the leadership is lost', async () => {
    const rig = await ChangesRig.following();
    const sent = rig.send();
    await rig.kv.run();
    rig.kv.replica.stepDown();
    await rig.kv.turn();
    expect(codeOf(sent)).toBe('NOT_LEADER');
    expect(rig.kv.environment.changes.held.count).toBe(0);
    expect(rig.kv.environment.changes.budget.count).toBe(0);
  });

  it('is refused at once when the range goes', async () => {
    const rig = await ChangesRig.following();
    const sent = rig.send();
    await rig.kv.run();
    rig.kv.machine.closed();
    expect(codeOf(sent)).toBe('NOT_LEADER');
  });

  it('stays when only the members of the range change', async () => {
    const rig = await ChangesRig.following();
    const sent = rig.send();
    await rig.kv.run();
    rig.kv.machine.descriptorChanged({ ...descriptorOf('', ''), epoch: { version: 1, confVersion: 2 } });
    await rig.kv.run();
    expect(sent.answers).toHaveLength(0);
    await rig.kv.put('a', '1');
    expect(textsOf(pageOf(sent))).toEqual(['a=1']);
  });

  it('leaves when its connection does, and when it finds no place', async () => {
    const rig = await ChangesRig.following({ limits: { heldQuestionsMax: 1 } });
    const held = rig.send();
    await rig.kv.run();
    const other = rig.send();
    await rig.kv.run();
    expect([held, other].map((sent) => sent.answers.length)).toEqual([0, 1]);
    expect(codeOf(other)).toBe('RESOURCE_EXHAUSTED');
    rig.kv.environment.changes.held.forget(held.call.caller);
    expect(held.call.isDone).toBe(true);
    expect(rig.kv.environment.changes.held.count).toBe(0);
  });

  it('that nobody waits for any more is dropped', async () => {
    const rig = await ChangesRig.following();
    const sent = rig.send();
    await rig.kv.run();
    sent.call.isCancelled = true;
    await rig.kv.put('a', '1');
    expect([sent.call.isDone, sent.answers.length]).toEqual([true, 0]);
    expect(rig.kv.environment.changes.held.count).toBe(0);
  });
});

describe('ranges that change', () => {
  it('tell whoever waits, and no change is lost when the right part is asked with the index of the whole', async () => {
    const rig = await ChangesRig.following();
    for (let round = 0; round < 5; round += 1) await rig.kv.put('z', String(round));
    await rig.poll({ waitMs: 1_000 });
    const held = rig.send({ start: bytes('m') });
    await rig.kv.run();
    const { after, index } = rig;
    rig.kv.replica.isFrozen = true;
    const left = descriptorOf('', 'm', 2);
    const right = descriptorOf('m', '', 2, 8);
    const [machine] = rig.kv.machine.split(left, [right]);
    rig.kv.machine.descriptorChanged(left);
    rig.kv.replica.isFrozen = false;
    await rig.kv.turn();
    expect(answerOf(held).error).toMatchObject({ code: 'EPOCH_MISMATCH', descriptors: [left] });

    const child = new KvRig({ descriptor: right, engine: rig.kv.engine });
    child.machine = machine as KvRig['machine'];
    child.replica.machine = child.machine;
    child.machine.attach(child.replica);
    child.oracle.next = rig.kv.oracle.next;
    await child.replica.lead();
    await child.put('x', 'new');
    const sent = child.send(questionOf({ start: bytes('m'), after, index, rangeId: 7 }));
    await child.run();
    expect(textsOf(pageOf(sent))).toEqual(['x=new']);
    expect(pageOf(sent)).toMatchObject({ rangeId: 8 });
  });

  it('are told from the engine what was written before this process began', async () => {
    const rig = await ChangesRig.leading();
    const before = await rig.hear();
    await rig.kv.put('a', '1');
    await rig.kv.restart([]);
    await rig.kv.replica.lead();
    rig.forget();
    expect(textsOf(await rig.poll({ after: before }))).toEqual(['a=1']);
  });

  it('keep the index for the left part', async () => {
    const rig = await ChangesRig.following();
    await rig.kv.put('a', '1');
    await rig.kv.put('z', '1');
    const left = descriptorOf('', 'm', 2);
    rig.kv.machine.split(left, [descriptorOf('m', '', 2, 8)]);
    rig.kv.machine.descriptorChanged(left);
    const page = await rig.poll({ end: bytes('m') }, { epochVersion: 2 });
    expect(textsOf(page)).toEqual(['a=1']);
    expect(rig.kv.environment.changes.counts.fromEngine).toBe(1);
  });

  it('catch up from the engine after a failover, above what is resolved', async () => {
    const rig = await ChangesRig.following();
    await rig.kv.put('a', '1');
    await rig.poll({ waitMs: 1_000 });
    await rig.kv.put('b', '1');
    rig.kv.replica.stepDown();
    await rig.kv.replica.lead();
    await rig.kv.put('c', '1');
    expect(textsOf(await rig.poll({ waitMs: 1_000 }))).toEqual(['b=1', 'c=1']);
    expect(rig.kv.environment.changes.counts.fromEngine).toBe(2);
    await rig.kv.put('d', '1');
    expect(textsOf(await rig.poll())).toEqual(['d=1']);
  });
});

describe('the ring', () => {
  it('has all for whoever begins behind what was there before, though it has only just begun', async () => {
    const rig = await ChangesRig.leading();
    await rig.kv.put('a', '1');
    const before = await rig.hear();
    await rig.kv.put('b', '1');
    const { counts } = rig.kv.environment.changes;
    const ask = async (after: Timestamp): Promise<unknown[]> => {
      rig.forget();
      return [...textsOf(await rig.poll({ after })), counts.fromEngine];
    };
    // Behind everything: what a router asks for before it takes the timestamp from which on it watches.
    expect(await ask(timestamp(Number.MAX_SAFE_INTEGER))).toEqual([0]);
    const now = await rig.hear();
    await rig.kv.put('c', '1');
    expect(await ask(now)).toEqual(['c=1', 0]);
    expect(await ask(before)).toEqual(['b=1', 'c=1', 1]);
    // Whoever begins hears at once that nothing comes before.
    rig.forget();
    const later = await rig.hear();
    const begun = await rig.poll({ after: later, waitMs: 5_000 }, { readTimestamp: later });
    expect([begun.changes, begun.resolved >= later]).toEqual([[], true]);
  });

  it('drops its oldest, and who had not got them catches up', async () => {
    const rig = await ChangesRig.following({ limits: { changeRingBytesMax: 4_000 } });
    const { after } = rig;
    for (let at = 0; at < 10; at += 1) await rig.kv.put(`k${at}`, 'x'.repeat(500));
    const { budget, counts } = rig.kv.environment.changes;
    expect(budget.bytes).toBeLessThanOrEqual(4_000);
    expect(budget.bytes).toBeGreaterThan(0);
    const page = await rig.poll({ after });
    expect([page.changes.length, counts.fromEngine]).toEqual([10, 2]);
    await rig.kv.put('k3', 'y');
    expect(textsOf(await rig.poll())).toEqual(['k3=y']);
    expect(counts.fromRing).toBe(1);
  });

  it('is given up when nobody has asked for a while', async () => {
    const rig = await ChangesRig.following();
    await rig.kv.put('a', '1');
    await rig.kv.clock.advance(29_000);
    expect(rig.kv.environment.changes.budget.count).toBe(1);
    await rig.kv.clock.advance(7_000);
    expect(rig.kv.environment.changes.budget).toMatchObject({ count: 0, bytes: 0 });
    await rig.kv.put('b', '1');
    expect(rig.kv.environment.changes.budget.bytes).toBe(0);
    expect(textsOf(await rig.poll({ waitMs: 1_000 }))).toEqual(['a=1', 'b=1']);
  });

  it('keeps neither locks nor what is collected', async () => {
    const rig = await ChangesRig.following();
    const start = rig.txn.issue();
    rig.kv.send(requestOf(prewriteOf(start, { a: '1' })));
    await rig.kv.run();
    const { term } = rig.kv.replica;
    const purge = { keys: [bytes('\x10a\0\x01')], safePoint: timestamp(5), bytes: 1, term, version: 1 };
    void rig.kv.machine.purge(purge);
    await rig.kv.run();
    expect(rig.kv.environment.changes.budget.bytes).toBe(0);
  });
});
