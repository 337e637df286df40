import { toBuffer } from './bytes.js';
import type { CairnClient } from './client.js';
import type {
  CallOptions,
  CompareAndSetOptions,
  DeleteReceipt,
  PutOptions,
  ReadOptions,
  ScanOptions,
  WriteOptions,
  WriteReceipt,
} from './options.js';

/** How one type is kept as bytes. `decode` does not keep its argument. */
export interface Codec<Type> {
  encode(value: Type): Uint8Array;
  decode(bytes: Buffer): Type;
}

/** Text as UTF-8. */
export const utf8: Codec<string> = {
  encode: (text) => toBuffer(text, 'text'),
  decode: (bytes) => bytes.toString('utf8'),
};

/** Bytes as they are, copied out of the network message. */
export const bytes: Codec<Uint8Array> = {
  encode: (value) => value,
  decode: (value) => Buffer.from(value),
};

/** JSON. The type is the caller's claim: nothing checks it at run time. */
export function json<Type>(): Codec<Type> {
  return {
    encode: (value) => Buffer.from(JSON.stringify(value), 'utf8'),
    decode: (value) => JSON.parse(value.toString('utf8')) as Type,
  };
}

/** What is left out is text. */
export interface ViewCodecs<Key, Value> {
  readonly key?: Codec<Key>;
  readonly value?: Codec<Value>;
}

export interface TypedEntry<Value> {
  readonly value: Value;
  readonly version: Buffer;
}

export interface TypedRow<Key, Value> extends TypedEntry<Value> {
  readonly key: Key;
}

export interface TypedScanOptions<Key> extends Omit<ScanOptions, 'start' | 'end' | 'keysOnly'> {
  readonly start?: Key;
  readonly end?: Key;
}

export type TypedCompareAndSetOptions<Value> = Omit<CompareAndSetOptions, 'value' | 'expectedValue'> & {
  readonly value?: Value;
  readonly expectedValue?: Value;
};

export interface TypedCompareAndSetResult<Value> {
  readonly succeeded: boolean;
  readonly version: Buffer;
  readonly current: TypedEntry<Value> | undefined;
}

/** A client whose keys and values are of one type each; everything else is as with `CairnClient`. */
export class TypedView<Key, Value> {
  readonly #client: CairnClient;
  readonly #key: Codec<Key>;
  readonly #value: Codec<Value>;

  constructor(client: CairnClient, codecs: ViewCodecs<Key, Value>) {
    this.#client = client;
    // Left out means text, and then the type parameter is the default, string.
    this.#key = codecs.key ?? (utf8 as unknown as Codec<Key>);
    this.#value = codecs.value ?? (utf8 as unknown as Codec<Value>);
  }

  async get(key: Key, options?: ReadOptions): Promise<TypedEntry<Value> | undefined> {
    const entry = await this.#client.get(this.#key.encode(key), options);
    return entry && { value: this.#value.decode(entry.value), version: entry.version };
  }

  put(key: Key, value: Value, options?: PutOptions): Promise<WriteReceipt> {
    return this.#client.put(this.#key.encode(key), this.#value.encode(value), options);
  }

  delete(key: Key, options?: WriteOptions): Promise<DeleteReceipt> {
    return this.#client.delete(this.#key.encode(key), options);
  }

  async compareAndSet(
    key: Key,
    options: TypedCompareAndSetOptions<Value>,
  ): Promise<TypedCompareAndSetResult<Value>> {
    const { value, expectedValue, ...rest } = options;
    const { succeeded, version, current } = await this.#client.compareAndSet(this.#key.encode(key), {
      ...rest,
      ...(value === undefined ? {} : { value: this.#value.encode(value) }),
      ...(expectedValue === undefined ? {} : { expectedValue: this.#value.encode(expectedValue) }),
    });
    return {
      succeeded,
      version,
      current: current && { value: this.#value.decode(current.value), version: current.version },
    };
  }

  async getMany(keys: readonly Key[], options?: ReadOptions): Promise<(TypedEntry<Value> | undefined)[]> {
    const entries = await this.#client.getMany(
      keys.map((key) => this.#key.encode(key)),
      options,
    );
    return entries.map(
      (entry) => entry && { value: this.#value.decode(entry.value), version: entry.version },
    );
  }

  async *scan(options: TypedScanOptions<Key> = {}): AsyncGenerator<TypedRow<Key, Value>, void, undefined> {
    const { start, end, ...rest } = options;
    const scan = this.#client.scan({
      ...rest,
      ...(start === undefined ? {} : { start: this.#key.encode(start) }),
      ...(end === undefined ? {} : { end: this.#key.encode(end) }),
    });
    for await (const row of scan) {
      yield { key: this.#key.decode(row.key), value: this.#value.decode(row.value), version: row.version };
    }
  }

  increment(key: Key, delta?: number | bigint, options?: CallOptions): Promise<bigint> {
    return this.#client.increment(this.#key.encode(key), delta, options);
  }
}
