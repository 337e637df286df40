import { beforeEach, describe, expect, it } from '@jest/globals';
import { RowKind, timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { encodeRow, encodeVersionKey, encodeVersionToken, startOfRecord } from '@cairn/mvcc';
import { ConditionKind, ExecuteOp, KvOp, type Condition, type TxnReply } from '@cairn/wire';

import { answerOf, bytes, codeOf, descriptorOf, settle, type Sent } from '../kv-rig.testing.js';
import { deleteOf, getOf, incrementOf, prewriteOf, putOf, replyOf, TxnRig } from './txn-rig.testing.js';

/*
 * Goal: transactions of one range (T4, T5, T10, T14). Method: commands to one range whose log commits when
 * the test says so, beside plain operations and other transactions.
 */

let rig: TxnRig;
beforeEach(async () => {
  rig = await TxnRig.leading();
});

const conditionOf = (key: string, kind: ConditionKind, operand: Uint8Array = bytes('')): Condition => ({
  key: bytes(key),
  kind,
  operand,
});

function commitIn(reply: TxnReply): number {
  if (reply.type !== 'executed') throw new Error(`${reply.type} instead of executed`);
  return reply.commit;
}

describe('a transaction of one range', () => {
  it('is there whole, at one timestamp above one that was issued after it came (T4)', async () => {
    await rig.kv.put('a', 'old');
    const before = rig.issue();
    const start = rig.issue();
    const reply = await rig.run({ start, then: [putOf('a', '1'), putOf('b', '2'), deleteOf('c')] });
    const commit = timestamp(commitIn(reply));
    expect(commit).toBeGreaterThan(before);
    expect(reply).toMatchObject({
      succeeded: true,
      isForgotten: false,
      results: [{}, {}, { existed: false }],
    });
    expect([await rig.getAt('a', timestamp(commit - 1)), await rig.getAt('a', commit)]).toEqual(['old', '1']);
    const record = rig.kv.engine.get(encodeVersionKey(bytes('b'), commit, 0));
    expect(record && startOfRecord(record)).toBe(start);
  });

  it('sees its own operations, in their order', async () => {
    await rig.kv.put('n', '4');
    const reply = await rig.run({
      then: [
        ...[getOf('n'), incrementOf('n', 3), getOf('n'), putOf('a', 'x'), getOf('a'), deleteOf('a')],
        ...[getOf('a'), incrementOf('a', -2)],
      ],
    });
    const version = expect.any(Buffer) as unknown;
    const row = (value: string): object => ({ row: { found: true, value: bytes(value) } });
    expect(reply).toMatchObject({
      results: [
        ...[row('4'), { number: '7', version }, row('7'), { version }, row('x'), { existed: true }],
        ...[{ row: { found: false } }, { number: '-2' }],
      ],
    });
    expect([await rig.get('n'), await rig.get('a')]).toEqual(['7', '-2']);
  });

  it('goes on with the other operations when a condition does not hold', async () => {
    const { version } = await rig.kv.put('a', '1');
    const all = [
      conditionOf('a', ConditionKind.exists),
      conditionOf('b', ConditionKind.absent),
      conditionOf('a', ConditionKind.valueEquals, bytes('1')),
      conditionOf('a', ConditionKind.versionEquals, version),
    ];
    const then = [putOf('yes', '1')];
    const otherwise = [putOf('no', '1')];
    expect(await rig.run({ conditions: all, then, otherwise })).toMatchObject({ succeeded: true });
    const unmet = [
      conditionOf('a', ConditionKind.absent),
      conditionOf('b', ConditionKind.exists),
      conditionOf('a', ConditionKind.valueEquals, bytes('2')),
      conditionOf('b', ConditionKind.valueEquals, bytes('')),
      conditionOf('a', ConditionKind.versionEquals, encodeVersionToken(timestamp(1), 0)),
    ];
    for (const condition of unmet) {
      const reply = await rig.run({
        conditions: [...all, condition],
        then: [putOf('never', '1')],
        otherwise,
      });
      expect(reply).toMatchObject({ succeeded: false, results: [{}] });
    }
    expect([await rig.get('yes'), await rig.get('no'), await rig.get('never')]).toEqual([
      '1',
      '1',
      undefined,
    ]);
  });

  it('seals its timestamp: what comes at it later replaces none of its rows (T5)', async () => {
    const start = rig.issue();
    const sent = [
      rig.execute({ start, then: [putOf('a', '1')] }),
      rig.execute({ start: timestamp(0), then: [putOf('a', '2')] }),
    ];
    await rig.kv.turn();
    await settle();
    const put = rig.kv.send({ op: KvOp.put, key: bytes('a'), value: bytes('3') });
    await rig.kv.run();
    const [one, other] = sent.map((each) => commitIn(replyOf(each)));
    expect(other).toBe(one);
    expect(answerOf(put).timestamp).toBe(one);
    const at = timestamp(one ?? 0);
    const step = 2 ** 21;
    const rows = [0, step, 2 * step].map((sequence) =>
      rig.kv.engine.get(encodeVersionKey(bytes('a'), at, sequence)),
    );
    expect(rows.every((row) => row !== undefined)).toBe(true);
    expect(await rig.getAt('a', at)).toBe('3');
  });

  it('waits for another timestamp when one has no step left', async () => {
    const sent = Array.from({ length: 1_030 }, (_, at) => rig.execute({ then: [putOf(`k${at}`, '1')] }));
    await rig.kv.run();
    const commits = new Set(sent.map((each) => commitIn(replyOf(each))));
    expect(commits.size).toBe(2);
  });

  it('is refused as a whole for what single operations are refused for', async () => {
    const header = { timestamp: rig.kv.max, sequence: 0, expiry: timestamp(0), tombstone: false };
    const batch = rig.kv.engine.newBatch();
    const key = encodeVersionKey(bytes('hash'), rig.kv.max, 0);
    batch.put(...encodeRow(key, { ...header, kind: RowKind.hash, value: Buffer.of(0) }));
    await rig.kv.engine.write(batch);
    await rig.kv.put('text', 'x');
    const codes: (string | undefined)[] = [];
    const condition = conditionOf('hash', ConditionKind.valueEquals, bytes('1'));
    for (const command of [
      { then: [putOf('a', '1'), incrementOf('text', 1)] },
      { then: [putOf('a', '1'), incrementOf('hash', 1)] },
      { conditions: [condition], then: [putOf('a', '1')] },
    ]) {
      const sent = rig.execute(command);
      await rig.kv.run();
      codes.push(codeOf(sent));
    }
    expect(codes).toEqual(['FAILED_PRECONDITION', 'WRONG_KIND', 'WRONG_KIND']);
    expect(await rig.run({ then: [getOf('hash')] })).toMatchObject({
      results: [{ row: { found: true, kind: RowKind.hash, value: bytes('') } }],
    });
    expect(await rig.get('a')).toBeUndefined();
  });
});

describe('its answers', () => {
  it('have a bound, and beyond nothing happens', async () => {
    const value = 'x'.repeat(1024 * 1024);
    await rig.kv.put('a', value);
    const gets = (count: number) => new Array<ReturnType<typeof getOf>>(count).fill(getOf('a'));
    expect(await rig.run({ then: gets(32) })).toMatchObject({ type: 'executed' });
    const sent = rig.execute({ then: [putOf('b', '1'), ...gets(33)] });
    await rig.kv.run();
    expect(codeOf(sent)).toBe('TRANSACTION_TOO_LARGE');
    expect(answerOf(sent).error?.message).toContain('at most 33554432 bytes');
    expect(await rig.get('b')).toBeUndefined();
  });
});

describe('its reads', () => {
  it('must be the newest there is, under way too', async () => {
    const start = rig.issue();
    rig.kv.environment.timestamps.observe(start);
    const reads = [bytes('a')];
    expect(await rig.run({ start, reads, then: [putOf('b', '1')] })).toMatchObject({ type: 'executed' });
    rig.kv.send({ op: KvOp.put, key: bytes('a'), value: bytes('1') });
    const sent = rig.execute({ start, reads, then: [putOf('b', '2')] });
    await rig.kv.run();
    expect(replyOf(sent)).toMatchObject({ type: 'conflict', key: bytes('a') });
    expect(await rig.get('b')).toBe('1');
  });

  it('are in conflict only with what stays', async () => {
    const start = rig.issue();
    rig.kv.environment.timestamps.observe(start);
    const requestId = rig.kv.identity(1);
    const command = { start, reads: [bytes('a')], then: [putOf('b', '1')] };
    const begin = async (): Promise<Sent> => {
      rig.kv.send({ op: KvOp.put, key: bytes('a'), value: bytes('1') });
      const sent = rig.execute(command, { requestId: { ...requestId } });
      await rig.kv.turn();
      await rig.kv.turn();
      expect(sent.answers).toEqual([]);
      return sent;
    };
    // The row that it is in conflict with is lost, and so is what it came to.
    const lost = await begin();
    rig.kv.replica.stepDown();
    expect(codeOf(lost)).toBe('NOT_LEADER');
    rig.kv.replica.log.splice(0);
    await rig.kv.replica.lead();
    const told = await begin();
    await rig.kv.run();
    expect(replyOf(told)).toMatchObject({ type: 'conflict', key: bytes('a') });
    const entries = rig.kv.replica.history.length;
    const again = await rig.run(command, { requestId: { ...requestId, isRetry: true } });
    expect(again).toMatchObject({ type: 'conflict', key: bytes('a') });
    // What rests on a row that stays needs no entry.
    expect(await rig.run(command)).toMatchObject({ type: 'conflict' });
    expect(rig.kv.replica.history.length).toBe(entries);
  });

  it('must not have expired by then (H6)', async () => {
    await rig.kv.ask({ op: KvOp.put, key: bytes('a'), value: bytes('1'), ttlMs: 50 });
    const start = rig.issue();
    rig.kv.oracle.next += 60 * TIMESTAMP_LOGICAL_STEPS;
    expect(await rig.run({ start, reads: [bytes('a')], then: [putOf('b', '1')] })).toMatchObject({
      type: 'conflict',
      newest: 0,
    });
    const after = rig.issue();
    expect(await rig.run({ start: after, reads: [bytes('a')], then: [putOf('b', '1')] })).toMatchObject({
      type: 'executed',
    });
  });

  it('are of writes, too, where it says so', async () => {
    const start = rig.issue();
    rig.kv.environment.timestamps.observe(start);
    await rig.kv.put('a', '1');
    const then = [putOf('a', '2')];
    expect(await rig.run({ start, checksWrites: true, then })).toMatchObject({ type: 'conflict' });
    expect(await rig.run({ start, checksWrites: false, then })).toMatchObject({ type: 'executed' });
  });

  it('may be too old, and then stay so for a late sending (T15)', async () => {
    const start = rig.issue();
    rig.kv.environment.timestamps.observe(rig.issue());
    const purge = { keys: [], safePoint: rig.kv.max, bytes: 0, term: rig.kv.replica.term, version: 1 };
    const purging = rig.kv.machine.purge(purge);
    await rig.kv.run();
    await purging;
    const requestId = rig.kv.identity(1);
    const command = { start, reads: [bytes('a')], then: [putOf('a', '1')] };
    expect(await rig.run(command, { requestId })).toMatchObject({ type: 'tooOld' });
    const again = await rig.run(
      { ...command, start: rig.issue() },
      { requestId: { ...requestId, isRetry: true } },
    );
    expect(again).toMatchObject({ type: 'tooOld' });
  });
});

describe('locks and other ranges', () => {
  it('stop it before anything is done', async () => {
    const holder = rig.issue();
    rig.write(prewriteOf(holder, { b: '1' }));
    const sent = rig.execute({ then: [putOf('a', '1'), getOf('b')] });
    await rig.kv.run();
    expect(answerOf(sent).error).toMatchObject({ code: 'LOCKED', locks: [{ start: holder }] });
    expect(await rig.get('a')).toBeUndefined();
  });

  it('keys elsewhere do, too, but a retry is known first', async () => {
    rig = await TxnRig.leading({ descriptor: descriptorOf('a', 'm') });
    const requestId = rig.kv.identity(1);
    const first = await rig.run({ then: [putOf('a', '1')] }, { requestId });
    const elsewhere = { then: [putOf('a', '1'), putOf('z', '1')] };
    expect(await rig.run(elsewhere)).toEqual({ type: 'regroup' });
    expect(await rig.run(elsewhere, { requestId: { ...requestId, isRetry: true } })).toEqual(first);
  });
});

describe('a retry (T14)', () => {
  it('is answered with what happened, while it is under way and afterwards', async () => {
    const command = { then: [incrementOf('n', 1)] };
    const requestId = rig.kv.identity(1);
    const first = rig.execute(command, { requestId });
    await rig.kv.turn();
    await rig.kv.turn();
    const second = rig.execute(command, { requestId: { ...requestId, isRetry: true } });
    await rig.kv.run();
    const third = await rig.run(command, { requestId: { ...requestId, isRetry: true } });
    expect([replyOf(second), third]).toEqual([replyOf(first), replyOf(first)]);
    expect(await rig.get('n')).toBe('1');
  });

  it('of what came to nothing is not judged anew', async () => {
    const command = { conditions: [conditionOf('a', ConditionKind.exists)], then: [putOf('b', '1')] };
    const requestId = rig.kv.identity(1);
    expect(await rig.run(command, { requestId })).toMatchObject({ succeeded: false });
    await rig.kv.put('a', '1');
    const again = await rig.run(command, { requestId: { ...requestId, isRetry: true } });
    expect(again).toMatchObject({ succeeded: false });
    expect(await rig.get('b')).toBeUndefined();
  });

  it('hears that answers were too long to be kept', async () => {
    await rig.kv.put('a', 'x'.repeat(20_000));
    const command = { then: [getOf('a'), putOf('b', '1')] };
    const requestId = rig.kv.identity(1);
    const first = await rig.run(command, { requestId });
    expect(first).toMatchObject({ isForgotten: false, results: [{ op: ExecuteOp.get }, {}] });
    const again = await rig.run(command, { requestId: { ...requestId, isRetry: true } });
    expect(again).toMatchObject({ commit: commitIn(first), isForgotten: true, results: [] });
  });
});

describe('one that only reads', () => {
  it('needs no entry while nothing is under way', async () => {
    await rig.kv.put('a', '1');
    const entries = rig.kv.replica.history.length;
    expect(await rig.run({ then: [getOf('a')] })).toMatchObject({
      results: [{ row: { value: bytes('1') } }],
    });
    expect(rig.kv.replica.history.length).toBe(entries);
  });

  it('shows nothing that may come to nothing, and nothing without a lease', async () => {
    rig.kv.send({ op: KvOp.put, key: bytes('a'), value: bytes('1') });
    const sent = rig.execute({ then: [getOf('a')] });
    await rig.kv.turn();
    await rig.kv.turn();
    expect(sent.answers.length).toBe(0);
    await rig.kv.run();
    expect(replyOf(sent)).toMatchObject({ results: [{ row: { value: bytes('1') } }] });
    rig.kv.replica.hasLeaseNow = false;
    const entries = rig.kv.replica.history.length;
    expect(await rig.run({ then: [getOf('a')] })).toMatchObject({
      results: [{ row: { value: bytes('1') } }],
    });
    expect(rig.kv.replica.history.length).toBe(entries + 1);
  });

  it('waits for no oracle that is down', async () => {
    rig.kv.oracle.isDown = true;
    const sent = rig.execute({ then: [getOf('a')] });
    await rig.kv.run();
    expect(codeOf(sent)).toBe('UNAVAILABLE');
  });
});
