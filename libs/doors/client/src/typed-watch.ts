import type { ViewCoding } from './typed-coding.js';
import type { Watch } from './watch.js';
import type { WatchOptions } from './watch-options.js';

export interface TypedWatchOptions<Key> extends Omit<WatchOptions, 'key' | 'start' | 'end'> {
  readonly key?: Key;
  readonly start?: Key;
  readonly end?: Key;
}

interface AnyTypedChange<Key, Value> {
  readonly key: Key;
  readonly version: Buffer;
  readonly timestamp: number;
  readonly transaction: number | undefined;
  readonly previous: Value | undefined;
  readonly token: string;
}

/** As `Change`, with typed keys and values. */
export type TypedChange<Key, Value> =
  | (AnyTypedChange<Key, Value> & {
      readonly type: 'put';
      readonly value: Value;
      readonly expiresAtMs: number | undefined;
    })
  | (AnyTypedChange<Key, Value> & { readonly type: 'delete' });

/** As `Watch`, with typed keys and values. */
export class TypedWatch<Key, Value> implements AsyncIterable<TypedChange<Key, Value>> {
  readonly #watch: Watch;
  readonly #coding: ViewCoding<Key, Value>;

  constructor(watch: Watch, coding: ViewCoding<Key, Value>) {
    this.#watch = watch;
    this.#coding = coding;
  }

  get token(): string | undefined {
    return this.#watch.token;
  }

  get resolved(): number {
    return this.#watch.resolved;
  }

  start(): Promise<number> {
    return this.#watch.start();
  }

  close(): void {
    this.#watch.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TypedChange<Key, Value>, void, undefined> {
    for await (const change of this.#watch) yield this.#coding.changeOf(change);
  }
}
