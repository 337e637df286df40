import { CairnError } from '@cairn/base';

/**
 * Why a lock or a leadership is not there.
 *
 * - `held`: somebody else has it, and had it for as long as was waited. LOCKED.
 * - `lost`: it was had, and another may have it now. FAILED_PRECONDITION.
 * - `ended`: it was released or resigned here. FAILED_PRECONDITION.
 */
export type CoordinationReason = 'held' | 'lost' | 'ended';

/** The reason that an error of a lock or an election has; undefined for other errors. */
export function coordinationReasonOf(error: unknown): CoordinationReason | undefined {
  if (!CairnError.is(error)) return undefined;
  const { coordination } = error.details;
  return coordination === 'held' || coordination === 'lost' || coordination === 'ended'
    ? coordination
    : undefined;
}

export function heldError(what: string, holder: string): CairnError {
  const by = holder === '' ? 'somebody else' : `"${holder}"`;
  return new CairnError('LOCKED', `${what} is held by ${by}`, { details: { coordination: 'held' } });
}

export function lostError(what: string, why: string, cause?: unknown): CairnError {
  return new CairnError('FAILED_PRECONDITION', `${what} was lost: ${why}`, {
    details: { coordination: 'lost' },
    ...(cause === undefined ? {} : { cause }),
  });
}

export function endedError(what: string): CairnError {
  return new CairnError('FAILED_PRECONDITION', `${what} was given back here`, {
    details: { coordination: 'ended' },
  });
}
