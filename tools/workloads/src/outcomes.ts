import type { CairnError } from '@cairn/base';

/** What a call is asked for. Reads have no outcome that could be unknown. */
export type CallKind = 'plain' | 'transaction';

/**
 * What the client library promises of a call that failed with this: `failed` = it surely did not happen,
 * `unknown` = it may have happened, or may still; undefined: no call of a load may fail so.
 *
 * A transaction whose time is over may have been told so between its commit and the answer: that counts as
 * unknown.
 */
export function fateOf(error: CairnError, kind: CallKind): 'failed' | 'unknown' | undefined {
  switch (error.code) {
    case 'UNAVAILABLE':
    case 'RESOURCE_EXHAUSTED':
    case 'DISK_FULL':
    case 'LOCKED':
    case 'FAILED_PRECONDITION':
      return 'failed';
    case 'TRANSACTION_ABORTED':
      return kind === 'transaction' ? 'failed' : undefined;
    case 'DEADLINE_EXCEEDED':
      return kind === 'transaction' ? 'unknown' : 'failed';
    case 'CANCELLED':
      return error.details['possiblyApplied'] === false && kind === 'plain' ? 'failed' : 'unknown';
    case 'OUTCOME_UNKNOWN':
    case 'CORRUPTION':
      return 'unknown';
    default:
      return undefined;
  }
}
