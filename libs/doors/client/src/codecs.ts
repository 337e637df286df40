import { invalidArgument, toBuffer } from './bytes.js';
import type { CompareAndSetOptions, ScanOptions } from './options.js';

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
