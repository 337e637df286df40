import { assert, timestamp, type Timestamp } from '@cairn/base';
import { writeU64 } from '@cairn/codec';
import { OutcomeKind, type CommandOutcome } from './command-outcome.js';
import { isRowKey, Namespace } from './namespace.js';
import { recordLength, writeRecordOf, type VersionRecord } from './record.js';
import { countZeroBytes, writeEscapedKey } from './user-key.js';
import { VERSION_SUFFIX_BYTES, versionKeyLength, writeVersionSuffix } from './version-key.js';
import {
  COLLECTED_BYTES,
  CommandKind,
  ENGINE_KEY_BYTES_MAX,
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
  ROW_SIZES_BYTES,
  WRITE_BATCH_FORMAT,
  WRITE_FIXED_BYTES,
} from './write-batch-format.js';

/** Not written by a transaction. */
const NO_START = timestamp(0);

const CAPACITY_BYTES = 64 * 1024;
/** A scratch buffer that one big batch blew up is given back above this. */
const CAPACITY_KEPT_BYTES = 1024 * 1024;

/**
 * Collects evaluated commands of one range into one raft payload. Reusable: `finish` copies the payload
 * out and leaves the builder empty, so a log entry never pins the scratch space, at most one of Node's small
 * pools of buffers until it is applied. Everything given to it is copied at once.
 */
export class WriteBatchBuilder {
  #buffer: Buffer;
  #length = HEADER_BYTES;
  #count = 0;
  #maxTimestamp = 0;

  constructor(capacityBytes = CAPACITY_BYTES) {
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(capacityBytes, HEADER_BYTES));
  }

  /** Items so far. */
  get count(): number {
    return this.#count;
  }

  /** Payload bytes so far, header included. */
  get bytes(): number {
    return this.#length;
  }

  /** Largest timestamp of any outcome or part so far; 0 without one. */
  get maxTimestamp(): Timestamp {
    return timestamp(this.#maxTimestamp);
  }

  /**
   * A command whose whole effect is one version of `userKey`. `outcome.timestamp` and `outcome.sequence`
   * must be those of the version; `outcome.detail` is not read: the reader derives an increment's number
   * from the value.
   */
  addWrite(outcome: CommandOutcome, userKey: Uint8Array, version: VersionRecord): void {
    assert(outcome.timestamp === version.timestamp, 'outcome and version differ in timestamp');
    assert(outcome.sequence === version.sequence, 'outcome and version differ in sequence');
    const zeros = countZeroBytes(userKey);
    const keyBytes = versionKeyLength(userKey, zeros);
    const recordBytes = recordLength(version);
    const at = this.#startItem(WRITE_FIXED_BYTES + keyBytes + recordBytes, version.timestamp);
    const buffer = this.#buffer;
    buffer[at] = ItemTag.write;
    writeIdentity(buffer, at + 1, outcome);
    writeRow(
      buffer,
      at + 1 + IDENTITY_BYTES,
      { userKey, zeros, keyBytes, recordBytes, start: NO_START },
      version,
    );
  }

  /**
   * A version written by a command of several writes; `addOutcome` of the command must follow in this
   * batch. `start`: when the transaction began that writes it; 0 = none does.
   */
  addPart(userKey: Uint8Array, version: VersionRecord, start = NO_START): void {
    const zeros = countZeroBytes(userKey);
    const keyBytes = versionKeyLength(userKey, zeros);
    const recordBytes = recordLength(version, start);
    const at = this.#startItem(PART_FIXED_BYTES + keyBytes + recordBytes, version.timestamp);
    this.#buffer[at] = ItemTag.part;
    writeRow(this.#buffer, at + 1, { userKey, zeros, keyBytes, recordBytes, start }, version);
  }

  /** The outcome of a command that wrote nothing, or whose writes were added as parts. */
  addOutcome(outcome: CommandOutcome): void {
    assert(outcome.kind !== OutcomeKind.increment, 'an increment always writes');
    const detail = outcome.detail;
    const detailBytes = detail === undefined ? 0 : detail.length;
    const at = this.#startItem(OUTCOME_FIXED_BYTES + detailBytes, outcome.timestamp);
    const buffer = this.#buffer;
    buffer[at] = ItemTag.outcome;
    writeIdentity(buffer, at + 1, outcome);
    writeU64(buffer, at + 1 + IDENTITY_BYTES, outcome.timestamp);
    buffer.writeUInt32BE(outcome.sequence, at + 1 + IDENTITY_BYTES + 8);
    buffer.writeUInt32BE(detailBytes, at + 1 + IDENTITY_BYTES + 12);
    if (detail !== undefined) buffer.set(detail, at + OUTCOME_FIXED_BYTES);
  }

  /** Engine keys to delete, in this order; see `GarbageCollector`. */
  addPurge(engineKeys: readonly Uint8Array[]): void {
    let bytes = PURGE_FIXED_BYTES;
    for (const key of engineKeys) {
      assert(key.length <= ENGINE_KEY_BYTES_MAX, 'engine key too long');
      bytes += PURGE_KEY_BYTES + key.length;
    }
    const at = this.#startItem(bytes, 0);
    const buffer = this.#buffer;
    buffer[at] = ItemTag.purge;
    buffer.writeUInt32BE(engineKeys.length, at + 1);
    let to = at + PURGE_FIXED_BYTES;
    for (const key of engineKeys) {
      buffer.writeUInt32BE(key.length, to);
      buffer.set(key, to + PURGE_KEY_BYTES);
      to += PURGE_KEY_BYTES + key.length;
    }
  }

  /**
   * Says that no read below `safePoint` may be served from now on, and how many engine bytes the purges of
   * this batch free. Goes with every purge; does not count for `maxTimestamp`.
   */
  addCollected(safePoint: Timestamp, bytes: number): void {
    assert(Number.isSafeInteger(bytes) && bytes >= 0, 'freed bytes must be a whole number', { bytes });
    const at = this.#startItem(COLLECTED_BYTES, 0);
    this.#buffer[at] = ItemTag.collected;
    writeU64(this.#buffer, at + 1, safePoint);
    writeU64(this.#buffer, at + 9, bytes);
  }

  /** An engine row of any row namespace, as it is. */
  addPut(engineKey: Uint8Array, record: Uint8Array): void {
    assertRowKey(engineKey);
    const at = this.#startItem(PART_FIXED_BYTES + engineKey.length + record.length, 0);
    const buffer = this.#buffer;
    buffer[at] = ItemTag.put;
    buffer.writeUInt32BE(engineKey.length, at + 1);
    buffer.writeUInt32BE(record.length, at + 5);
    buffer.set(engineKey, at + PART_FIXED_BYTES);
    buffer.set(record, at + PART_FIXED_BYTES + engineKey.length);
  }

  /**
   * Takes an engine row of any row namespace away. `recordBytes`: how long its record is, as far as is known;
   * the size of the range is reckoned by it.
   */
  addRemove(engineKey: Uint8Array, recordBytes: number): void {
    assertRowKey(engineKey);
    const at = this.#startItem(REMOVE_FIXED_BYTES + engineKey.length, 0);
    this.#buffer[at] = ItemTag.remove;
    this.#buffer.writeUInt32BE(engineKey.length, at + 1);
    this.#buffer.writeUInt32BE(recordBytes, at + 5);
    this.#buffer.set(engineKey, at + REMOVE_FIXED_BYTES);
  }

  /**
   * The payload, owned by the caller; the builder is empty afterwards. At least one item must have been
   * added.
   */
  finish(): Buffer {
    assert(this.#count > 0, 'a write batch without items');
    const buffer = this.#buffer;
    buffer[0] = CommandKind.writeBatch;
    buffer[1] = WRITE_BATCH_FORMAT;
    buffer.writeUInt32BE(this.#count, HEADER_COUNT_AT);
    writeU64(buffer, HEADER_MAX_TIMESTAMP_AT, this.#maxTimestamp);
    const payload = Buffer.allocUnsafe(this.#length);
    buffer.copy(payload, 0, 0, this.#length);
    this.clear();
    return payload;
  }

  /** Drops what was added. */
  clear(): void {
    if (this.#buffer.length > CAPACITY_KEPT_BYTES) this.#buffer = Buffer.allocUnsafeSlow(CAPACITY_BYTES);
    this.#length = HEADER_BYTES;
    this.#count = 0;
    this.#maxTimestamp = 0;
  }

  #startItem(bytes: number, ts: number): number {
    const at = this.#length;
    const needed = at + bytes;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    this.#length = needed;
    this.#count += 1;
    if (ts > this.#maxTimestamp) this.#maxTimestamp = ts;
    return at;
  }
}

function assertRowKey(engineKey: Uint8Array): void {
  assert(engineKey.length <= ENGINE_KEY_BYTES_MAX, 'engine key too long');
  assert(isRowKey(engineKey), 'the key of a row is in a row namespace', { namespace: engineKey[0] ?? 0 });
}

/** What a row is made of besides its version. */
interface RowSizes {
  readonly userKey: Uint8Array;
  readonly zeros: number;
  readonly keyBytes: number;
  readonly recordBytes: number;
  /** When the transaction began that writes it; 0 = none does. */
  readonly start: Timestamp;
}

function writeRow(buffer: Buffer, at: number, sizes: RowSizes, version: VersionRecord): void {
  assert(sizes.keyBytes <= ENGINE_KEY_BYTES_MAX, 'engine key too long');
  buffer.writeUInt32BE(sizes.keyBytes, at);
  buffer.writeUInt32BE(sizes.recordBytes, at + 4);
  const keyAt = at + ROW_SIZES_BYTES;
  buffer[keyAt] = Namespace.versions;
  const suffixAt = writeEscapedKey(buffer, keyAt + 1, sizes.userKey, sizes.zeros);
  writeVersionSuffix(buffer, suffixAt, version.timestamp, version.sequence);
  const end = writeRecordOf(
    buffer,
    { keyAt, recordAt: suffixAt + VERSION_SUFFIX_BYTES },
    version,
    sizes.start,
  );
  assert(end === keyAt + sizes.keyBytes + sizes.recordBytes, 'row of another length than announced');
}

function writeIdentity(buffer: Buffer, at: number, outcome: CommandOutcome): void {
  buffer[at] = outcome.kind;
  buffer[at + 1] = outcome.flags;
  buffer.writeUIntBE(outcome.client, at + 2, 6);
  buffer.writeUIntBE(outcome.requestSequence, at + 8, 6);
}
