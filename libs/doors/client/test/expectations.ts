import { CairnError } from '@cairn/base';
import type { BatchOperation } from '../src/wire-binding.js';
import type { FakeRouter } from './fake-router.js';

/** What a call is rejected with; it is to be a CairnError. */
export async function failureOf(promise: Promise<unknown>): Promise<CairnError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!CairnError.is(error)) throw new Error(`expected a CairnError, got ${String(error)}`);
  return error;
}

/** The operations of one kind that a router was sent on streams, in their order. */
export function callsOf<Kind extends NonNullable<BatchOperation['operation']>['$case']>(
  router: FakeRouter,
  kind: Kind,
): Extract<BatchOperation['operation'], { $case: Kind }>['value'][] {
  return router.operations.flatMap(({ operation }) =>
    operation?.$case === kind ? [operation.value as never] : [],
  );
}
