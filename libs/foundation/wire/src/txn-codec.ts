import { NO_BYTES, timestamp, unreachable, type Timestamp } from '@cairn/base';
import { ByteWriter, type ByteReader } from '@cairn/codec';

import { readReserved, writeReserved } from './reserve-codec.js';
import {
  garbled,
  readFlag,
  readKeys,
  readList,
  readRow,
  readTimestamp,
  readWhole,
  writeKeys,
  writeList,
  writeRow,
} from './txn-fields.js';
import {
  ConditionKind,
  ExecuteOp,
  LockOp,
  type Condition,
  type ExecuteCommand,
  type ExecuteOperation,
  type ExecuteResult,
  type LockInfo,
  type Mutation,
  type ReadSpan,
  type TxnReadCommand,
  type TxnReply,
  type TxnWriteCommand,
} from './txn-messages.js';

/*
 * Bodies of the values of `txnRead`, `txnWrite` and `execute` requests and answers: a tag u8, then fields in
 * the order of the type; lists with their count as a varint in front. Tags are never used twice.
 */

const ReadTag = { batchGet: 1, validate: 2 } as const;
const WriteTag = { prewrite: 1, commit: 2, resolve: 3, check: 4, heartbeat: 5 } as const;
const ExecuteTag = 1;
const ReplyTag = {
  regroup: 1,
  rows: 2,
  valid: 3,
  conflict: 4,
  prewritten: 5,
  pending: 6,
  committed: 7,
  rolledBack: 8,
  pushed: 9,
  tooOld: 10,
  resolved: 11,
  executed: 12,
  reserved: 13,
  released: 14,
} as const;

/** Locks that one refusal tells of. */
export const LOCKS_TOLD_MAX = 64;

export function encodeTxnRead(command: TxnReadCommand): Buffer {
  const writer = new ByteWriter();
  switch (command.type) {
    case 'batchGet':
      writer.u8(ReadTag.batchGet);
      writer.u64(command.at);
      writeKeys(writer, command.keys);
      break;
    case 'validate':
      writer.u8(ReadTag.validate);
      writer.u64(command.start);
      writer.u64(command.commit);
      writeKeys(writer, command.keys);
      writeList(writer, command.spans, writeSpan);
      break;
    default:
      unreachable(command);
  }
  return writer.take();
}

/** Keys are views of `body`. Throws CORRUPTION. */
export function decodeTxnRead(body: Uint8Array): TxnReadCommand {
  return readWhole(body, readReadCommand);
}

function readReadCommand(reader: ByteReader): TxnReadCommand {
  const tag = reader.u8();
  switch (tag) {
    case ReadTag.batchGet:
      return { type: 'batchGet', at: readTimestamp(reader), keys: readKeys(reader) };
    case ReadTag.validate:
      return {
        type: 'validate',
        start: readTimestamp(reader),
        commit: readTimestamp(reader),
        keys: readKeys(reader),
        spans: readList(reader, readSpan),
      };
    default:
      throw garbled(`a read of tag ${tag}`);
  }
}

export function encodeTxnWrite(command: TxnWriteCommand): Buffer {
  const writer = new ByteWriter();
  writer.u8(WriteTag[command.type]);
  writer.u64(command.start);
  switch (command.type) {
    case 'prewrite':
      writer.bytes(command.primary);
      writer.varint(Math.ceil(command.lockTtlMs));
      writeList(writer, command.mutations, writeMutation);
      writeOwner(writer, command.owner);
      break;
    case 'commit':
      writer.u64(command.commit);
      writer.bytes(command.primary);
      writeKeys(writer, command.keys);
      break;
    case 'resolve':
      writer.u64(command.commit);
      writeKeys(writer, command.keys);
      break;
    case 'check':
      writer.bytes(command.primary);
      writer.u64(command.pushTo);
      writer.u64(command.lockDeadline);
      break;
    case 'heartbeat':
      writer.bytes(command.primary);
      writer.varint(Math.ceil(command.lockTtlMs));
      break;
    default:
      unreachable(command);
  }
  return writer.take();
}

/** Keys and values are views of `body`. Throws CORRUPTION. */
export function decodeTxnWrite(body: Uint8Array): TxnWriteCommand {
  return readWhole(body, readWriteCommand);
}

function readWriteCommand(reader: ByteReader): TxnWriteCommand {
  const tag = reader.u8();
  const start = readTimestamp(reader);
  switch (tag) {
    case WriteTag.prewrite:
      return {
        type: 'prewrite',
        start,
        primary: reader.bytes(),
        lockTtlMs: reader.varint(),
        mutations: readList(reader, readMutation),
        owner: readOwner(reader),
      };
    case WriteTag.commit:
      return {
        type: 'commit',
        start,
        commit: readTimestamp(reader),
        primary: reader.bytes(),
        keys: readKeys(reader),
      };
    case WriteTag.resolve:
      return { type: 'resolve', start, commit: readTimestamp(reader), keys: readKeys(reader) };
    case WriteTag.check:
      return {
        ...{ type: 'check', start, primary: reader.bytes(), pushTo: readTimestamp(reader) },
        lockDeadline: readTimestamp(reader),
      };
    case WriteTag.heartbeat:
      return { type: 'heartbeat', start, primary: reader.bytes(), lockTtlMs: reader.varint() };
    default:
      throw garbled(`a write of tag ${tag}`);
  }
}

export function encodeExecute(command: ExecuteCommand): Buffer {
  const writer = new ByteWriter();
  writer.u8(ExecuteTag);
  writer.u64(command.start);
  writeKeys(writer, command.reads);
  writer.u8(command.checksWrites ? 1 : 0);
  writeList(writer, command.conditions, writeCondition);
  writeList(writer, command.then, writeOperation);
  writeList(writer, command.otherwise, writeOperation);
  writeOwner(writer, command.owner);
  return writer.take();
}

/** Keys and values are views of `body`. Throws CORRUPTION. */
export function decodeExecute(body: Uint8Array): ExecuteCommand {
  return readWhole(body, readExecute);
}

function readExecute(reader: ByteReader): ExecuteCommand {
  const tag = reader.u8();
  if (tag !== ExecuteTag) throw garbled(`a transaction of tag ${tag}`);
  return {
    type: 'execute',
    start: readTimestamp(reader),
    reads: readKeys(reader),
    checksWrites: readFlag(reader),
    conditions: readList(reader, readCondition),
    then: readList(reader, readOperation),
    otherwise: readList(reader, readOperation),
    owner: readOwner(reader),
  };
}

export function encodeTxnReply(reply: TxnReply): Buffer {
  const writer = new ByteWriter();
  writer.u8(ReplyTag[reply.type]);
  switch (reply.type) {
    case 'regroup':
    case 'valid':
    case 'rolledBack':
    case 'resolved':
    case 'released':
      break;
    case 'rows':
      writeList(writer, reply.rows, writeRow);
      break;
    case 'conflict':
      writer.bytes(reply.key);
      writer.u64(reply.newest);
      break;
    case 'prewritten':
    case 'pushed':
      writer.u64(reply.minCommit);
      break;
    case 'pending':
      writer.u64(reply.minCommit);
      writer.u64(reply.deadline);
      break;
    case 'committed':
      writer.u64(reply.commit);
      break;
    case 'tooOld':
      writer.u64(reply.readableSince);
      break;
    case 'executed':
      writer.u64(reply.commit);
      writer.u8((reply.succeeded ? 1 : 0) | (reply.isForgotten ? 2 : 0));
      writeList(writer, reply.results, writeResult);
      break;
    case 'reserved':
      writeReserved(writer, reply);
      break;
    default:
      unreachable(reply);
  }
  return writer.take();
}

/** Keys and values are views of `body`. Throws CORRUPTION. */
export function decodeTxnReply(body: Uint8Array): TxnReply {
  return readWhole(body, readReply);
}

function readReply(reader: ByteReader): TxnReply {
  const tag = reader.u8();
  switch (tag) {
    case ReplyTag.regroup:
      return { type: 'regroup' };
    case ReplyTag.rows:
      return { type: 'rows', rows: readList(reader, readRow) };
    case ReplyTag.valid:
      return { type: 'valid' };
    case ReplyTag.conflict:
      return { type: 'conflict', key: reader.bytes(), newest: readTimestamp(reader) };
    case ReplyTag.prewritten:
      return { type: 'prewritten', minCommit: readTimestamp(reader) };
    case ReplyTag.pending:
      return { type: 'pending', minCommit: readTimestamp(reader), deadline: readTimestamp(reader) };
    case ReplyTag.committed:
      return { type: 'committed', commit: readTimestamp(reader) };
    case ReplyTag.rolledBack:
      return { type: 'rolledBack' };
    case ReplyTag.pushed:
      return { type: 'pushed', minCommit: readTimestamp(reader) };
    case ReplyTag.tooOld:
      return { type: 'tooOld', readableSince: readTimestamp(reader) };
    case ReplyTag.resolved:
      return { type: 'resolved' };
    case ReplyTag.executed: {
      const commit = readTimestamp(reader);
      const flags = reader.u8();
      if (flags > 3) throw garbled(`an outcome with flags ${flags}`);
      const results = readList(reader, readResult);
      return {
        type: 'executed',
        commit,
        succeeded: (flags & 1) !== 0,
        results,
        isForgotten: (flags & 2) !== 0,
      };
    }
    case ReplyTag.reserved:
      return readReserved(reader);
    case ReplyTag.released:
      return { type: 'released' };
    default:
      throw garbled(`an answer of tag ${tag}`);
  }
}

/** The last field of its command. One that has none is as it was before there were owners. */
function writeOwner(writer: ByteWriter, owner: Timestamp): void {
  if (owner !== 0) writer.u64(owner);
}

function readOwner(reader: ByteReader): Timestamp {
  return reader.remaining === 0 ? timestamp(0) : readTimestamp(reader);
}

/** The locks that a refusal tells of; the first `LOCKS_TOLD_MAX` of them. */
export function writeLocks(writer: ByteWriter, locks: readonly LockInfo[]): void {
  writeList(writer, locks.slice(0, LOCKS_TOLD_MAX), (to, { key, primary, start, deadline }) => {
    to.bytes(key);
    to.bytes(primary);
    to.u64(start);
    to.u64(deadline);
  });
}

/** Without their owners, which `readOwners` puts in. Throws CORRUPTION. */
export function readLocks(reader: ByteReader): LockInfo[] {
  const locks = readList(reader, (from) => ({
    key: from.bytes(),
    primary: from.bytes(),
    start: readTimestamp(from),
    deadline: readTimestamp(from),
    owner: timestamp(0),
  }));
  if (locks.length > LOCKS_TOLD_MAX) throw garbled(`${locks.length} locks`);
  return locks;
}

/** Whether `writeOwners` is to follow: no owner is what is read where nothing does. */
export function hasOwners(locks: readonly LockInfo[]): boolean {
  return locks.some(({ owner }, at) => at < LOCKS_TOLD_MAX && owner !== 0);
}

/** One owner for each lock that was written. */
export function writeOwners(writer: ByteWriter, locks: readonly LockInfo[]): void {
  for (const { owner } of locks.slice(0, LOCKS_TOLD_MAX)) writer.u64(owner);
}

/** Throws CORRUPTION. */
export function readOwners(reader: ByteReader, locks: readonly LockInfo[]): LockInfo[] {
  return locks.map((lock) => ({ ...lock, owner: readTimestamp(reader) }));
}

function writeSpan(writer: ByteWriter, { start, end }: ReadSpan): void {
  writer.bytes(start);
  writer.bytes(end);
}

function readSpan(reader: ByteReader): ReadSpan {
  return { start: reader.bytes(), end: reader.bytes() };
}

function writeMutation(writer: ByteWriter, { key, op, value, ttlMs }: Mutation): void {
  writer.u8(op);
  writer.bytes(key);
  if (op !== LockOp.put) return;
  writer.bytes(value);
  writer.varint(Math.ceil(ttlMs));
}

function readMutation(reader: ByteReader): Mutation {
  const op = reader.u8();
  const key = reader.bytes();
  switch (op) {
    case LockOp.put:
      return { key, op, value: reader.bytes(), ttlMs: reader.varint() };
    case LockOp.delete:
    case LockOp.none:
      return { key, op, value: NO_BYTES, ttlMs: 0 };
    default:
      throw garbled(`a mutation of tag ${op}`);
  }
}

function writeCondition(writer: ByteWriter, { key, kind, operand }: Condition): void {
  writer.u8(kind);
  writer.bytes(key);
  writer.bytes(operand);
}

function readCondition(reader: ByteReader): Condition {
  const kind = reader.u8();
  if (kind < ConditionKind.exists || kind > ConditionKind.versionEquals) {
    throw garbled(`a condition of tag ${kind}`);
  }
  return { kind: kind as ConditionKind, key: reader.bytes(), operand: reader.bytes() };
}

function writeOperation(writer: ByteWriter, { op, key, value, ttlMs, delta }: ExecuteOperation): void {
  writer.u8(op);
  writer.bytes(key);
  if (op === ExecuteOp.increment) writer.string(delta);
  if (op !== ExecuteOp.put) return;
  writer.bytes(value);
  writer.varint(Math.ceil(ttlMs));
}

function readOperation(reader: ByteReader): ExecuteOperation {
  const op = reader.u8();
  const key = reader.bytes();
  const value = NO_BYTES;
  switch (op) {
    case ExecuteOp.get:
    case ExecuteOp.delete:
      return { op, key, value, ttlMs: 0, delta: '0' };
    case ExecuteOp.put:
      return { op, key, value: reader.bytes(), ttlMs: reader.varint(), delta: '0' };
    case ExecuteOp.increment:
      return { op, key, value, ttlMs: 0, delta: readNumber(reader) };
    default:
      throw garbled(`an operation of tag ${op}`);
  }
}

function readNumber(reader: ByteReader): string {
  const text = reader.string();
  if (!/^-?[0-9]{1,20}$/.test(text)) throw garbled('a number that is not an integer');
  return text;
}

function writeResult(writer: ByteWriter, result: ExecuteResult): void {
  writer.u8(result.op);
  switch (result.op) {
    case ExecuteOp.get:
      writeRow(writer, result.row);
      return;
    case ExecuteOp.put:
      break;
    case ExecuteOp.delete:
      writer.u8(result.existed ? 1 : 0);
      break;
    case ExecuteOp.increment:
      writer.string(result.number);
      break;
    default:
      unreachable(result);
  }
  writer.bytes(result.version);
}

function readResult(reader: ByteReader): ExecuteResult {
  const op = reader.u8();
  switch (op) {
    case ExecuteOp.get:
      return { op, row: readRow(reader) };
    case ExecuteOp.put:
      return { op, version: reader.bytes() };
    case ExecuteOp.delete:
      return { op, existed: readFlag(reader), version: reader.bytes() };
    case ExecuteOp.increment:
      return { op, number: readNumber(reader), version: reader.bytes() };
    default:
      throw garbled(`a result of tag ${op}`);
  }
}
