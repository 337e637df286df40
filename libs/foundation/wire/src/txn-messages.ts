import type { RowKind, Timestamp } from '@cairn/base';

import type { ReservedReply } from './reserve-messages.js';

/*
 * Commands of transactions between routers and shard nodes; see docs/transactions.md. A transaction is named
 * by its start timestamp, which the oracle gave to it alone.
 */

/**
 * What a lock does to its key when its transaction commits. Numbers are on disk and on the wire: append only.
 */
export const LockOp = {
  put: 1,
  delete: 2,
  /** Nothing: the key is held, and stays as it is. */
  none: 3,
} as const;
export type LockOp = (typeof LockOp)[keyof typeof LockOp];

/**
 * Sequence of all rows that a commit over several ranges writes: step 1 of its commit timestamp, which is its
 * alone. A plain write may have that timestamp by chance, and is at step 0.
 */
export const COMMIT_SEQUENCE = 1 << 21;

/** A lock as it is told to whoever met it: enough to ask its primary what became of the transaction. */
export interface LockInfo {
  readonly key: Uint8Array;
  readonly primary: Uint8Array;
  readonly start: Timestamp;
  /** When the time of this lock is over, which its primary's may outlive. */
  readonly deadline: Timestamp;
  /**
   * 0 = a lock of the log. Otherwise this is a reservation of that owner, in the memory of a leader: `start`
   * is the owner and `primary` the key, and nobody can be asked what became of it.
   */
  readonly owner: Timestamp;
}

/** One key that a transaction is to change. */
export interface Mutation {
  readonly key: Uint8Array;
  readonly op: LockOp;
  /** Of a put; empty otherwise. */
  readonly value: Uint8Array;
  /** Of a put: time to live, counted from the commit; 0 = none. */
  readonly ttlMs: number;
}

/** A span of user keys, as it was read. */
export interface ReadSpan {
  readonly start: Uint8Array;
  /** Exclusive; empty = to the end of all keys. */
  readonly end: Uint8Array;
}

/** Reads several keys of one range: as of a timestamp, or (0) the newest state of each. */
export interface BatchGetCommand {
  readonly type: 'batchGet';
  readonly at: Timestamp;
  readonly keys: readonly Uint8Array[];
}

/** Whether what was read as of `start` is what there is as of `commit`: see T10. */
export interface ValidateCommand {
  readonly type: 'validate';
  readonly start: Timestamp;
  readonly commit: Timestamp;
  readonly keys: readonly Uint8Array[];
  readonly spans: readonly ReadSpan[];
}

/** Locks keys for a commit to come: see T6. The keys of the whole transaction may be in other ranges. */
export interface PrewriteCommand {
  readonly type: 'prewrite';
  readonly start: Timestamp;
  readonly primary: Uint8Array;
  /** From now on; after that anybody may roll the transaction back. */
  readonly lockTtlMs: number;
  readonly mutations: readonly Mutation[];
  /** Whose reservations are not in its way, and end with it where it locks; 0 = nobody's. */
  readonly owner: Timestamp;
}

/** The decision, at the range of the primary: see T8. */
export interface CommitCommand {
  readonly type: 'commit';
  readonly start: Timestamp;
  readonly commit: Timestamp;
  readonly primary: Uint8Array;
  /** Other keys of the transaction in the same range, resolved in the same entry. */
  readonly keys: readonly Uint8Array[];
}

/**
 * Carries out at some keys what was decided: a commit at `commit`, or (0) the rollback, which leaves marks.
 */
export interface ResolveCommand {
  readonly type: 'resolve';
  readonly start: Timestamp;
  readonly commit: Timestamp;
  readonly keys: readonly Uint8Array[];
}

/**
 * Asks the range of the primary what became of a transaction. One whose time is over is rolled back, and one
 * of which nothing is there when `lockDeadline` has come: before that, the lock of the primary may be on its
 * way. `pushTo`: one that is undecided shall not commit at or below it; 0 = no push.
 */
export interface CheckCommand {
  readonly type: 'check';
  readonly start: Timestamp;
  readonly primary: Uint8Array;
  readonly pushTo: Timestamp;
  /** Of the lock because of which is asked; 0 = none, or its time is over. */
  readonly lockDeadline: Timestamp;
}

/** The transaction lives: gives the lock of its primary more time from now on. */
export interface HeartbeatCommand {
  readonly type: 'heartbeat';
  readonly start: Timestamp;
  readonly primary: Uint8Array;
  readonly lockTtlMs: number;
}

export type TxnReadCommand = BatchGetCommand | ValidateCommand;
export type TxnWriteCommand =
  PrewriteCommand | CommitCommand | ResolveCommand | CheckCommand | HeartbeatCommand;

/** What a condition of a one-shot transaction asks of its key. Append only. */
export const ConditionKind = {
  exists: 1,
  absent: 2,
  /** The value is `operand`. */
  valueEquals: 3,
  /** The version token is `operand`. */
  versionEquals: 4,
} as const;
export type ConditionKind = (typeof ConditionKind)[keyof typeof ConditionKind];

export interface Condition {
  readonly key: Uint8Array;
  readonly kind: ConditionKind;
  /** Empty unless the kind compares. */
  readonly operand: Uint8Array;
}

/** Operations of `execute`. Append only. */
export const ExecuteOp = { get: 1, put: 2, delete: 3, increment: 4 } as const;
export type ExecuteOp = (typeof ExecuteOp)[keyof typeof ExecuteOp];

export interface ExecuteOperation {
  readonly op: ExecuteOp;
  readonly key: Uint8Array;
  /** Of a put. */
  readonly value: Uint8Array;
  readonly ttlMs: number;
  /** Of an increment: a signed 64-bit integer as decimal text. */
  readonly delta: string;
}

/**
 * A whole transaction whose keys are all in one range, evaluated and committed by its leader in one turn: T4.
 * The reads at `start` are validated first; then, if all conditions hold, `then` is carried out, else
 * `otherwise`. Operations of one list see the effects of those before them.
 */
export interface ExecuteCommand {
  readonly type: 'execute';
  /** 0 = nothing was read before, so nothing is validated. */
  readonly start: Timestamp;
  /** Keys that were read as of `start` and must be as they were. */
  readonly reads: readonly Uint8Array[];
  /** Writes fail as a conflict where the newest row is above `start` too, though they were not read. */
  readonly checksWrites: boolean;
  readonly conditions: readonly Condition[];
  readonly then: readonly ExecuteOperation[];
  readonly otherwise: readonly ExecuteOperation[];
  /** Whose reservations are not in its way, and end with it where it writes; 0 = nobody's. */
  readonly owner: Timestamp;
}

/** A row as transactions read it. */
export interface ReadRow {
  readonly found: boolean;
  readonly value: Uint8Array;
  /** Version token; empty when there is none. */
  readonly version: Uint8Array;
  /** Another kind than bytes: the value is empty, and reading it is WRONG_KIND for the caller. */
  readonly kind: RowKind;
  readonly expiresUnixMs: number;
}

/** What an operation of `execute` did. */
export type ExecuteResult =
  | { readonly op: typeof ExecuteOp.get; readonly row: ReadRow }
  | { readonly op: typeof ExecuteOp.put; readonly version: Uint8Array }
  | { readonly op: typeof ExecuteOp.delete; readonly existed: boolean; readonly version: Uint8Array }
  | { readonly op: typeof ExecuteOp.increment; readonly number: string; readonly version: Uint8Array };

/** Answers to the commands of transactions. */
export type TxnReply =
  /** Not all keys are in the range: nothing was done. */
  | { readonly type: 'regroup' }
  | { readonly type: 'rows'; readonly rows: readonly ReadRow[] }
  | { readonly type: 'valid' }
  /** Somebody wrote `key` since; nothing was done. `newest` 0 = not known. */
  | { readonly type: 'conflict'; readonly key: Uint8Array; readonly newest: Timestamp }
  | { readonly type: 'prewritten'; readonly minCommit: Timestamp }
  /** Undecided. The least timestamp that it may commit at, after a push; when its time is over. */
  | { readonly type: 'pending'; readonly minCommit: Timestamp; readonly deadline: Timestamp }
  | { readonly type: 'committed'; readonly commit: Timestamp }
  | { readonly type: 'rolledBack' }
  /** The commit timestamp is too low by now: take one at or above, and validate again. */
  | { readonly type: 'pushed'; readonly minCommit: Timestamp }
  /** The start timestamp is older than what the range remembers. */
  | { readonly type: 'tooOld'; readonly readableSince: Timestamp }
  | { readonly type: 'resolved' }
  | ReservedReply
  | { readonly type: 'released' }
  | {
      readonly type: 'executed';
      readonly commit: Timestamp;
      /** All conditions held. */
      readonly succeeded: boolean;
      /** Empty with `isForgotten`: it happened, and the answers were too long to be kept for a retry. */
      readonly results: readonly ExecuteResult[];
      readonly isForgotten: boolean;
    };
