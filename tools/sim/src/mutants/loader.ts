import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { transformSync } from '@swc/core';

import type { Mutant } from './mutant.js';

/** The root of the repository, seen from `tools/sim/{src,dist}/mutants`. */
const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));

/** The source of the module with the defect in it. Throws unless each place is there exactly once. */
export function mutatedSource({ name, file, edits }: Mutant): string {
  let source = readFileSync(join(ROOT, file), 'utf8');
  for (const { find, replace } of edits) {
    const parts = source.split(find);
    if (parts.length !== 2)
      throw new Error(`${name}: ${file} has ${parts.length - 1} places like this, not one: ${find}`);
    source = parts.join(replace);
  }
  return source;
}

/** The module with the defect, compiled as every build compiles it. Throws when it does not compile. */
export function mutatedModule(mutant: Mutant): string {
  const filename = join(ROOT, mutant.file);
  return transformSync(mutatedSource(mutant), { filename, configFile: join(ROOT, '.swcrc') }).code;
}

/**
 * From here on this process loads the defect in place of the built module. To be called before anything
 * that the defect is in is imported.
 */
export function installMutant(mutant: Mutant): void {
  const built = mutant.file.replace(/^(libs\/[^/]+)\/src\/(.*)\.ts$/, '$1/dist/$2.js');
  const target = pathToFileURL(join(ROOT, built)).href;
  const source = mutatedModule(mutant);
  registerHooks({
    load: (url, context, next) =>
      url === target ? { format: 'module', source, shortCircuit: true } : next(url, context),
  });
}
