import { CairnError, messageOf, rethrowInvariant } from '@cairn/base';
import { DiskError } from '@cairn/ports';

/** What a failed read, job or manifest is to whoever uses the engine; an assertion that failed is none. */
export function asEngineError(error: unknown): CairnError {
  if (CairnError.is(error)) return error;
  rethrowInvariant(error);
  const code = error instanceof DiskError && error.code === 'DISK_FULL' ? 'DISK_FULL' : 'INTERNAL';
  return new CairnError(code, `engine: ${messageOf(error)}`, { cause: error });
}
