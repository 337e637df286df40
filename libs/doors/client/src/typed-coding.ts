import { CairnError, messageOf, rethrowInvariant, RowKind, rowKindName } from '@cairn/base';
import type { Change } from './change.js';
import type { Row, StoredValue } from './entry.js';
import type { TypedChange } from './typed-watch.js';
import { utf8, type Codec, type TypedEntry, type TypedRow, type ViewCodecs } from './codecs.js';

const BYTES = rowKindName(RowKind.bytes);

/** Keys and values of one type each, to bytes and back, with the errors that typed views promise. */
export class ViewCoding<Key, Value> {
  readonly #key: Codec<Key>;
  readonly #value: Codec<Value>;

  constructor(codecs: ViewCodecs<Key, Value>) {
    // Left out means text, and then the type parameter is the default, string.
    this.#key = codecs.key ?? (utf8 as unknown as Codec<Key>);
    this.#value = codecs.value ?? (utf8 as unknown as Codec<Value>);
  }

  keyOf(key: Key, field = 'key'): Uint8Array {
    return encoded(this.#key, key, field);
  }

  valueOf(value: Value): Uint8Array {
    return encoded(this.#value, value, 'value');
  }

  /** The bounds of a scan as bytes. */
  spanOf<Options extends { readonly start?: Key; readonly end?: Key }>(
    options: Options,
  ): Omit<Options, 'start' | 'end'> & { readonly start?: Uint8Array; readonly end?: Uint8Array } {
    const { start, end, ...rest } = options;
    return {
      ...rest,
      ...(start === undefined ? {} : { start: this.keyOf(start, 'start') }),
      ...(end === undefined ? {} : { end: this.keyOf(end, 'end') }),
    };
  }

  entryOf(entry: StoredValue | undefined): TypedEntry<Value> | undefined {
    return entry && this.#decoded(entry);
  }

  rowOf(row: Row): TypedRow<Key, Value> {
    return { key: decoded(this.#key, row.key, 'a key'), ...this.#decoded(row) };
  }

  changeOf(change: Change): TypedChange<Key, Value> {
    const { type, timestamp, transaction, previous, token, version, expiresAtMs } = change;
    const key = decoded(this.#key, change.key, 'a key');
    const shared = { key, timestamp, transaction, token, version };
    const before = previous && decoded(this.#value, previous.value, 'a value');
    return type === 'delete'
      ? { ...shared, type, previous: before }
      : { ...shared, type, previous: before, value: this.#decoded(change).value, expiresAtMs };
  }

  /** Throws WRONG_KIND for what holds no bytes. */
  #decoded({ value, version, kind }: StoredValue): TypedEntry<Value> {
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
