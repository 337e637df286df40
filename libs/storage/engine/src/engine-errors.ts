import { CairnError, type ErrorCode } from '@cairn/base';

/** Payload bytes after which `EngineIterator.next` answers with what it has. */
export const ITERATOR_PAGE_BYTES = 1024 * 1024;

/**
 * Longest key that every engine takes: a user key of 32 KiB of zero bytes, each written as two, with room for
 * what is put around it.
 */
export const ENGINE_KEY_BYTES_MAX = 0x1ffff;

/** What every call on a closed engine meets. */
export function engineClosed(): CairnError {
  return new CairnError('UNAVAILABLE', 'the engine is closed');
}

/** What a call on a closed iterator or snapshot meets. */
export function handleClosed(what: 'iterator' | 'snapshot'): CairnError {
  return new CairnError('FAILED_PRECONDITION', `the ${what} is closed`);
}

/** What a second use of a written batch meets. */
export function batchSpent(): CairnError {
  return new CairnError('FAILED_PRECONDITION', 'the batch was written already');
}

const READ_FAILURES: ReadonlySet<ErrorCode> = new Set(['CORRUPTION', 'INTERNAL', 'FORMAT_TOO_NEW']);

/**
 * Whether an error of a read says that the engine's files cannot be relied on any more: damage, a device that
 * fails, or rows that a later release wrote. The node must end; other replicas are whole, or can read them.
 */
export function isReadFailure(error: unknown): error is CairnError {
  return CairnError.is(error) && READ_FAILURES.has(error.code);
}
