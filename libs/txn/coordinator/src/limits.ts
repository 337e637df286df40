import { CairnError } from '@cairn/base';

/** Bounds of what the coordinator holds and does at a time. Times are milliseconds. */
export interface TransactionLimits {
  /** Keys and values of one transaction. */
  readonly bytesMax: number;
  /** Keys that one transaction reads and writes. */
  readonly keysMax: number;
  /** Operations and conditions of a one-shot transaction. */
  readonly oneShotOperationsMax: number;
  /** From one sign of life to when anybody may roll a transaction back. */
  readonly lockTtlMs: number;
  /** A transaction that takes longer says so often that it lives. */
  readonly heartbeatMs: number;
  /** Commits whose other keys are being resolved, and rollbacks, at a time; beyond, commits wait. */
  readonly backgroundTasksMax: number;
  /** Bytes of their keys. */
  readonly backgroundBytesMax: number;
  /** What such a task may take; then it is left to whoever meets the locks. */
  readonly backgroundTimeoutMs: number;
}

export const DEFAULT_TRANSACTION_LIMITS: TransactionLimits = {
  bytesMax: 64 * 1024 * 1024,
  keysMax: 100_000,
  oneShotOperationsMax: 128,
  lockTtlMs: 3_000,
  heartbeatMs: 1_000,
  backgroundTasksMax: 1_024,
  backgroundBytesMax: 32 * 1024 * 1024,
  backgroundTimeoutMs: 10_000,
};

/** TRANSACTION_TOO_LARGE that names the limit. */
export function tooLarge(what: string, limit: number): CairnError {
  return new CairnError('TRANSACTION_TOO_LARGE', `a transaction has at most ${limit} ${what}`, {
    details: { limit },
  });
}
