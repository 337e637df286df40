import { beforeEach, describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { KvOp, type TxnReply, type ValidateCommand } from '@cairn/wire';

import { answerOf, bytes, codeOf, descriptorOf, KvRig } from '../kv-rig.testing.js';
import { commitOf, prewriteOf, replyOf, TxnRig } from './txn-rig.testing.js';

/*
 * Goal: reads of several keys and validations (T7, T10, T12, T13, T15). Method: commands to one range whose
 * log commits when the test says so.
 */

let rig: TxnRig;
beforeEach(async () => {
  rig = await TxnRig.leading();
});

function valuesIn(reply: TxnReply): (string | undefined)[] {
  if (reply.type !== 'rows') throw new Error(`${reply.type} instead of rows`);
  return reply.rows.map(({ found, value }) => (found ? Buffer.from(value).toString() : undefined));
}

async function codeOfRead(keys: readonly string[], at: Timestamp): Promise<string | undefined> {
  try {
    await rig.batchGet(keys, at);
    return undefined;
  } catch (error) {
    return (error as Error).message.split(':')[0];
  }
}

describe('reads of several keys', () => {
  it('show each as of the timestamp, or the newest', async () => {
    await rig.kv.put('a', '1');
    const at = rig.issue();
    rig.kv.environment.timestamps.observe(at);
    await rig.kv.put('a', '2');
    await rig.kv.put('c', '3');
    expect(valuesIn(await rig.batchGet(['a', 'b', 'c'], at))).toEqual(['1', undefined, undefined]);
    expect(valuesIn(await rig.batchGet(['c', 'a', 'b'], timestamp(0)))).toEqual(['3', '2', undefined]);
  });

  it('of many keys and of cold ones come in steps', async () => {
    const keys = Array.from({ length: 600 }, (_, at) => `k${at}`);
    for (const key of keys) rig.kv.send({ op: KvOp.put, key: bytes(key), value: bytes(key) });
    await rig.kv.run();
    rig.kv.environment.rowCache.clear();
    for (const at of [timestamp(0), rig.issue()]) {
      const sent = rig.read({ type: 'batchGet', at, keys: keys.map(bytes) });
      for (let round = 0; round < 5; round += 1) {
        await rig.kv.run();
        rig.kv.clock.runDeferred();
      }
      expect(valuesIn(replyOf(sent))).toEqual(keys);
    }
    expect(rig.kv.environment.readRoom.heldBytes).toBe(0);
  });

  it('of more bytes than one answer has are answered in part', async () => {
    rig = await TxnRig.leading({ limits: { readBytesMax: 256 * 1024 * 1024 } });
    const keys = Array.from({ length: 40 }, (_, at) => `k${at}`);
    for (const key of keys) {
      rig.kv.send({ op: KvOp.put, key: bytes(key), value: Buffer.alloc(1024 * 1024, key) });
      await rig.kv.run();
    }
    for (const at of [timestamp(0), rig.issue()]) {
      const sent = rig.read({ type: 'batchGet', at, keys: keys.map(bytes) });
      for (let round = 0; round < 5; round += 1) {
        await rig.kv.run();
        rig.kv.clock.runDeferred();
      }
      expect(valuesIn(replyOf(sent))).toHaveLength(32);
    }
    expect(rig.kv.environment.readRoom.heldBytes).toBe(0);
  });

  it('are stopped by locks that matter, and only by those', async () => {
    await rig.kv.put('a', 'old');
    const below = rig.issue();
    const start = rig.issue();
    rig.write(prewriteOf(start, { a: '1' }));
    await rig.kv.run();
    expect(await codeOfRead(['b', 'a'], timestamp(0))).toBe('LOCKED');
    expect(await codeOfRead(['b', 'a'], rig.issue())).toBe('LOCKED');
    expect(valuesIn(await rig.batchGet(['a'], below))).toEqual(['old']);
    const passing = { ignoreLocks: [start] };
    expect(valuesIn(await rig.batchGet(['a'], timestamp(0), passing))).toEqual(['old']);
    expect(valuesIn(await rig.batchGet(['a'], rig.issue(), passing))).toEqual(['old']);
  });

  it('are refused elsewhere, below what is remembered, and without a leader', async () => {
    const old = rig.issue();
    rig.kv.environment.timestamps.observe(rig.issue());
    const purge = { keys: [], safePoint: rig.kv.max, bytes: 0, term: rig.kv.replica.term, version: 1 };
    const purging = rig.kv.machine.purge(purge);
    await rig.kv.run();
    await purging;
    expect(await codeOfRead(['a'], old)).toBe('FAILED_PRECONDITION');
    rig.kv.replica.hasLeaseNow = false;
    const sent = rig.batchGet(['a'], timestamp(0));
    rig.kv.replica.answerReads(false);
    await expect(sent).rejects.toThrow();
    rig = await TxnRig.leading({ descriptor: descriptorOf('a', 'm') });
    expect(await rig.batchGet(['a', 'z'], timestamp(0))).toEqual({ type: 'regroup' });
  });
});

describe('a read at a timestamp', () => {
  it('stays as it was under the next leader, on a node that has heard of nothing (T17)', async () => {
    const at = rig.issue();
    expect(await rig.getAt('a', at)).toBeUndefined();
    const next = new TxnRig(new KvRig());
    expect(next.kv.max).toBeLessThan(at);
    next.kv.oracle.next = rig.kv.oracle.next;
    await next.kv.replica.lead();
    expect((await next.kv.put('a', '1')).timestamp).toBeGreaterThan(at);
    expect(await next.getAt('a', at)).toBeUndefined();
  });
});

describe('validation (T10)', () => {
  const VALID = { type: 'valid' };

  async function validate(
    start: Timestamp,
    commit: Timestamp,
    read: { keys?: readonly string[]; spans?: readonly (readonly [string, string])[] },
    ignoreLocks: readonly Timestamp[] = [],
  ): Promise<TxnReply> {
    const command: ValidateCommand = {
      ...{ type: 'validate', start, commit, keys: (read.keys ?? []).map(bytes) },
      spans: (read.spans ?? []).map(([from, to]) => ({ start: bytes(from), end: bytes(to) })),
    };
    return rig.askRead(command, { ignoreLocks });
  }

  it('finds what was written in between, at the commit too, in keys and in spans that were empty', async () => {
    await rig.kv.put('a', '1');
    const start = rig.issue();
    rig.kv.environment.timestamps.observe(start);
    const put = await rig.kv.put('b', '1');
    const commit = put.timestamp;
    const later = rig.issue();
    expect(await validate(start, commit, { keys: ['a', 'c'], spans: [['c', '']] })).toEqual(VALID);
    for (const read of [
      { keys: ['a', 'b'] },
      { spans: [['b', 'c']] as const },
      { spans: [['', '']] as const },
    ]) {
      expect(await validate(start, commit, read)).toEqual({
        type: 'conflict',
        key: bytes('b'),
        newest: commit,
      });
      expect(await validate(start, later, read)).toMatchObject({ type: 'conflict' });
    }
  });

  it('sees deletions, and what is no longer the newest', async () => {
    await rig.kv.put('a', '1');
    const start = rig.issue();
    rig.kv.environment.timestamps.observe(start);
    const deleted = await rig.kv.ask({ op: KvOp.delete, key: bytes('a') });
    rig.kv.environment.timestamps.observe(rig.issue());
    await rig.kv.put('a', '1');
    const commit = deleted.timestamp;
    expect(await validate(start, commit, { keys: ['a'] })).toMatchObject({ newest: commit });
    expect(await validate(start, commit, { spans: [['a', 'b']] })).toMatchObject({ newest: commit });
  });

  it('takes the end of a time to live for a change', async () => {
    await rig.kv.ask({ op: KvOp.put, key: bytes('a'), value: bytes('1'), ttlMs: 50 });
    const start = rig.issue();
    const before = rig.issue();
    rig.kv.oracle.next += 60 * TIMESTAMP_LOGICAL_STEPS;
    const after = rig.issue();
    const much = rig.issue();
    for (const read of [{ keys: ['a'] }, { spans: [['a', 'b']] as const }]) {
      expect(await validate(start, before, read)).toEqual(VALID);
      rig.kv.environment.timestamps.observe(much);
      expect(await validate(start, after, read)).toMatchObject({ type: 'conflict', newest: 0 });
      expect(await validate(after, much, read)).toEqual(VALID);
    }
  });

  it('is stopped by locks of others that may commit at or below, and not by its own', async () => {
    const start = rig.issue();
    await rig.prewrite(start, { own: '1' });
    const other = rig.issue();
    await rig.prewrite(other, { a: '1' });
    const commit = rig.issue();
    const both = { keys: ['own', 'a'] };
    await expect(validate(start, commit, both)).rejects.toThrow('LOCKED');
    await expect(validate(start, commit, { spans: [['a', '']] })).rejects.toThrow('LOCKED');
    expect(await validate(start, commit, both, [other])).toEqual(VALID);
    expect(await validate(start, commit, { keys: ['own', 'z'] })).toEqual(VALID);
  });

  it('makes later writes come above the commit', async () => {
    const start = rig.issue();
    const commit = rig.issue();
    expect(await validate(start, commit, { keys: ['a'] })).toEqual(VALID);
    expect((await rig.kv.put('a', '1')).timestamp).toBeGreaterThan(commit);
    expect(await validate(start, commit, { keys: ['a'] })).toEqual(VALID);
  });

  it('waits for a commit at or below that is under way', async () => {
    const start = rig.issue();
    const other = rig.issue();
    await rig.prewrite(other, { a: '1' });
    const theirs = rig.issue();
    const commit = rig.issue();
    rig.write(commitOf(other, theirs, 'a'));
    expect(await validate(start, commit, { keys: ['a'] })).toMatchObject({
      type: 'conflict',
      newest: theirs,
    });
  });

  it('is refused when its start is no longer remembered, elsewhere, and by who was deposed', async () => {
    const start = rig.issue();
    rig.kv.replica.hasLeaseNow = false;
    const sent = rig.kv.send({ op: KvOp.get, key: bytes('a') });
    await rig.kv.turn();
    rig.kv.replica.answerReads(false);
    expect(codeOf(sent)).toBe('NOT_LEADER');
    rig.kv.replica.hasLeaseNow = true;
    const safePoint = rig.issue();
    rig.kv.environment.timestamps.observe(safePoint);
    const purging = rig.kv.machine.purge({
      keys: [],
      safePoint,
      bytes: 0,
      term: rig.kv.replica.term,
      version: 1,
    });
    await rig.kv.run();
    await purging;
    expect(await validate(start, rig.issue(), { keys: ['a'] })).toMatchObject({ type: 'tooOld' });
    rig = await TxnRig.leading({ descriptor: descriptorOf('a', 'm') });
    const [from, to] = [rig.issue(), rig.issue()];
    expect(await validate(from, to, { keys: ['a'], spans: [['b', '']] })).toEqual({ type: 'regroup' });
    expect(await validate(from, to, { spans: [['b', 'm']] })).toEqual(VALID);
  });
});

describe('a lock that is going', () => {
  it('stops a read at a timestamp only until it is gone', async () => {
    const start = rig.issue();
    await rig.prewrite(start, { a: '1' });
    const commit = rig.issue();
    rig.write(commitOf(start, commit, 'a'));
    await rig.kv.turn();
    rig.kv.replica.apply();
    const sent = rig.kv.send({ op: KvOp.get, key: bytes('a'), consistency: 2, readTimestamp: commit });
    await rig.kv.turn();
    expect(sent.answers).toEqual([]);
    await rig.kv.run();
    expect(answerOf(sent).value).toEqual(bytes('1'));
  });
});
