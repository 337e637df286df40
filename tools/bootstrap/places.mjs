/** Where things are in a checkout. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const MODULES = join(ROOT, 'node_modules');
export const BIN = join(MODULES, '.bin');
/** For what the scripts leave behind for themselves. */
export const CACHE = join(MODULES, '.cache');
export const INSTALL_STAMP = join(MODULES, '.cairn-install');
export const BUILD_STAMP = join(MODULES, '.cairn-build');

/** The text of a file, empty when there is none. */
export function readText(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}
