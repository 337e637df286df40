import { unreachable, type CairnError } from '@cairn/base';

/** What the process answers to the shell. Documented in `cairn --help`; never renumbered. */
export const ExitCode = {
  ok: 0,
  /** The key is not there, the condition was not met, or rows were rejected. */
  notMet: 1,
  usage: 2,
  refused: 3,
  unreachable: 4,
  outcomeUnknown: 5,
  /** Standard output takes nothing more: a full disk behind it, for instance. */
  output: 6,
  interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** A mistake in how the command was called; the message says what to do instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What was asked for is not there. */
export class NotFoundError extends Error {
  override readonly name = 'NotFoundError';
}

export function exitCodeOf(error: CairnError): ExitCode {
  switch (error.code) {
    case 'INVALID_ARGUMENT':
      return ExitCode.usage;
    case 'UNAVAILABLE':
    case 'DEADLINE_EXCEEDED':
    case 'LOCKED':
      return ExitCode.unreachable;
    case 'OUTCOME_UNKNOWN':
      return ExitCode.outcomeUnknown;
    case 'CANCELLED':
      return ExitCode.interrupted;
    case 'FAILED_PRECONDITION':
    case 'RESOURCE_EXHAUSTED':
    case 'NOT_LEADER':
    case 'EPOCH_MISMATCH':
    case 'RANGE_NOT_FOUND':
    case 'DISK_FULL':
    case 'CORRUPTION':
    case 'CLUSTER_MISMATCH':
    case 'NAME_TAKEN':
    case 'FORMAT_TOO_NEW':
    case 'WRONG_KIND':
    case 'TRANSACTION_ABORTED':
    case 'TRANSACTION_NOT_FOUND':
    case 'TRANSACTION_TOO_LARGE':
    case 'WATCH_RESET':
    case 'LOCK_NOT_AVAILABLE':
    case 'INTERNAL':
      return ExitCode.refused;
    default:
      return unreachable(error.code);
  }
}

/** The sentence after the error: what to do next. Empty when the error says it all. */
export function adviceFor(error: CairnError, endpoints: readonly string[]): string {
  const where = endpoints.join(', ');
  if (error.code === 'UNAVAILABLE' && error.details['unreachable'] === true) {
    // Nobody refused; there was no time.
    if (error.cause === undefined) return 'Wait longer: --timeout 10s';
    return [
      `Is the cluster at ${where} running? Start one on this machine with: npm start`,
      'Or name another one with --endpoint host:port or CAIRN_ENDPOINT.',
    ].join('\n');
  }
  switch (error.code) {
    case 'OUTCOME_UNKNOWN':
      return 'The write may or may not have happened. Read the key before you decide to repeat it.';
    case 'DEADLINE_EXCEEDED':
      return `${where} did not answer in time. See: cairn status  (or wait longer: --timeout 60s)`;
    case 'RESOURCE_EXHAUSTED':
      return 'The cluster is busy or full. Try again in a moment, or see: cairn nodes';
    case 'UNAVAILABLE':
      return 'Part of the cluster is not serving. See which with: cairn status';
    case 'TRANSACTION_ABORTED':
      return 'Others write the same keys. Nothing of it happened: try again, or wait longer: --timeout 60s';
    case 'LOCK_NOT_AVAILABLE':
      return 'Another transaction holds a key of it. Nothing of it happened: try again, or wait longer.';
    case 'WATCH_RESET':
      return 'Read what is there now, and watch from then on.';
    case 'DISK_FULL':
      return 'A shard node ran out of disk. See which with: cairn nodes';
    default:
      return '';
  }
}
