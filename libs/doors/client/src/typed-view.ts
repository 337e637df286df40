import type { CairnClient } from './client.js';
import type {
  TypedCompareAndSetOptions,
  TypedCompareAndSetResult,
  TypedEntry,
  TypedRow,
  TypedScanOptions,
  ViewCodecs,
} from './codecs.js';
import type { DeleteReceipt, PutOptions, ReadOptions, WriteOptions, WriteReceipt } from './options.js';
import type { SnapshotOptions, TransactionOptions } from './transaction-options.js';
import { ViewCoding } from './typed-coding.js';
import { TypedSnapshot, TypedTransaction } from './typed-transaction.js';
import { TypedWatch, type TypedWatchOptions } from './typed-watch.js';

/** A client whose keys and values are of one type each; everything else is as with `CairnClient`. */
export class TypedView<Key, Value> {
  readonly #client: CairnClient;
  readonly #coding: ViewCoding<Key, Value>;

  constructor(client: CairnClient, codecs: ViewCodecs<Key, Value>) {
    this.#client = client;
    this.#coding = new ViewCoding(codecs);
  }

  async get(key: Key, options?: ReadOptions): Promise<TypedEntry<Value> | undefined> {
    return this.#coding.entryOf(await this.#client.get(this.#coding.keyOf(key), options));
  }

  async put(key: Key, value: Value, options?: PutOptions): Promise<WriteReceipt> {
    return this.#client.put(this.#coding.keyOf(key), this.#coding.valueOf(value), options);
  }

  async delete(key: Key, options?: WriteOptions): Promise<DeleteReceipt> {
    return this.#client.delete(this.#coding.keyOf(key), options);
  }

  async compareAndSet(
    key: Key,
    options: TypedCompareAndSetOptions<Value>,
  ): Promise<TypedCompareAndSetResult<Value>> {
    const { value, expectedValue, ...rest } = options;
    const { succeeded, version, current } = await this.#client.compareAndSet(this.#coding.keyOf(key), {
      ...rest,
      ...(value === undefined ? {} : { value: this.#coding.valueOf(value) }),
      ...(expectedValue === undefined ? {} : { expectedValue: this.#coding.valueOf(expectedValue) }),
    });
    return { succeeded, version, current: this.#coding.entryOf(current) };
  }

  async getMany(keys: readonly Key[], options?: ReadOptions): Promise<(TypedEntry<Value> | undefined)[]> {
    const entries = await this.#client.getMany(
      keys.map((key) => this.#coding.keyOf(key)),
      options,
    );
    return entries.map((entry) => this.#coding.entryOf(entry));
  }

  async *scan(options: TypedScanOptions<Key> = {}): AsyncGenerator<TypedRow<Key, Value>, void, undefined> {
    const scan = this.#client.scan(this.#coding.spanOf(options));
    for await (const row of scan) yield this.#coding.rowOf(row);
  }

  /** As `client.watch`, with typed keys and values. A change of a key that holds no bytes is WRONG_KIND. */
  watch(options: TypedWatchOptions<Key> = {}): TypedWatch<Key, Value> {
    const { key, ...rest } = this.#coding.spanOf(options);
    const watched = key === undefined ? rest : { ...rest, key: this.#coding.keyOf(key) };
    return new TypedWatch(this.#client.watch(watched), this.#coding);
  }

  async increment(key: Key, delta?: number | bigint, options?: WriteOptions): Promise<bigint> {
    return this.#client.increment(this.#coding.keyOf(key), delta, options);
  }

  /** As `client.transaction`, with typed keys and values; `raw` of it takes those of other types. */
  transaction<Result>(
    work: (transaction: TypedTransaction<Key, Value>) => Promise<Result> | Result,
    options?: TransactionOptions,
  ): Promise<Result> {
    return this.#client.transaction((raw) => work(new TypedTransaction(raw, this.#coding)), options);
  }

  /** As `client.snapshot`, with typed keys and values. */
  async snapshot(options?: SnapshotOptions): Promise<TypedSnapshot<Key, Value>> {
    return new TypedSnapshot(await this.#client.snapshot(options), this.#coding);
  }
}
