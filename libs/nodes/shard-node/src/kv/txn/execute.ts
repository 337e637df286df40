import { addToCounter, NO_BYTES, RowKind, timestamp, type Timestamp } from '@cairn/base';
import {
  encodeVersionToken,
  expiryToUnixMs,
  isVersionLiveAt,
  NO_EXPIRY,
  rowCacheKey,
  type RowCacheKey,
  type VersionRecord,
} from '@cairn/mvcc';
import {
  comparesBytes,
  conditionHolds,
  EXECUTE_ANSWER_BYTES_MAX,
  ExecuteOp,
  LOCKS_TOLD_MAX,
  NO_READ_ROW,
  type Condition,
  type ExecuteCommand,
  type ExecuteOperation,
  type ExecuteResult,
  type ReadRow,
  type TxnReply,
} from '@cairn/wire';

import { tombstoneAt, versionOf, type WriteMoment } from '../evaluate.js';
import type { Lock } from './lock-table.js';
import { keysOf } from './keys-of.js';
import { UNREAD, type TxnView } from './txn-view.js';
import type { WrittenRow } from './verdict.js';

/** What a one-range transaction comes to. */
export type Execution =
  | { readonly type: 'executed'; readonly reply: TxnReply; readonly rows: readonly WrittenRow[] }
  /** Nothing is done. */
  | { readonly type: 'reply'; readonly reply: TxnReply }
  | { readonly type: 'locked'; readonly locks: readonly Lock[] }
  | { readonly type: 'read' }
  /** Only a timestamp issued now can tell whether a row has expired. */
  | { readonly type: 'time' }
  | { readonly type: 'wrong-kind'; readonly kind: RowKind }
  | { readonly type: 'invalid'; readonly message: string }
  /** Its answers pass `EXECUTE_ANSWER_BYTES_MAX`. */
  | { readonly type: 'too-large' };

const READ: Execution = { type: 'read' };

/** A row as transactions are shown it, as of a timestamp. */
export function readRowOf(version: VersionRecord | undefined, at: Timestamp): ReadRow {
  if (version === undefined || !isVersionLiveAt(version, at)) return NO_READ_ROW;
  const { kind, expiry, sequence, value } = version;
  return {
    found: true,
    value: kind === RowKind.bytes ? value : NO_BYTES,
    version: encodeVersionToken(version.timestamp, sequence),
    kind,
    expiresUnixMs: expiryToUnixMs(expiry),
  };
}

/** Whether a version that was live at `start` is gone at `commit` although nobody wrote (T10). */
export function expiresWithin(version: VersionRecord, start: Timestamp, commit: Timestamp): boolean {
  const { expiry, tombstone } = version;
  return !tombstone && expiry !== NO_EXPIRY && expiry > start && expiry <= commit;
}

/** Whether the command may write: then what it came to must be remembered, whatever that was. */
export function mayWrite({ then, otherwise }: ExecuteCommand): boolean {
  return [...then, ...otherwise].some(({ op }) => op !== ExecuteOp.get);
}

/**
 * Judges a whole transaction at the timestamp and as the write that `moment` says (T4), against the newest
 * rows, those under way included.
 */
export function judgeExecute(command: ExecuteCommand, view: TxnView, moment: WriteMoment): Execution {
  const locks: Lock[] = [];
  for (const key of view.locks.size === 0 ? [] : keysOf(command)) {
    const lock = view.locks.current(rowCacheKey(key));
    if (lock !== undefined && locks.length < LOCKS_TOLD_MAX) locks.push(lock);
  }
  if (locks.length > 0) return { type: 'locked', locks };
  return new Run(command, view, moment).judge();
}

/** One judgement. */
class Run {
  readonly #command: ExecuteCommand;
  readonly #view: TxnView;
  readonly #moment: WriteMoment;
  /** What the operations so far left. */
  readonly #written = new Map<RowCacheKey, WrittenRow>();
  /** Rows that were looked at; undefined = the key has none. */
  readonly #rows = new Map<RowCacheKey, VersionRecord | undefined>();
  #isTimeUnclear = false;

  constructor(command: ExecuteCommand, view: TxnView, moment: WriteMoment) {
    this.#command = command;
    this.#view = view;
    this.#moment = moment;
  }

  judge(): Execution {
    const { conditions, otherwise, start, then } = this.#command;
    const stale = this.#validate();
    if (stale !== undefined) return { type: 'reply', reply: stale };
    let hasHeld = true;
    for (const condition of conditions) {
      const row = this.#newest(condition.key);
      if (row === UNREAD) continue;
      const kind = kindInTheWay(condition, this.#live(row));
      if (kind !== undefined) return { type: 'wrong-kind', kind };
      hasHeld &&= holds(condition, this.#live(row));
    }
    if (!this.#view.isComplete) return READ;
    const operations = hasHeld ? then : otherwise;
    for (const operation of operations) if (this.#needsRow(operation)) this.#newest(operation.key);
    if (!this.#view.isComplete) return READ;
    if (this.#isTimeUnclear) return { type: 'time' };
    const conflict = this.#command.checksWrites ? this.#conflictOf(operations, start) : undefined;
    if (conflict !== undefined) return { type: 'reply', reply: conflict };
    return this.#carryOut(operations, hasHeld);
  }

  /** What was read as of the start must be the newest there is. Answers why not. */
  #validate(): TxnReply | undefined {
    const { checksWrites, reads, start } = this.#command;
    if (start === 0 || (reads.length === 0 && !checksWrites)) return undefined;
    const { readableSince } = this.#view;
    // What was deleted since then may be gone without a trace.
    if (start < readableSince) return { type: 'tooOld', readableSince };
    for (const key of reads) {
      const row = this.#newest(key);
      if (row === UNREAD || row === undefined) continue;
      if (row.timestamp > start) return { type: 'conflict', key, newest: row.timestamp };
      if (expiresWithin(row, start, this.#moment.timestamp)) {
        return { type: 'conflict', key, newest: timestamp(0) };
      }
    }
    return undefined;
  }

  #conflictOf(operations: readonly ExecuteOperation[], start: Timestamp): TxnReply | undefined {
    if (start === 0) return undefined;
    for (const { key, op } of operations) {
      if (op === ExecuteOp.get) continue;
      const newest = this.#rows.get(rowCacheKey(key))?.timestamp ?? timestamp(0);
      if (newest > start) return { type: 'conflict', key, newest };
    }
    return undefined;
  }

  #needsRow({ op }: ExecuteOperation): boolean {
    return op !== ExecuteOp.put || (this.#command.checksWrites && this.#command.start > 0);
  }

  #newest(userKey: Uint8Array): VersionRecord | undefined | typeof UNREAD {
    const key = rowCacheKey(userKey);
    if (this.#rows.has(key)) return this.#rows.get(key);
    const row = this.#view.newest(userKey);
    if (row === UNREAD) return UNREAD;
    this.#isTimeUnclear ||= row !== undefined && this.#view.mayHaveCome(row.expiry);
    this.#rows.set(key, row);
    return row;
  }

  /** Of a row, what there is of it at the timestamp of the transaction. */
  #live(row: VersionRecord | undefined): VersionRecord | undefined {
    return row !== undefined && isVersionLiveAt(row, this.#moment.timestamp) ? row : undefined;
  }

  #carryOut(operations: readonly ExecuteOperation[], succeeded: boolean): Execution {
    const results: ExecuteResult[] = [];
    let bytes = 0;
    for (const operation of operations) {
      const key = rowCacheKey(operation.key);
      const live = this.#live(this.#written.get(key)?.version ?? this.#rows.get(key));
      const done = this.#carryOutOne(operation, key, live);
      if (!('op' in done)) return done;
      if (done.op === ExecuteOp.get) bytes += done.row.value.length;
      if (bytes > EXECUTE_ANSWER_BYTES_MAX) return { type: 'too-large' };
      results.push(done);
    }
    const commit = this.#moment.timestamp;
    const reply: TxnReply = { type: 'executed', commit, succeeded, results, isForgotten: false };
    return { type: 'executed', reply, rows: [...this.#written.values()] };
  }

  #carryOutOne(
    { op, key: userKey, value, ttlMs, delta }: ExecuteOperation,
    key: RowCacheKey,
    live: VersionRecord | undefined,
  ): ExecuteResult | Extract<Execution, { type: 'wrong-kind' | 'invalid' }> {
    const moment = this.#moment;
    const write = (version: VersionRecord): Buffer => {
      this.#written.set(key, { userKey, key, version });
      return encodeVersionToken(version.timestamp, version.sequence);
    };
    switch (op) {
      case ExecuteOp.get:
        return { op, row: readRowOf(live, moment.timestamp) };
      case ExecuteOp.put:
        return { op, version: write(versionOf(value, ttlMs, moment)) };
      case ExecuteOp.delete:
        if (live === undefined) return { op, existed: false, version: NO_BYTES };
        return { op, existed: true, version: write(tombstoneAt(moment)) };
      case ExecuteOp.increment: {
        if (live !== undefined && live.kind !== RowKind.bytes) return { type: 'wrong-kind', kind: live.kind };
        const sum = addToCounter(live?.value, BigInt(delta));
        if (sum.type === 'invalid') return sum;
        const number = sum.number.toString();
        const counter = versionOf(Buffer.from(number, 'latin1'), 0, moment);
        return { op, number, version: write({ ...counter, expiry: live?.expiry ?? NO_EXPIRY }) };
      }
    }
  }
}

/** The kind of a live row that is none to be compared with. */
function kindInTheWay({ kind }: Condition, live: VersionRecord | undefined): RowKind | undefined {
  return comparesBytes(kind) && live !== undefined && live.kind !== RowKind.bytes ? live.kind : undefined;
}

function holds(condition: Condition, live: VersionRecord | undefined): boolean {
  if (live === undefined) return conditionHolds(condition, undefined);
  const { sequence, timestamp: at, value } = live;
  return conditionHolds(condition, { value, version: encodeVersionToken(at, sequence) });
}
