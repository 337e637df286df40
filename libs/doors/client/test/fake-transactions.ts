import { CairnError, NO_BYTES, sumOfCounter } from '@cairn/base';
import { detailFromError } from '../src/errors.js';
import {
  Isolation,
  LockPolicy,
  type BatchGetResult,
  type BatchOperation,
  type BatchResult,
  type CommitRequest,
  type Condition,
  type ExecuteOperation,
  type ExecuteRequest,
  type ExecuteResult,
  type ReserveRequest,
  type SnapshotGetRequest,
} from '../src/wire-binding.js';

type Operation = NonNullable<BatchOperation['operation']>;
type Result = NonNullable<BatchResult['result']>;
export type TransactionalOperation = Extract<
  Operation,
  { $case: 'snapshotGet' | 'getTimestamp' | 'commit' | 'execute' | 'reserve' | 'release' }
>;

/** A version of a key as the store has it. */
export interface StoredVersion {
  readonly timestamp: number;
  readonly version: Buffer;
  readonly value: Buffer | undefined;
  readonly expiresUnixMs: number;
}

/** What transactions need of the store. */
export interface VersionedRows {
  /** Issues a timestamp that nobody has. */
  tick(): number;
  /** The live version at a timestamp. */
  liveAt(key: Buffer, at: number): (StoredVersion & { readonly value: Buffer }) | undefined;
  /** Whether a key of the span was written above the timestamp. */
  isChangedSince(start: Buffer, end: Buffer | 'key', timestamp: number): boolean;
  kindOf(key: Buffer): number;
  checkKey(key: Buffer): void;
  /** Writes at a timestamp that was issued. */
  appendAt(key: Buffer, value: Buffer | undefined, ttlMs: number, at: number): { version: Buffer };
}

/** What a cluster promises of transactions, in memory: each is judged and carried out in one step. */
export class FakeTransactions {
  /** What routers say before all nodes know transactions; undefined = they do. */
  refusal: CairnError | undefined;
  /** Rows of one answer to a snapshot read at most. */
  rowsMax = Infinity;
  /** Who has reserved a key. */
  readonly held = new Map<string, number>();
  readonly #rows: VersionedRows;

  constructor(rows: VersionedRows) {
    this.#rows = rows;
  }

  apply(operation: TransactionalOperation): Result {
    if (this.refusal !== undefined) throw this.refusal;
    switch (operation.$case) {
      case 'getTimestamp':
        return { $case: 'getTimestamp', value: { timestamp: this.#rows.tick() } };
      case 'snapshotGet':
        return this.#snapshotGet(operation.value);
      case 'commit':
        return { $case: 'commit', value: { timestamp: this.#commit(operation.value) } };
      case 'execute':
        return this.#execute(operation.value);
      case 'reserve':
        return this.#reserve(operation.value);
      case 'release':
        this.#release(operation.value.owner);
        return { $case: 'release', value: {} };
    }
  }

  /** Nobody waits here: what another one has is not available. */
  #reserve({ owner, keys, policy, start }: ReserveRequest): Result {
    const isHeld = (key: Buffer): boolean => (this.held.get(key.toString()) ?? owner) !== owner;
    const other = keys.find(isHeld);
    if (other !== undefined && policy !== LockPolicy.SKIP_LOCKED)
      throw new CairnError('LOCK_NOT_AVAILABLE', `somebody has ${other.toString()}`);
    const skipped = keys.flatMap((key, at) => (isHeld(key) ? [at] : []));
    const mine = keys.filter((key) => !isHeld(key));
    for (const key of mine) this.held.set(key.toString(), owner);
    const timestamp = start > 0 ? start : this.#rows.tick();
    const isNewer = mine.some((key) => this.#rows.isChangedSince(key, 'key', timestamp));
    return { $case: 'reserve', value: { owner, timestamp, skipped, newest: isNewer ? timestamp + 1 : 0 } };
  }

  #release(owner: number): void {
    for (const [key, holder] of this.held) if (holder === owner) this.held.delete(key);
  }

  #snapshotGet({ keys, at }: SnapshotGetRequest): Result {
    if (at === undefined) throw invalid('at', 'at must be given');
    const timestamp = at.$case === 'fresh' ? this.#rows.tick() : at.value;
    const results = keys.slice(0, this.rowsMax).map((key) => this.#get(key, timestamp));
    const partial = results.length < keys.length;
    return { $case: 'snapshotGet', value: { timestamp, results, partial } };
  }

  #get(key: Buffer, at: number): BatchGetResult {
    this.#rows.checkKey(key);
    const live = this.#rows.liveAt(key, at);
    const kind = this.#rows.kindOf(key);
    if (live !== undefined && kind !== 0) {
      const error = new CairnError('WRONG_KIND', 'the key holds something else');
      return { result: { $case: 'error', value: { ...detailFromError(error), kind } } };
    }
    const expiresUnixMs = live === undefined || live.expiresUnixMs === Infinity ? 0 : live.expiresUnixMs;
    const value = {
      found: live !== undefined,
      value: live?.value ?? NO_BYTES,
      version: live?.version ?? NO_BYTES,
      expiresUnixMs,
    };
    return { result: { $case: 'get', value } };
  }

  #commit({ start, isolation, reads, reserved, owner, spans, writes }: CommitRequest): number {
    const keys = writes.flatMap(({ write }) => (write === undefined ? [] : [write.value.key]));
    if (new Set(keys.map((key) => key.toString('latin1'))).size < keys.length)
      throw invalid('writes', 'a key is written twice');
    const checked =
      isolation === Isolation.SERIALIZABLE ? [...reads, ...reserved, ...keys] : [...reserved, ...keys];
    if (start > 0) {
      for (const key of checked) if (this.#rows.isChangedSince(key, 'key', start)) throw conflict(key);
      for (const span of spans)
        if (this.#rows.isChangedSince(span.start, span.end, start)) throw conflict(span.start);
    }
    this.#release(owner);
    const at = this.#rows.tick();
    for (const { write } of writes) {
      if (write?.$case === 'put')
        this.#rows.appendAt(write.value.key, write.value.value, write.value.ttlMs, at);
      else if (write !== undefined) this.#rows.appendAt(write.value.key, undefined, 0, at);
    }
    return at;
  }

  #execute({ conditions, then, otherwise }: ExecuteRequest): Result {
    const succeeded = conditions.every((each) => this.#holds(each));
    const timestamp = this.#rows.tick();
    const results = (succeeded ? then : otherwise).map((each) => this.#carryOut(each, timestamp));
    return { $case: 'execute', value: { succeeded, timestamp, results, resultsOmitted: false } };
  }

  #holds({ key, condition }: Condition): boolean {
    const live = this.#rows.liveAt(key, Infinity);
    switch (condition?.$case) {
      case 'exists':
        return live !== undefined;
      case 'absent':
        return live === undefined;
      case 'valueEquals':
        return live?.value.equals(condition.value) === true;
      case 'versionEquals':
        return live?.version.equals(condition.value) === true;
      case undefined:
        throw invalid('condition', 'condition must be given');
    }
  }

  #carryOut({ operation }: ExecuteOperation, timestamp: number): ExecuteResult {
    switch (operation?.$case) {
      case 'get': {
        const { result } = this.#get(operation.value.key, Infinity);
        return { result };
      }
      case 'put': {
        const { key, value, ttlMs } = operation.value;
        return {
          result: {
            $case: 'put',
            value: { ...this.#rows.appendAt(key, value, ttlMs, timestamp), timestamp },
          },
        };
      }
      case 'delete': {
        const { key } = operation.value;
        const existed = this.#rows.liveAt(key, Infinity) !== undefined;
        const written = this.#rows.appendAt(key, undefined, 0, timestamp);
        return { result: { $case: 'delete', value: { existed, ...written, timestamp } } };
      }
      case 'increment': {
        const { key, delta } = operation.value;
        const value = String(sumOfCounter(this.#rows.liveAt(key, Infinity)?.value, BigInt(delta)));
        const written = this.#rows.appendAt(key, Buffer.from(value), 0, timestamp);
        return { result: { $case: 'increment', value: { value, ...written, timestamp } } };
      }
      case undefined:
        throw invalid('operation', 'operation must be given');
    }
  }
}

function conflict(key: Buffer): CairnError {
  return new CairnError('TRANSACTION_ABORTED', `${key.toString()} was written meanwhile`);
}

function invalid(field: string, message: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', message, { details: { field } });
}
