import { CairnError, messageOf, rethrowInvariant } from '@cairn/base';
import { DiskError } from '@cairn/ports';

/** What every look into a file meets that is not what the engine wrote: its name, and what to do. */
export function damaged(what: string, path: string, where: { readonly position?: number } = {}): CairnError {
  return new CairnError(
    'CORRUPTION',
    `engine: ${what}. Keep a copy of the directory, then give the node an empty data directory and let its ` +
      `ranges be rebuilt from their other replicas.`,
    { details: { path, ...where } },
  );
}

/** What a failed read, job or manifest is to whoever uses the engine; an assertion that failed is none. */
export function asEngineError(error: unknown): CairnError {
  if (CairnError.is(error)) return error;
  rethrowInvariant(error);
  const code = error instanceof DiskError && error.code === 'DISK_FULL' ? 'DISK_FULL' : 'INTERNAL';
  return new CairnError(code, `engine: ${messageOf(error)}`, { cause: error });
}
