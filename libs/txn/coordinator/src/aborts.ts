import { CairnError, printable, type Timestamp } from '@cairn/base';

/**
 * Why a transaction was aborted, for metrics and clients:
 * - `conflict`: somebody wrote what it read or writes.
 * - `deadlock`: it waited in a circle of transactions, or might have: it met a lock while it may hold locks
 *   that the other one waits for.
 * - `rolled-back`: somebody else has rolled it back, because it gave no sign of life or was not there yet,
 *   or it was sent before and given up.
 * - `pushed`: readers pushed it again and again beyond where it could commit.
 * - `too-old`: its snapshot is older than what the ranges remember.
 * - `unavailable`: a range could not be reached before the decision.
 */
export type AbortReason = 'conflict' | 'deadlock' | 'rolled-back' | 'pushed' | 'too-old' | 'unavailable';

const SENTENCES: Readonly<Record<AbortReason, string>> = {
  conflict: 'another transaction or a plain write changed what it read or writes',
  deadlock: 'an older transaction holds a key of it, and may wait for it',
  'rolled-back': 'it was rolled back: it gave no sign of life for too long, or was given up before',
  pushed: 'readers came before it again and again',
  'too-old': 'its snapshot is older than what is remembered',
  unavailable: 'part of the cluster could not be reached in time',
};

const KEY_CHARS_MAX = 200;
/** Of a key that ends a transaction before it began to hold anything: it is run again at once. */
const RETRY_AFTER_MS: Readonly<Record<AbortReason, number>> = {
  conflict: 0,
  deadlock: 5,
  'rolled-back': 5,
  pushed: 5,
  'too-old': 0,
  unavailable: 25,
};

/** TRANSACTION_ABORTED: nothing of it happened, and it may be run again from its beginning. */
export function aborted(reason: AbortReason, key?: Uint8Array, cause?: unknown): CairnError {
  const where = key === undefined ? undefined : keyText(key);
  const at = where === undefined ? '' : ` (key ${where})`;
  return new CairnError('TRANSACTION_ABORTED', `the transaction was aborted: ${SENTENCES[reason]}${at}`, {
    retryAfterMs: RETRY_AFTER_MS[reason],
    details: { reason, ...(where === undefined ? {} : { key: where }) },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** A key for people: as text where it is some, in hexadecimal digits otherwise. */
export function keyText(key: Uint8Array): string {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  const text = bytes.toString('utf8');
  const isText = Buffer.byteLength(text) === bytes.length && Buffer.from(text).equals(bytes);
  return printable(isText ? JSON.stringify(text) : `0x${bytes.toString('hex')}`, KEY_CHARS_MAX);
}

/** TRANSACTION_ABORTED of the youngest in a circle: each waited for the next, and the last for the first. */
export function deadlocked(cycle: readonly Timestamp[]): CairnError {
  const owners = [...cycle, ...cycle.slice(0, 1)].join(' waits for ');
  return new CairnError(
    'TRANSACTION_ABORTED',
    `the transaction was aborted: it is the youngest of those that wait for each other's locks: ${owners}`,
    { retryAfterMs: RETRY_AFTER_MS.deadlock, details: { reason: 'deadlock', cycle } },
  );
}

/** LOCK_NOT_AVAILABLE that names the key. */
export function lockNotAvailable(key: Uint8Array, why: string): CairnError {
  const where = keyText(key);
  return new CairnError('LOCK_NOT_AVAILABLE', `another transaction holds the key ${where}: ${why}`, {
    details: { key: where },
  });
}

export function isAborted(error: unknown): error is CairnError {
  return CairnError.is(error) && error.code === 'TRANSACTION_ABORTED';
}

/** Of a circle somebody has to give up all that it has; otherwise the next attempt finds it. */
export function isDeadlock(error: unknown): boolean {
  return isAborted(error) && error.details['reason'] === 'deadlock';
}
