import { timestamp, type LogIndex, type Timestamp } from '@cairn/base';
import type { EngineBatch } from '@cairn/engine';
import {
  decodeRecord,
  hasExpiryRecord,
  isTombstoneRecord,
  Namespace,
  rowCacheKeyOfVersionKey,
  timestampOfVersionKey,
  type CommandOutcome,
  type RequestWindow,
  type RowCacheKey,
  type VersionRecord,
  type WriteBatchVisitor,
} from '@cairn/mvcc';

/** A row of an entry that was applied and is not visible yet. */
export interface AppliedRow {
  readonly index: LogIndex;
  readonly key: RowCacheKey;
  readonly version: VersionRecord;
}

/** Puts the rows of a payload into the engine batch and its outcomes into the window. One object, reused. */
export class ApplyVisitor implements WriteBatchVisitor {
  /** Engine bytes of the rows put. */
  bytes = 0;
  /** The part of `bytes` that deletions make. */
  deletedBytes = 0;
  hasExpiring = false;
  /** 0 = the entry collects no garbage. */
  safePoint = timestamp(0);
  /** Engine bytes that the purges free. */
  freedBytes = 0;
  #index = 0 as LogIndex;
  #batch: EngineBatch | undefined;
  #window: RequestWindow | undefined;
  #rows: AppliedRow[] | undefined;

  /**
   * Forgets the entry before. `batch` undefined = only remember outcomes; `rows` undefined = nobody must
   * learn of rows.
   */
  begin(
    index: LogIndex,
    batch: EngineBatch | undefined,
    window: RequestWindow | undefined,
    rows: AppliedRow[] | undefined,
  ): void {
    this.bytes = 0;
    this.deletedBytes = 0;
    this.hasExpiring = false;
    this.safePoint = timestamp(0);
    this.freedBytes = 0;
    this.#index = index;
    this.#batch = batch;
    this.#window = window;
    this.#rows = rows;
  }

  write(key: Buffer, record: Buffer): void {
    const bytes = key.length + record.length;
    this.bytes += bytes;
    if (isTombstoneRecord(record)) this.deletedBytes += bytes;
    else if (hasExpiryRecord(record)) this.hasExpiring = true;
    this.#batch?.put(key, record);
    if (this.#rows === undefined) return;
    const version = decodeRecord(timestampOfVersionKey(key), record);
    this.#rows.push({ index: this.#index, key: rowCacheKeyOfVersionKey(key), version });
  }

  put(key: Buffer, record: Buffer): void {
    if (key[0] === Namespace.versions) {
      this.write(key, record);
      return;
    }
    this.bytes += key.length + record.length;
    this.#batch?.put(key, record);
  }

  remove(key: Buffer): void {
    this.#batch?.delete(key);
  }

  outcome(outcome: CommandOutcome): void {
    this.#window?.append(outcome);
  }

  purge(key: Buffer): void {
    this.#batch?.delete(key);
  }

  collected(safePoint: Timestamp, bytes: number): void {
    this.safePoint = safePoint;
    this.freedBytes += bytes;
  }
}
