/** How much a transaction is kept from what others do meanwhile. */
export type LoadIsolation = 'serializable' | 'snapshot';

/** Keys from `start`, below `end`. */
export interface KeySpan {
  readonly start: string;
  readonly end: string;
}

/** One attempt of a transaction; reads see what it has written itself. */
export interface LoadTransaction {
  /** undefined: there is no such key. */
  get(key: string): Promise<string | undefined>;
  getMany(keys: readonly string[]): Promise<readonly (string | undefined)[]>;
  /** In the order of keys. */
  scan(span: KeySpan): Promise<ReadonlyMap<string, string>>;
  /** `ttlMs`: it goes so long after the commit. */
  put(key: string, value: string, ttlMs?: number): void;
  delete(key: string): void;
  increment(key: string, delta: number): Promise<number>;
}

/** What a transaction answered, and where it committed. */
export interface Committed<Value> {
  readonly value: Value;
  /** Of one that wrote nothing: the instant of its reads, or undefined where nobody tells. */
  readonly commit: number | undefined;
}

/** What keys held at one instant; an absent key is missing. */
export interface Snapshot {
  readonly timestamp: number;
  readonly rows: ReadonlyMap<string, string>;
}

/** `value` undefined: the key must be absent. */
export interface LoadCondition {
  readonly key: string;
  readonly value: string | undefined;
}

export type LoadOperation =
  | { readonly f: 'get'; readonly key: string }
  | { readonly f: 'put'; readonly key: string; readonly value: string; readonly ttlMs?: number }
  | { readonly f: 'delete'; readonly key: string }
  | { readonly f: 'increment'; readonly key: string; readonly delta: number };

/** A transaction in one call: all conditions hold, or `otherwise`. */
export interface OneShot {
  readonly conditions: readonly LoadCondition[];
  readonly then: readonly LoadOperation[];
  readonly otherwise: readonly LoadOperation[];
}

export interface OneShotAnswer {
  readonly succeeded: boolean;
  readonly commit: number;
  /**
   * What gets found and increments made, by place in the list that was carried out; undefined when the
   * cluster does not know it any more.
   */
  readonly results: readonly (string | undefined)[] | undefined;
}

/** `value` undefined: a deletion. */
export interface LoadWrite {
  readonly key: string;
  readonly value: string | undefined;
}

export interface DeleteAnswer {
  /** There was something; otherwise nothing is written. */
  readonly existed: boolean;
  readonly commit: number;
}

export interface CompareAndSetAnswer {
  readonly succeeded: boolean;
  /** Where it failed: what was there. */
  readonly found: string | undefined;
  readonly commit: number;
}

export interface LoadWatchOptions {
  readonly span: KeySpan;
  /** A token, or a timestamp; undefined = from now on. */
  readonly from: string | number | undefined;
  readonly withPrevious: boolean;
}

/** A change that a watch tells. */
export interface LoadChange {
  readonly key: string;
  /** undefined: a deletion. */
  readonly value: string | undefined;
  readonly timestamp: number;
  /** undefined: a plain write. */
  readonly transaction: number | undefined;
  readonly previous: { readonly value: string; readonly timestamp: number } | undefined;
  /** A watch goes on behind it. */
  readonly token: string;
}

export interface LoadWatch {
  /** Where it would go on now; undefined before it has begun. */
  readonly token: string | undefined;
  /** All changes at or below it have been handed out; 0 = not known. */
  readonly resolved: number;
  /** Answers the timestamp behind which it tells all changes. */
  start(): Promise<number>;
  /** The next change; waits for it. Rejects with CANCELLED when the watch was closed. */
  next(): Promise<LoadChange>;
  close(): void;
}

/**
 * What loads use of the client library, in text. Every call rejects as the library does; see `fateOf`.
 * Transactions are run again by it as often as time allows.
 */
export interface LoadClient {
  get(key: string): Promise<string | undefined>;
  /** Answers where it committed. */
  put(key: string, value: string): Promise<number>;
  delete(key: string): Promise<DeleteAnswer>;
  /** `expected` undefined: the key must be absent. */
  compareAndSet(key: string, expected: string | undefined, value: string): Promise<CompareAndSetAnswer>;
  increment(key: string, delta: number): Promise<number>;
  /** Rows of one instant, which is not before the call. */
  scan(span: KeySpan): Promise<Snapshot>;
  transaction<Value>(
    isolation: LoadIsolation,
    body: (transaction: LoadTransaction) => Promise<Value>,
    /** That it may take longer than other calls. */
    extraMs?: number,
  ): Promise<Committed<Value>>;
  /** Keys at an instant: that of the past, or one that is not before the call. */
  snapshot(keys: readonly string[], at?: number): Promise<Snapshot>;
  execute(oneShot: OneShot): Promise<OneShotAnswer>;
  /** All or nothing; answers where it committed. Each key once. */
  writeAtomically(writes: readonly LoadWrite[]): Promise<number>;
  /** The changes of a span. */
  watch(options: LoadWatchOptions): LoadWatch;
}
