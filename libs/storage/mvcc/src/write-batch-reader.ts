import { CairnError, formatTooNew, timestamp, type Timestamp } from '@cairn/base';
import { readU64 } from '@cairn/codec';
import { CommandOutcome, OutcomeKind, checkedOutcomeKind } from './command-outcome.js';
import { isRowKey } from './namespace.js';
import { sequenceOfRecord, valueOfRecord } from './record.js';
import { isStepOf, isVersioned, timestampOfVersionedKey, timestampOfVersionKey } from './version-key.js';
import {
  COLLECTED_BYTES,
  CommandKind,
  HEADER_BYTES,
  HEADER_COUNT_AT,
  HEADER_MAX_TIMESTAMP_AT,
  IDENTITY_BYTES,
  ItemTag,
  OUTCOME_FIXED_BYTES,
  PART_FIXED_BYTES,
  PURGE_FIXED_BYTES,
  PURGE_KEY_BYTES,
  REMOVE_FIXED_BYTES,
  WRITE_BATCH_FORMAT,
  WRITE_FIXED_BYTES,
} from './write-batch-format.js';

/**
 * Sees the items of a payload in order. Make it one long-lived object of one class: calls stay
 * monomorphic. Keys and records are views of the payload.
 */
export interface WriteBatchVisitor {
  /** An engine write, ready for `batch.put(key, record)`. */
  write(key: Buffer, record: Buffer): void;
  /** After the command's writes. The object is reused: read it before returning; `detail` is a view. */
  outcome(outcome: CommandOutcome): void;
  /** An engine write that nobody waits for, in any row namespace. */
  put(key: Buffer, record: Buffer): void;
  /** An engine key, in any row namespace, that goes with a record of about so many bytes; likewise. */
  remove(key: Buffer, recordBytes: number): void;
  /** An engine key to delete: garbage. */
  purge(key: Buffer): void;
  /** Reads below the safe point are over; the purges of the batch free `bytes` engine bytes. */
  collected(safePoint: Timestamp, bytes: number): void;
}

export interface WriteBatchHeader {
  /** Items in the payload. */
  readonly count: number;
  /** Largest timestamp of any outcome or part; 0 without one. */
  readonly maxTimestamp: Timestamp;
}

/**
 * Throws FORMAT_TOO_NEW for a kind or format of a later release, CORRUPTION for what never was one: a replica
 * that cannot read a command must halt.
 */
export function readWriteBatchHeader(payload: Buffer): WriteBatchHeader {
  if (payload.length < HEADER_BYTES)
    throw new CairnError('CORRUPTION', `write batch of ${payload.length} bytes`);
  const [kind, format] = [payload[0] as number, payload[1] as number];
  if (kind !== CommandKind.writeBatch) throw unknown('command of kind', kind, CommandKind.writeBatch);
  if (format !== WRITE_BATCH_FORMAT) throw unknown('write batch of format', format, WRITE_BATCH_FORMAT);
  return {
    count: payload.readUInt32BE(HEADER_COUNT_AT),
    maxTimestamp: timestamp(readU64(payload, HEADER_MAX_TIMESTAMP_AT)),
  };
}

/** What is above all that is known here is of a later release. */
function unknown(what: string, found: number, known: number): CairnError {
  return found > known
    ? formatTooNew(`a ${what} ${found}`)
    : new CairnError('CORRUPTION', `a ${what} ${found}`);
}

/**
 * Feeds every item to the visitor and answers the header. Throws FORMAT_TOO_NEW for items of a later release,
 * CORRUPTION for whatever a builder cannot have made; the visitor may have seen the items before the bad one,
 * so its engine batch must then be thrown away.
 */
export function readWriteBatch(payload: Buffer, visitor: WriteBatchVisitor): WriteBatchHeader {
  const header = readWriteBatchHeader(payload);
  const outcome = new CommandOutcome();
  let at = HEADER_BYTES;
  for (let item = 0; item < header.count; item += 1) {
    switch (payload[at]) {
      case ItemTag.write:
        at = readWrite(payload, at, visitor, outcome);
        break;
      case ItemTag.outcome:
        at = readOutcome(payload, at, visitor, outcome);
        break;
      case ItemTag.part:
        at = readPart(payload, at, visitor);
        break;
      case ItemTag.purge:
        at = readPurge(payload, at, visitor);
        break;
      case ItemTag.collected:
        need(payload, at, COLLECTED_BYTES);
        visitor.collected(timestamp(readU64(payload, at + 1)), readU64(payload, at + 9));
        at += COLLECTED_BYTES;
        break;
      case ItemTag.put:
        at = readPut(payload, at, visitor);
        break;
      case ItemTag.remove:
        at = readRemove(payload, at, visitor);
        break;
      case undefined:
        throw new CairnError('CORRUPTION', `write batch ends early: ${item} of ${header.count} items`);
      default:
        throw unknown('write batch with an item of tag', payload[at] as number, ItemTag.remove);
    }
  }
  if (at !== payload.length)
    throw new CairnError('CORRUPTION', `${payload.length - at} bytes behind the last item`);
  return header;
}

function readWrite(payload: Buffer, at: number, visitor: WriteBatchVisitor, outcome: CommandOutcome): number {
  need(payload, at, WRITE_FIXED_BYTES);
  readIdentity(payload, at + 1, outcome);
  const keyAt = at + WRITE_FIXED_BYTES;
  const recordAt = keyAt + payload.readUInt32BE(at + 1 + IDENTITY_BYTES);
  const end = recordAt + payload.readUInt32BE(at + 5 + IDENTITY_BYTES);
  need(payload, end, 0);
  const key = payload.subarray(keyAt, recordAt);
  const record = payload.subarray(recordAt, end);
  outcome.timestamp = timestampOfVersionKey(key);
  outcome.sequence = sequenceOfRecord(record);
  checkStep(key, outcome.sequence, at);
  outcome.detail = outcome.kind === OutcomeKind.increment ? valueOfRecord(record) : undefined;
  visitor.write(key, record);
  visitor.outcome(outcome);
  return end;
}

function readOutcome(
  payload: Buffer,
  at: number,
  visitor: WriteBatchVisitor,
  outcome: CommandOutcome,
): number {
  need(payload, at, OUTCOME_FIXED_BYTES);
  readIdentity(payload, at + 1, outcome);
  outcome.timestamp = timestamp(readU64(payload, at + 1 + IDENTITY_BYTES));
  outcome.sequence = payload.readUInt32BE(at + 9 + IDENTITY_BYTES);
  const detailAt = at + OUTCOME_FIXED_BYTES;
  const end = detailAt + payload.readUInt32BE(at + 13 + IDENTITY_BYTES);
  need(payload, end, 0);
  outcome.detail = end === detailAt ? undefined : payload.subarray(detailAt, end);
  visitor.outcome(outcome);
  return end;
}

function readPart(payload: Buffer, at: number, visitor: WriteBatchVisitor): number {
  need(payload, at, PART_FIXED_BYTES);
  const keyAt = at + PART_FIXED_BYTES;
  const recordAt = keyAt + payload.readUInt32BE(at + 1);
  const end = recordAt + payload.readUInt32BE(at + 5);
  need(payload, end, 0);
  const key = payload.subarray(keyAt, recordAt);
  const record = payload.subarray(recordAt, end);
  timestampOfVersionKey(key);
  checkStep(key, sequenceOfRecord(record), at);
  visitor.write(key, record);
  return end;
}

function readPut(payload: Buffer, at: number, visitor: WriteBatchVisitor): number {
  need(payload, at, PART_FIXED_BYTES);
  const keyAt = at + PART_FIXED_BYTES;
  const recordAt = keyAt + payload.readUInt32BE(at + 1);
  const end = recordAt + payload.readUInt32BE(at + 5);
  need(payload, end, 0);
  const key = rowKeyIn(payload, keyAt, recordAt);
  const record = payload.subarray(recordAt, end);
  const sequence = sequenceOfRecord(record);
  if (isVersioned(key)) {
    timestampOfVersionedKey(key);
    checkStep(key, sequence, at);
  }
  visitor.put(key, record);
  return end;
}

function readRemove(payload: Buffer, at: number, visitor: WriteBatchVisitor): number {
  need(payload, at, REMOVE_FIXED_BYTES);
  const keyAt = at + REMOVE_FIXED_BYTES;
  const end = keyAt + payload.readUInt32BE(at + 1);
  need(payload, end, 0);
  visitor.remove(rowKeyIn(payload, keyAt, end), payload.readUInt32BE(at + 5));
  return end;
}

function rowKeyIn(payload: Buffer, from: number, to: number): Buffer {
  const key = payload.subarray(from, to);
  if (!isRowKey(key)) throw new CairnError('CORRUPTION', `an engine key of namespace ${key[0]} at ${from}`);
  return key;
}

function checkStep(key: Buffer, sequence: number, at: number): void {
  if (isStepOf(key, sequence)) return;
  throw new CairnError('CORRUPTION', `a row whose key and record are of different steps, at ${at}`);
}

function readPurge(payload: Buffer, at: number, visitor: WriteBatchVisitor): number {
  need(payload, at, PURGE_FIXED_BYTES);
  const count = payload.readUInt32BE(at + 1);
  let from = at + PURGE_FIXED_BYTES;
  for (let key = 0; key < count; key += 1) {
    need(payload, from, PURGE_KEY_BYTES);
    const end = from + PURGE_KEY_BYTES + payload.readUInt32BE(from);
    need(payload, end, 0);
    visitor.purge(rowKeyIn(payload, from + PURGE_KEY_BYTES, end));
    from = end;
  }
  return from;
}

function readIdentity(payload: Buffer, at: number, outcome: CommandOutcome): void {
  const flags = payload[at + 1] as number;
  outcome.kind = checkedOutcomeKind(payload[at] as number, flags);
  outcome.flags = flags;
  outcome.client = payload.readUIntBE(at + 2, 6);
  outcome.requestSequence = payload.readUIntBE(at + 8, 6);
}

function need(payload: Buffer, at: number, bytes: number): void {
  if (at + bytes > payload.length) {
    throw new CairnError('CORRUPTION', `write batch ends early: ${at + bytes} of ${payload.length} bytes`);
  }
}
