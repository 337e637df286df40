import type { Operation } from '@cairn/checkers';
import type { CairnError, StoredValue, WriteOrdering } from '@cairn/client';

/** `failed`: it surely did not happen. `unknown`: it may have happened, or may still. */
export type Outcome<Value> =
  | { readonly type: 'ok'; readonly value: Value; readonly invokedMs: number }
  | { readonly type: 'failed' }
  | { readonly type: 'unknown'; readonly invokedMs: number };

export type Details = Pick<Operation, 'timestamp' | 'strict'>;

export function textOf(bytes: Buffer): string {
  // The padding is the same everywhere; leaving it out keeps histories small.
  return bytes.toString('latin1').split('|', 1)[0] ?? '';
}

export function valueOf(entry: StoredValue | undefined): string | undefined {
  return entry === undefined ? undefined : textOf(entry.value);
}

/** What the client library promises of a write that failed with this; undefined: it should not fail so. */
export function fateOf(error: CairnError): 'failed' | 'unknown' | undefined {
  switch (error.code) {
    case 'UNAVAILABLE':
    case 'RESOURCE_EXHAUSTED':
    case 'DEADLINE_EXCEEDED':
    case 'FAILED_PRECONDITION':
    case 'DISK_FULL':
      return 'failed';
    case 'CANCELLED':
      return error.details['possiblyApplied'] === true ? 'unknown' : 'failed';
    case 'OUTCOME_UNKNOWN':
    case 'CORRUPTION':
      return 'unknown';
    default:
      return undefined;
  }
}

export function detailsOf(
  outcome: Outcome<{ readonly timestamp: number }>,
  ordering: WriteOrdering,
): Details {
  const strict = ordering === 'strict';
  return outcome.type === 'ok' ? { strict, timestamp: outcome.value.timestamp } : { strict };
}
