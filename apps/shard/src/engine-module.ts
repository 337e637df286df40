import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { CairnError, messageOf } from '@cairn/base';
import { PACKAGE_PREFIX, shardConfig } from '@cairn/config';
import { engineFactoryOf, type EngineFactory } from '@cairn/engine';

/**
 * The factory of an engine from elsewhere, named as in the setting `engine`: a `file:` URL, a path,
 * relative ones from the working directory, or `package:` and what this program can import. Rejects
 * INVALID_ARGUMENT with a sentence.
 */
export async function loadEngineFactory(specifier: string): Promise<EngineFactory> {
  let module: unknown;
  process.once('exit', endedByModule);
  try {
    module = await import(await importable(specifier));
  } catch (error) {
    throw new CairnError(
      'INVALID_ARGUMENT',
      `the engine module "${specifier}" cannot be loaded: ${messageOf(error)}`,
      { cause: error },
    );
  } finally {
    process.off('exit', endedByModule);
  }
  return engineFactoryOf(module, specifier);

  /** Nobody else ends a process that is starting with success: a supervisor would take it for a stop. */
  function endedByModule(status: number): void {
    if (status !== 0) return;
    const why = `the engine module "${specifier}" ended the process while it was loaded`;
    process.stderr.write(`${shardConfig.name}: ${why}\n`);
    process.exitCode = 1;
  }
}

async function importable(specifier: string): Promise<string> {
  if (specifier.startsWith(PACKAGE_PREFIX)) return specifier.slice(PACKAGE_PREFIX.length);
  const url = specifier.startsWith('file:') ? specifier : pathToFileURL(resolve(specifier)).href;
  // A device without an end, or a pipe, would be read until the memory is gone.
  if ((await stat(fileURLToPath(url))).isFile()) return url;
  throw new CairnError('INVALID_ARGUMENT', 'it is no regular file');
}
