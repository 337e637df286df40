import { describe, expect, it } from '@jest/globals';
import { RowKind, timestamp } from '@cairn/base';
import {
  encodeLockRow,
  encodeRow,
  encodeTransactionRow,
  encodeVersionKey,
  LockRowOp,
  NO_EXPIRY,
} from '@cairn/mvcc';

import type { ReplicaState } from './replicas.js';
import { lockFaults, transactionFaults } from './transactions.js';

type Row = readonly [Buffer, Buffer];

const START = timestamp(10);
const version = (key: string, at: number, start = START): Row => {
  const plain = { expiry: NO_EXPIRY, tombstone: false, kind: RowKind.bytes, value: Buffer.from('v') };
  const record = { timestamp: timestamp(at), sequence: 1, ...plain };
  return encodeRow(encodeVersionKey(Buffer.from(key), timestamp(at), 1), record, start);
};
const decided = (key: string, commit: number): Row =>
  encodeTransactionRow(Buffer.from(key), START, timestamp(commit));

function state(...rows: Row[]): ReplicaState {
  const held = new Map(rows.map(([key, record]) => [key.toString('hex'), record.toString('hex')]));
  return { node: 'a', rangeId: 1, appliedIndex: 7, rows: held, machine: '' };
}

describe('rows of transactions', () => {
  it('of one are at one timestamp, in every range, where its record says', () => {
    expect(transactionFaults([state(version('a', 20)), state(version('b', 20))])).toEqual([]);
    expect(transactionFaults([state(version('a', 20), decided('a', 20)), state(version('b', 20))])).toEqual(
      [],
    );
    expect(transactionFaults([state(version('a', 20)), state(version('b', 21))])).toHaveLength(1);
    expect(transactionFaults([state(decided('a', 20)), state(version('b', 21))])).toHaveLength(1);
    expect(transactionFaults([state(decided('a', 20), decided('b', 21))])).toHaveLength(1);
  });

  it('are not there when it was rolled back', () => {
    expect(transactionFaults([state(decided('a', 0)), state(decided('b', 0))])).toEqual([]);
    expect(transactionFaults([state(version('a', 20)), state(decided('b', 0))])).toHaveLength(1);
    expect(transactionFaults([state(decided('a', 20)), state(decided('b', 0))])).toHaveLength(1);
  });

  it('may have a mark beside them once their record may be collected', () => {
    // Somebody who was told of a lock late was told "rolled back" by the primary, which remembers nothing.
    const late = [state(version('a', 20)), state(version('b', 20), decided('b', 0))];
    expect(transactionFaults(late, START)).toHaveLength(1);
    expect(transactionFaults(late, START + 1)).toEqual([]);
    expect(transactionFaults([...late, state(decided('a', 20))], START + 1)).toHaveLength(1);
  });

  it('of plain writes say nothing', () => {
    const plain = timestamp(0);
    expect(transactionFaults([state(version('a', 20, plain), version('b', 21, plain))])).toEqual([]);
  });
});

describe('locks', () => {
  it('are left where the keys of the load are, or are none of its business', () => {
    const times = { start: START, minCommit: timestamp(11), deadline: timestamp(99), ttlMs: 0 };
    const lock = { ...times, op: LockRowOp.delete, primary: Buffer.from('w/1'), value: Buffer.alloc(0) };
    const held = state(encodeLockRow(Buffer.from('w/1'), lock), version('w/2', 20));
    expect(lockFaults(held, 'w/')).toEqual(['range 1 at a has a lock of transaction 10 on w/1']);
    expect(lockFaults(held, 'v/')).toEqual([]);
  });
});
