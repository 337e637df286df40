/**
 * What a caller may do about an error. Every coded error of the product carries one.
 *
 * - `refresh-route`: the caller's idea of where the range lives is old; repair it from the error and send
 *   again.
 * - `new-leader`: another replica leads (or none yet); try it, or ask again after `retryAfterMs`.
 * - `back-off`: nothing is wrong with the request; send it again after `retryAfterMs`.
 * - `restart`: nothing of it happened, and it must not be sent again as it is: what it was based on has
 *   changed. A transaction is run again from its beginning.
 * - `undetermined`: it may or may not have happened and nobody can tell any more. Never retried blindly.
 * - `fatal`: sending the same request again gives the same answer.
 */
export type RetryClass = 'refresh-route' | 'new-leader' | 'back-off' | 'restart' | 'undetermined' | 'fatal';

/** Stable codes that cross process and client boundaries. Append only; never reuse a name. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'FAILED_PRECONDITION'
  | 'NOT_LEADER'
  | 'EPOCH_MISMATCH'
  | 'RANGE_NOT_FOUND'
  | 'RESOURCE_EXHAUSTED'
  | 'UNAVAILABLE'
  | 'DEADLINE_EXCEEDED'
  | 'CANCELLED'
  | 'OUTCOME_UNKNOWN'
  | 'DISK_FULL'
  | 'CORRUPTION'
  | 'CLUSTER_MISMATCH'
  | 'NAME_TAKEN'
  | 'FORMAT_TOO_NEW'
  | 'WRONG_KIND'
  | 'LOCKED'
  | 'TRANSACTION_ABORTED'
  | 'TRANSACTION_NOT_FOUND'
  | 'TRANSACTION_TOO_LARGE'
  | 'WATCH_RESET'
  | 'LOCK_NOT_AVAILABLE'
  | 'INTERNAL';

const RETRY_CLASS_BY_CODE: Readonly<Record<ErrorCode, RetryClass>> = {
  INVALID_ARGUMENT: 'fatal',
  FAILED_PRECONDITION: 'fatal',
  NOT_LEADER: 'new-leader',
  EPOCH_MISMATCH: 'refresh-route',
  RANGE_NOT_FOUND: 'refresh-route',
  RESOURCE_EXHAUSTED: 'back-off',
  UNAVAILABLE: 'back-off',
  DEADLINE_EXCEEDED: 'fatal',
  CANCELLED: 'fatal',
  OUTCOME_UNKNOWN: 'undetermined',
  DISK_FULL: 'back-off',
  CORRUPTION: 'fatal',
  CLUSTER_MISMATCH: 'fatal',
  NAME_TAKEN: 'fatal',
  FORMAT_TOO_NEW: 'fatal',
  WRONG_KIND: 'fatal',
  LOCKED: 'back-off',
  TRANSACTION_ABORTED: 'restart',
  TRANSACTION_NOT_FOUND: 'fatal',
  TRANSACTION_TOO_LARGE: 'fatal',
  WATCH_RESET: 'fatal',
  LOCK_NOT_AVAILABLE: 'fatal',
  INTERNAL: 'fatal',
};

const BRAND = Symbol.for('cairn.CairnError');

export interface CairnErrorOptions {
  /** How long to wait before sending again, milliseconds; only for the classes that retry. */
  readonly retryAfterMs?: number;
  /** Plain data for logs and for the wire; never secrets, never user values. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Stays in this process: logged, never sent. */
  readonly cause?: unknown;
}

/** The one error class of the product: a stable code, a sentence for people, a retry class. */
export class CairnError extends Error {
  override readonly name = 'CairnError';
  readonly code: ErrorCode;
  readonly retryClass: RetryClass;
  readonly retryAfterMs: number;
  readonly details: Readonly<Record<string, unknown>>;
  readonly [BRAND] = true;

  constructor(code: ErrorCode, message: string, options: CairnErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryClass = RETRY_CLASS_BY_CODE[code];
    this.retryAfterMs = options.retryAfterMs ?? 0;
    this.details = options.details ?? {};
  }

  /** `instanceof` that also holds across two loaded copies of this module. */
  static is(value: unknown): value is CairnError {
    return typeof value === 'object' && value !== null && (value as { [BRAND]?: unknown })[BRAND] === true;
  }
}

/** True for the codes that this version knows; to be asked before a code of another process is believed. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(RETRY_CLASS_BY_CODE, code);
}

export function retryClassOf(code: ErrorCode): RetryClass {
  return RETRY_CLASS_BY_CODE[code];
}

/**
 * Whether an error says what was found in the data. Then it is true of every sending of a request, because
 * request ids give all of them one outcome; other errors speak of the sending that they answer.
 */
export function isFinding(code: ErrorCode): boolean {
  return code === 'FAILED_PRECONDITION' || code === 'WRONG_KIND';
}

/**
 * For what a reader does not know because it is newer than the reader: a later release has to read it, and
 * nothing is damaged. `what` is the beginning of the sentence.
 */
export function formatTooNew(what: string, details: Readonly<Record<string, unknown>> = {}): CairnError {
  return new CairnError('FORMAT_TOO_NEW', `${what}: a later release of Cairn wrote it`, { details });
}

/** The code of that name; INTERNAL for one that this version does not know. */
export function errorCodeOf(name: string): ErrorCode {
  return isErrorCode(name) ? name : 'INTERNAL';
}

/** A sentence for any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
