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

/** Who must learn of the locks of an entry. */
export interface AppliedLocks {
  put(engineKey: Buffer, record: Buffer): void;
  remove(engineKey: Buffer): void;
}

/** Puts the rows of a payload into the engine batch and its outcomes into the window. One object, reused. */
export class ApplyVisitor implements WriteBatchVisitor {
  /** Engine bytes of the rows put. */
  bytes = 0;
  /** The part of `bytes` that is garbage for sure in time: deletions, and records of transactions. */
  deletedBytes = 0;
  hasExpiring = false;
  /** 0 = the entry collects no garbage. */
  safePoint = timestamp(0);
  /** Engine bytes that purges and removals free. */
  freedBytes = 0;
  /** The newest version among the rows put; 0 = there is none. */
  newestPut = timestamp(0);
  #batch: EngineBatch | undefined;
  #window: RequestWindow | undefined;
  #rows: AppliedRows | undefined;
  #notesWrites = false;
  #locks: AppliedLocks | undefined;

  /**
   * Forgets the entry before. `batch` undefined = only remember outcomes; `rows`, `locks` undefined = nobody
   * must learn of them.
   */
  begin(
    batch: EngineBatch | undefined,
    window: RequestWindow | undefined,
    rows: AppliedRows | undefined,
    locks: AppliedLocks | undefined,
  ): void {
    this.bytes = 0;
    this.deletedBytes = 0;
    this.hasExpiring = false;
    this.safePoint = timestamp(0);
    this.freedBytes = 0;
    this.newestPut = timestamp(0);
    this.#batch = batch;
    this.#locks = locks;
    this.#window = window;
    this.#rows = rows;
    this.#notesWrites = rows?.notesWrites === true;
  }

  write(key: Buffer, record: Buffer): void {
    this.#add(key, record);
    if (this.#notesWrites) this.#note(key, record);
  }

  #note(key: Buffer, record: Buffer): void {
    const version = decodeRecord(timestampOfVersionKey(key), record);
    this.#rows?.wrote(rowCacheKeyOfVersionKey(key), version);
  }

  /** Who proposed it knows the versions. */
  put(key: Buffer, record: Buffer): void {
    if (isVersioned(key)) {
      this.#add(key, record);
    } else {
      const bytes = key.length + record.length;
      this.bytes += bytes;
      if (key[0] === Namespace.transactions) this.deletedBytes += bytes;
      this.#batch?.put(key, record);
    }
    if (key[0] === Namespace.versions) {
      this.newestPut = timestamp(Math.max(this.newestPut, timestampOfVersionKey(key)));
      if (this.#notesWrites) this.#note(key, record);
    } else if (key[0] === Namespace.locks) {
      this.#locks?.put(key, record);
    }
  }

  remove(key: Buffer, recordBytes: number): void {
    this.freedBytes += key.length + recordBytes;
    this.#batch?.delete(key);
    if (key[0] === Namespace.locks) this.#locks?.remove(key);
    else this.#changed(key);
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
