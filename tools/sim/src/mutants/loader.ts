import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { transformSync } from '@swc/core';

import type { Mutant } from './mutant.js';

/** The root of the repository, seen from `tools/sim/{src,dist}/mutants`. */
const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));

/** The sources of the modules with the defect in them, by file. Throws unless each place is there once. */
export function mutatedSources({ name, file: usual, edits }: Mutant): Map<string, string> {
  const sources = new Map<string, string>();
  for (const { file = usual, find, replace } of edits) {
    const parts = (sources.get(file) ?? readFileSync(join(ROOT, file), 'utf8')).split(find);
    if (parts.length !== 2)
      throw new Error(`${name}: ${file} has ${parts.length - 1} places like this, not one: ${find}`);
    sources.set(file, parts.join(replace));
  }
  return sources;
}

/** The modules with the defect, compiled as every build compiles them. Throws when they do not compile. */
export function mutatedModules(mutant: Mutant): Map<string, string> {
  const modules = new Map<string, string>();
  for (const [file, source] of mutatedSources(mutant)) {
    const filename = join(ROOT, file);
    modules.set(file, transformSync(source, { filename, configFile: join(ROOT, '.swcrc') }).code);
  }
  return modules;
}

/**
 * From here on this process loads the defect in place of the built module. To be called before anything
 * that the defect is in is imported.
 */
export function installMutant(mutant: Mutant): void {
  const sources = new Map<string, string>();
  for (const [file, source] of mutatedModules(mutant)) {
    const built = file.replace(/^(libs\/[^/]+\/[^/]+)\/src\/(.*)\.ts$/, '$1/dist/$2.js');
    sources.set(pathToFileURL(join(ROOT, built)).href, source);
  }
  registerHooks({
    load: (url, context, next) => {
      const source = sources.get(url);
      return source === undefined ? next(url, context) : { format: 'module', source, shortCircuit: true };
    },
  });
}
