import { CairnError, RowKind, assert, formatTooNew, timestamp, type Timestamp } from '@cairn/base';
import { VERSION_TOKEN_BYTES } from './version-token.js';

/**
 * What kind of client command an outcome answers. On disk and on the wire: append only. 7 is reserved, for
 * programs. The detail of a transaction is its encoded answer, which is opaque here.
 */
export const OutcomeKind = {
  put: 1,
  delete: 2,
  compareAndSet: 3,
  increment: 4,
  deleteRange: 5,
  transaction: 6,
} as const;
export type OutcomeKind = (typeof OutcomeKind)[keyof typeof OutcomeKind];
const OUTCOME_KIND_MAX = 6;

/** Bits of `CommandOutcome.flags`. */
export const OutcomeFlag = {
  /** delete, and a change of a time to live, which is remembered as one: there was a live value. */
  existed: 1,
  /** compareAndSet: the write happened. */
  succeeded: 2,
  /** compareAndSet that failed: there is a live value; `detail` starts with its version token. */
  found: 4,
  /**
   * compareAndSet that failed: the value was longer than `FOUND_VALUE_BYTES_MAX` and is not in `detail`.
   * The command had no effect, so a retry of it may simply be evaluated again.
   */
  valueTruncated: 8,
  /** deleteRange: stopped at its limit; `detail` holds where to go on. */
  hasResumeKey: 16,
  /** compareAndSet that failed: what is there is no bytes; `detail` has its kind behind the token. */
  otherKind: 32,
} as const;
const OUTCOME_FLAGS_KNOWN = 63;

/** Longest answer of a transaction that is remembered for retries. */
export const TRANSACTION_DETAIL_BYTES_MAX = 16 * 1024;

/** Longest value of a failed compare-and-set that is remembered for retries. */
export const FOUND_VALUE_BYTES_MAX = 1024;

/**
 * Who asked, and what was answered. One mutable class for builder, reader and request window, so that all
 * see one shape.
 */
export class CommandOutcome {
  /** 1 .. 2^48 - 1; 0 = a command without identity: not remembered. */
  client = 0;
  /** 1 .. 2^48 - 1, the request's sequence within its client. */
  requestSequence = 0;
  kind: OutcomeKind = OutcomeKind.put;
  /** `OutcomeFlag` bits. */
  flags = 0;
  /** Oracle timestamp at which the command took effect, or (failed compare-and-set) would have. */
  timestamp: Timestamp = timestamp(0);
  /** Sequence of the record written; 0 if none was. */
  sequence = 0;
  /** See `foundDetail`, `deleteRangeDetail`; increment: the new number as ASCII text. */
  detail: Buffer | undefined = undefined;

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
}

export function isOutcomeKind(kind: number): kind is OutcomeKind {
  return kind >= 1 && kind <= OUTCOME_KIND_MAX;
}

/** Checks a kind and flags byte read from disk or wire. Throws CORRUPTION, FORMAT_TOO_NEW. */
export function checkedOutcomeKind(kind: number, flags: number): OutcomeKind {
  if (kind > OUTCOME_KIND_MAX || flags > OUTCOME_FLAGS_KNOWN) {
    throw formatTooNew(`an outcome of kind ${kind} with flags ${flags}`);
  }
  if (!isOutcomeKind(kind)) throw new CairnError('CORRUPTION', `unknown outcome kind ${kind}`);
  return kind;
}

/** What a failed compare-and-set found. */
export interface FoundRow {
  readonly token: Uint8Array;
  readonly value: Uint8Array;
  readonly kind: RowKind;
}

/** Fills flags and detail of a failed compare-and-set. `found` is undefined when the key was absent. */
export function setFailedCompare(outcome: CommandOutcome, found: FoundRow | undefined): void {
  outcome.kind = OutcomeKind.compareAndSet;
  outcome.sequence = 0;
  if (found === undefined) {
    outcome.flags = 0;
    outcome.detail = undefined;
    return;
  }
  const { token, value, kind } = found;
  assert(token.length === VERSION_TOKEN_BYTES, 'version token of wrong length');
  if (kind !== RowKind.bytes) {
    outcome.flags = OutcomeFlag.found | OutcomeFlag.otherKind;
    outcome.detail = Buffer.concat([token, Buffer.of(kind)]);
    return;
  }
  if (value.length > FOUND_VALUE_BYTES_MAX) {
    outcome.flags = OutcomeFlag.found | OutcomeFlag.valueTruncated;
    outcome.detail = Buffer.from(token);
    return;
  }
  outcome.flags = OutcomeFlag.found;
  outcome.detail = Buffer.concat([token, value]);
}

/** What a failed compare-and-set found: views of the detail. */
export interface FoundDetail {
  readonly token: Buffer;
  /** undefined when it was too long to be remembered, and of another kind than bytes. */
  readonly value: Buffer | undefined;
  readonly kind: RowKind;
}

/** undefined when the key was absent or the outcome is no failed compare-and-set. Throws CORRUPTION. */
export function foundDetail(outcome: CommandOutcome): FoundDetail | undefined {
  if (!outcome.has(OutcomeFlag.found)) return undefined;
  const detail = outcome.detail;
  if (detail === undefined || detail.length < VERSION_TOKEN_BYTES) {
    throw new CairnError('CORRUPTION', 'failed compare-and-set without the version it found');
  }
  const token = detail.subarray(0, VERSION_TOKEN_BYTES);
  if (outcome.has(OutcomeFlag.otherKind)) {
    const kind = detail[VERSION_TOKEN_BYTES];
    if (kind === undefined) throw new CairnError('CORRUPTION', 'a compare-and-set that failed for no kind');
    return { token, value: undefined, kind };
  }
  const value = outcome.has(OutcomeFlag.valueTruncated) ? undefined : detail.subarray(VERSION_TOKEN_BYTES);
  return { token, value, kind: RowKind.bytes };
}

/** Fills kind, flags and detail of a deleteRange. `resumeKey` is undefined when the span was finished. */
export function setDeleteRange(
  outcome: CommandOutcome,
  count: number,
  resumeKey: Uint8Array | undefined,
): void {
  outcome.kind = OutcomeKind.deleteRange;
  outcome.flags = resumeKey === undefined ? 0 : OutcomeFlag.hasResumeKey;
  const detail = Buffer.alloc(4 + (resumeKey?.length ?? 0));
  detail.writeUInt32BE(count, 0);
  if (resumeKey !== undefined) detail.set(resumeKey, 4);
  outcome.detail = detail;
}

export interface DeleteRangeDetail {
  readonly count: number;
  readonly resumeKey: Buffer | undefined;
}

/** Count and resume key of a deleteRange. Throws CORRUPTION. */
export function deleteRangeDetail(outcome: CommandOutcome): DeleteRangeDetail {
  const detail = outcome.detail;
  if (outcome.kind !== OutcomeKind.deleteRange || detail === undefined || detail.length < 4) {
    throw new CairnError('CORRUPTION', 'deleteRange without a count');
  }
  const resumeKey = outcome.has(OutcomeFlag.hasResumeKey) ? detail.subarray(4) : undefined;
  return { count: detail.readUInt32BE(0), resumeKey };
}
