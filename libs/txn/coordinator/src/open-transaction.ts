import {
  assert,
  CairnError,
  NO_BYTES,
  rethrowInvariant,
  RowKind,
  timestamp,
  type Timestamp,
} from '@cairn/base';
import { scanPages, type RequestRouter, type SpanTimes } from '@cairn/routing';
import type { KvRow, ReadRow, ReadSpan } from '@cairn/wire';

import { aborted, isAborted } from './aborts.js';
import type { TransactionCoordinator } from './coordinator.js';
import { incremented, ttlLeftOf } from './evaluate-one-shot.js';
import { mapKey } from './keys.js';
import { tooLarge, type TransactionLimits } from './limits.js';
import { mergedPages } from './merged-scan.js';
import type {
  BeginOptions,
  CommitOutcome,
  Isolation,
  OpenTransaction,
  ReserveRequest,
  TimestampSource,
  TransactionScan,
  TransactionWrite,
} from './types.js';
import { WriteSet } from './write-set.js';

const READ_OVERHEAD_BYTES = 32;

/** What an open transaction asks of those who keep it. */
export interface TransactionKeeper {
  readonly coordinator: TransactionCoordinator;
  readonly router: RequestRouter;
  readonly timestamps: TimestampSource;
  readonly limits: TransactionLimits;
  nowMs(): number;
  /** The transaction holds so many bytes more (or fewer) from now on; throws when there is no room. */
  resize(transaction: KeptTransaction, growth: number): void;
  /** It ended; its room is free. */
  ended(transaction: KeptTransaction): void;
}

/** What a scan has read so far: it grows with its pages. */
interface ScannedSpan {
  start: Uint8Array;
  end: Uint8Array;
}

/** A key that was read, and whether a write of it checks that it is as it was. */
interface ReadKey {
  readonly key: Uint8Array;
  isChecked: boolean;
}

/** A transaction that is kept for a caller: what it has read and written, and when it was used last. */
export class KeptTransaction implements OpenTransaction {
  readonly id: string;
  readonly isolation: Isolation;
  readonly readOnly: boolean;
  readonly caller: string;
  readonly beganMs: number;
  lastUsedMs: number;
  /** As counted by the keeper. */
  heldBytes = 0;
  /** Calls that have not been answered. */
  calls = 0;
  readonly #keeper: TransactionKeeper;
  readonly #writes = new WriteSet();
  /** Keys that were read, with whether a write of the key checks that they are as they were. */
  readonly #reads = new Map<string, ReadKey>();
  readonly #spans = new Set<ScannedSpan>();
  /** Keys that were reserved; as `#reads`, at every level. */
  readonly #reserved = new Map<string, ReadKey>();
  /** Whose they are: the timestamp that it began with. */
  readonly #owner: Timestamp;
  #start: Timestamp;
  /** Something was read as of the start: it stays. */
  #hasRead = false;
  #readBytes = 0;
  /** READ COMMITTED: since when nobody else may have written what is written here; 0 = no matter. */
  #checkedSince = timestamp(0);
  #lastIncrement: Promise<unknown> = Promise.resolve();
  #release: () => void;
  #isEnded = false;

  constructor(keeper: TransactionKeeper, identity: { id: string; start: Timestamp }, options: BeginOptions) {
    this.#keeper = keeper;
    this.id = identity.id;
    this.#owner = identity.start;
    this.#start = identity.start;
    this.isolation = options.isolation;
    this.readOnly = options.readOnly;
    this.caller = options.caller;
    this.beganMs = keeper.nowMs();
    this.lastUsedMs = this.beganMs;
    this.#release = keeper.coordinator.holdSnapshot(identity.start);
  }

  get start(): Timestamp {
    return this.#start;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  get(keys: readonly Uint8Array[], times: SpanTimes): Promise<readonly ReadRow[]> {
    return this.#during(async () => {
      const others = keys.filter((key) => this.#writes.get(key) === undefined);
      // Before they are asked for: a commit that comes meanwhile validates them.
      for (const key of others) this.#noteRead(key);
      this.#hasRead = true;
      const at = this.isolation === 'read-committed' ? undefined : this.start;
      const written = keys.map((key) => this.#writes.get(key));
      const { rows } =
        others.length === 0 ? { rows: [] } : await this.#keeper.coordinator.snapshotGet(others, at, times);
      this.#noteRows(others, rows);
      const left = rows[Symbol.iterator]();
      return written.map((write) => (write === undefined ? (left.next().value as ReadRow) : rowOf(write)));
    });
  }

  getForUpdate(
    keys: readonly Uint8Array[],
    lock: Pick<ReserveRequest, 'lockTimeoutMs' | 'policy' | 'strength'>,
    times: SpanTimes,
  ): Promise<readonly (ReadRow | undefined)[]> {
    return this.#during(async () => {
      this.#assertWritable();
      const { coordinator } = this.#keeper;
      try {
        const request = { ...lock, keys, owner: this.#owner, start: this.#readAt };
        const { rows, timestamp: fresh } = await coordinator.reserve(request, times);
        this.#assertOpen();
        const newer = keys.find((_key, at) => (rows[at]?.newest ?? 0) > this.#readAt);
        if (this.#readAt > 0 && newer !== undefined) throw aborted('conflict', newer);
        if (this.#readAt === 0) this.#startAt(fresh);
        const reserved = keys.filter((_key, at) => rows[at]?.isReserved === true);
        const found = await this.#readReserved(reserved, times);
        return keys.map((key) => found.get(mapKey(key)));
      } catch (error) {
        // Nothing that it would commit can hold any more.
        if (isAborted(error)) this.end();
        throw error;
      }
    });
  }

  /** What is reserved is read and checked as of this; 0 = nothing was read yet. */
  get #readAt(): Timestamp {
    if (this.isolation === 'read-committed') return this.#checkedSince;
    return this.#hasRead ? this.#start : timestamp(0);
  }

  #startAt(fresh: Timestamp): void {
    if (this.isolation === 'read-committed') {
      this.#checkedSince = fresh;
      return;
    }
    const release = this.#release;
    this.#release = this.#keeper.coordinator.holdSnapshot(fresh);
    release();
    this.#start = fresh;
    this.#hasRead = true;
  }

  /** Own writes win. */
  async #readReserved(keys: readonly Uint8Array[], times: SpanTimes): Promise<ReadonlyMap<string, ReadRow>> {
    for (const key of keys) this.#note(this.#reserved, key);
    const found = new Map<string, ReadRow>();
    if (keys.length === 0) return found;
    const { rows } = await this.#keeper.coordinator.snapshotGet(keys, this.#readAt, times);
    for (const [at, key] of keys.entries()) {
      const name = mapKey(key);
      const kept = this.#reserved.get(name);
      const row = rows[at];
      assert(kept !== undefined && row !== undefined, 'a row for each key');
      if (row.expiresUnixMs === 0) kept.isChecked = true;
      const own = this.#writes.get(key);
      found.set(name, own === undefined ? row : rowOf(own));
    }
    return found;
  }

  async *scan(span: TransactionScan, times: SpanTimes): AsyncGenerator<readonly KvRow[]> {
    this.#use();
    this.calls += 1;
    // While the reader takes nothing, nobody uses the transaction.
    let isWithReader = false;
    try {
      const { router, timestamps } = this.#keeper;
      const isFresh = this.isolation === 'read-committed';
      this.#hasRead = true;
      const at = isFresh ? await timestamps.timestamp() : this.start;
      const written = this.#writes.within(span.start, span.end);
      const { start, end, reverse, keysOnly, limit, pageBytes, pageTimeoutMs } = span;
      const stored = scanPages(
        router,
        {
          ...{ start, end, reverse, keysOnly, pageBytes, pageTimeoutMs, timestamp: at },
          // As many rows as may be hidden or replaced by own writes come besides.
          limit: limit === 0 ? 0 : limit + written.length,
        },
        times,
      );
      const scanned: ScannedSpan = { start, end: start };
      for await (const { rows, covered } of mergedPages(stored, written, span)) {
        this.#use();
        // Before it is told: who was told can commit.
        this.#noteSpan(scanned, covered);
        if (rows.length === 0) continue;
        this.#leave();
        isWithReader = true;
        yield rows;
        this.#use();
        this.calls += 1;
        isWithReader = false;
      }
    } finally {
      if (!isWithReader) this.#leave();
    }
  }

  put(key: Uint8Array, value: Uint8Array, ttlMs: number): void {
    this.#write({ type: 'put', key: Buffer.from(key), value: Buffer.from(value), ttlMs });
  }

  delete(key: Uint8Array): void {
    this.#write({ type: 'delete', key: Buffer.from(key) });
  }

  increment(key: Uint8Array, delta: bigint, times: SpanTimes): Promise<bigint> {
    // One after the other: each is to see the one before.
    const mine = this.#lastIncrement.then(() => this.#increment(key, delta, times));
    this.#lastIncrement = mine.catch(rethrowInvariant);
    return mine;
  }

  async #increment(key: Uint8Array, delta: bigint, times: SpanTimes): Promise<bigint> {
    return this.#during(async () => {
      this.#assertWritable();
      const own = this.#writes.get(key);
      if (own !== undefined) {
        const number = incremented(rowOf(own), delta);
        this.put(key, decimal(number), own.type === 'put' ? own.ttlMs : 0);
        return number;
      }
      const isFresh = this.isolation === 'read-committed';
      this.#noteRead(key);
      this.#hasRead = true;
      const { coordinator } = this.#keeper;
      const { timestamp: at, rows } = await coordinator.snapshotGet(
        [key],
        isFresh ? undefined : this.start,
        times,
      );
      this.#noteRows([key], rows);
      const [row] = rows;
      assert(row !== undefined, 'a row for each key');
      const number = incremented(row, delta);
      this.put(key, decimal(number), ttlLeftOf(row, at));
      if (isFresh && this.#checkedSince === 0) this.#checkedSince = at;
      return number;
    });
  }

  savepoint(name: string): void {
    this.#use();
    this.#grow(this.#writes.growthBySavepoint(name));
    try {
      this.#writes.savepoint(name);
    } finally {
      this.#account();
    }
  }

  rollbackTo(name: string): void {
    this.#use();
    this.#writes.rollbackTo(name);
    this.#account();
  }

  release(name: string): void {
    this.#use();
    this.#writes.release(name);
    this.#account();
  }

  async commit(times: SpanTimes): Promise<CommitOutcome> {
    this.#use();
    const writes = this.#writes.list();
    const unchecked = (kept: ReadonlyMap<string, ReadKey>): Uint8Array[] =>
      [...kept.values()]
        .filter(({ key, isChecked }) => !isChecked || this.#writes.get(key) === undefined)
        .map(({ key }) => key);
    const reads = unchecked(this.#reads);
    const isSnapshot = this.isolation !== 'read-committed';
    const request = {
      start: isSnapshot ? this.start : this.#checkedSince,
      isolation: this.isolation,
      reads: isSnapshot ? reads : [],
      spans: isSnapshot ? [...this.#spans] : [],
      writes,
      reserved: unchecked(this.#reserved),
      owner: this.#owner,
    };
    this.#isEnded = true;
    try {
      const outcome = await this.#keeper.coordinator.commit(request, times);
      return writes.length === 0 ? { commit: this.start } : outcome;
    } finally {
      this.#end();
    }
  }

  rollback(): void {
    this.#use();
    this.end();
  }

  /** Its caller has gone, or its time is over: nothing of it happens. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#end();
  }

  #end(): void {
    this.#release();
    this.#keeper.coordinator.release(this.#owner);
    this.#keeper.ended(this);
  }

  #assertOpen(): void {
    if (this.#isEnded) throw notFound(this.id);
  }

  #use(): void {
    this.#assertOpen();
    this.lastUsedMs = this.#keeper.nowMs();
  }

  async #during<T>(call: () => Promise<T>): Promise<T> {
    this.#use();
    this.calls += 1;
    try {
      const result = await call();
      this.#assertOpen();
      return result;
    } finally {
      this.#leave();
    }
  }

  /** A call does not use it any more, for now or at all. */
  #leave(): void {
    this.calls -= 1;
    this.lastUsedMs = this.#keeper.nowMs();
  }

  #assertWritable(): void {
    if (this.readOnly) throw new CairnError('FAILED_PRECONDITION', 'the transaction is read-only');
  }

  #write(write: TransactionWrite): void {
    this.#use();
    this.#assertWritable();
    const { limits } = this.#keeper;
    const isNew = this.#writes.get(write.key) === undefined;
    if (isNew && this.#keys + 1 > limits.keysMax) throw tooLarge('keys', limits.keysMax);
    this.#grow(this.#writes.growthBy(write));
    this.#writes.put(write);
  }

  get #keys(): number {
    return this.#writes.size + this.#reads.size + this.#spans.size + this.#reserved.size;
  }

  /** SERIALIZABLE alone validates what was read. */
  get #notesReads(): boolean {
    return this.isolation === 'serializable' && !this.readOnly;
  }

  #noteRead(key: Uint8Array): void {
    if (this.#notesReads) this.#note(this.#reads, key);
  }

  #note(kept: Map<string, ReadKey>, key: Uint8Array): void {
    const name = mapKey(key);
    if (kept.has(name)) return;
    const { limits } = this.#keeper;
    if (this.#keys + 1 > limits.keysMax) throw tooLarge('keys', limits.keysMax);
    this.#growReads(key.length);
    kept.set(name, { key: Buffer.from(key), isChecked: false });
  }

  #noteRows(keys: readonly Uint8Array[], rows: readonly ReadRow[]): void {
    for (const [at, key] of keys.entries()) {
      const read = this.#reads.get(mapKey(key));
      // That a row expires is a write by nobody: only validation sees it.
      if (read !== undefined && rows[at]?.expiresUnixMs === 0) read.isChecked = true;
    }
  }

  /** The scan has covered so much of its span by now. */
  #noteSpan(scanned: ScannedSpan, covered: ReadSpan): void {
    if (!this.#notesReads) return;
    const { limits } = this.#keeper;
    if (!this.#spans.has(scanned)) {
      if (this.#keys + 1 > limits.keysMax) throw tooLarge('keys', limits.keysMax);
      this.#growReads(scanned.start.length + scanned.end.length);
      this.#spans.add(scanned);
    }
    const growth = covered.start.length + covered.end.length - scanned.start.length - scanned.end.length;
    this.#grow(growth);
    this.#readBytes += growth;
    scanned.start = covered.start;
    scanned.end = covered.end;
  }

  #growReads(bytes: number): void {
    this.#grow(bytes + READ_OVERHEAD_BYTES);
    this.#readBytes += bytes + READ_OVERHEAD_BYTES;
  }

  #grow(bytes: number): void {
    const { bytesMax } = this.#keeper.limits;
    if (this.#writes.bytes + this.#readBytes + bytes > bytesMax) {
      throw tooLarge('bytes of keys and values', bytesMax);
    }
    this.#keeper.resize(this, bytes);
  }

  /** Room that came free. */
  #account(): void {
    this.#keeper.resize(this, this.#writes.bytes + this.#readBytes - this.heldBytes);
  }
}

export function notFound(id: string): CairnError {
  return new CairnError(
    'TRANSACTION_NOT_FOUND',
    'there is no such transaction: it has ended, or never began',
    {
      details: { id },
    },
  );
}

function decimal(number: bigint): Buffer {
  return Buffer.from(number.toString(), 'latin1');
}

/** A row that the transaction has written itself: it has no version yet. */
export function rowOf(write: TransactionWrite): ReadRow {
  const isPut = write.type === 'put';
  return {
    found: isPut,
    value: isPut ? write.value : NO_BYTES,
    version: NO_BYTES,
    kind: RowKind.bytes,
    expiresUnixMs: 0,
  };
}
