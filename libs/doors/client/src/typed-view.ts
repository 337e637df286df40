import { CairnError, messageOf, rethrowInvariant, RowKind, rowKindName } from '@cairn/base';
import { invalidArgument, toBuffer } from './bytes.js';
import type { CairnClient } from './client.js';
import type { StoredValue } from './entry.js';
import type {
  CompareAndSetOptions,
  DeleteReceipt,
  PutOptions,
  ReadOptions,
  ScanOptions,
  WriteOptions,
  WriteReceipt,
} from './options.js';

const BYTES = rowKindName(RowKind.bytes);

/**
 * How one type is kept as bytes. `decode` does not keep its argument. What `encode` throws rejects the call
 * with INVALID_ARGUMENT, what `decode` throws with FAILED_PRECONDITION; the error is the `cause`.
 */
export interface Codec<Type> {
  encode(value: Type): Uint8Array;
  decode(bytes: Buffer): Type;
}

/** Text as UTF-8. */
export const utf8: Codec<string> = {
  encode: (text) => toBuffer(text, 'it'),
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
    encode: (value) => {
      const text = JSON.stringify(value) as string | undefined;
      if (text === undefined) throw invalidArgument('value', `JSON has no text for ${typeof value}`);
      return Buffer.from(text, 'utf8');
    },
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
    return this.#entryOf(await this.#client.get(this.#keyOf(key), options));
  }

  async put(key: Key, value: Value, options?: PutOptions): Promise<WriteReceipt> {
    return this.#client.put(this.#keyOf(key), this.#valueOf(value), options);
  }

  async delete(key: Key, options?: WriteOptions): Promise<DeleteReceipt> {
    return this.#client.delete(this.#keyOf(key), options);
  }

  async compareAndSet(
    key: Key,
    options: TypedCompareAndSetOptions<Value>,
  ): Promise<TypedCompareAndSetResult<Value>> {
    const { value, expectedValue, ...rest } = options;
    const { succeeded, version, current } = await this.#client.compareAndSet(this.#keyOf(key), {
      ...rest,
      ...(value === undefined ? {} : { value: this.#valueOf(value) }),
      ...(expectedValue === undefined ? {} : { expectedValue: this.#valueOf(expectedValue) }),
    });
    return { succeeded, version, current: this.#entryOf(current) };
  }

  async getMany(keys: readonly Key[], options?: ReadOptions): Promise<(TypedEntry<Value> | undefined)[]> {
    const entries = await this.#client.getMany(
      keys.map((key) => this.#keyOf(key)),
      options,
    );
    return entries.map((entry) => this.#entryOf(entry));
  }

  async *scan(options: TypedScanOptions<Key> = {}): AsyncGenerator<TypedRow<Key, Value>, void, undefined> {
    const { start, end, ...rest } = options;
    const scan = this.#client.scan({
      ...rest,
      ...(start === undefined ? {} : { start: this.#keyOf(start, 'start') }),
      ...(end === undefined ? {} : { end: this.#keyOf(end, 'end') }),
    });
    for await (const row of scan) {
      yield { key: decoded(this.#key, row.key, 'a key'), ...this.#rowOf(row) };
    }
  }

  async increment(key: Key, delta?: number | bigint, options?: WriteOptions): Promise<bigint> {
    return this.#client.increment(this.#keyOf(key), delta, options);
  }

  #keyOf(key: Key, field = 'key'): Uint8Array {
    return encoded(this.#key, key, field);
  }

  #valueOf(value: Value): Uint8Array {
    return encoded(this.#value, value, 'value');
  }

  #entryOf(entry: StoredValue | undefined): TypedEntry<Value> | undefined {
    return entry && this.#rowOf(entry);
  }

  /** Throws WRONG_KIND for what holds no bytes. */
  #rowOf({ value, version, kind }: StoredValue): TypedEntry<Value> {
    if (kind !== BYTES) {
      throw new CairnError('WRONG_KIND', `a key holds a ${kind}, not bytes`, { details: { kind } });
    }
    return { value: decoded(this.#value, value, 'a value'), version };
  }
}

function encoded<Type>(codec: Codec<Type>, value: Type, field: string): Uint8Array {
  try {
    return codec.encode(value);
  } catch (error) {
    rethrowInvariant(error);
    const message = `${field} cannot be encoded: ${messageOf(error)}`;
    throw new CairnError('INVALID_ARGUMENT', message, { details: { field }, cause: error });
  }
}

function decoded<Type>(codec: Codec<Type>, bytes: Buffer, what: string): Type {
  try {
    return codec.decode(bytes);
  } catch (error) {
    rethrowInvariant(error);
    const message = `${what} that is stored cannot be decoded: ${messageOf(error)}`;
    throw new CairnError('FAILED_PRECONDITION', message, { cause: error });
  }
}
