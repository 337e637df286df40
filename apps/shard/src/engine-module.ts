import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CairnError, messageOf } from '@cairn/base';
import { PACKAGE_PREFIX } from '@cairn/config';
import { engineFactoryOf, type EngineFactory } from '@cairn/engine';

/**
 * The factory of an engine from elsewhere, named as in the setting `engine`: a `file:` URL, a path,
 * relative ones from the working directory, or `package:` and what this program can import. Rejects
 * INVALID_ARGUMENT with a sentence.
 */
export async function loadEngineFactory(specifier: string): Promise<EngineFactory> {
  let module: unknown;
  try {
    module = await import(importable(specifier));
  } catch (error) {
    throw new CairnError(
      'INVALID_ARGUMENT',
      `the engine module "${specifier}" cannot be loaded: ${messageOf(error)}`,
      { cause: error },
    );
  }
  return engineFactoryOf(module, specifier);
}

function importable(specifier: string): string {
  if (specifier.startsWith(PACKAGE_PREFIX)) return specifier.slice(PACKAGE_PREFIX.length);
  return specifier.startsWith('file:') ? specifier : pathToFileURL(resolve(specifier)).href;
}
