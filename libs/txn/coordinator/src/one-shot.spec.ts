import { describe, expect, it } from '@jest/globals';
import { NO_BYTES, RowKind, timestamp } from '@cairn/base';
import { encodeVersionToken } from '@cairn/codec';
import {
  COMMIT_SEQUENCE,
  ConditionKind,
  ExecuteOp,
  type Condition,
  type ExecuteOperation,
  type ReadRow,
} from '@cairn/wire';

import { evaluateOneShot } from './evaluate-one-shot.js';
import { key } from './fake-shards.testing.js';
import { mapKey } from './keys.js';
import { clusterOf, codeOf } from './rig.testing.js';
import type { OneShot } from './types.js';

const none = { value: NO_BYTES, ttlMs: 0, delta: '0' };
const get = (at: string): ExecuteOperation => ({ ...none, op: ExecuteOp.get, key: key(at) });
const put = (at: string, value: string, ttlMs = 0): ExecuteOperation => ({
  ...{ ...none, op: ExecuteOp.put, key: key(at), value: key(value), ttlMs },
});
const remove = (at: string): ExecuteOperation => ({ ...none, op: ExecuteOp.delete, key: key(at) });
const add = (at: string, delta: string): ExecuteOperation => ({
  ...{ ...none, op: ExecuteOp.increment, key: key(at), delta },
});
const condition = (at: string, kind: ConditionKind, operand: Uint8Array = NO_BYTES): Condition => ({
  ...{ key: key(at), kind, operand },
});
const row = (value: string, more: Partial<ReadRow> = {}): ReadRow => ({
  ...{ found: true, value: key(value), version: Buffer.alloc(12, 7), kind: RowKind.bytes, expiresUnixMs: 0 },
  ...more,
});

const START = timestamp(4096 * 1000);
const COMMIT = timestamp(4096 * 2000 + 1);

function evaluate(
  oneShot: Partial<OneShot>,
  rows: Readonly<Record<string, ReadRow>>,
): ReturnType<typeof evaluateOneShot> {
  const byKey = new Map(Object.entries(rows).map(([name, each]) => [mapKey(key(name)), each]));
  return evaluateOneShot({ conditions: [], then: [], otherwise: [], ...oneShot }, byKey, START);
}

describe('a one-shot transaction on rows', () => {
  it('carries out one list or the other', () => {
    const { exists, absent, valueEquals, versionEquals } = ConditionKind;
    const rows = { a: row('1') };
    const outcomes = [
      [condition('a', exists)],
      [condition('b', absent)],
      [condition('a', valueEquals, key('1')), condition('a', versionEquals, Buffer.alloc(12, 7))],
      [condition('a', absent)],
      [condition('b', exists)],
      [condition('a', valueEquals, key('2'))],
      [condition('b', valueEquals, NO_BYTES)],
      [condition('a', versionEquals, Buffer.alloc(12, 8))],
      [condition('a', exists), condition('b', exists)],
    ].map((conditions) => evaluate({ conditions, then: [get('a')], otherwise: [get('b')] }, rows).succeeded);
    expect(outcomes).toEqual([true, true, true, false, false, false, false, false, false]);
  });

  it('lets later operations see earlier ones, and tells what was there', () => {
    const then = [
      get('a'),
      put('a', '5'),
      add('a', '2'),
      get('a'),
      remove('a'),
      get('a'),
      remove('a'),
      add('n', '-3'),
    ];
    const { resultsAt, reads, writes } = evaluate({ then }, { a: row('old') });
    const version = encodeVersionToken(COMMIT, COMMIT_SEQUENCE);
    expect(resultsAt(COMMIT)).toEqual([
      { op: ExecuteOp.get, row: row('old') },
      { op: ExecuteOp.put, version },
      { op: ExecuteOp.increment, number: '7', version },
      { op: ExecuteOp.get, row: row('7', { version }) },
      { op: ExecuteOp.delete, existed: true, version },
      { op: ExecuteOp.get, row: expect.objectContaining({ found: false }) },
      { op: ExecuteOp.delete, existed: false, version: NO_BYTES },
      { op: ExecuteOp.increment, number: '-3', version },
    ]);
    expect(writes).toEqual([
      { type: 'delete', key: key('a') },
      { type: 'put', key: key('n'), value: key('-3'), ttlMs: 0 },
    ]);
    expect(reads).toEqual([]);
  });

  it('depends on what it read and does not write, and on rows that may expire', () => {
    const rows = { a: row('1'), b: row('2', { expiresUnixMs: 5 }), c: row('3') };
    const { reads } = evaluate(
      {
        conditions: [condition('c', ConditionKind.exists)],
        then: [get('d'), put('a', ''), put('b', '')],
        otherwise: [get('e')],
      },
      rows,
    );
    expect(reads.map(String)).toEqual(['c', 'd', 'b']);
  });

  it('keeps what a counter has left to live', () => {
    const { writes, resultsAt } = evaluate(
      { then: [add('a', '1'), get('a')] },
      { a: row('1', { expiresUnixMs: 1_767_225_601_500 }) },
    );
    expect(writes).toMatchObject([{ ttlMs: 500 }]);
    expect(resultsAt(COMMIT)[1]).toMatchObject({ row: { expiresUnixMs: 1_767_225_600_000 + 2_001 + 500 } });
    expect(evaluate({ then: [put('a', '1', 9), add('a', '1')] }, {}).writes).toMatchObject([{ ttlMs: 9 }]);
  });

  it('refuses what operations refuse on their own', () => {
    const set = { a: row('', { kind: RowKind.set }) };
    const { valueEquals, versionEquals, exists, absent } = ConditionKind;
    for (const kind of [valueEquals, versionEquals]) {
      expect(() => evaluate({ conditions: [condition('a', kind)] }, set)).toThrow(
        'the key holds a set, not bytes',
      );
    }
    expect(() => evaluate({ then: [add('a', '1')] }, set)).toThrow(
      expect.objectContaining({ code: 'WRONG_KIND' }),
    );
    expect(() => evaluate({ then: [add('a', '1')] }, { a: row('x') })).toThrow('not a decimal integer');
    expect(() => evaluate({ then: [add('a', '1')] }, { a: row('9223372036854775807') })).toThrow('64 bits');
    expect(
      evaluate({ conditions: [condition('a', exists)], then: [get('a'), put('a', '1')] }, set).writes,
    ).toHaveLength(1);
    expect(evaluate({ conditions: [condition('a', absent)] }, set).succeeded).toBe(false);
  });
});

describe('the answers of a one-shot transaction', () => {
  it('have a bound', () => {
    const rows = { a: row('x'.repeat(1024 * 1024)) };
    const gets = (count: number): ExecuteOperation[] => new Array<ExecuteOperation>(count).fill(get('a'));
    expect(evaluate({ then: gets(32) }, rows).succeeded).toBe(true);
    expect(() => evaluate({ then: gets(33) }, rows)).toThrow(
      expect.objectContaining({ code: 'TRANSACTION_TOO_LARGE', details: { limit: 32 * 1024 * 1024 } }),
    );
  });
});

describe('a one-shot transaction in a cluster', () => {
  const transfer: OneShot = {
    conditions: [condition('a', ConditionKind.exists)],
    then: [add('a', '-10'), add('z', '10')],
    otherwise: [put('a', '100'), put('z', '0')],
  };

  it('is one command in one range, and none beforehand', async () => {
    const rig = await clusterOf([]);
    const { succeeded } = await rig.settle(rig.coordinator.execute(transfer, rig.times()));
    const { results } = await rig.settle(rig.coordinator.execute(transfer, rig.times()));
    expect(succeeded).toBe(false);
    expect(results).toMatchObject([{ number: '90' }, { number: '10' }]);
    expect(rig.commands).toEqual(['execute', 'execute']);
  });

  it('is read here and committed over several ranges, again and again while others come in between', async () => {
    const rig = await clusterOf(['m']);
    await rig.settle(rig.coordinator.execute(transfer, rig.times()));
    const many = Array.from({ length: 8 }, () => rig.coordinator.execute(transfer, rig.times(60_000)));
    await rig.settle(Promise.all(many));
    await rig.run(50);
    expect(await rig.read(['a', 'z'])).toEqual(['20', '80']);
    expect(rig.shards.rows.locks.size).toBe(0);
  });

  it('writes nothing without writing, and is told of where it stands', async () => {
    const rig = await clusterOf(['m']);
    const { commit, results } = await rig.settle(
      rig.coordinator.execute({ conditions: [], then: [get('a'), get('z')], otherwise: [] }, rig.times()),
    );
    expect(commit).toBeGreaterThan(0);
    expect(results).toHaveLength(2);
    expect(rig.commands).toEqual(['batchGet', 'batchGet']);
  });

  it('reads what it looks at, not what it puts', async () => {
    const rig = await clusterOf(['m']);
    await rig.settle(rig.commit(0, { a: 'long', z: 'long' }));
    const then = [put('a', '1'), put('z', '2'), put('b', '3'), get('b')];
    const oneShot = { conditions: [condition('y', ConditionKind.absent)], then, otherwise: [put('c', '4')] };
    await rig.settle(rig.coordinator.execute(oneShot, rig.times()));
    expect(await rig.read(['a', 'z', 'b', 'c'])).toEqual(['1', '2', '3', undefined]);
    const read = (): string[] =>
      rig.shards.served.flatMap(({ command }) =>
        command?.type === 'batchGet' ? command.keys.map(String) : [],
      );
    expect(read().slice(0, 2).sort()).toEqual(['b', 'y']);
    const before = read().length;
    const puts = { conditions: [], then: then.slice(0, 2), otherwise: [] };
    await rig.settle(rig.coordinator.execute(puts, rig.times()));
    expect(read()).toHaveLength(before);
  });

  it('reads no more than a transaction may hold', async () => {
    const rig = await clusterOf(['m'], { bytesMax: 20 });
    await rig.settle(rig.put('a', 'x'.repeat(15)));
    await rig.settle(rig.put('z', 'x'.repeat(15)));
    const oneShot = { conditions: [], then: [get('a'), get('z'), put('b', '1')], otherwise: [] };
    expect(await codeOf(rig.settle(rig.coordinator.execute(oneShot, rig.times())))).toBe(
      'TRANSACTION_TOO_LARGE',
    );
    expect(await rig.read(['b'])).toEqual([undefined]);
  });

  it('has some operations, and not too many', async () => {
    const rig = await clusterOf([]);
    const executed = (oneShot: Partial<OneShot>): Promise<string> =>
      codeOf(rig.coordinator.execute({ conditions: [], then: [], otherwise: [], ...oneShot }, rig.times()));
    expect(await executed({})).toBe('INVALID_ARGUMENT');
    const many = new Array<ExecuteOperation>(65).fill(get('a'));
    expect(await executed({ then: many, otherwise: many })).toBe('TRANSACTION_TOO_LARGE');
    expect(await executed({ then: [add('a', '9223372036854775808')] })).toBe('INVALID_ARGUMENT');
  });
});

describe('a read at a snapshot', () => {
  it('takes a fresh one when none is named, and tells which', async () => {
    const rig = await clusterOf(['m']);
    await rig.settle(rig.put('a', '1'));
    const { timestamp: at, rows } = await rig.settle(
      rig.coordinator.snapshotGet([key('z'), key('a'), key('a')], undefined, rig.times()),
    );
    expect(rows.map(({ found }) => found)).toEqual([false, true, true]);
    await rig.settle(rig.put('a', '2'));
    expect(await rig.read(['a'], at)).toEqual(['1']);
  });

  it('refuses one that is too old, and one that nobody has issued', async () => {
    const rig = await clusterOf([]);
    const at = await rig.begin();
    rig.shards.rows.readableSince = at;
    expect(await codeOf(rig.read(['a'], timestamp(at - 1)))).toBe('FAILED_PRECONDITION');
    expect(await codeOf(rig.read(['a'], timestamp(at + 4096 * 60_000)))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(rig.settle(rig.commit(timestamp(at - 1), { a: '1' })))).toBe('TRANSACTION_ABORTED');
  });

  it('asks on where a store answers for some of the keys only', async () => {
    const rig = await clusterOf([]);
    await rig.settle(rig.commit(0, { a: '1', b: '2', c: '3' }));
    rig.shards.rowsMax = 1;
    expect(await rig.read(['a', 'b', 'c', 'd'])).toEqual(['1', '2', '3', undefined]);
    expect(rig.commands.filter((type) => type === 'batchGet')).toHaveLength(4);
  });
});
