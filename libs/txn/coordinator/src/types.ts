import type { Timestamp } from '@cairn/base';
import type { SpanTimes } from '@cairn/routing';
import type {
  Condition,
  ExecuteOperation,
  ExecuteResult,
  KvRow,
  LockPolicy,
  LockStrength,
  ReadRow,
  ReadSpan,
  ReservedRow,
} from '@cairn/wire';

/**
 * What a transaction is promised:
 * - `serializable`: as if all of them ran one after the other, in the order of their commit timestamps.
 * - `snapshot`: it reads one snapshot and overwrites nothing that was written since; write skew is possible.
 * - `read-committed`: every statement reads what was committed when it began.
 *
 * docs/transactions.md has the table with plain operations beside them.
 */
export type Isolation = 'serializable' | 'snapshot' | 'read-committed';

export type TransactionWrite =
  | {
      readonly type: 'put';
      readonly key: Uint8Array;
      readonly value: Uint8Array;
      /** Counted from the commit; 0 = none. */
      readonly ttlMs: number;
    }
  | { readonly type: 'delete'; readonly key: Uint8Array };

/** All that a transaction did, at its end. */
export interface CommitRequest {
  /**
   * The timestamp that it read at, which the oracle gave to it alone. 0 = it has read nothing; one is taken
   * when it is needed. READ COMMITTED: the statement since when nobody else may have written what is written
   * here; 0 = whatever was written before is overwritten.
   */
  readonly start: Timestamp;
  readonly isolation: Isolation;
  /**
   * Keys that were read as of `start`, each once; SERIALIZABLE validates them. A key that is written too may
   * be left out if its row had no expiry, or none was found: that it is as it was is checked by writing it.
   */
  readonly reads: readonly Uint8Array[];
  /** Spans that were scanned as of `start`, those without rows too. */
  readonly spans: readonly ReadSpan[];
  /** Each key once. */
  readonly writes: readonly TransactionWrite[];
  /**
   * Keys that were reserved and read as of `start`: validated at every level, so that a reservation that was
   * lost aborts the transaction. As with `reads`, one that is written may be left out.
   */
  readonly reserved?: readonly Uint8Array[];
  /** Whose reservations it passes; they are released when it has committed. 0 or absent = it has none. */
  readonly owner?: Timestamp;
}

/** What to reserve, for whom. */
export interface ReserveRequest {
  /** The timestamp that stands for the transaction in all its attempts; 0 = one is taken. Smaller is older. */
  readonly owner: Timestamp;
  readonly strength: LockStrength;
  readonly policy: LockPolicy;
  /** 1 to 10,000. */
  readonly keys: readonly Uint8Array[];
  /** What its reads are of; 0 = it has read nothing, and a timestamp is taken when all is reserved. */
  readonly start: Timestamp;
  /** How long to wait for all keys together, at most to the deadline. Default 10,000. */
  readonly lockTimeoutMs?: number;
}

export interface Reserved {
  readonly owner: Timestamp;
  /**
   * The start of the request, or a timestamp behind the reservations: what is to be read at. The rows are
   * those of the moment of each reservation; what they are as of this timestamp is only known by reading.
   */
  readonly timestamp: Timestamp;
  /** In the order of the keys. */
  readonly rows: readonly ReservedRow[];
}

/** An owner of locks that waits, and the owners that are in its way. */
export interface LockWait {
  readonly waiter: Timestamp;
  readonly holders: readonly Timestamp[];
}

/** Who looks for circles of waits over all routers. */
export interface DeadlockSource {
  /**
   * Takes all waits of this router, in the place of those before. Answers who of them must give up, each with
   * the circle: each waits for the next, the last for the first. Rejects with a CairnError.
   */
  reportWaits(
    waits: readonly LockWait[],
    options: { readonly timeoutMs: number },
  ): Promise<readonly { readonly owner: Timestamp; readonly cycle: readonly Timestamp[] }[]>;
}

export interface CommitOutcome {
  /** Where the transaction is in the order of all: `start` if it has written nothing. */
  readonly commit: Timestamp;
}

/**
 * A transaction that is known as a whole: if all conditions hold, `then` is carried out, else `otherwise`.
 */
export interface OneShot {
  readonly conditions: readonly Condition[];
  readonly then: readonly ExecuteOperation[];
  readonly otherwise: readonly ExecuteOperation[];
}

export interface OneShotOutcome {
  readonly commit: Timestamp;
  /** All conditions held. */
  readonly succeeded: boolean;
  /** Of the list that was carried out, in its order; empty with `isForgotten`. */
  readonly results: readonly ExecuteResult[];
  /** It happened once, at a sending whose answer was lost, and the results are not kept any more. */
  readonly isForgotten: boolean;
}

export interface SnapshotRows {
  /** The snapshot that was read. */
  readonly timestamp: Timestamp;
  /** In the order of the keys. */
  readonly rows: readonly ReadRow[];
}

/**
 * Where fresh timestamps come from: each was given to nobody else, and is above all given before the call.
 */
export interface TimestampSource {
  timestamp(): Promise<Timestamp>;
}

export interface BeginOptions {
  readonly isolation: Isolation;
  readonly readOnly: boolean;
  /** Read-only: the snapshot to read; absent = one of now. */
  readonly at?: Timestamp | undefined;
  /** Whose it is: callers share the places for open transactions, and see only their own. */
  readonly caller: string;
}

export interface TransactionScan {
  readonly start: Uint8Array;
  /** Exclusive; empty = to the end. */
  readonly end: Uint8Array;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  /** 0 = all. */
  readonly limit: number;
  /** After so many bytes a page ends. */
  readonly pageBytes: number;
  /** What one page may take, from the moment that it is asked for. */
  readonly pageTimeoutMs: number;
}

/**
 * A transaction that its router keeps for a caller. Calls of one transaction are carried out one after the
 * other. A call after the end throws TRANSACTION_NOT_FOUND, a write in a read-only one FAILED_PRECONDITION.
 */
export interface OpenTransaction {
  /** Not to be guessed. */
  readonly id: string;
  /** The snapshot that it reads; READ COMMITTED: when it began. */
  readonly start: Timestamp;
  readonly isolation: Isolation;
  readonly readOnly: boolean;
  /** Rows in the order of the keys; own writes are seen, without a version. */
  get(keys: readonly Uint8Array[], times: SpanTimes): Promise<readonly ReadRow[]>;
  /**
   * Reserves keys for this transaction, and answers them as `get` does; a key that was left out
   * (`skipLocked`) is undefined. The first read of a transaction takes its snapshot behind the reservation.
   * TRANSACTION_ABORTED ends it: a key is newer than its snapshot, or it waited in a circle.
   * LOCK_NOT_AVAILABLE does not.
   */
  getForUpdate(
    keys: readonly Uint8Array[],
    lock: Pick<ReserveRequest, 'lockTimeoutMs' | 'policy' | 'strength'>,
    times: SpanTimes,
  ): Promise<readonly (ReadRow | undefined)[]>;
  /** Pages in key order, or in reverse; own writes are seen, without a version. */
  scan(span: TransactionScan, times: SpanTimes): AsyncGenerator<readonly KvRow[]>;
  /** Throws TRANSACTION_TOO_LARGE at the write that crosses a limit; the transaction goes on without it. */
  put(key: Uint8Array, value: Uint8Array, ttlMs: number): void;
  delete(key: Uint8Array): void;
  /** Adds to the whole number that is there (none: 0), in 64 bits. Rejects as a plain increment does. */
  increment(key: Uint8Array, delta: bigint, times: SpanTimes): Promise<bigint>;
  /** Remembers the writes of now by a name; one that exists is moved. */
  savepoint(name: string): void;
  /** Takes back all writes since; the savepoint stays, those behind it do not. What was read stays read. */
  rollbackTo(name: string): void;
  /** Forgets a savepoint and those behind it; the writes stay. */
  release(name: string): void;
  /** Ends it. Rejects with TRANSACTION_ABORTED (nothing happened) or OUTCOME_UNKNOWN, among others. */
  commit(times: SpanTimes): Promise<CommitOutcome>;
  /** Ends it; nothing happened. */
  rollback(): void;
}
