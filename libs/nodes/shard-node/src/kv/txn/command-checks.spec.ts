import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import {
  encodeExecute,
  encodeTxnRead,
  encodeTxnWrite,
  KvOp,
  LockOp,
  type ExecuteCommand,
  type KvRequest,
  type TxnReadCommand,
  type TxnWriteCommand,
} from '@cairn/wire';
import fc from 'fast-check';

import { bytes, KvRig } from '../kv-rig.testing.js';
import { faultOf } from '../request-checks.js';
import { releaseOf, reserveOf, type ReserveFields } from '../reservations/reserve-rig.testing.js';
import { faultOfCommand, TXN_COMMAND_BYTES_MAX } from './command-checks.js';
import { prewriteOf, putOf } from './txn-rig.testing.js';

/* Goal: commands that no router sends are faults of their callers, and never more than that. */

const LIMITS = { keyBytesMax: 10, valueBytesMax: 100 };
const rig = new KvRig();

function problemOf(request: Partial<KvRequest> & { readonly op: KvOp }): string | undefined {
  const { call } = rig.call({ key: bytes('a'), readTimestamp: timestamp(9), ...request });
  return (faultOf(call.request, LIMITS) ?? faultOfCommand(call, LIMITS))?.message;
}

const read = (command: TxnReadCommand): string | undefined =>
  problemOf({ op: KvOp.txnRead, value: encodeTxnRead(command) });
const write = (command: TxnWriteCommand): string | undefined =>
  problemOf({ op: KvOp.txnWrite, value: encodeTxnWrite(command) });
const reserve = (keys: readonly string[], fields: ReserveFields = {}, owner = 1): string | undefined =>
  problemOf(reserveOf(timestamp(owner), keys, fields));
const execute = (command: Partial<ExecuteCommand>): string | undefined => {
  const nothing = { reads: [], checksWrites: false, conditions: [], then: [], otherwise: [] };
  const owner = timestamp(0);
  const whole = { type: 'execute', start: timestamp(0), owner, ...nothing, ...command } as const;
  return problemOf({ op: KvOp.execute, value: encodeExecute(whole) });
};

const start = timestamp(5);
const keys = [bytes('a')];

describe('commands', () => {
  it('that routers send pass', () => {
    const primary = bytes('a');
    const long = bytes('k'.repeat(11));
    const problems = [
      read({ type: 'batchGet', at: timestamp(0), keys }),
      read({
        type: 'validate',
        start,
        commit: timestamp(9),
        keys: [],
        spans: [{ start: bytes(''), end: bytes('') }],
      }),
      write(prewriteOf(start, { a: '1', b: undefined })),
      write({ type: 'commit', start, commit: timestamp(9), primary, keys: [] }),
      write({ type: 'resolve', start, commit: timestamp(0), keys: [long] }),
      write({ type: 'check', start, primary, pushTo: timestamp(9), lockDeadline: timestamp(99) }),
      write({ type: 'heartbeat', start, primary, lockTtlMs: 3_000 }),
      execute({ then: [putOf('a', '1')] }),
      reserve(['a', 'b'], { waitMs: 0, ttlMs: 1 }),
      problemOf(releaseOf(timestamp(1), ['a'])),
    ];
    expect(problems.every((problem) => problem === undefined)).toBe(true);
  });

  it('that break a rule do not', () => {
    const primary = bytes('a');
    const spans = [{ start: bytes('b'), end: bytes('a') }];
    const mutation = { key: bytes('a'), op: LockOp.put, value: bytes('x'.repeat(101)), ttlMs: 0 };
    const prewrite = prewriteOf(start, { a: '1' }) as Extract<TxnWriteCommand, { type: 'prewrite' }>;
    const problems = [
      read({ type: 'batchGet', at: timestamp(0), keys: [] }),
      read({ type: 'batchGet', at: timestamp(10), keys }),
      read({ type: 'batchGet', at: timestamp(0), keys: [bytes('')] }),
      read({ type: 'validate', start, commit: start, keys, spans: [] }),
      read({ type: 'validate', start, commit: timestamp(9), keys, spans }),
      write({ ...prewrite, mutations: [] }),
      write({ ...prewrite, mutations: [mutation] }),
      write({ ...prewrite, mutations: [...prewrite.mutations, ...prewrite.mutations] }),
      write({ ...prewrite, start: timestamp(0) }),
      write({ ...prewrite, primary: bytes('') }),
      write({ ...prewrite, lockTtlMs: 0 }),
      write(prewriteOf(start, { ['k'.repeat(11)]: '1' })),
      write({ type: 'commit', start, commit: timestamp(4), primary, keys: [] }),
      write({ type: 'commit', start, commit: timestamp(10), primary, keys: [] }),
      write({ type: 'resolve', start, commit: start, keys }),
      write({ type: 'check', start, primary, pushTo: timestamp(10), lockDeadline: timestamp(0) }),
      execute({}),
      execute({ then: [putOf('a', 'x'.repeat(101))] }),
      execute({ then: [{ ...putOf('a', ''), ttlMs: 1e15 }] }),
      problemOf({ op: KvOp.execute, value: Buffer.alloc(TXN_COMMAND_BYTES_MAX + 1) }),
      problemOf({ op: KvOp.txnWrite }),
      reserve([]),
      reserve(['a', 'b', 'a']),
      reserve(['']),
      reserve(['a'], { ttlMs: 0 }),
      reserve(['a'], { ttlMs: 60_001 }),
      reserve(['a'], { waitMs: 1_001 }),
      reserve(['a'], {}, 0),
      reserve(Array.from({ length: 257 }, (_none, at) => `k${at}`)),
      problemOf(releaseOf(timestamp(0), ['a'])),
    ];
    expect(problems.filter((problem) => problem === undefined)).toEqual([]);
  });

  it('of garbage are faults', () => {
    const op = fc.constantFrom(KvOp.txnRead, KvOp.txnWrite, KvOp.execute, KvOp.reserve);
    fc.assert(
      fc.property(op, fc.uint8Array({ maxLength: 60 }), (of, value) => {
        const problem = problemOf({ op: of, value });
        expect(problem === undefined || problem.length > 0).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
