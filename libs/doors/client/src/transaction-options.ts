import { invalidArgument, type BytesInput } from './bytes.js';
import type { CallOptions, PutOptions, ScanOptions } from './options.js';
import type { Lock } from './reserver.js';
import { Isolation, LockPolicy, LockStrength } from './wire-binding.js';

/**
 * - `serializable` (default): as if transactions had run one after the other.
 * - `snapshot`: reads are of one instant, and what is written must not have been written by others since.
 *   What was only read is not checked at the end: two transactions may each read what the other writes.
 * - `read-committed`: each read sees what is committed when it is made; reads that follow each other need
 *   not agree. What is written must not have been written by others since the first read.
 */
export type IsolationLevel = 'serializable' | 'snapshot' | 'read-committed';

export interface TransactionOptions extends CallOptions {
  readonly isolation?: IsolationLevel;
  /** For the whole, all attempts and the pauses between them, milliseconds; default that of the client. */
  readonly timeoutMs?: number;
  /** Most times that the closure runs; default: as often as the time allows. */
  readonly attemptsMax?: number;
}

/** Of a put in a transaction; the time to live is counted from the commit. */
export type TransactionPutOptions = Pick<PutOptions, 'ttlMs'>;

/**
 * Of `getForUpdate`.
 */
export interface KeyLockOptions {
  /**
   * - `exclusive` (default): nobody else may hold or write the key.
   * - `share`: others may share it, nobody else may write it.
   * - `key-share`: others may share it or change its value, nobody else may remove it.
   */
  readonly strength?: 'exclusive' | 'share' | 'key-share';
  /**
   * Where somebody else has the key: `wait` (default) for it, fail at once with LOCK_NOT_AVAILABLE
   * (`nowait`), or leave the key out (`skip-locked`).
   */
  readonly wait?: 'wait' | 'nowait' | 'skip-locked';
  /** How long to wait for all keys of the call, milliseconds; default 10,000. Then LOCK_NOT_AVAILABLE. */
  readonly lockTimeoutMs?: number;
}

/** A key as `getForUpdate` found it. `Found` is an entry, or a typed one. */
export interface Locked<Found> {
  /** This transaction has the key. Only `skip-locked` leaves one out: then nothing is known of it. */
  readonly locked: boolean;
  /** undefined: there is none, or the key was left out. */
  readonly entry: Found | undefined;
}

/** INVALID_ARGUMENT for what is not known. */
export function lockOf({ strength, wait, lockTimeoutMs = 0 }: KeyLockOptions): Lock {
  const isMs = Number.isSafeInteger(lockTimeoutMs) && lockTimeoutMs >= 0 && lockTimeoutMs < 2 ** 32;
  if (!isMs)
    throw invalidArgument('lockTimeoutMs', `lockTimeoutMs is a whole number from 1 on, not ${lockTimeoutMs}`);
  const strengths = { exclusive: LockStrength.EXCLUSIVE, share: LockStrength.SHARE } as const;
  const all = { ...strengths, 'key-share': LockStrength.KEY_SHARE } as const;
  const policies = { wait: LockPolicy.WAIT, nowait: LockPolicy.NOWAIT } as const;
  const waits = { ...policies, 'skip-locked': LockPolicy.SKIP_LOCKED } as const;
  return {
    strength: chosen(all, 'strength', strength ?? 'exclusive'),
    policy: chosen(waits, 'wait', wait ?? 'wait'),
    lockTimeoutMs,
  };
}

function chosen<Value>(values: Readonly<Record<string, Value>>, field: string, name: string): Value {
  const value = Object.hasOwn(values, name) ? values[name] : undefined;
  if (value !== undefined) return value;
  const names = Object.keys(values).join('", "');
  throw invalidArgument(field, `${field} must be one of "${names}", not ${name}`);
}

/** Of a scan in a transaction: its snapshot and its deadline are those of the transaction. */
export type TransactionScanOptions = Omit<
  ScanOptions,
  'consistency' | 'timeoutMs' | 'signal' | 'traceparent'
>;

/**
 * Which instant: left out = now; a timestamp (of a receipt, a scan's page, `client.timestamp()`); a time; or
 * milliseconds ago, as a negative number. The cluster keeps the past for its `gc.life_seconds`.
 */
export interface SnapshotOptions extends CallOptions {
  readonly at?: number | Date;
}

/** What `execute` asks of a key; all of them must hold. */
export type ConditionInput = { readonly key: BytesInput } & (
  | { readonly exists: true }
  | { readonly absent: true }
  | { readonly value: BytesInput }
  | { readonly version: Uint8Array }
);

/** One operation of `execute`. Those of one list see the effects of the ones before them. */
export type ExecuteOperationInput =
  | { readonly get: { readonly key: BytesInput } }
  | { readonly put: { readonly key: BytesInput; readonly value: BytesInput; readonly ttlMs?: number } }
  | { readonly delete: { readonly key: BytesInput } }
  | { readonly increment: { readonly key: BytesInput; readonly delta?: number | bigint } };

/** INVALID_ARGUMENT for a name that is none of the levels. */
export function isolationOf(level: IsolationLevel | undefined): Isolation {
  if (level === undefined || level === 'serializable') return Isolation.SERIALIZABLE;
  if (level === 'snapshot') return Isolation.SNAPSHOT;
  if (level === 'read-committed') return Isolation.READ_COMMITTED;
  throw invalidArgument(
    'isolation',
    `isolation must be "serializable", "snapshot" or "read-committed", not ${String(level)}`,
  );
}

/** INVALID_ARGUMENT unless it is left out, or a whole number from 1. */
export function attemptsMaxOf(attemptsMax: number | undefined): number {
  if (attemptsMax === undefined) return Infinity;
  if (Number.isSafeInteger(attemptsMax) && attemptsMax >= 1) return attemptsMax;
  throw invalidArgument('attemptsMax', `attemptsMax must be a whole number from 1, not ${attemptsMax}`);
}
