import type { ViewCoding } from './typed-coding.js';
import type { Snapshot } from './snapshot.js';
import type { CallOptions } from './options.js';
import type { Transaction } from './transaction.js';
import type { Locked, KeyLockOptions, TransactionPutOptions } from './transaction-options.js';
import type { TypedEntry, TypedRow, TypedScanOptions } from './codecs.js';

/** As of a scan of a typed view; its snapshot and its deadline are those of the transaction. */
export type TypedTransactionScanOptions<Key> = Omit<
  TypedScanOptions<Key>,
  'consistency' | 'timeoutMs' | 'signal' | 'traceparent'
>;

/** A `Transaction` whose keys and values are of one type each. */
export class TypedTransaction<Key, Value> {
  /** The same transaction, for keys and values of other types. */
  readonly raw: Transaction;
  readonly #coding: ViewCoding<Key, Value>;

  constructor(raw: Transaction, coding: ViewCoding<Key, Value>) {
    this.raw = raw;
    this.#coding = coding;
  }

  async get(key: Key): Promise<TypedEntry<Value> | undefined> {
    return this.#coding.entryOf(await this.raw.get(this.#coding.keyOf(key)));
  }

  async getMany(keys: readonly Key[]): Promise<(TypedEntry<Value> | undefined)[]> {
    const entries = await this.raw.getMany(keys.map((key) => this.#coding.keyOf(key)));
    return entries.map((entry) => this.#coding.entryOf(entry));
  }

  /** As `Transaction.getForUpdate`. */
  async getForUpdate(key: Key, options?: KeyLockOptions): Promise<Locked<TypedEntry<Value>>> {
    const { entry, locked } = await this.raw.getForUpdate(this.#coding.keyOf(key), options);
    return { locked, entry: this.#coding.entryOf(entry) };
  }

  /** As `Transaction.getManyForUpdate`. */
  async getManyForUpdate(
    keys: readonly Key[],
    options?: KeyLockOptions,
  ): Promise<Locked<TypedEntry<Value>>[]> {
    const bytes = keys.map((key) => this.#coding.keyOf(key));
    const found = await this.raw.getManyForUpdate(bytes, options);
    return found.map(({ entry, locked }) => ({ locked, entry: this.#coding.entryOf(entry) }));
  }

  async *scan(
    options: TypedTransactionScanOptions<Key> = {},
  ): AsyncGenerator<TypedRow<Key, Value>, void, undefined> {
    const scan = this.raw.scan(this.#coding.spanOf(options));
    for await (const row of scan) yield this.#coding.rowOf(row);
  }

  put(key: Key, value: Value, options?: TransactionPutOptions): void {
    this.raw.put(this.#coding.keyOf(key), this.#coding.valueOf(value), options);
  }

  delete(key: Key): void {
    this.raw.delete(this.#coding.keyOf(key));
  }

  async increment(key: Key, delta?: number | bigint): Promise<bigint> {
    return this.raw.increment(this.#coding.keyOf(key), delta);
  }

  /** As `Transaction.timestamp`. */
  timestamp(): Promise<number> {
    return this.raw.timestamp();
  }
}

/** A `Snapshot` whose keys and values are of one type each. */
export class TypedSnapshot<Key, Value> {
  readonly timestamp: number;
  readonly #snapshot: Snapshot;
  readonly #coding: ViewCoding<Key, Value>;

  constructor(snapshot: Snapshot, coding: ViewCoding<Key, Value>) {
    this.timestamp = snapshot.timestamp;
    this.#snapshot = snapshot;
    this.#coding = coding;
  }

  async get(key: Key, options?: CallOptions): Promise<TypedEntry<Value> | undefined> {
    return this.#coding.entryOf(await this.#snapshot.get(this.#coding.keyOf(key), options));
  }

  async getMany(keys: readonly Key[], options?: CallOptions): Promise<(TypedEntry<Value> | undefined)[]> {
    const bytes = keys.map((key) => this.#coding.keyOf(key));
    const entries = await this.#snapshot.getMany(bytes, options);
    return entries.map((entry) => this.#coding.entryOf(entry));
  }

  async *scan(
    options: Omit<TypedScanOptions<Key>, 'consistency'> = {},
  ): AsyncGenerator<TypedRow<Key, Value>, void, undefined> {
    const scan = this.#snapshot.scan(this.#coding.spanOf(options));
    for await (const row of scan) yield this.#coding.rowOf(row);
  }
}
