import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import fc from 'fast-check';
import {
  decodeLockRow,
  encodeLockRow,
  lockKeyOf,
  lockRecordLength,
  LockRowOp,
  userKeyOfLockKey,
} from './lock-row.js';
import { Namespace } from './namespace.js';
import { checkRow, encodeRow, startOfRecord, type VersionRecord } from './record.js';
import {
  commitOfTransactionRow,
  encodeTransactionRow,
  startOfTransactionKey,
  transactionKeyOf,
} from './transaction-row.js';
import { rowSpanIn } from './version-key.js';

/*
 * Goal: rows of transactions come back as they were, lie where their key is, and are refused when they are
 * not whole or of a later release. Method: golden bytes, random rows, single bytes changed.
 */

const bytes = fc.uint8Array({ maxLength: 12 }).map((found) => Buffer.from(found));
const moment = fc.maxSafeNat().map(timestamp);
const start = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map(timestamp);
const corrupt = expect.objectContaining({ code: 'CORRUPTION' });
const tooNew = expect.objectContaining({ code: 'FORMAT_TOO_NEW' });

const LOCK = {
  ...{
    start: timestamp(0x0102),
    op: LockRowOp.put,
    minCommit: timestamp(0x0304),
    deadline: timestamp(0x0506),
  },
  ...{ ttlMs: 0x0708, primary: Buffer.from('pr'), value: Buffer.from('val') },
};

function recordOf(body: Buffer, of = timestamp(5)): Buffer {
  const version = { timestamp: timestamp(0), sequence: 0, expiry: timestamp(0), tombstone: false, kind: 0 };
  return encodeRow(Buffer.from('k'), { ...version, value: body } satisfies VersionRecord, of)[1];
}

describe('rows of locks', () => {
  it('are these bytes', () => {
    const [key, record] = encodeLockRow(Buffer.from('k\0'), LOCK);
    expect(key.toString('hex')).toBe('116b00ff0001');
    checkRow(key, record);
    expect(Buffer.concat([record.subarray(0, 5), record.subarray(9)]).toString('hex')).toBe(
      '08' +
        '00000000' +
        '0000000000000102' +
        '01' +
        '01' +
        '0000000000000304' +
        '0000000000000506' +
        '0000000000000708' +
        '00000002' +
        '7072' +
        '76616c',
    );
  });

  it('come back as they were, in the span of their key', () => {
    const lock = fc.record({
      ...{ start, op: fc.constantFrom(...Object.values(LockRowOp)), minCommit: moment, deadline: moment },
      ...{ ttlMs: fc.maxSafeNat(), primary: bytes, value: bytes },
    });
    fc.assert(
      fc.property(bytes, lock, (userKey, made) => {
        const [key, record] = encodeLockRow(userKey, made);
        checkRow(key, record);
        expect(decodeLockRow(record)).toEqual(made);
        expect(lockRecordLength(made)).toBe(record.length);
        expect(key).toEqual(lockKeyOf(userKey));
        expect(userKeyOfLockKey(key)).toEqual(userKey);
        const span = rowSpanIn(Namespace.locks, userKey, Buffer.concat([userKey, Buffer.of(0)]));
        expect(Buffer.compare(span.start, key) <= 0 && Buffer.compare(key, span.end) < 0).toBe(true);
      }),
    );
  });

  it('are refused when they are not whole, and when a later release wrote them', () => {
    const body = encodeLockRow(Buffer.from('k'), LOCK)[1].subarray(17);
    const changed = (at: number, byte: number): Buffer => {
      const copy = Buffer.from(body);
      copy[at] = byte;
      return recordOf(copy);
    };
    expect(() => decodeLockRow(changed(0, 2))).toThrow(tooNew);
    expect(() => decodeLockRow(changed(1, 4))).toThrow(tooNew);
    for (const broken of [changed(0, 0), changed(1, 0), changed(29, 99), changed(2, 0xff)]) {
      expect(() => decodeLockRow(broken)).toThrow(corrupt);
    }
    expect(() => decodeLockRow(recordOf(body.subarray(0, 29)))).toThrow(corrupt);
    expect(() => decodeLockRow(recordOf(body, timestamp(0)))).toThrow(corrupt);
    expect(() => userKeyOfLockKey(Buffer.from('106b0001', 'hex'))).toThrow(corrupt);
    expect(() => userKeyOfLockKey(Buffer.from('116b000102', 'hex'))).toThrow(corrupt);
  });
});

describe('records and marks', () => {
  it('are these bytes', () => {
    const [key, record] = encodeTransactionRow(Buffer.from('k'), timestamp(0x0102), timestamp(0x0304));
    expect(key.toString('hex')).toBe('126b00010000000000000102');
    checkRow(key, record);
    expect(record.subarray(9).toString('hex')).toBe('0000000000000102' + '01' + '01' + '0000000000000304');
    const mark = encodeTransactionRow(Buffer.from('k'), timestamp(0x0102), timestamp(0))[1];
    expect(mark.subarray(17).toString('hex')).toBe('01' + '02' + '0000000000000000');
  });

  it('come back as they were', () => {
    fc.assert(
      fc.property(bytes, start, moment, (userKey, of, commit) => {
        const [key, record] = encodeTransactionRow(userKey, of, commit);
        expect(key).toEqual(transactionKeyOf(userKey, of));
        expect(startOfTransactionKey(key)).toBe(of);
        const elsewhere = Buffer.concat([Buffer.of(Namespace.versions), key.subarray(1)]);
        expect(() => startOfTransactionKey(elsewhere)).toThrow(corrupt);
        expect(() => startOfTransactionKey(key.subarray(0, key.length - 1))).toThrow(corrupt);
        expect([startOfRecord(record), commitOfTransactionRow(record)]).toEqual([of, commit]);
      }),
    );
  });

  it('are refused when they are not whole, and when a later release wrote them', () => {
    const body = (...head: number[]): Buffer => Buffer.from([...head, 0, 0, 0, 0, 0, 0, 0]);
    expect(() => commitOfTransactionRow(recordOf(body(2, 1, 7)))).toThrow(tooNew);
    expect(() => commitOfTransactionRow(recordOf(body(1, 3, 7)))).toThrow(tooNew);
    for (const broken of [
      body(0, 1, 0),
      body(1, 0, 0),
      body(1, 1, 0),
      body(1, 2, 1),
      body(1, 1, 0xff),
      body(1),
    ]) {
      expect(() => commitOfTransactionRow(recordOf(broken))).toThrow(corrupt);
    }
    expect(() => commitOfTransactionRow(recordOf(body(1, 2, 0), timestamp(0)))).toThrow(corrupt);
  });
});
