import { CairnError, Gates, opensAt, timestamp, type Timestamp } from '@cairn/base';
import type { TransactionParts } from '@cairn/router-node';
import type {
  CommitRequest,
  OneShot,
  OneShotOutcome,
  OpenTransaction,
  ReserveRequest,
} from '@cairn/transactions';
import { ExecuteOp, type ExecuteOperation, type ExecuteResult, type KvRow, type ReadRow } from '@cairn/wire';

/** When all that is asked here is answered. */
const NOW = timestamp(1_000);

/** What the doors of transactions stand before, with answers that tests choose. */
export class FakeTransactions implements TransactionParts {
  readonly gates = new Gates(opensAt('transactions'));
  readonly rows = new Map<string, ReadRow>();
  readonly commits: CommitRequest[] = [];
  readonly oneShots: OneShot[] = [];
  readonly reads: { readonly keys: readonly string[]; readonly at: Timestamp | undefined }[] = [];
  /** What commits and executions end with; undefined = success. */
  failure: CairnError | undefined;
  /** Whether conditions hold. */
  succeeds = true;
  isForgotten = false;
  /** Nothing is answered while it is there. */
  held: Promise<void> | undefined;
  /** Calls that were given up while they were held. */
  aborted = 0;
  /** Peers whose connections were over. */
  readonly gone: string[] = [];
  readonly reserves: ReserveRequest[] = [];
  readonly released: (readonly [number, string | undefined])[] = [];
  readonly #open = new Map<string, FakeOpenTransaction>();

  readonly coordinator: TransactionParts['coordinator'] = {
    commit: async (request, { signal }) => {
      this.commits.push(request);
      await this.#answerable(signal);
      return { commit: NOW };
    },
    execute: async (oneShot, { signal }) => {
      this.oneShots.push(oneShot);
      await this.#answerable(signal);
      return this.#executed(oneShot);
    },
    snapshotGet: async (keys, at, { signal }) => {
      this.reads.push({ keys: keys.map((key) => Buffer.from(key).toString()), at });
      await this.#answerable(signal);
      return { timestamp: at ?? NOW, rows: keys.map((key) => this.row(key)) };
    },
    reserve: async (request, { signal }) => {
      this.reserves.push(request);
      await this.#answerable(signal);
      const { keys, owner, start } = request;
      const rows = keys.map((key) => ({
        isReserved: Buffer.from(key).toString() !== 'held',
        row: this.row(key),
        newest: timestamp(7),
      }));
      return { owner: owner === 0 ? NOW : owner, timestamp: start === 0 ? NOW : start, rows };
    },
    release: (owner, caller) => {
      this.released.push([owner, caller]);
    },
  };

  readonly open: TransactionParts['open'] = {
    begin: (options) => {
      const id = `transaction-${this.#open.size + 1}`;
      const transaction = new FakeOpenTransaction(this, id, options);
      this.#open.set(`${options.caller} ${id}`, transaction);
      return Promise.resolve(transaction);
    },
    find: (id, caller) => {
      const found = this.#open.get(`${caller} ${id}`);
      if (found === undefined || found.isOver)
        throw new CairnError('TRANSACTION_NOT_FOUND', 'there is no such transaction');
      return found;
    },
  };

  put(key: string, value: Buffer, kind = 0): void {
    this.rows.set(key, { found: true, value, version: Buffer.alloc(12, 1), kind, expiresUnixMs: 0 });
  }

  row(key: Uint8Array): ReadRow {
    const none = {
      found: false,
      value: Buffer.alloc(0),
      version: Buffer.alloc(0),
      kind: 0,
      expiresUnixMs: 0,
    };
    return this.rows.get(Buffer.from(key).toString()) ?? none;
  }

  async #answerable(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => {
      this.aborted += 1;
    };
    signal.addEventListener('abort', onAbort, { once: true });
    await this.held;
    signal.removeEventListener('abort', onAbort);
    if (this.failure !== undefined) throw this.failure;
  }

  #executed({ then, otherwise }: OneShot): OneShotOutcome {
    const { succeeds: succeeded, isForgotten } = this;
    const list = succeeded ? then : otherwise;
    const results = isForgotten ? [] : list.map((each) => this.#resultOf(each));
    return { commit: NOW, succeeded, results, isForgotten };
  }

  #resultOf({ op, key, delta }: ExecuteOperation): ExecuteResult {
    const version = Buffer.alloc(12, 2);
    switch (op) {
      case ExecuteOp.get:
        return { op, row: this.row(key) };
      case ExecuteOp.put:
        return { op, version };
      case ExecuteOp.delete:
        return { op, existed: this.row(key).found, version };
      case ExecuteOp.increment:
        return { op, number: delta, version };
    }
  }
}

type BeginOptions = Parameters<TransactionParts['open']['begin']>[0];

class FakeOpenTransaction implements OpenTransaction {
  readonly id: string;
  readonly start: Timestamp;
  readonly isolation;
  readonly readOnly;
  isOver = false;
  readonly #fake: FakeTransactions;
  readonly #written = new Map<string, Buffer | undefined>();
  readonly #savepoints = new Map<string, ReadonlyMap<string, Buffer | undefined>>();

  constructor(fake: FakeTransactions, id: string, { isolation, readOnly, at }: BeginOptions) {
    this.#fake = fake;
    this.id = id;
    this.start = at ?? timestamp(900);
    this.isolation = isolation;
    this.readOnly = readOnly;
  }

  get(keys: readonly Uint8Array[]): Promise<readonly ReadRow[]> {
    return Promise.resolve(
      keys.map((key) => {
        const name = Buffer.from(key).toString();
        if (!this.#written.has(name)) return this.#fake.row(key);
        const value = this.#written.get(name);
        const rest = { version: Buffer.alloc(0), kind: 0, expiresUnixMs: 0 };
        return { found: value !== undefined, value: value ?? Buffer.alloc(0), ...rest };
      }),
    );
  }

  getForUpdate(keys: readonly Uint8Array[]): Promise<readonly (ReadRow | undefined)[]> {
    return this.get(keys);
  }

  async *scan(): AsyncGenerator<readonly KvRow[]> {
    for (const [key, { value, version, kind, expiresUnixMs }] of this.#fake.rows) {
      yield [{ key: Buffer.from(key), value, version, kind, expiresUnixMs }];
      await Promise.resolve();
    }
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#checkWritable();
    this.#written.set(Buffer.from(key).toString(), Buffer.from(value));
  }

  delete(key: Uint8Array): void {
    this.#checkWritable();
    this.#written.set(Buffer.from(key).toString(), undefined);
  }

  increment(key: Uint8Array, delta: bigint): Promise<bigint> {
    const name = Buffer.from(key).toString();
    const sum = BigInt((this.#written.get(name) ?? this.#fake.row(key).value).toString() || '0') + delta;
    this.put(key, Buffer.from(String(sum)));
    return Promise.resolve(sum);
  }

  savepoint(name: string): void {
    this.#savepoints.set(name, new Map(this.#written));
  }

  rollbackTo(name: string): void {
    const then = this.#savepoints.get(name);
    if (then === undefined) throw new CairnError('INVALID_ARGUMENT', `there is no savepoint ${name}`);
    this.#written.clear();
    for (const [key, value] of then) this.#written.set(key, value);
  }

  release(name: string): void {
    this.#savepoints.delete(name);
  }

  commit(): Promise<{ readonly commit: Timestamp }> {
    this.isOver = true;
    if (this.#fake.failure !== undefined) return Promise.reject(this.#fake.failure);
    for (const [key, value] of this.#written) {
      if (value === undefined) this.#fake.rows.delete(key);
      else this.#fake.put(key, value);
    }
    return Promise.resolve({ commit: NOW });
  }

  rollback(): void {
    this.isOver = true;
  }

  #checkWritable(): void {
    if (this.readOnly) throw new CairnError('FAILED_PRECONDITION', 'the transaction is read-only');
  }
}
