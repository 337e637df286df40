import { timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { firstByWalk } from '@cairn/engine';
import { describe, expect, it } from '@jest/globals';
import { Expectation, KvOp, type KvRequest } from '@cairn/wire';

import { answerOf, bytes, codeOf, KvRig } from './kv-rig.testing.js';

const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString('latin1');

describe('a range that is written to', () => {
  it('answers a put when it is committed, whether or not the engine has it', async () => {
    const rig = await KvRig.leading();
    const put = rig.send({ op: KvOp.put, key: bytes('k'), value: bytes('v') });
    await rig.turn();
    expect(rig.replica.log).toHaveLength(1);
    expect(put.answers).toHaveLength(0);
    rig.replica.apply();
    const response = answerOf(put);
    await rig.replica.publish();
    expect(put.answers).toHaveLength(1);
    expect(response.error).toBeUndefined();
    expect(response.timestamp).toBe(rig.max + 1);
    expect(await rig.get('k')).toBe('v');
  });

  it('takes the largest key with the most costly bytes, in every call', async () => {
    const rig = await KvRig.leading();
    for (const byte of [0, 1, 0xff]) {
      const key = Buffer.alloc(32_768, byte);
      const put = await rig.ask({ op: KvOp.put, key, value: bytes('v') });
      expect(put.error).toBeUndefined();
      expect((await rig.ask({ op: KvOp.get, key })).found).toBe(true);
      const readTimestamp = put.timestamp;
      const page = await rig.ask({ op: KvOp.scan, key, limit: 1, readTimestamp });
      expect(page.rows.count).toBe(1);
      const rest = await rig.ask({
        op: KvOp.scan,
        key: page.resumeKey ?? Buffer.concat([key, Buffer.of(0)]),
        readTimestamp,
      });
      expect([rest.error, rest.rows.count]).toEqual([undefined, 0]);
      expect((await rig.ask({ op: KvOp.increment, key, delta: '1' })).error?.code).toBe(
        'FAILED_PRECONDITION',
      );
      expect((await rig.ask({ op: KvOp.deleteRange, key })).count).toBe(1);
      expect((await rig.ask({ op: KvOp.get, key })).found).toBe(false);
    }
  });

  it('answers pages of the smallest and the largest size', async () => {
    const rig = await KvRig.leading({ limits: { scanCacheBytesMax: 0 } });
    for (const name of ['a', 'b', 'c']) await rig.put(name, name.repeat(1_000));
    const readTimestamp = rig.readNow;
    for (const pageBytes of [1, 2]) {
      const page = await rig.ask({ op: KvOp.scan, key: bytes(''), pageBytes, readTimestamp });
      expect([page.rows.count, text(page.resumeKey)]).toEqual([1, 'a\0']);
    }
    const largest = { pageBytes: 4 * 1024 * 1024, limit: 2 ** 31 };
    const all = await rig.ask({ op: KvOp.scan, key: bytes(''), ...largest, readTimestamp });
    expect([all.error, all.rows.count]).toEqual([undefined, 3]);
  });

  it('compares and counts with values of any size that a cluster may allow, whatever the cache takes', async () => {
    for (const rowCacheBytes of [0, 1024, 1024 * 1024]) {
      const rig = await KvRig.leading({ rowCacheBytes });
      const { engine } = rig;
      // As engines do that read on other threads.
      engine.first = (start, end) => firstByWalk(engine.iterate({ start, end }));
      const large = Buffer.alloc(8 * 1024 * 1024, 7);
      const key = bytes('k');
      for (const value of [Buffer.alloc(0), large, Buffer.alloc(0), large]) {
        const before = await rig.ask({ op: KvOp.get, key });
        const expectation = before.found ? Expectation.value : Expectation.absent;
        const cas = await rig.ask({
          op: KvOp.compareAndSet,
          key,
          expectation,
          expected: before.value ?? bytes(''),
          value,
        });
        expect([cas.error, cas.succeeded]).toEqual([undefined, true]);
        const after = await rig.ask({ op: KvOp.get, key });
        expect(Buffer.compare(after.value ?? bytes(''), value)).toBe(0);
      }
      expect((await rig.ask({ op: KvOp.delete, key })).found).toBe(true);
      expect((await rig.ask({ op: KvOp.get, key })).found).toBe(false);
      const counts = Array.from({ length: 50 }, () => rig.send({ op: KvOp.increment, key, delta: '1' }));
      // After such rows a few are read at a time.
      for (let round = 0; round < 4; round += 1) await rig.run();
      expect(counts.map((sent) => answerOf(sent).number).at(-1)).toBe('50');
    }
  });

  it('deletes what is there, and says when nothing was', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'v');
    expect((await rig.ask({ op: KvOp.delete, key: bytes('k') })).found).toBe(true);
    expect((await rig.ask({ op: KvOp.delete, key: bytes('k') })).found).toBe(false);
    expect(await rig.get('k')).toBeUndefined();
  });

  it('compares with absence, value and version', async () => {
    const rig = await KvRig.leading();
    const cas = (
      expectation: Expectation,
      expected: Uint8Array,
      value: string | undefined,
    ): ReturnType<KvRig['ask']> =>
      rig.ask({
        op: KvOp.compareAndSet,
        key: bytes('k'),
        expectation,
        expected,
        value: value === undefined ? undefined : bytes(value),
      });
    expect((await cas(Expectation.absent, bytes(''), 'a')).succeeded).toBe(true);
    const failed = await cas(Expectation.absent, bytes(''), 'b');
    expect(failed.succeeded).toBe(false);
    expect(text(failed.value)).toBe('a');
    const second = await cas(Expectation.value, bytes('a'), 'c');
    expect(second.succeeded).toBe(true);
    expect((await cas(Expectation.version, failed.version, 'd')).succeeded).toBe(false);
    expect((await cas(Expectation.version, second.version, undefined)).succeeded).toBe(true);
    expect(await rig.get('k')).toBeUndefined();
  });

  it('evaluates the commands of one turn in order, against each other', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '40');
    const first = rig.send({ op: KvOp.increment, key: bytes('n'), delta: '1' });
    const second = rig.send({ op: KvOp.increment, key: bytes('n'), delta: '1' });
    const cas = rig.send({
      op: KvOp.compareAndSet,
      key: bytes('n'),
      expectation: Expectation.value,
      expected: bytes('42'),
      value: bytes('7'),
    });
    const third = rig.send({ op: KvOp.increment, key: bytes('n'), delta: '-9' });
    await rig.turn();
    expect(rig.replica.log).toHaveLength(1);
    await rig.replica.commit();
    expect([first, second, third].map((sent) => answerOf(sent).number)).toEqual(['41', '42', '-2']);
    expect(answerOf(cas).succeeded).toBe(true);
    const versions = [first, second, cas, third].map((sent) => text(answerOf(sent).version));
    expect(new Set(versions).size).toBe(4);
    expect(versions.toSorted()).toEqual(versions);
    expect(await rig.get('n')).toBe('-2');
  });

  it('evaluates against proposals that are still under way', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const sent = [];
    for (let turn = 0; turn < 3; turn += 1) {
      sent.push(rig.send({ op: KvOp.increment, key: bytes('n'), delta: '1' }));
      await rig.turn();
    }
    expect(rig.replica.log).toHaveLength(3);
    await rig.replica.commit(1);
    sent.push(rig.send({ op: KvOp.increment, key: bytes('n'), delta: '1' }));
    await rig.run();
    expect(sent.map((each) => answerOf(each).number)).toEqual(['1', '2', '3', '4']);
  });

  it('refuses sums and values that are no 64-bit integers, without writing', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '9223372036854775807');
    expect((await rig.ask({ op: KvOp.increment, key: bytes('n'), delta: '1' })).error?.code).toBe(
      'FAILED_PRECONDITION',
    );
    await rig.put('n', 'seven');
    expect((await rig.ask({ op: KvOp.increment, key: bytes('n'), delta: '1' })).error?.code).toBe(
      'FAILED_PRECONDITION',
    );
    expect(await rig.get('n')).toBe('seven');
  });

  it('forgets what a refused proposal laid over the rows', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '1');
    const pending = rig.send({ op: KvOp.increment, key: bytes('n'), delta: '1' });
    await rig.turn();
    rig.replica.refusal = 'too-many-uncommitted';
    const refused = rig.send({ op: KvOp.increment, key: bytes('n'), delta: '10' });
    await rig.turn();
    expect(codeOf(refused)).toBe('RESOURCE_EXHAUSTED');
    rig.replica.refusal = 'transferring';
    const transferring = rig.send({ op: KvOp.increment, key: bytes('n'), delta: '100' });
    await rig.turn();
    expect(codeOf(transferring)).toBe('NOT_LEADER');
    rig.replica.refusal = undefined;
    const last = rig.send({ op: KvOp.increment, key: bytes('n'), delta: '1' });
    await rig.run();
    expect(answerOf(pending).number).toBe('2');
    expect(answerOf(last).number).toBe('3');
  });

  it('closes a log entry at its size and begins the next', async () => {
    const rig = await KvRig.leading({ limits: { entryBytesMax: 1_000 } });
    for (let at = 0; at < 10; at += 1) {
      rig.send({ op: KvOp.put, key: bytes(`k${at}`), value: Buffer.alloc(300, at) });
    }
    await rig.turn();
    expect(rig.replica.log.length).toBeGreaterThan(2);
    expect(rig.replica.log.every((entry) => entry.payload.length < 1_500)).toBe(true);
  });

  it('commits a strict write above a timestamp fetched after it arrived', async () => {
    const rig = await KvRig.leading();
    const before = rig.oracle.next;
    const response = await rig.ask({ op: KvOp.put, key: bytes('k'), value: bytes('v'), strict: true });
    expect(rig.oracle.next).toBeGreaterThan(before);
    expect(response.timestamp).toBeGreaterThan(rig.oracle.next);
    rig.oracle.isDown = true;
    const refused = await rig.ask({ op: KvOp.put, key: bytes('k'), value: bytes('w'), strict: true });
    expect(refused.error?.code).toBe('UNAVAILABLE');
    expect(await rig.get('k')).toBe('v');
  });

  it('lets rows expire, and lets an increment keep the time to live', async () => {
    const rig = await KvRig.leading();
    await rig.ask({ op: KvOp.put, key: bytes('n'), value: bytes('1'), ttlMs: 100 });
    await rig.ask({ op: KvOp.increment, key: bytes('n'), delta: '1' });
    expect(await rig.get('n')).toBe('2');
    rig.environment.timestamps.observe(timestamp(rig.max + 101 * TIMESTAMP_LOGICAL_STEPS));
    expect(await rig.get('n')).toBeUndefined();
    const absent = {
      op: KvOp.compareAndSet,
      key: bytes('n'),
      expectation: Expectation.absent,
      value: bytes('x'),
    };
    expect((await rig.ask(absent)).succeeded).toBe(true);
  });
});

describe('a change of the time to live', () => {
  const expire = (ttlMs: number, more: Partial<KvRequest> = {}): Partial<KvRequest> & { op: KvOp } => ({
    ...{ op: KvOp.expire, key: bytes('k'), ttlMs },
    ...more,
  });
  const later = (rig: KvRig, ms: number): void => {
    rig.environment.timestamps.observe(timestamp(rig.max + ms * TIMESTAMP_LOGICAL_STEPS));
  };

  it('keeps the value and begins anew, or ends', async () => {
    const rig = await KvRig.leading();
    const put = await rig.ask({ op: KvOp.put, key: bytes('k'), value: bytes('v'), ttlMs: 100 });
    const longer = await rig.ask(expire(1_000));
    expect(longer).toMatchObject({ error: undefined, found: true });
    expect(longer.timestamp).toBeGreaterThan(put.timestamp - 1);
    expect(Buffer.compare(longer.version, put.version)).toBe(1);
    later(rig, 900);
    expect(await rig.get('k')).toBe('v');
    expect((await rig.ask(expire(0))).found).toBe(true);
    later(rig, 10_000);
    expect(await rig.get('k')).toBe('v');
    await rig.ask(expire(1));
    later(rig, 3);
    expect(await rig.get('k')).toBeUndefined();
  });

  it('of what is not there, or not any more, changes nothing and says so', async () => {
    const rig = await KvRig.leading();
    expect(await rig.ask(expire(100))).toMatchObject({ error: undefined, found: false });
    await rig.ask({ op: KvOp.put, key: bytes('k'), value: bytes('v'), ttlMs: 10 });
    later(rig, 20);
    expect(await rig.ask(expire(0))).toMatchObject({ error: undefined, found: false });
    expect(await rig.get('k')).toBeUndefined();
  });

  it('takes effect once, however often it is sent', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'v');
    const first = await rig.ask(expire(50, { requestId: rig.identity(1) }));
    later(rig, 40);
    const again = await rig.ask(expire(50, { requestId: rig.identity(1, { isRetry: true }) }));
    expect(again).toMatchObject({ found: true, version: first.version, timestamp: first.timestamp });
    later(rig, 20);
    expect(await rig.get('k')).toBeUndefined();
  });
});

describe('a range with many writes at once', () => {
  it('takes a bounded number per turn, in order, and asks for the next turn', async () => {
    const rig = await KvRig.leading();
    const puts = Array.from({ length: 1100 }, (_, at) =>
      rig.send({ op: KvOp.put, key: bytes('k'), value: bytes(String(at)) }),
    );
    const wakesBefore = rig.replica.wakes;
    rig.machine.turn(rig.clock.nowMs());
    expect(rig.replica.wakes).toBe(wakesBefore + 1);
    await rig.replica.commit();
    expect(puts.filter(({ answers }) => answers.length > 0)).toHaveLength(1024);
    await rig.run();
    expect(puts.every((put) => codeOf(put) === undefined)).toBe(true);
    expect(await rig.get('k')).toBe('1099');
  });
});

describe('a range whose leadership goes', () => {
  it('tells everybody under way to look for the leader', async () => {
    const rig = await KvRig.leading();
    const proposed = rig.send({ op: KvOp.put, key: bytes('a'), value: bytes('1') });
    await rig.turn();
    const queued = rig.send({ op: KvOp.put, key: bytes('b'), value: bytes('1') });
    rig.replica.stepDown();
    await rig.turn();
    // The one may still be committed by the next leader, the other surely is not.
    expect(answerOf(proposed).error).toMatchObject({ code: 'NOT_LEADER', isUnclear: true });
    expect(answerOf(queued).error).toMatchObject({ code: 'NOT_LEADER', isUnclear: false, leaderStoreId: 2 });
  });

  it('keeps the cache true when leadership goes between applying and publishing', async () => {
    const rig = await KvRig.leading();
    await rig.put('k', 'old');
    rig.send({ op: KvOp.put, key: bytes('k'), value: bytes('new') });
    await rig.turn();
    const rest = rig.send({ op: KvOp.put, key: bytes('k'), value: bytes('newest') });
    rig.replica.apply();
    rig.replica.stepDown();
    expect(rest.answers).toHaveLength(0);
    await rig.turn();
    expect(codeOf(rest)).toBe('NOT_LEADER');
    await rig.replica.publish();
    await rig.replica.lead();
    expect(await rig.get('k')).toBe('new');
  });

  it('answers a retry of what is acknowledged and not in the engine yet', async () => {
    const rig = await KvRig.leading();
    const fields = { op: KvOp.increment, key: bytes('n'), delta: '1' };
    await rig.ask(fields);
    const first = rig.send({ ...fields, requestId: rig.identity(7) });
    await rig.turn();
    rig.replica.apply();
    const again = rig.send({ ...fields, requestId: rig.identity(7, { isRetry: true, stamp: timestamp(1) }) });
    await rig.turn();
    expect(answerOf(again).number).toBe('2');
    expect(answerOf(again).version).toEqual(answerOf(first).version);
    await rig.replica.publish();
    await rig.run();
    expect(await rig.get('n')).toBe('2');
  });

  it('does not serve in a new term before it has a fresh timestamp', async () => {
    const rig = await KvRig.leading();
    rig.replica.stepDown();
    rig.oracle.isDown = true;
    await rig.replica.lead();
    const put = rig.send({ op: KvOp.put, key: bytes('k'), value: bytes('v') });
    await rig.turn();
    expect(rig.replica.log).toHaveLength(0);
    expect(put.answers).toHaveLength(0);
    rig.oracle.isDown = false;
    await rig.clock.advance(60);
    await rig.run();
    expect(answerOf(put).error).toBeUndefined();
  });

  it('answers everybody when the replica is closed, also those who come later', async () => {
    const rig = await KvRig.leading();
    const proposed = rig.send({ op: KvOp.put, key: bytes('a'), value: bytes('1') });
    await rig.turn();
    const cold = rig.send({ op: KvOp.increment, key: bytes('n'), delta: '1' });
    rig.machine.turn(rig.clock.nowMs());
    const queued = rig.send({ op: KvOp.put, key: bytes('b'), value: bytes('1') });
    rig.machine.closed();
    await rig.turn();
    for (const sent of [proposed, cold, queued, rig.send({ op: KvOp.get, key: bytes('a') })]) {
      expect(codeOf(sent)).toBe('NOT_LEADER');
    }
    expect(rig.environment.machines.size).toBe(0);
  });
});
