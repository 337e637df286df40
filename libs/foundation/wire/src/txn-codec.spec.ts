import { describe, expect, it } from '@jest/globals';
import { NO_BYTES, timestamp } from '@cairn/base';
import fc from 'fast-check';

import {
  decodeExecute,
  decodeTxnRead,
  decodeTxnReply,
  decodeTxnWrite,
  encodeExecute,
  encodeTxnRead,
  encodeTxnReply,
  encodeTxnWrite,
} from './txn-codec.js';
import { TXN_ITEMS_MAX } from './txn-fields.js';
import {
  ConditionKind,
  ExecuteOp,
  LockOp,
  type ExecuteCommand,
  type ExecuteOperation,
  type ExecuteResult,
  type Mutation,
  type ReadRow,
  type TxnReadCommand,
  type TxnReply,
  type TxnWriteCommand,
} from './txn-messages.js';

const bytes = fc.uint8Array({ maxLength: 12 }).map((found) => Buffer.from(found));
const time = fc.maxSafeNat().map(timestamp);
const ms = fc.maxSafeNat();
const owner = fc.oneof(fc.constant(timestamp(0)), time);
const keys = fc.array(bytes, { maxLength: 5 });
const number = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const token = fc.uint8Array({ minLength: 12, maxLength: 12 }).map((found) => Buffer.from(found));

const readCommand: fc.Arbitrary<TxnReadCommand> = fc.oneof(
  fc.record({ type: fc.constant('batchGet' as const), at: time, keys }),
  fc.record({
    type: fc.constant('validate' as const),
    start: time,
    commit: time,
    keys,
    spans: fc.array(fc.record({ start: bytes, end: bytes }), { maxLength: 3 }),
  }),
);

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ key: bytes, op: fc.constant(LockOp.put), value: bytes, ttlMs: ms }),
  fc.record({
    key: bytes,
    op: fc.constantFrom(LockOp.delete, LockOp.none),
    value: fc.constant(NO_BYTES),
    ttlMs: fc.constant(0),
  }),
);

const writeCommand: fc.Arbitrary<TxnWriteCommand> = fc.oneof(
  fc.record({
    type: fc.constant('prewrite' as const),
    start: time,
    primary: bytes,
    lockTtlMs: ms,
    mutations: fc.array(mutation, { maxLength: 5 }),
    owner,
  }),
  fc.record({ type: fc.constant('commit' as const), start: time, commit: time, primary: bytes, keys }),
  fc.record({ type: fc.constant('resolve' as const), start: time, commit: time, keys }),
  fc.record({
    type: fc.constant('check' as const),
    start: time,
    primary: bytes,
    pushTo: time,
    lockDeadline: time,
  }),
  fc.record({ type: fc.constant('heartbeat' as const), start: time, primary: bytes, lockTtlMs: ms }),
);

const operation: fc.Arbitrary<ExecuteOperation> = fc
  .record({
    op: fc.constantFrom(...Object.values(ExecuteOp)),
    key: bytes,
    value: bytes,
    ttlMs: ms,
    delta: number,
  })
  .map((one) => ({
    ...one,
    value: one.op === ExecuteOp.put ? one.value : NO_BYTES,
    ttlMs: one.op === ExecuteOp.put ? one.ttlMs : 0,
    delta: one.op === ExecuteOp.increment ? one.delta : '0',
  }));

const executeCommand: fc.Arbitrary<ExecuteCommand> = fc.record({
  type: fc.constant('execute' as const),
  start: time,
  reads: keys,
  checksWrites: fc.boolean(),
  conditions: fc.array(
    fc.record({ key: bytes, kind: fc.constantFrom(...Object.values(ConditionKind)), operand: bytes }),
    { maxLength: 4 },
  ),
  then: fc.array(operation, { maxLength: 4 }),
  otherwise: fc.array(operation, { maxLength: 4 }),
  owner,
});

const row: fc.Arbitrary<ReadRow> = fc
  .record({ found: fc.boolean(), value: bytes, version: token, kind: fc.nat(255), expiresUnixMs: ms })
  .map((one) =>
    one.found ? one : { found: false, value: NO_BYTES, version: NO_BYTES, kind: 0, expiresUnixMs: 0 },
  );

const result: fc.Arbitrary<ExecuteResult> = fc.oneof(
  fc.record({ op: fc.constant(ExecuteOp.get), row }),
  fc.record({ op: fc.constant(ExecuteOp.put), version: token }),
  fc.record({ op: fc.constant(ExecuteOp.delete), existed: fc.boolean(), version: token }),
  fc.record({ op: fc.constant(ExecuteOp.increment), number, version: token }),
);

const reply: fc.Arbitrary<TxnReply> = fc.oneof(
  fc.constantFrom<TxnReply>(
    { type: 'regroup' },
    { type: 'valid' },
    { type: 'rolledBack' },
    { type: 'resolved' },
  ),
  fc.record({ type: fc.constant('rows' as const), rows: fc.array(row, { maxLength: 4 }) }),
  fc.record({ type: fc.constant('conflict' as const), key: bytes, newest: time }),
  fc.record({ type: fc.constantFrom('prewritten' as const, 'pushed' as const), minCommit: time }),
  fc.record({ type: fc.constant('pending' as const), minCommit: time, deadline: time }),
  fc.record({ type: fc.constant('committed' as const), commit: time }),
  fc.record({ type: fc.constant('tooOld' as const), readableSince: time }),
  fc.record({
    type: fc.constant('executed' as const),
    commit: time,
    succeeded: fc.boolean(),
    results: fc.array(result, { maxLength: 4 }),
    isForgotten: fc.boolean(),
  }),
);

describe('commands of transactions', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(readCommand, writeCommand, executeCommand, reply, (read, write, execute, answer) => {
        expect(decodeTxnRead(encodeTxnRead(read))).toEqual(read);
        expect(decodeTxnWrite(encodeTxnWrite(write))).toEqual(write);
        expect(decodeExecute(encodeExecute(execute))).toEqual(execute);
        expect(decodeTxnReply(encodeTxnReply(answer))).toEqual(answer);
      }),
      { numRuns: 300 },
    );
  });

  it('answer garbled input with CORRUPTION, or with something whole, never with another error', () => {
    const encoded = fc.oneof(
      readCommand.map(encodeTxnRead),
      writeCommand.map(encodeTxnWrite),
      executeCommand.map(encodeExecute),
      reply.map(encodeTxnReply),
    );
    fc.assert(
      fc.property(encoded, fc.nat(), fc.nat(255), (body, at, flip) => {
        const flipped = Buffer.from(body);
        flipped[at % body.length] = flip;
        for (const garbled of [flipped, body.subarray(0, at % body.length)]) {
          for (const decode of [decodeTxnRead, decodeTxnWrite, decodeExecute, decodeTxnReply]) {
            try {
              decode(garbled);
            } catch (thrown) {
              expect(thrown).toMatchObject({ code: 'CORRUPTION' });
            }
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it('refuse what is left over and lists that cannot be', () => {
    const body = encodeTxnWrite({ type: 'resolve', start: timestamp(1), commit: timestamp(2), keys: [] });
    expect(() => decodeTxnWrite(Buffer.concat([body, Buffer.of(0)]))).toThrow('1 bytes left over');
    const huge = Buffer.from(encodeTxnRead({ type: 'batchGet', at: timestamp(1), keys: [] }));
    huge[9] = 100;
    expect(() => decodeTxnRead(huge)).toThrow('a list of 100');
    const count = Buffer.concat([
      huge.subarray(0, 9),
      Buffer.from('a18d06', 'hex'),
      Buffer.alloc(TXN_ITEMS_MAX * 2),
    ]);
    expect(() => decodeTxnRead(count)).toThrow(`a list of ${TXN_ITEMS_MAX + 1}`);
  });

  it('keep their layout', () => {
    const text = (characters: string): Buffer => Buffer.from(characters);
    expect(
      encodeTxnWrite({
        type: 'prewrite',
        start: timestamp(5),
        primary: text('p'),
        lockTtlMs: 3_000,
        mutations: [
          { op: LockOp.put, key: text('k'), value: text('v'), ttlMs: 7 },
          { op: LockOp.delete, key: text('d'), value: NO_BYTES, ttlMs: 0 },
        ],
        owner: timestamp(0),
      }).toString('hex'),
    ).toBe('01' + '0500000000000000' + '0170' + 'b817' + '02' + '01016b017607' + '020164');
    expect(
      encodeTxnWrite({
        type: 'commit',
        start: timestamp(5),
        commit: timestamp(6),
        primary: text('p'),
        keys: [text('k')],
      }).toString('hex'),
    ).toBe('02' + '0500000000000000' + '0600000000000000' + '0170' + '01016b');
    expect(
      encodeTxnRead({
        type: 'validate',
        start: timestamp(5),
        commit: timestamp(6),
        keys: [text('k')],
        spans: [{ start: text('a'), end: NO_BYTES }],
      }).toString('hex'),
    ).toBe('02' + '0500000000000000' + '0600000000000000' + '01016b' + '01016100');
    expect(
      encodeExecute({
        type: 'execute',
        start: timestamp(5),
        reads: [text('r')],
        checksWrites: true,
        conditions: [{ kind: ConditionKind.valueEquals, key: text('k'), operand: text('o') }],
        then: [{ op: ExecuteOp.increment, key: text('n'), value: NO_BYTES, ttlMs: 0, delta: '-3' }],
        otherwise: [{ op: ExecuteOp.get, key: text('g'), value: NO_BYTES, ttlMs: 0, delta: '0' }],
        owner: timestamp(9),
      }).toString('hex'),
    ).toBe(
      '01' +
        '0500000000000000' +
        '010172' +
        '01' +
        '0103016b016f' +
        '0104016e022d33' +
        '01010167' +
        '0900000000000000',
    );
    expect(
      encodeTxnReply({
        type: 'executed',
        commit: timestamp(6),
        succeeded: true,
        results: [{ op: ExecuteOp.delete, existed: true, version: NO_BYTES }],
        isForgotten: false,
      }).toString('hex'),
    ).toBe('0c' + '0600000000000000' + '01' + '01030100');
  });
});
