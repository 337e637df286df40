import { CairnError, messageOf, rethrowInvariant } from '@cairn/base';
import { isReadFailure } from '@cairn/engine';

/** Hears of rows that are not what was written, or cannot be read. */
export interface DamageListener {
  /** The node must not go on: other replicas are whole, and nothing read here can be trusted. */
  damaged(error: CairnError): void;
}

/** Tells the listener when that is what the error says; answers whether it is. */
export function reportDamage(listener: DamageListener, error: unknown): boolean {
  if (!isReadFailure(error)) return false;
  listener.damaged(error);
  return true;
}

/**
 * Answers a call whose read of the engine failed: what the error says, or that another replica must answer. A
 * broken invariant is no failed read: it is thrown on, and ends the process.
 */
export function failRead(
  listener: DamageListener,
  call: { fail(code: CairnError['code'], message: string): void },
  error: unknown,
): void {
  rethrowInvariant(error);
  if (reportDamage(listener, error)) call.fail('UNAVAILABLE', 'the node cannot read its rows and stops');
  else if (CairnError.is(error)) call.fail(error.code, error.message);
  else call.fail('INTERNAL', `the row could not be read: ${messageOf(error)}`);
}
