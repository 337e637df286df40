import { CairnError, sumOfCounter, timestamp as asTimestamp, timestampToUnixMs } from '@cairn/base';
import {
  checkKey,
  checkValue,
  invalidArgument,
  toBuffer,
  WIDEST_SIZES,
  type BytesInput,
  type SizeLimits,
} from './bytes.js';
import { Entry, type Row } from './entry.js';
import { boundsOf, deltaOf, ttlOf } from './operations.js';
import type { Lock } from './reserver.js';
import type { SnapshotReader } from './snapshot-reader.js';
import { mergedScan, type SpanRows } from './transaction-scan.js';
import {
  lockOf,
  type Locked,
  type KeyLockOptions,
  type TransactionPutOptions,
  type TransactionScanOptions,
} from './transaction-options.js';
import type { ReserveResponse } from './wire-binding.js';
import type { BufferedWrite, TransactionState } from './transaction-state.js';

const NO_VERSION = Buffer.alloc(0);

/** What a transaction works with. */
export interface TransactionParts {
  readonly state: TransactionState;
  readonly reader: SnapshotReader;
  /** Reserves keys for the transaction. */
  readonly reserve: (keys: Buffer[], lock: Lock) => Promise<ReserveResponse>;
  /** What the cluster accepts, as far as is known. */
  readonly sizes: SizeLimits;
  /** The rows of a span as of the transaction's instant. */
  readonly rowsOf: SpanRows;
}

/**
 * One attempt of `client.transaction`. Reads are of one instant, taken with the first of them, and see what
 * the transaction itself has written; writes are kept here and take effect together when the closure has
 * returned. Reads that are started together share a call.
 *
 * All of it ends with the closure: what is used later fails with TRANSACTION_NOT_FOUND. Calls of the client
 * within the closure are allowed and no part of the transaction: they take effect at once, and stay.
 */
export class Transaction {
  readonly #parts: TransactionParts;
  #ended: CairnError | undefined;
  /** Increments that have not added yet. */
  #adding = 0;
  #commitTimestamp: number | undefined;

  /** Callers use `client.transaction`. */
  constructor(parts: TransactionParts) {
    this.#parts = parts;
  }

  /**
   * Where the transaction committed; undefined before. Reads at or above it see all of it. One that wrote
   * nothing has the instant that it read, and 0 if it has read nothing either.
   */
  get commitTimestamp(): number | undefined {
    return this.#commitTimestamp;
  }

  /** The instant that reads are of: taken now, if nothing was read before. */
  async timestamp(): Promise<number> {
    this.#checkOpen();
    return this.#parts.reader.begin();
  }

  /**
   * The entry of the key; undefined when there is none. That of a key which the transaction has written has
   * an empty version, and does not tell when it disappears.
   */
  async get(key: BytesInput): Promise<Entry | undefined> {
    this.#checkOpen();
    const bytes = keyOf(key, WIDEST_SIZES);
    const own = this.#parts.state.written(bytes);
    if (own !== undefined) return entryOf(own);
    return this.#read(bytes);
  }

  /** Many keys, in their order. Rejects with the first error. */
  async getMany(keys: readonly BytesInput[]): Promise<(Entry | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)));
  }

  /**
   * Reads the key as `get` does, and keeps it for this transaction until that has ended: others that want to
   * write it, or to have it, wait; readers do not. The first read of a transaction is of the instant behind
   * the wait, so that the attempt is not aborted for what was written meanwhile. Rejects with
   * LOCK_NOT_AVAILABLE, and with TRANSACTION_ABORTED when the key was written since the first read, or when
   * transactions wait for each other in a circle and this one is the youngest: its closure runs again, and
   * but for the circle it still has its keys then.
   */
  async getForUpdate(key: BytesInput, options: KeyLockOptions = {}): Promise<Locked<Entry>> {
    const [locked] = await this.getManyForUpdate([key], options);
    return locked as Locked<Entry>;
  }

  /** Many keys, at most 10,000, in their order; they are locked in the order of the keys. */
  async getManyForUpdate(
    keys: readonly BytesInput[],
    options: KeyLockOptions = {},
  ): Promise<Locked<Entry>[]> {
    this.#checkOpen();
    const bytes = keys.map((key) => keyOf(key, WIDEST_SIZES));
    const lock = lockOf(options);
    if (bytes.length === 0) return [];
    const { reader, reserve, state } = this.#parts;
    const { newest, skipped, timestamp } = await reserve(bytes, lock);
    this.#checkOpen();
    await reader.startAt(timestamp);
    if (newest > reader.timestamp)
      throw new CairnError(
        'TRANSACTION_ABORTED',
        'the transaction was aborted: a key that it locks was written since its first read',
        { details: { reason: 'conflict' } },
      );
    const left = new Set(skipped);
    for (const [at, key] of bytes.entries()) if (!left.has(at)) state.reserve(key);
    return Promise.all(
      bytes.map(async (key, at) =>
        left.has(at) ? { locked: false, entry: undefined } : { locked: true, entry: await this.get(key) },
      ),
    );
  }

  /**
   * The rows of a span in key order, those included that the transaction had written when the first one was
   * asked for.
   */
  async *scan(options: TransactionScanOptions = {}): AsyncGenerator<Row, void, undefined> {
    this.#checkOpen();
    const { start, end } = boundsOf(options);
    const { state, rowsOf } = this.#parts;
    const reverse = options.reverse ?? false;
    const { limit = 0, keysOnly = false, pageBytes = 0 } = options;
    if (!Number.isSafeInteger(limit) || limit < 0)
      throw invalidArgument('limit', `limit is a whole number from 0 on, not ${limit}`);
    const scan = { start, end, reverse, limit, keysOnly, pageBytes };
    const seen = state.scanned(start, end, reverse);
    const own = state.writesIn(start, end, reverse);
    for await (const row of mergedScan(rowsOf, scan, own, seen)) {
      this.#checkOpen();
      yield row;
    }
  }

  /**
   * Writes the key when the transaction commits, whatever it holds. Throws what `client.put` rejects with.
   */
  put(key: BytesInput, value: BytesInput, options: TransactionPutOptions = {}): void {
    this.#checkOpen();
    const { sizes, state } = this.#parts;
    const bytes = toBuffer(value, 'value');
    checkValue(bytes, sizes);
    state.write({ key: keyOf(key, sizes), value: bytes, ttlMs: ttlOf(options.ttlMs) });
  }

  /** Removes the key when the transaction commits; there need be none. */
  delete(key: BytesInput): void {
    this.#checkOpen();
    this.#parts.state.write({ key: keyOf(key, WIDEST_SIZES), value: undefined, ttlMs: 0 });
  }

  /**
   * Adds to the decimal integer that the key holds (none counts as 0), and returns the sum, which is written
   * when the transaction commits. Errors are those of `client.increment`. Must be awaited before the closure
   * returns.
   */
  async increment(key: BytesInput, delta: number | bigint = 1): Promise<bigint> {
    this.#checkOpen();
    const bytes = keyOf(key, this.#parts.sizes);
    const added = BigInt(deltaOf(delta));
    const { state } = this.#parts;
    this.#adding += 1;
    try {
      const stored = state.written(bytes) === undefined ? await this.#read(bytes) : undefined;
      // Another increment may have been first: from here on nothing is waited for.
      const own = state.written(bytes);
      const sum = sumOfCounter(own === undefined ? stored?.value : own.value, added);
      const ttlMs = own === undefined ? this.#timeLeft(stored) : own.ttlMs;
      state.write({ key: bytes, value: Buffer.from(String(sum)), ttlMs });
      return sum;
    } finally {
      this.#adding -= 1;
    }
  }

  /** The time to live that goes on; 0 = none. */
  #timeLeft(entry: Entry | undefined): number {
    if (entry?.expiresAtMs === undefined) return 0;
    const readAtMs = timestampToUnixMs(asTimestamp(this.#parts.reader.timestamp));
    return Math.max(1, entry.expiresAtMs - readAtMs);
  }

  async #read(key: Buffer): Promise<Entry | undefined> {
    this.#parts.state.read(key);
    const entry = await this.#parts.reader.read(key);
    this.#checkOpen();
    if (entry?.expiresAtMs === undefined) this.#parts.state.readLasting(key);
    return entry;
  }

  #checkOpen(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  /** For the one who runs the transaction: its closure has settled. */
  static end(transaction: Transaction, why: string): void {
    transaction.#ended ??= new CairnError(
      'TRANSACTION_NOT_FOUND',
      `the transaction has ended (${why}): use it within its closure, and await what it returns`,
    );
  }

  /** For the one who runs the transaction: throws when it would commit without an increment. */
  static checkDone(transaction: Transaction): void {
    if (transaction.#adding === 0) return;
    throw new CairnError(
      'FAILED_PRECONDITION',
      'the closure returned before an increment was done: await it; nothing of the transaction happened',
    );
  }

  /** For the one who runs the transaction. */
  static committed(transaction: Transaction, commitTimestamp: number): void {
    transaction.#commitTimestamp = commitTimestamp;
  }
}

function keyOf(key: BytesInput, sizes: SizeLimits): Buffer {
  const bytes = toBuffer(key, 'key');
  checkKey(bytes, sizes);
  return bytes;
}

function entryOf({ value }: BufferedWrite): Entry | undefined {
  return value === undefined ? undefined : new Entry(value, NO_VERSION, 0);
}
