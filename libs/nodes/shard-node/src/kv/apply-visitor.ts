import { timestamp, type Timestamp } from '@cairn/base';
import type { EngineBatch } from '@cairn/engine';
import {
  decodeRecord,
  hasExpiryRecord,
  isTombstoneRecord,
  isVersioned,
  Namespace,
  rowCacheKeyOfVersionKey,
  timestampOfVersionKey,
  type CommandOutcome,
  type RequestWindow,
  type RowCacheKey,
  type VersionRecord,
  type WriteBatchVisitor,
} from '@cairn/mvcc';

/** Who must learn of the versions of an entry once they are visible. */
export interface AppliedRows {
  /** Whether writes are of interest: their proposer knows them. */
  readonly notesWrites: boolean;
  wrote(key: RowCacheKey, version: VersionRecord): void;
  /** Nobody here knows what is newest now. */
  changed(key: RowCacheKey): void;
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
  /** Engine bytes that purges and removals free. */
  freedBytes = 0;
  #batch: EngineBatch | undefined;
  #window: RequestWindow | undefined;
  #rows: AppliedRows | undefined;
  #notesWrites = false;

  /**
   * Forgets the entry before. `batch` undefined = only remember outcomes; `rows` undefined = nobody must
   * learn of rows.
   */
  begin(
    batch: EngineBatch | undefined,
    window: RequestWindow | undefined,
    rows: AppliedRows | undefined,
  ): void {
    this.bytes = 0;
    this.deletedBytes = 0;
    this.hasExpiring = false;
    this.safePoint = timestamp(0);
    this.freedBytes = 0;
    this.#batch = batch;
    this.#window = window;
    this.#rows = rows;
    this.#notesWrites = rows?.notesWrites === true;
  }

  write(key: Buffer, record: Buffer): void {
    this.#add(key, record);
    if (this.#notesWrites) {
      const version = decodeRecord(timestampOfVersionKey(key), record);
      this.#rows?.wrote(rowCacheKeyOfVersionKey(key), version);
    }
  }

  /** Not what a command evaluated to, so also who proposed it has to look again. */
  put(key: Buffer, record: Buffer): void {
    if (isVersioned(key)) {
      this.#add(key, record);
    } else {
      this.bytes += key.length + record.length;
      this.#batch?.put(key, record);
    }
    this.#changed(key);
  }

  remove(key: Buffer, recordBytes: number): void {
    this.freedBytes += key.length + recordBytes;
    this.#batch?.delete(key);
    this.#changed(key);
  }

  #add(key: Buffer, record: Buffer): void {
    const bytes = key.length + record.length;
    this.bytes += bytes;
    if (isTombstoneRecord(record)) this.deletedBytes += bytes;
    else if (hasExpiryRecord(record)) this.hasExpiring = true;
    this.#batch?.put(key, record);
  }

  /** Rows of other namespaces are in no cache. */
  #changed(key: Buffer): void {
    if (key[0] === Namespace.versions) this.#rows?.changed(rowCacheKeyOfVersionKey(key));
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
