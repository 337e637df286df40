import { rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import type { FirstRow } from '@cairn/engine';
import {
  checkRow,
  commitOfTransactionRow,
  rowCacheKey,
  transactionKeyOf,
  type RowCacheKey,
  type VersionRecord,
} from '@cairn/mvcc';

import type { ColdReads } from '../cold-reads.js';
import type { KvCall, Submitter } from '../kv-call.js';
import type { KvEnvironment } from '../kv-environment.js';
import type { Leadership } from '../leadership.js';
import type { RangeTime } from '../range-time.js';
import type { ServedRange } from '../served-range.js';
import type { WriteEvaluator } from '../write-evaluator.js';
import { decisionName } from './decisions.js';
import type { LockTable } from './lock-table.js';
import type { TxnState } from './txn-state.js';

/** Where the engine key of a decision ends: nothing is between it and this. */
const JUST_ABOVE = Buffer.of(0);

/** What commands of transactions look at. */
export interface TxnViewParts {
  readonly range: Pick<ServedRange, 'readableSince'>;
  readonly queue: Submitter;
  readonly time: Pick<RangeTime, 'readNow' | 'asksForTheTime'>;
  readonly leadership: Pick<Leadership, 'since'>;
  readonly writes: Pick<WriteEvaluator, 'newestUnderWay'>;
  readonly coldReads: Pick<ColdReads, 'newestForCommand'>;
  readonly txn: TxnState;
}

/** A row that has to be read before it can be judged. */
export const UNREAD = Symbol('unread');

/** What became of a transaction at a key, as far as it is known; `unread`: it is being looked for. */
export type FoundDecision =
  | { readonly type: 'under-way' | 'none' | 'unread' }
  | { readonly type: 'decided'; readonly commit: Timestamp };

/**
 * What a command sees of its range while it is judged: what is there when all that is evaluated so far
 * commits. What has to be read is begun, and the command is judged anew when it is there.
 */
export class TxnView {
  readonly #environment: KvEnvironment;
  readonly #parts: TxnViewParts;
  readonly #call: KvCall;
  /** What has to be waited for. */
  readonly reads: Promise<unknown>[] = [];
  /** It waits for room, and is submitted again when there is some. */
  isQueued = false;

  constructor(environment: KvEnvironment, parts: TxnViewParts, call: KvCall) {
    this.#environment = environment;
    this.#parts = parts;
    this.#call = call;
  }

  get locks(): LockTable {
    return this.#parts.txn.locks;
  }

  get readableSince(): Timestamp {
    return this.#parts.range.readableSince;
  }

  /** A timestamp of when this leadership began: what began before may have been decided by others. */
  get since(): Timestamp {
    return this.#parts.leadership.since;
  }

  /** The largest timestamp that the oracle is known to have issued. */
  get max(): Timestamp {
    return this.#environment.timestamps.max;
  }

  /** About now, for what ends late rather than early. */
  get extrapolated(): Timestamp {
    return this.#environment.timestamps.extrapolated;
  }

  /** Whether only a fresh timestamp can tell that `at` has passed. */
  mayHaveCome(at: Timestamp): boolean {
    return !this.#call.isTimeUnknown && this.#environment.timestamps.mayHaveCome(at, this.max);
  }

  /** Nothing is known to be unread and nothing waits for room. */
  get isComplete(): boolean {
    return this.reads.length === 0 && !this.isQueued;
  }

  /** The timestamp of the newest version of a key; 0 = it has none. */
  newestTimestamp(userKey: Uint8Array): Timestamp | typeof UNREAD {
    const key = rowCacheKey(userKey);
    const underWay = this.#parts.writes.newestUnderWay(key);
    const known = underWay ?? this.#environment.rowCache.view(userKey);
    if (known !== undefined) return known.timestamp;
    const row = this.#cold(key, userKey);
    return row === UNREAD ? UNREAD : (row?.timestamp ?? timestamp(0));
  }

  /** The same where nothing has to be read for it; undefined = not known. */
  newestKnown(key: RowCacheKey, userKey: Uint8Array): Timestamp | undefined {
    const underWay = this.#parts.writes.newestUnderWay(key);
    return (underWay ?? this.#environment.rowCache.view(userKey))?.timestamp;
  }

  /** The newest version of a key, tombstones and expired ones included. */
  newest(userKey: Uint8Array): VersionRecord | undefined | typeof UNREAD {
    const key = rowCacheKey(userKey);
    const known = this.#parts.writes.newestUnderWay(key) ?? this.#environment.rowCache.get(key);
    return known ?? this.#cold(key, userKey);
  }

  #cold(key: RowCacheKey, userKey: Uint8Array): VersionRecord | undefined | typeof UNREAD {
    const { readRoom } = this.#environment;
    if (this.isQueued || !readRoom.admits(this.#call, this.#parts.queue)) {
      this.isQueued = true;
      return UNREAD;
    }
    const cold = this.#parts.coldReads.newestForCommand(key, userKey);
    if (!(cold instanceof Promise)) return cold;
    if (this.reads.length === 0) readRoom.reading(this.#call);
    this.reads.push(cold);
    return UNREAD;
  }

  /** What became of the transaction that began at `start`, by the row of that under a key. */
  decisionAt(userKey: Uint8Array, start: Timestamp): FoundDecision {
    const known = this.#parts.txn.decisions.find(userKey, start, this.since);
    return known.type === 'unknown' ? this.#look(userKey, start) : known;
  }

  #look(userKey: Uint8Array, start: Timestamp): FoundDecision {
    const { decisions } = this.#parts.txn;
    const { looks } = this.#call;
    // What others decided between two leaderships is not among those that are remembered here.
    if (looks !== undefined && (looks.since !== this.since || !decisions.remembersSince(looks.published))) {
      this.#call.looks = undefined;
    }
    this.#call.looks ??= { since: this.since, published: decisions.published, found: new Map() };
    const { found } = this.#call.looks;
    const name = decisionName(userKey, start);
    if (found.has(name)) return foundDecision(found.get(name));
    const engineKey = transactionKeyOf(userKey, start);
    const row = firstOf(() =>
      this.#environment.engine.first(engineKey, Buffer.concat([engineKey, JUST_ABOVE])),
    );
    if (!(row instanceof Promise)) return foundDecision(commitIn(row));
    this.reads.push(
      row.then((there) => {
        found.set(name, commitIn(there));
      }),
    );
    return { type: 'unread' };
  }
}

function firstOf(read: () => FirstRow | Promise<FirstRow>): FirstRow | Promise<FirstRow> {
  try {
    return read();
  } catch (error) {
    rethrowInvariant(error);
    return Promise.reject(error instanceof Error ? error : new Error(String(error)));
  }
}

function commitIn(row: FirstRow): Timestamp | undefined {
  if (row === undefined) return undefined;
  checkRow(row[0], row[1]);
  return commitOfTransactionRow(row[1]);
}

function foundDecision(commit: Timestamp | undefined): FoundDecision {
  return commit === undefined ? { type: 'none' } : { type: 'decided', commit };
}
