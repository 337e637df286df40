import { CairnError, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { sleep, type Clock } from '@cairn/ports';
import type { SimRng } from '@cairn/runtime-sim';

import type {
  KeySpan,
  LoadClient,
  LoadOperation,
  LoadTransaction,
  LoadWrite,
  OneShotAnswer,
  Snapshot,
} from '../src/index.js';
import { FakeChanges, type WatchBreak } from './fake-changes.js';

/** Promises that a store may break. */
export type Break =
  /** Commits do not look whether what they write has changed. */
  | 'lost-update'
  /** Nor what they have read. */
  | 'unvalidated-reads'
  /** Nor spans that they have scanned. */
  | 'unvalidated-spans'
  /** Snapshots are of a while ago. */
  | 'stale-snapshot'
  /** Each key of a snapshot is of an instant of its own. */
  | 'torn-snapshot'
  /** Of the writes of a commit some come later than others. */
  | 'partial-commit'
  /** A transaction that happened is told to be aborted. */
  | 'aborted-and-there'
  /** A commit that is acknowledged is forgotten. */
  | 'forgotten'
  /** Scans of a transaction do not show what it has written. */
  | 'own-writes-missed'
  /** A commit says that it was earlier than it was. */
  | 'early-timestamp'
  /** Rows are gone for transactions before they are for others. */
  | 'early-expiry'
  | WatchBreak;

interface Version {
  readonly at: number;
  readonly value: string | undefined;
  readonly expiry: number;
}

interface Write {
  readonly value: string | undefined;
  readonly ttlMs?: number | undefined;
}

/** What a transaction has done so far. */
interface Attempt {
  readonly start: number;
  readonly reads: Set<string>;
  readonly spans: KeySpan[];
  readonly writes: Map<string, Write>;
}

const ATTEMPTS_MAX = 20;
/** Some calls ago. */
const STALE_STEPS = 40 * TIMESTAMP_LOGICAL_STEPS;
const EARLY_STEPS = 60 * TIMESTAMP_LOGICAL_STEPS;

/** A store in memory whose transactions are serializable, unless it is told to break that. */
export class FakeStore {
  readonly #versions = new Map<string, Version[]>();
  readonly #clock: Clock;
  readonly #rng: SimRng;
  readonly #breaks: Break | undefined;
  readonly #changes: FakeChanges;
  #newest = 1;

  constructor(clock: Clock, rng: SimRng, breaks?: Break) {
    this.#clock = clock;
    this.#rng = rng;
    this.#breaks = breaks;
    const watches = breaks as WatchBreak | undefined;
    this.#changes = new FakeChanges({ clock, rng, breaks: watches, now: () => this.#now });
  }

  /** Time passes, and no two writes are at one timestamp. */
  get #now(): number {
    this.#newest = Math.max(this.#newest, Math.floor(this.#clock.nowMs() * TIMESTAMP_LOGICAL_STEPS));
    return this.#newest;
  }

  client(): LoadClient {
    return {
      get: async (key) => (await this.#trip(), this.#valueAt(key, this.#now)),
      put: (key, value) => this.#writing(() => this.#apply(new Map([[key, { value }]]))),
      delete: (key) =>
        this.#writing(() => {
          if (this.#valueAt(key, this.#now) === undefined) return { existed: false, commit: this.#now };
          return { existed: true, commit: this.#apply(new Map([[key, { value: undefined }]])) };
        }),
      compareAndSet: (key, expected, value) =>
        this.#writing(() => {
          const found = this.#valueAt(key, this.#now);
          if (found !== expected) return { succeeded: false, found, commit: 0 };
          return { succeeded: true, found: undefined, commit: this.#apply(new Map([[key, { value }]])) };
        }),
      increment: (key, delta) =>
        this.#writing(() => {
          const sum = Number(this.#valueAt(key, this.#now) ?? '0') + delta;
          this.#apply(new Map([[key, { value: String(sum) }]]));
          return sum;
        }),
      scan: async (span) => {
        await this.#trip();
        return this.#scanAt(span, this.#readAt());
      },
      snapshot: async (keys, at) => {
        const timestamp = at ?? this.#readAt();
        await this.#trip();
        return this.#snapshotAt(keys, timestamp, at === undefined);
      },
      transaction: (_isolation, body) => this.#transaction(body),
      execute: ({ conditions, then, otherwise }) =>
        this.#writing(() => {
          const holds = conditions.every(({ key, value }) => this.#valueAt(key, this.#now) === value);
          return this.#carryOut(holds, holds ? then : otherwise);
        }),
      writeAtomically: (writes) => this.#writing(() => this.#commit(writesOf(writes))),
      watch: (options) => this.#changes.watch(options),
    };
  }

  /** The way there and back, on which things get lost. */
  async #trip(): Promise<void> {
    await sleep(this.#clock, this.#rng.between(0.2, 4));
  }

  async #writing<Value>(act: () => Value): Promise<Value> {
    await this.#trip();
    if (this.#rng.chance(0.02)) throw new CairnError('UNAVAILABLE', 'it is not there');
    if (this.#rng.chance(0.01)) throw new CairnError('OUTCOME_UNKNOWN', 'it never came there');
    const value = act();
    await this.#trip();
    if (this.#rng.chance(0.02)) throw new CairnError('OUTCOME_UNKNOWN', 'the answer was lost');
    return value;
  }

  #readAt(): number {
    const isStale = this.#breaks === 'stale-snapshot' && this.#rng.chance(0.2);
    return isStale ? Math.max(1, this.#now - STALE_STEPS) : this.#now;
  }

  #valueAt(key: string, at: number): string | undefined {
    const version = this.#versions.get(key)?.findLast((each) => each.at <= at);
    return version !== undefined && version.expiry > at ? version.value : undefined;
  }

  #scanAt({ start, end }: KeySpan, timestamp: number): Snapshot {
    const keys = [...this.#versions.keys()].filter((key) => key >= start && key < end).sort();
    return this.#snapshotAt(keys, timestamp, true);
  }

  #snapshotAt(keys: readonly string[], timestamp: number, isFresh: boolean): Snapshot {
    const rows = new Map<string, string>();
    const isTorn = this.#breaks === 'torn-snapshot' && isFresh;
    for (const key of keys) {
      const at = isTorn ? Math.max(1, timestamp - this.#rng.integer(8 * TIMESTAMP_LOGICAL_STEPS)) : timestamp;
      const value = this.#valueAt(key, at);
      if (value !== undefined) rows.set(key, value);
    }
    return { timestamp, rows };
  }

  #apply(writes: ReadonlyMap<string, Write>, isTransactional = false): number {
    const at = this.#now + 1;
    this.#newest = at;
    for (const [key, write] of writes) {
      this.#set(key, write, at);
      const transaction = isTransactional ? at : undefined;
      this.#changes.log.push({ key, value: write.value, at, transaction });
    }
    return at;
  }

  #set(key: string, { value, ttlMs = 0 }: Write, at: number): void {
    const versions = this.#versions.get(key);
    const expiry = ttlMs > 0 ? at + ttlMs * TIMESTAMP_LOGICAL_STEPS : Number.POSITIVE_INFINITY;
    if (versions === undefined) this.#versions.set(key, [{ at, value, expiry }]);
    else versions.push({ at, value, expiry });
  }

  /** Answers where it says that it committed. */
  #commit(writes: ReadonlyMap<string, Write>): number {
    if (this.#breaks === 'forgotten' && this.#rng.chance(0.1)) return this.#now + 1;
    const late = this.#breaks === 'partial-commit' && this.#rng.chance(0.2) ? [...writes].slice(1) : [];
    const lateKeys = new Set(late.map(([key]) => key));
    const commit = this.#apply(new Map([...writes].filter(([key]) => !lateKeys.has(key))), true);
    if (late.length > 0) {
      const isNever = this.#rng.chance(0.5);
      void sleep(this.#clock, 6).then(() => (isNever ? undefined : this.#apply(new Map(late), true)));
    }
    return this.#breaks === 'early-timestamp' && this.#rng.chance(0.2) ? commit - STALE_STEPS : commit;
  }

  #carryOut(succeeded: boolean, operations: readonly LoadOperation[]): OneShotAnswer {
    const writes = new Map<string, Write>();
    const read = (key: string): string | undefined =>
      writes.has(key) ? writes.get(key)?.value : this.#valueAt(key, this.#now);
    const results = operations.map((operation) => {
      const { key } = operation;
      switch (operation.f) {
        case 'get':
          return read(key);
        case 'increment': {
          const sum = String(Number(read(key) ?? '0') + operation.delta);
          writes.set(key, { value: sum });
          return sum;
        }
        case 'put':
        case 'delete':
          writes.set(key, operation.f === 'put' ? operation : { value: undefined });
          return undefined;
      }
    });
    return { succeeded, commit: writes.size === 0 ? this.#now : this.#commit(writes), results };
  }

  async #transaction<Value>(
    body: (transaction: LoadTransaction) => Promise<Value>,
  ): Promise<{ readonly value: Value; readonly commit: number }> {
    for (let attempts = 1; ; attempts += 1) {
      await this.#trip();
      const attempt = {
        start: this.#readAt(),
        reads: new Set<string>(),
        spans: [],
        writes: new Map(),
      } as Attempt;
      const value = await body(this.#handle(attempt));
      if (attempt.writes.size === 0) return { value, commit: attempt.start };
      const commit = await this.#writing(() =>
        this.#isValid(attempt) ? this.#commit(attempt.writes) : undefined,
      );
      const isLie = this.#breaks === 'aborted-and-there' && this.#rng.chance(0.05);
      if (commit !== undefined && !isLie) return { value, commit };
      if (isLie || attempts === ATTEMPTS_MAX)
        throw new CairnError('TRANSACTION_ABORTED', 'others came first');
      await this.#trip();
    }
  }

  #handle(attempt: Attempt): LoadTransaction {
    const { start, reads, spans, writes } = attempt;
    const get = async (key: string): Promise<string | undefined> => {
      if (writes.has(key)) return writes.get(key)?.value;
      reads.add(key);
      await this.#trip();
      const early = this.#breaks === 'early-expiry' ? EARLY_STEPS : 0;
      return this.#snapshotAt([key], start + early, true).rows.get(key);
    };
    return {
      get,
      getMany: (keys) => Promise.all(keys.map(get)),
      scan: async (span) => {
        spans.push(span);
        await this.#trip();
        const rows = new Map(this.#scanAt(span, start).rows);
        for (const [key, { value }] of this.#breaks === 'own-writes-missed' ? [] : writes) {
          if (key < span.start || key >= span.end) continue;
          if (value === undefined) rows.delete(key);
          else rows.set(key, value);
        }
        return rows;
      },
      put: (key, value, ttlMs) => void writes.set(key, { value, ttlMs }),
      delete: (key) => void writes.set(key, { value: undefined }),
      increment: async (key, delta) => {
        const sum = Number((await get(key)) ?? '0') + delta;
        writes.set(key, { value: String(sum) });
        return sum;
      },
    };
  }

  #isValid({ start, reads, spans, writes }: Attempt): boolean {
    const now = this.#now + 1;
    const hasChanged = (key: string): boolean => {
      const { at = 0, expiry = 0 } = this.#versions.get(key)?.at(-1) ?? {};
      return at > start || (expiry > start && expiry <= now);
    };
    const breaks = this.#breaks;
    if (breaks !== 'lost-update' && [...writes.keys()].some(hasChanged)) return false;
    const isUnchecked = breaks === 'lost-update' || breaks === 'unvalidated-reads';
    if (!isUnchecked && [...reads].some(hasChanged)) return false;
    if (isUnchecked || breaks === 'unvalidated-spans') return true;
    return !spans.some((span) =>
      [...this.#versions.keys()].some((key) => key >= span.start && key < span.end && hasChanged(key)),
    );
  }
}

function writesOf(writes: readonly LoadWrite[]): Map<string, Write> {
  return new Map(writes.map((write) => [write.key, write]));
}
